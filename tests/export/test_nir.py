"""NIR graphs as programs: every node against NIR's difference equations, and what cannot be compiled."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import hmdf
from hmdf.export.errors import CompileError
from hmdf.export.evaluate import evaluate
from hmdf.export.nir import DIALECTS, Dialect, dialect_of
from hmdf.sim.errors import InputError

nir = pytest.importorskip("nir", reason="NIR is not installed: pip install 'hmdf[nir]'")
STEP = 1e-3


def chain(*nodes, shape=(3,)):
    """A graph of nodes in a row."""
    names = {f"n{i}": node for i, node in enumerate(nodes)}
    all_nodes = {"in": nir.Input(np.array(shape)), **names, "out": nir.Output(np.array([1]))}
    keys = list(all_nodes)
    return nir.NIRGraph(all_nodes, [*pairwise(keys)], type_check=False)


def full(shape, *values):
    return [np.full(shape, float(value)) for value in values]


def messages(graph, x, name, **options):
    """What a population sends in the compiled program, in real units: (N, T, *shape)."""
    options = {"time_step": STEP} | options
    program = hmdf.compile(graph, x, **options).program
    sent = np.asarray(hmdf.simulate(program, x, taps=True).messages[name])
    return sent * program.message_of(name).scale


def frames(shape=(3,), samples=4, steps=24, seed=0):
    return np.random.default_rng(seed).normal(size=(samples, steps, *shape))


def scalar_lif(x, tau, r, leak, threshold, reset, kind="value", decay="euler", current=None):
    """Spikes of NIR's LIF by its equations, one step after the other; `current`: (tau_syn, w_in) of CubaLIF."""

    def kept(t):
        return 1 - STEP / t if decay == "euler" else np.exp(-STEP / t)

    v, i, fired = np.zeros(x[:, 0].shape) + reset, np.zeros(x[:, 0].shape), np.zeros(x[:, 0].shape)
    spikes = []
    for t in range(x.shape[1]):
        if current is not None:
            i = kept(current[0]) * i + (1 - kept(current[0])) * current[1] * x[:, t]
        v = kept(tau) * v + (1 - kept(tau)) * (leak + r * (x[:, t] if current is None else i))
        if kind == "subtract-later":
            v = v - fired * (threshold - reset)
        fired = (v > threshold).astype(float)
        if kind == "value":
            v = np.where(fired > 0, reset, v)
        elif kind == "subtract":
            v = v - fired * (threshold - reset)
        spikes.append(fired)
    return np.stack(spikes, 1)


@pytest.mark.parametrize("decay", ["euler", "exponential"])
@pytest.mark.parametrize("kind", ["value", "subtract", "subtract-later"])
def test_lif_follows_its_equation(kind, decay):
    x = frames() * 3
    tau, r, leak, threshold, reset = 5e-3, 2.0, 0.25, 1.5, 0.1
    graph = chain(nir.Affine(np.eye(3), np.zeros(3)), nir.LIF(*full(3, tau, r, leak, threshold, reset)))
    dialect = Dialect(STEP, decay, kind)
    sent = messages(graph, x, "n1", dialect=dialect)
    expected = scalar_lif(x, tau, r, leak, threshold, reset, kind, decay)
    assert 0.05 < expected.mean() < 0.6
    assert np.mean(sent != expected) < 0.02  # the input has 8 bits


@pytest.mark.parametrize("kind", ["value", "subtract", "subtract-later"])
@pytest.mark.parametrize("leak", [0.0, 0.5])
def test_current_based_lif_follows_its_equation(kind, leak):
    x = frames() * 3
    node = nir.CubaLIF(*full(3, 4e-3, 8e-3, 3.0, leak, 1.0, 0.0), w_in=np.full(3, 2.0))
    sent = messages(chain(nir.Linear(np.eye(3)), node), x, "n1", dialect=Dialect(STEP, reset=kind))
    expected = scalar_lif(x, 8e-3, 3.0, leak, 1.0, 0.0, kind, current=(4e-3, 2.0))
    assert 0.03 < expected.mean() < 0.6
    assert np.mean(sent != expected) < 0.03


def test_integrators_follow_their_equations():
    x = frames()
    r, leak = 2.0, 0.5
    v = np.zeros_like(x)
    i, w = np.zeros(x[:, 0].shape), np.full(x[:, 0].shape, leak)
    cuba = np.zeros_like(x)
    for t in range(x.shape[1]):
        v[:, t] = (v[:, t - 1] if t else leak) * (1 - STEP / 5e-3) + STEP / 5e-3 * (leak + r * x[:, t])
        i = i * (1 - STEP / 4e-3) + STEP / 4e-3 * 1.5 * x[:, t]
        w = w * (1 - STEP / 8e-3) + STEP / 8e-3 * (leak + r * i)
        cuba[:, t] = w
    linear = nir.Linear(np.eye(3))
    for node, expected in (
        (nir.LI(*full(3, 5e-3, r, leak)), v - leak),
        (nir.CubaLI(*full(3, 4e-3, 8e-3, r, leak), w_in=np.full(3, 1.5)), cuba - leak),
        (nir.I(np.full(3, r)), STEP * r * x.cumsum(1)),
    ):
        assert np.abs(messages(chain(linear, node), x, "n1") - expected).max() < 0.02 * np.abs(expected).max()


