"""The ops of synapses: one file each, with its struct, shape rule, definition, bounds and operation counts."""

from .base import WEIGHT_RANGES, Pool, WeightedOp, Window
from .channel_conv import ChannelConv
from .conv2d import Conv2d
from .linear import Linear
from .max_pool import MaxPool
from .sum_pool import SumPool

Op = Conv2d | Linear | ChannelConv | SumPool | MaxPool

__all__ = [
    "WEIGHT_RANGES",
    "ChannelConv",
    "Conv2d",
    "Linear",
    "MaxPool",
    "Op",
    "Pool",
    "SumPool",
    "WeightedOp",
    "Window",
]
