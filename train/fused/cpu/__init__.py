"""Training arithmetic of a CPU in as few passes over memory as it needs: BatchNorm, neurons, low-bit convolutions.

What these functions compute is what `neurons`, `distributed` and `synapses` say with PyTorch's operators, and the tests
hold both against each other. They are taken where they apply (`fits`): 32-bit floats or bfloat16 on a CPU, images in
the channels-last layout. A training step on a CPU otherwise spends half of its time in a dozen passes over each layer's
activations.

A spike is an integer message times an LSB. `attach_messages` lets a tensor of spikes carry these integers (8 bit), and
`convolve` multiplies them with the integer weights in the processor's 8-bit dot products: exact, and about four times
as fast as 32-bit floats. Gradients are computed in floats, of 32 bits or, under autocast, in bfloat16: then what a
convolution reads and writes is bfloat16, membranes stay in 32 bits.
"""

from __future__ import annotations

from .convolution import convolve, pack
from .neurons import fire, fire_binary, fire_folded, fire_hierarchical
from .norm import BatchStatistics, Norm, batch_norm, batch_norm_and_fire
from .tensors import attach_messages, fits, messages_of

__all__ = [
    "BatchStatistics",
    "Norm",
    "attach_messages",
    "batch_norm",
    "batch_norm_and_fire",
    "convolve",
    "fire",
    "fire_binary",
    "fire_folded",
    "fire_hierarchical",
    "fits",
    "messages_of",
    "pack",
]
