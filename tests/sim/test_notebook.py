"""What a notebook shows: every node of a program, what a run counted, messages with named axes, one plot of them."""

from xml.etree import ElementTree

import numpy as np
import pytest

import hmdf
from hmdf.sim.notebook import DIMENSIONS
from programs import random_messages, random_program


def cells(html: str) -> list[list[str]]:
    """The rows of a table; it is well-formed, whatever the names in it are."""
    return [[cell.text or "" for cell in row] for row in ElementTree.fromstring(html).iter("tr")]


@pytest.fixture(params=range(3))
def run(request):
    program = random_program(request.param)
    return hmdf.simulate(program, random_messages(program, 2, request.param), taps=True)


def test_a_program_is_a_row_for_each_node(run):
    rows = cells(run.program._repr_html_())
    assert [row[0] for row in rows[1:]] == ["input", *(node.name for node in run.program.nodes)]
    assert all(len(row) == len(rows[0]) for row in rows)


def test_a_result_says_what_was_counted(run):
    rows = {row[0]: row for row in cells(run._repr_html_())}
    for name, counts in run.counters.synapses.items():
        assert rows[name][5:7] == [f"{counts.sops_per_sample.mean():,.0f}", f"{counts.macs:,}"]
    for name, fired in run.counters.populations.items():
        if name != "input":
            assert rows[name][4] == f"{fired.density():.2%}"


def test_messages_have_names(run):
    assert list(run.messages) == [p.name for p in run.program.populations]
    for name, array in run.messages.items():
        assert np.array_equal(array, run.taps.messages[name])
        assert array.dims == DIMENSIONS[np.ndim(array)]
        part = array.sel(sample=1, time_step=slice(0, 1))
        assert np.array_equal(part, run.taps.messages[name][1, :1])
        assert part.dims == array.dims[1:]
        with pytest.raises(KeyError, match="has no axis 'z'; it has sample"):
            array.sel(z=0)


def test_one_call_plots_them(run, tmp_path):
    pytest.importorskip("matplotlib")
    drawing = run.messages.plot(sample=1)
    assert drawing._repr_png_().startswith(b"\x89PNG")
    assert len(drawing.figure.axes) == len(run.messages) * run.program.time_steps
    drawing.save(tmp_path / "spikes.svg")
    assert (tmp_path / "spikes.svg").stat().st_size > 1000


def test_without_taps_there_are_none(run):
    again = hmdf.simulate(run.program, random_messages(run.program, 1, 0))
    with pytest.raises(ValueError, match="run with taps=True"):
        _ = again.messages
