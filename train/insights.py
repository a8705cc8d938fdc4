"""What is known of a network after `inspection` has looked into it; plain data, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class NeuronInsight:
    """One neuron layer; tuples have one entry per time-step, and are None where the neuron has no such parameter.

    Attributes:
        name, kind: module path and class.
        leak, threshold, alpha, beta: learned lambda_t, theta_t, alpha_t and beta_t (HM-DF eq. 3, 5).
        factors: learned mu_D, mu_S, lambda_S and lambda_D of an LM-H neuron, named as in a program.
        spike_bits, spike_lsb: of the message; bits is None for spikes that are not quantised.
        firing_rate: share of the messages that are not 0.
        steady: share of the neurons that are above their threshold at all steps of a sample or at none; these pass the
            same gradient online as through time (theorem 4.2 of HM-DF).
        margin_mean, margin_std: of m^_t - theta_t, the membrane after MPBN and before the reset.
        margin_range: from where to where the histograms of m^_t - theta_t reach.
        margins: their counts in equal bins, per step; what is beyond the range counts in the outermost bins.
    """

    name: str
    kind: str
    leak: tuple[float, ...] | None
    threshold: tuple[float, ...]
    alpha: tuple[float, ...] | None
    beta: tuple[float, ...] | None
    factors: Mapping[str, tuple[float, ...]]
    spike_bits: int | None
    spike_lsb: float
    firing_rate: tuple[float, ...]
    steady: float
    margin_mean: tuple[float, ...]
    margin_std: tuple[float, ...]
    margin_range: tuple[float, float]
    margins: tuple[tuple[int, ...], ...]

    def learned(self, name: str) -> tuple[float, ...] | None:
        """A learned parameter, or factor, by name; None where the neuron has no such one."""
        return self.factors[name] if name in self.factors else getattr(self, name, None)


@dataclass(frozen=True)
class GradientComparison:
    """The gradient of one layer's weight, online against through time (STBP); one entry per mini-batch.

    Attributes:
        name: module path of the convolution or linear layer.
        cosine: of the angle between the two gradients; 1 where the gradient is separable in time. None if one is 0.
        ratio: length of the online gradient / length of the STBP gradient; None if that is 0.
    """

    name: str
    cosine: tuple[float | None, ...]
    ratio: tuple[float | None, ...]
