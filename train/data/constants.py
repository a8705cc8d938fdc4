"""The normalisation constants of every named data set: the only place where they are written.

``x = (raw / divisor - mean) / std`` per channel; they travel in a checkpoint and in a Program. Each is the mean and the
standard deviation over the pixels of the training split, rounded to four digits (ImageNet: three, as published with its
common models).
"""

from .dataset import Preprocessing

DIGITS = Preprocessing(16.0, (0.3051,), (0.3762,))
MNIST = Preprocessing(255.0, (0.1307,), (0.3081,))
CIFAR10 = Preprocessing(255.0, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
CIFAR100 = Preprocessing(255.0, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
TINY_IMAGENET = Preprocessing(255.0, (0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821))
IMAGENET = Preprocessing(255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Event counts stay as they are: a pixel without events must stay 0, because only events cost operations on a chip.
EVENT_COUNTS = Preprocessing(1.0, (0.0,), (1.0,))
