"""insight.json: what hmdf-inspect found in a model."""

from __future__ import annotations

from typing import Any

import msgspec

from hmdf.train.insights import GradientComparison, NeuronInsight


class Inspection(msgspec.Struct, frozen=True):
    """What a model has learned and how it behaves on samples of the test split.

    Attributes:
        model, network, data, samples: the file, its network, what it was inspected on.
        mini_batches: samples in each mini-batch of the comparison of gradients.
        neurons: the layers of neurons, in the order in which the network calls them.
        gradients, gradients_untrained: online against through time, of the model and of the same network untrained.
    """

    model: str
    network: dict[str, Any]
    data: str
    samples: int
    mini_batches: list[int]
    neurons: list[NeuronInsight]
    gradients: list[GradientComparison]
    gradients_untrained: list[GradientComparison]