def test_parameters_of_every_neuron_are_its_own():
    x = frames() * 3
    tau, r, threshold = np.array([2e-3, 5e-3, 2e-2]), np.array([1.0, 2.0, 4.0]), np.array([0.5, 1.0, 0.75])
    graph = chain(nir.Linear(np.eye(3)), nir.LIF(tau, r, np.zeros(3), threshold, np.zeros(3)))
    expected = scalar_lif(x, tau, r, 0.0, threshold, np.zeros(3))
    assert np.mean(messages(graph, x, "n1") != expected) < 0.02


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_delay_keeps_spikes_for_whole_steps(steps):
    x = frames() * 3
    lif = nir.LIF(*full(3, 5e-3, 2, 0, 1, 0))
    delay = nir.Delay(np.full(3, steps * STEP))
    compiled = hmdf.compile(chain(nir.Linear(np.eye(3)), lif, delay, nir.Linear(np.eye(3))), x, time_step=STEP)
    taps = hmdf.simulate(compiled.program, x, taps=True).messages
    before, after = np.asarray(taps["n1"]), np.asarray(taps["n2" if steps else "n1"])
    assert before.any()
    assert np.array_equal(after[:, steps:], before[:, : before.shape[1] - steps])
    assert not after[:, :steps].any()


def test_linear_nodes_are_those_of_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, 9, 8))
    weight, bias = rng.normal(size=(6, 2, 3, 2)), rng.normal(size=6)
    head = rng.normal(size=(3, 6 * 2 * 2))
    graph = chain(
        nir.Conv2d(None, weight, (2, 1), (1, 0), (1, 2), 2, bias),
        nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 1])),
        nir.Scale(np.full((6, 2, 4), 0.5)),
        nir.SumPool2d(np.array([1, 2]), np.array([1, 2]), np.array([0, 0])),
        nir.Flatten(np.array([6, 2, 2]), 0, -1),
        nir.Linear(head),
        shape=(4, 9, 8),
    )
    folded = hmdf.compile(graph, x, time_step=1, time_steps=1).folded
    y = torch.nn.functional.conv2d(*map(torch.tensor, (x, weight, bias)), (2, 1), (1, 0), (1, 2), 2)
    y = torch.nn.functional.avg_pool2d(y, 2, padding=(0, 1)) * 0.5
    y = torch.nn.functional.avg_pool2d(y, (1, 2), divisor_override=1).flatten(1) @ torch.tensor(head).T
    assert np.allclose(evaluate(folded, x).logits, y.numpy())


