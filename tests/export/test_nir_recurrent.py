"""Recurrent NIR graphs: which edges go back, what they compute, what cannot be, and their way back to NIR."""

from __future__ import annotations

import numpy as np
import pytest

import hmdf
from hmdf.export.errors import CompileError
from hmdf.export.nir import Dialect
from hmdf.export.nir.units import units_of
from hmdf.export.nir.write import to_nir
from hmdf.hw_targets.place.layers import layers_of
from hmdf.sim.contract import INPUT
from hmdf.sim.listing import listing

nir = pytest.importorskip("nir", reason="NIR is not installed: pip install 'hmdf[nir]'")
STEPS, TAU, R = 24, 4.0, 3.0
RNG = np.random.default_rng(0)
WEIGHTS = {name: RNG.normal(size=(4, 4)) for name in ("in", "back", "on")}


def neurons(shape=(4,), tau=TAU):
    return nir.LIF(*(np.full(shape, value) for value in (tau, R, 0.0, 1.0, 0.0)))


def graph_of(edges: str, **nodes):
    """A graph from "in a b, b a": ways through its nodes; those that are not given are LIF, or Linear in lower case."""
    ways = [way.split() for way in edges.split(",")]
    pairs = list(dict.fromkeys(pair for way in ways for pair in zip(way, way[1:], strict=False)))  # noqa: RUF007
    made = {name: neurons() if name[0].isupper() else nir.Linear(WEIGHTS["on"]) for pair in pairs for name in pair}
    made |= {"in": nir.Input(np.array([4])), "out": nir.Output(np.array([4]))} | nodes
    return nir.NIRGraph(made, pairs, type_check=False)


def compiled(graph, x, **options):
    return hmdf.compile(graph, x, **{"dialect": Dialect(1.0)} | options)


def frames(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=(4, STEPS, *(shape or (4,))))


def sent(program, x, name):
    return np.asarray(hmdf.simulate(program, x, taps=True).messages[name])


OWN = graph_of("in w A back A, A out", w=nir.Linear(WEIGHTS["in"]), back=nir.Affine(WEIGHTS["back"], np.full(4, 0.25)))


def test_neurons_read_their_own_spikes_of_the_step_before():
    """v <- k v + (1 - k) R (W x + V s' + b), with s' the spikes of the step before, 0 at the first."""
    x, k = frames(), 1 - 1 / TAU
    program = compiled(OWN, x).program
    v, before, spikes = np.zeros((4, 4)), np.zeros((4, 4)), []
    for t in range(STEPS):
        v = k * v + (1 - k) * R * (x[:, t] @ WEIGHTS["in"].T + before @ WEIGHTS["back"].T + 0.25)
        before = (v > 1).astype(float)
        v = np.where(before > 0, 0, v)
        spikes.append(before)
    assert program.by_name["back"].delay == 1
    assert np.mean(sent(program, x, "A") != np.stack(spikes, 1)) < 0.02


CASES = {
    "itself": ("in a A b A, A out", {("A", "b")}),
    "itself, without weights": ("in a A, A A, A out", {("A", "A")}),
    "an earlier one": ("in a A b B c A, B out", {("B", "c")}),
    "past a shorter way on": ("in a A b B c C d A, A e C, C out", {("C", "d")}),
    "two that are even": ("in a A b B, in c B d A, B out", {("A", "b"), ("B", "d")}),
    "two ways back": ("in a A b B c A, B d c, B out", {("B", "c"), ("B", "d")}),
    "none": ("in a A b B, in c B, B out", set()),
}


@pytest.mark.parametrize("case", CASES)
def test_what_goes_back(case):
    ways, late = CASES[case]
    graph = graph_of(ways)
    assert {(source, unit.name) for unit in units_of(graph) for source in unit.late} == late
    program = compiled(graph, frames()).program
    assert {s.source for s in program.synapses if s.delay} == {source for source, _ in late}


