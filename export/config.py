"""What a user may decide about the integers; read from a TOML file or given to `compile`."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from hmdf.sim.errors import HmdfError


class ConfigError(HmdfError):
    """A setting is unknown or out of range; the message names its key."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Widths of the integers. The compiler lowers what it cannot prove safe, and says so.

    Attributes:
        message_bits: signed currents between populations (residual stream, pooled features), 2..16.
        input_bits: messages of the input, 2..16.
        spike_bits: graded spikes of populations that training did not quantise, 1..8.
        gate_bits: channel gates of SECA, 2..15.
        weight_bits: synapses that are full precision in training, 2 (ternary), 4 or 8.
        merge_pools: fold average pools of spikes into the synapses that read them, where that is exact.
        serialize_spikes: send graded spikes bit by bit, for chips with binary spikes.
        absorb_multipliers: take multipliers of binary neurons into their thresholds, for chips without multipliers.
        bits: by population (or "input"), the bits of its message; overrides all of the above.
    """

    message_bits: int = 16
    input_bits: int = 8
    spike_bits: int = 4
    gate_bits: int = 8
    weight_bits: int = 8
    merge_pools: bool = False
    serialize_spikes: bool = False
    absorb_multipliers: bool = False
    bits: dict[str, int] = {}

    def __post_init__(self) -> None:
        limits = {"message_bits": (2, 16), "input_bits": (2, 16), "spike_bits": (1, 8), "gate_bits": (2, 15)}
        for key, (low, high) in limits.items():
            if not low <= getattr(self, key) <= high:
                raise ConfigError(f"'{key}' must be in {low}..{high} (got {getattr(self, key)})")
        if self.weight_bits not in (2, 4, 8):
            raise ConfigError(f"'weight_bits' must be 2, 4 or 8 (got {self.weight_bits})")
        for name, bits in self.bits.items():
            if not 1 <= bits <= 16:
                raise ConfigError(f"'bits.{name}' must be in 1..16 (got {bits})")


def load_config(path: str | Path) -> Config:
    """Read a TOML file of settings.

    Raises:
        ConfigError: the file is missing, is not TOML, or a setting is unknown or out of range.
    """
    try:
        with open(path, "rb") as file:
            return msgspec.convert(tomllib.load(file), Config)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from error
