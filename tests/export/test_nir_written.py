"""Programs as NIR graphs: compiled again from what was written, they are the same integers."""

from __future__ import annotations

import numpy as np
import pytest

import hmdf
from hmdf.export.errors import CompileError
from hmdf.export.nir import Dialect
from hmdf.export.nir.read import read_file
from hmdf.export.nir.write import save_nir, to_nir
from hmdf.sim.listing import listing
from programs import random_program

nir = pytest.importorskip("nir", reason="NIR is not installed: pip install 'hmdf[nir]'")
STEPS = 12


def network(neuron, output=None):
    """A convolution, a pool and two dense layers with neurons of one kind between them."""
    rng = np.random.default_rng(1)
    nodes = [
        nir.Input(np.array([2, 6, 6])),
        nir.Conv2d((6, 6), rng.normal(size=(4, 2, 3, 3)), 1, 1, 1, 1, rng.normal(size=4)),
        neuron((4, 6, 6)),
        nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        nir.Flatten({"input": np.array([4, 3, 3])}, 0, -1),
        nir.Affine(rng.normal(size=(7, 36)), rng.normal(size=7)),
        neuron((7,)),
        nir.Linear(np.sign(rng.normal(size=(5, 7))) * (rng.random((5, 7)) < 0.6)),
        neuron((5,)) if output is None else output((5,)),
        nir.Output(np.array([5])),
    ]
    names = ["in", *(str(i) for i in range(len(nodes) - 2)), "out"]
    edges = [*zip(names, names[1:], strict=False)]  # noqa: RUF007
    return nir.NIRGraph(dict(zip(names, nodes, strict=True)), edges, type_check=False)


def of(kind, *values, **words):
    return lambda shape: kind(*(np.full(shape, v) for v in values), **{k: np.full(shape, v) for k, v in words.items()})


LIF = of(nir.LIF, 5.0, 2.0, 0.25, 1.5, 0.0)
CUBA = of(nir.CubaLIF, 2.0, 5.0, 2.0, 0.0, 1.0, 0.0, w_in=1.5)
CASES = {
    "lif": (network(LIF), {}),
    "if at the threshold": (network(of(nir.IF, 1.0, 2.0, 0.0)), {"above": False}),
    "lif, soft reset": (network(LIF), {"reset": "subtract"}),
    "lif, reset later": (network(LIF), {"reset": "subtract-later"}),
    "cuba": (network(of(nir.CubaLIF, 2.0, 5.0, 2.0, 0.5, 1.0, 0.0, w_in=1.5)), {}),
    "cuba, soft reset": (network(CUBA), {"reset": "subtract"}),
    "cuba, reset later": (network(CUBA), {"reset": "subtract-later"}),
    "integrator": (network(LIF, of(nir.LI, 5.0, 2.0, 0.0)), {}),
    "sum": (network(LIF, of(nir.I, 2.0)), {}),
    "threshold": (network(of(nir.Threshold, 0.5)), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_written_is_the_same_program(case, tmp_path):
    graph, options = CASES[case]
    x = np.random.default_rng(0).normal(size=(6, STEPS, 2, 6, 6))
    program = hmdf.compile(graph, x, dialect=Dialect(1.0, **options)).program
    save_nir(program, tmp_path / "model.nir")
    again = hmdf.compile(read_file(tmp_path / "model.nir"), x, dialect="hmdf").program
    first, second = (hmdf.simulate(p, x, taps=True) for p in (program, again))
    assert first.messages["0"].any() if "0" in first.messages else True
    for name in second.messages:
        assert np.array_equal(np.asarray(first.messages[name]), np.asarray(second.messages[name])), name
    assert np.array_equal(first.logits, second.logits)
    assert listing(program) == listing(again)


def test_delays_are_written_as_delays():
    names = {"in": nir.Input(np.array([3])), "w": nir.Linear(np.eye(3) * 3), "n": LIF((3,))}
    names |= {"d": nir.Delay(np.full(3, 2.0)), "end": nir.Linear(np.arange(9.0).reshape(3, 3))}
    names |= {"out": nir.Output(np.array([3]))}
    keys = list(names)
    graph = nir.NIRGraph(names, [*zip(keys, keys[1:], strict=False)], type_check=False)  # noqa: RUF007
    x = np.random.default_rng(0).normal(size=(4, STEPS, 3))
    program = hmdf.compile(graph, x, dialect=Dialect(1.0, reset="subtract")).program
    written = to_nir(program)
    assert [type(node).__name__ for node in written.nodes.values()].count("Delay") == 2
    assert listing(hmdf.compile(written, x, dialect="hmdf").program) == listing(program)


def test_what_nir_cannot_say_is_found_at_once():
    with pytest.raises(CompileError) as error:
        to_nir(random_program(3))
    assert len(error.value.findings) > 1
    assert all(
        "NIR has no node for" in finding.problem or "differ" in finding.problem for finding in error.value.findings
    )


def test_only_what_hmdf_wrote_has_its_dialect():
    x = np.random.default_rng(0).normal(size=(4, STEPS, 2, 6, 6))
    with pytest.raises(hmdf.sim.errors.InputError, match="hmdf did not write this graph"):
        hmdf.compile(network(LIF), x, dialect="hmdf")