def test_it_goes_back_behind_the_end_of_a_nested_graph():
    ends = {"input": nir.Input(np.array([4])), "lif": neurons(), "output": nir.Output(np.array([4]))}
    inner = nir.NIRGraph(ends, [("input", "lif"), ("lif", "output")], type_check=False)
    graph = graph_of("in w B back B, B on out", B=inner)
    program = compiled(graph, frames()).program
    assert [(s.name, s.source, s.delay) for s in program.synapses] == [
        ("back", "B.lif", 1),
        ("w", INPUT, 0),
        ("on", "B.lif", 0),
    ]


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_delay_on_the_way_back_takes_its_steps_in_all(steps):
    """Weights that turn each spike into one of its neuron so many steps later, driven by one input."""
    forgetful = nir.Threshold(np.full(4, 0.5))
    delay = nir.Delay(np.full(4, float(steps)))
    one = nir.Linear(np.eye(4))
    graph = graph_of("in w A d back A, A out", A=forgetful, d=delay, w=one, back=one)
    x = np.zeros((1, STEPS, 4))
    x[0, 2] = 1
    fired = sent(compiled(graph, x).program, x, "A")[0, :, 0]
    assert np.flatnonzero(fired).tolist() == list(range(2, STEPS, max(steps, 1)))


def test_convolutions_pools_and_integrators_on_the_way_back():
    x = frames(1, 4, 4)
    conv = nir.Conv2d((4, 4), RNG.normal(size=(2, 1, 3, 3)), 1, 1, 1, 1, np.zeros(2))
    back = nir.Conv2d((4, 4), RNG.normal(size=(2, 2, 3, 3)), 1, 1, 1, 1, np.zeros(2))
    ends = {"in": nir.Input(np.array([1, 4, 4])), "A": neurons((2, 4, 4)), "w": conv, "back": back}
    graph = graph_of("in w A back A, A flat end out", **ends, flat=nir.Flatten(np.array([2, 4, 4]), 0, -1))
    graph.nodes["end"] = nir.Linear(RNG.normal(size=(4, 32)))
    compilation = compiled(graph, x)
    assert compilation.program.by_name["back"].delay == 1
    assert sent(compilation.program, x, "A").any()
    leaky = nir.LI(*(np.full(4, value) for value in (2.0, 2.0, 0.0)))
    program = compiled(graph_of("in a A li b A, A out", li=leaky), frames()).program
    assert program.by_name["li"].ports[0].source == "li_before"
    assert program.by_name["li_before"].delay == 1


def test_depths_and_what_no_chip_can_bring_back_in_time():
    x = frames()
    own = compiled(OWN, x, target="loihi2")
    assert own.fits, own.misfits
    first = layers_of(own.program)[0]
    assert (first.depth, [edge.delay for edge in first.edges]) == (1, [0, 0])
    ring = graph_of(CASES["an earlier one"][0])
    assert compiled(ring, x, target="generic").fits
    (misfit,) = compiled(ring, x, target="loihi2").misfits
    assert misfit.where == "c"
    assert "back over several layers" in misfit.problem


# ---------------------------------------------------------------------------------- refused


def findings(graph):
    with pytest.raises(CompileError) as error:
        compiled(graph, frames())
    return error.value.findings


@pytest.mark.parametrize("ways", ["in a b a, a A out", "in a A b A, A out, b c B out"])
def test_a_cycle_that_nothing_breaks_is_one_finding(ways):
    """One of linear nodes; and spikes through a node that leads on too, whose step before and step are both wanted."""
    (found,) = findings(graph_of(ways))
    assert "is in a cycle: " in found.problem
    assert found.fix


def test_bad_nodes_of_a_cycle_are_found_once():
    bad = nir.LIF(*(np.full(4, value) for value in (np.inf, R, 0.0, 1.0, 0.0)))
    found = findings(graph_of("in a A b A, A c B d B, B out", A=bad, d=nir.Linear(np.full((4, 4), 1e30))))
    assert [f.where for f in found] == ["A"]  # of d, which reads what A leads to, no shape is known
    (found,) = findings(graph_of("in a A b A, A out", b=nir.Linear(np.ones((3, 4)))))
    assert "it adds values of the shapes" in found.problem


# ------------------------------------------------------------------------------- back to NIR


@pytest.mark.parametrize("reset", ["value", "subtract", "subtract-later"])
@pytest.mark.parametrize("case", ["itself", "an earlier one", "two that are even"])
def test_what_is_written_is_the_same_program(case, reset):
    x = frames()
    program = compiled(graph_of(CASES[case][0]), x, dialect=Dialect(1.0, reset=reset)).program
    again = hmdf.compile(to_nir(program), x, dialect="hmdf").program
    assert listing(again) == listing(program)
    first, second = (hmdf.simulate(p, x, taps=True) for p in (program, again))
    for name in second.messages:
        assert np.array_equal(np.asarray(first.messages[name]), np.asarray(second.messages[name])), name