@pytest.mark.parametrize("padding", ["same", "valid", 1])
def test_a_convolution_along_one_axis(padding):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(2, 3, 10)), rng.normal(size=(4, 3, 3))
    convolution = nir.Conv1d(10, weight, 1, padding, 1, 1, np.zeros(4))
    y = torch.nn.functional.conv1d(torch.tensor(x), torch.tensor(weight), padding=padding).flatten(1)
    graph = chain(convolution, nir.Flatten(np.array([4, y.shape[1] // 4]), 0, -1), nir.Linear(np.eye(y.shape[1])))
    graph.nodes["in"] = nir.Input(np.array([3, 10]))
    folded = hmdf.compile(graph, x, time_step=1, time_steps=1).folded
    assert folded.input_shape == (3, 1, 10)
    assert np.allclose(evaluate(folded, x[:, :, None]).logits, y.numpy())


def test_graphs_in_graphs_and_sums():
    x = frames() * 3
    lif = nir.LIF(*full(3, 5e-3, 2, 0, 1, 0))
    inner = nir.NIRGraph(
        {"input": nir.Input(np.array([3])), "0": lif, "output": nir.Output(np.array([3]))},
        [("input", "0"), ("0", "output")],
    )
    nodes = {
        "in": nir.Input(np.array([3])),
        "w": nir.Linear(np.eye(3)),
        "block": inner,
        "a": nir.Linear(np.eye(3)),
        "b": nir.Linear(2 * np.eye(3)),
        "out": nir.Output(np.array([3])),
    }
    edges = [("in", "w"), ("w", "block"), ("block", "a"), ("block", "b"), ("a", "out"), ("b", "out")]
    program = hmdf.compile(nir.NIRGraph(nodes, edges), x, time_step=STEP).program
    result = hmdf.simulate(program, x, taps=True)
    spikes = np.asarray(result.messages["block.lif_0" if "block.lif_0" in result.messages else "block.0"])
    assert np.allclose(result.logits * program.readout.scale, 3 * spikes.sum(1), rtol=0.02)


# ------------------------------------------------------------------------------ what cannot be


def findings(graph, x=None, **options):
    x = frames() if x is None else x
    with pytest.raises(CompileError) as error:
        hmdf.compile(graph, x, **({"time_step": STEP} | options))
    return error.value.findings


LINEAR = nir.Linear(np.eye(3))
BAD = {
    "tau is inf": (nir.LIF(*full(3, np.inf, 1, 0, 1, 0)), "its tau has the value inf"),
    "tau is negative": (nir.LIF(*full(3, -1, 1, 0, 1, 0)), "its tau is -1"),
    "tau is short": (nir.LIF(*full(3, 1e-4, 1, 0, 1, 0)), "is shorter than a time step of 0.001"),
    "threshold below reset": (nir.LIF(*full(3, 1, 1, 0, 1, 2)), "its threshold is -1 above its v_reset"),
    "weight is nan": (nir.Linear(np.full((3, 3), np.nan)), "its weight has the value nan"),
    "weight is huge": (nir.Linear(np.full((3, 3), 1e30)), "its largest weight or bias is 1e+30, beyond"),
    "weight does not fit": (nir.Linear(np.ones((3, 4))), "4 input features, but its source has 3"),
    "resistance is huge": (nir.IF(*full(3, 1e30, 1, 0)), "the factor of its current is 1e+27, beyond"),
    "many parameters": (nir.LIF(*full(5, 1, 1, 0, 1, 0)), "its v_reset has the shape (5,), its neurons (3,)"),
    "delay of a half step": (nir.Delay(np.full(3, STEP / 2)), "delays by 0.5 to 0.5 time steps"),
    "delay of currents": (nir.Delay(np.full(3, STEP)), "delays what are no binary spikes"),
    "endless delay": (nir.Delay(np.full(3, 1.0)), "delays by 1000 time steps"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_node_is_one_finding(case):
    node, problem = BAD[case]
    found = findings(chain(LINEAR, node, nir.Linear(np.eye(3))))
    assert len(found) == 1
    assert found[0].where == "n1"
    assert problem in found[0].problem
    assert found[0].fix


def test_every_bad_node_is_found_at_once():
    unknown = type("Resonator", (nir.ir.node.NIRNode,), {"__init__": lambda self: None})()
    graph = chain(LINEAR, nir.LIF(*full(3, np.inf, 1, 0, 1, 0)), LINEAR, unknown, LINEAR)
    graph.nodes["side"] = nir.Scale(np.full(3, np.nan))
    graph.edges += [("in", "side"), ("side", "n4")]
    found = findings(graph)
    assert {f.where for f in found} == {"n1", "n3", "side"}
    assert any("Resonator is not supported" in f.problem for f in found)


def test_parameters_that_differ_within_a_channel():
    threshold = np.ones((2, 2, 2))
    threshold[1, 0, 1] = 2
    node = nir.IF(np.ones((2, 2, 2)), threshold, np.zeros((2, 2, 2)))
    conv = nir.Conv2d(None, np.ones((2, 1, 1, 1)), 1, 0, 1, 1, np.zeros(2))
    (found,) = findings(chain(conv, node, shape=(1, 2, 2)), frames((1, 2, 2)))
    assert "its v_threshold differs within channel 1, from 1 to 2" in found.problem


def test_a_cycle_of_linear_nodes_is_named():
    graph = chain(LINEAR, nir.LIF(*full(3, 1, 1, 0, 1, 0)))
    graph.nodes["w"] = nir.Linear(np.eye(3))
    graph.edges += [("n0", "w"), ("w", "n0")]
    (found,) = findings(graph)
    assert "is in a cycle: " in found.problem
    assert "n0 -> w" in found.problem or "w -> n0" in found.problem


def test_graphs_without_ends():
    graph = chain(LINEAR)
    del graph.nodes["out"]
    graph.edges.pop()
    (found,) = findings(graph)
    assert found.problem == "has no Output node"
    graph = chain(LINEAR)
    graph.edges.append(("n0", "nowhere"))
    (found,) = findings(graph)
    assert "no node 'nowhere'" in found.problem


def test_what_is_not_in_the_file_must_be_said():
    graph = chain(LINEAR)
    with pytest.raises(InputError, match="give a positive time step"):
        hmdf.compile(graph, frames())
    with pytest.raises(InputError, match="give --time-steps"):
        hmdf.compile(graph, frames()[:, 0], time_step=STEP)
    with pytest.raises(InputError, match="24 frames, but 5 time-steps"):
        hmdf.compile(graph, frames(), time_step=STEP, time_steps=5)
    with pytest.raises(InputError, match="do not fit the graph's input"):
        hmdf.compile(graph, frames((4,)), time_step=STEP)
    with pytest.raises(InputError, match="no dialect of NIR"):
        hmdf.compile(graph, frames(), dialect="brian")


def test_dialects():
    assert dialect_of("sinabs") == DIALECTS["sinabs"]
    assert dialect_of("snntorch", 1e-3, "value") == replace(DIALECTS["snntorch"], time_step=1e-3, reset="value")
    for step in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="positive time step"):
            dialect_of("nir", step)
