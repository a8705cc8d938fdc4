"""Data sets as NumPy arrays; nothing here imports torch.

test = load("digits", "test")
x = normalise(test.inputs, test.preprocessing)
"""

from .dataset import Dataset, Preprocessing, normalise
from .registry import DATASETS, load

__all__ = ["DATASETS", "Dataset", "Preprocessing", "load", "normalise"]
