"""From samples to messages, and what is said about samples that do not fit."""

import msgspec
import numpy as np
import pytest

from hmdf.sim.contract import INPUT, Conv2d, Linear, Message, Population, Port, Relay, Synapse
from hmdf.sim.encoder import clipped_share, encode, normalise
from hmdf.sim.errors import InputError
from hmdf.sim.program import Input, Preprocessing, Program, Readout

ONE = np.ones((1, 1), dtype=np.int32)
ZERO = np.zeros((1, 1), dtype=np.int32)


def program(timing: str = "constant", scale: float = 0.5, signed: bool = True) -> Program:
    """Two channels of 3x4 pixels, 4-bit messages, T = 2."""
    return Program(
        time_steps=2,
        state_bits=24,
        accumulator_bits=24,
        input=Input((2, 3, 4), Message(4, signed, scale), timing, Preprocessing(255.0, (0.5, 0.25), (0.5, 2.0))),
        nodes=(
            Synapse("conv", INPUT, Conv2d(np.ones((1, 2, 1, 1), np.int8), 2)),
            Population("relay", (1, 3, 4), (Port("conv", ONE, 0),), ZERO, Relay(), Message(8, True, 1.0)),
            Synapse("head", "relay", Linear(np.ones((3, 12), np.int8), 2)),
        ),
        readout=Readout("head", np.zeros(3, np.int64), 1.0),
    )


def test_normalise_is_per_channel():
    raw = np.random.default_rng(0).integers(0, 256, (5, 2, 3, 4), dtype=np.uint8)
    preprocessing = program().input.preprocessing
    x = normalise(raw, preprocessing)
    assert x.dtype == np.float64
    for c in range(2):
        expected = (raw[:, c].astype(np.float64) / 255.0 - preprocessing.mean[c]) / preprocessing.std[c]
        assert np.array_equal(x[:, c], expected)
    assert np.array_equal(normalise(np.stack([raw, raw], axis=1), preprocessing)[:, 1], x)
    assert normalise(np.ones((4, 7)), Preprocessing(2.0, (0.0,), (1.0,))).shape == (4, 7)
    with pytest.raises(InputError, match="2 channels"):
        normalise(raw[:, :1], preprocessing)


def test_rounds_half_to_even_and_limits():
    x = np.zeros((1, 2, 3, 4))
    x[0, 0, 0] = [0.25, 0.75, -0.25, -0.75]
    x[0, 0, 1] = [100.0, -100.0, 1e300, 3.4]
    q = encode(program(), x)
    assert q.shape == (1, 1, 2, 3, 4)
    assert q.dtype == np.int32
    assert q[0, 0, 0, 0].tolist() == [0, 2, 0, -2]
    assert q[0, 0, 0, 1].tolist() == [7, -8, 7, 7]


def test_float32_is_divided_in_float64():
    x = np.full((1, 2, 3, 4), np.float32(0.35), dtype=np.float32)
    scale = 0.1
    assert (encode(program(scale=scale), x) == int(np.rint(np.float64(np.float32(0.35)) / scale))).all()


def test_integers_are_messages():
    messages = np.random.default_rng(1).integers(-8, 8, (3, 2, 3, 4))
    assert np.array_equal(encode(program(), messages)[:, 0], messages)
    messages[2, 1, 1, 1], messages[0, 0, 0, 0] = 8, -8
    with pytest.raises(InputError, match=r"must lie in \[-8, 7\] \(got -8..8\)"):
        encode(program(), messages)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_a_number_is_named(value):
    x = np.zeros((4, 2, 2, 3, 4))
    x[3, 1, 0, 2, 1] = value
    with pytest.raises(InputError, match=rf"sample 3, step 1, channel 0, position \(2, 1\): the value is {value}"):
        encode(program("frames"), x)
    with pytest.raises(InputError, match=r"sample 1, channel 0, position \(2, 1\)"):
        encode(program(), x[2:, 1])


@pytest.mark.parametrize("shape", [(5, 3, 2, 4), (5, 2, 3), (2, 3, 4), (5, 2, 2, 3, 4), ()])
def test_wrong_shape(shape):
    with pytest.raises(InputError, match=r"samples of shape \(N, 2, 3, 4\); got"):
        encode(program(), np.zeros(shape))


def test_frames_need_every_step():
    with pytest.raises(InputError, match=r"\(N, 2, 2, 3, 4\), one array per time-step"):
        encode(program("frames"), np.zeros((5, 2, 3, 4)))
    assert encode(program("frames"), np.zeros((5, 2, 2, 3, 4))).shape == (5, 2, 2, 3, 4)


def test_not_numbers():
    with pytest.raises(InputError, match="must be numbers"):
        encode(program(), np.full((1, 2, 3, 4), "a"))


def test_unsigned_messages():
    assert encode(program(signed=False), np.full((1, 2, 3, 4), -3.0)).max() == 0
    flat = msgspec.structs.replace(program(), input=program().input)
    assert encode(flat, np.zeros((0, 2, 3, 4))).shape == (0, 1, 2, 3, 4)


def test_the_share_of_clipped_values_is_told():
    low, high = program().input.message.range
    scale = program().input.message.scale
    x = np.zeros((1, 2, 3, 4))
    x.flat[:4] = np.array([low - 1, low - 0.4, high + 0.4, high + 2]) * scale
    assert clipped_share(program(), x) == 2 / x.size
    assert clipped_share(program(), x[:0]) == 0
