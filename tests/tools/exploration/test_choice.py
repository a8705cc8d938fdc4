"""The front and the choice are right, by brute force; the reasons are told."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdf.tools.documents.exploration import Point
from hmdf.tools.exploration.choice import Wanted, choose, front, preference, standard_error

from .conftest import a_point


@st.composite
def many_points(draw) -> list[Point]:
    # Few different values, so that points are often equal in some figure.
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["chip", "other"]),
                st.integers(5, 10),
                st.sampled_from([None, 1.0, 2.0, 3.0]),
                st.integers(1, 3),
                st.integers(1, 3),
                st.booleans(),
            ),
            max_size=14,
        )
    )
    return [a_point(index, *row) for index, row in enumerate(rows)]


def all_limits() -> st.SearchStrategy[Wanted]:
    return st.builds(
        Wanted,
        max_energy=st.none() | st.sampled_from([0.5, 1.0, 2.5]),
        max_memory=st.none() | st.sampled_from([1.0, 2.0]),
        max_cores=st.none() | st.sampled_from([1, 2]),
        min_accuracy=st.none() | st.sampled_from([0.6, 0.9, 1.0]),
    )


@given(many_points())
@settings(deadline=None, derandomize=True, max_examples=150)
def test_the_front_by_brute_force(points):
    def figures(point: Point) -> tuple[float, ...]:
        energy = 1e9 if point.energy_pj is None else point.energy_pj.typical
        return -point.accuracy, energy, point.memory_bytes, point.cores

    expected = set()
    for point in (p for p in points if p.fits):
        rivals = [figures(p) for p in points if p.fits and p.target == point.target]
        mine = figures(point)
        if not any(r != mine and max(b - a for a, b in zip(mine, r, strict=True)) <= 0 for r in rivals):
            expected.add(point.key)
    assert front(points) == expected


@given(many_points(), all_limits())
@settings(deadline=None, derandomize=True, max_examples=200)
def test_the_chosen_point_keeps_the_limits_and_none_is_better(points, limits):
    choice = choose(points, limits)
    assert choice.why
    kept = [
        p
        for p in points
        if p.fits
        and (limits.max_energy is None or (p.energy_pj is not None and p.energy_pj.typical <= limits.max_energy))
        and (limits.max_memory is None or p.memory_bytes <= limits.max_memory)
        and (limits.max_cores is None or p.cores <= limits.max_cores)
        and (limits.min_accuracy is None or p.accuracy >= limits.min_accuracy)
    ]
    if not kept:
        assert choice.point is None
        return
    best = choice.point
    assert best in kept
    if limits.min_accuracy is None:
        assert best.accuracy == max(p.accuracy for p in kept)
        kept = [p for p in kept if p.accuracy == best.accuracy]
    energies = [np.inf if p.energy_pj is None else p.energy_pj.typical for p in kept]
    mine = np.inf if best.energy_pj is None else best.energy_pj.typical
    assert mine == min(energies)
    assert best == min(kept, key=preference(limits))
    assert not any(r.key != best.key and r.key in front(kept) and preference(limits)(r) < preference(limits)(best)
                   for r in kept)  # fmt: skip


def test_why_nothing_is_chosen():
    points = [a_point(0, "chip", 9, 3.0, 2, 2, True), a_point(1, "chip", 7, 1.0, 1, 1, True)]
    why = choose(points, Wanted(max_energy=0.5, min_accuracy=0.8)).why
    assert "energy <= 0.000000500 uJ is kept by none: the least is 2-bit spikes, 1 step on chip" in why[1]
    why = choose(points, Wanted(max_energy=2.0, min_accuracy=0.8)).why
    assert why[1].startswith("without energy <= 0.00000200 uJ: 1-bit spikes, 1 step on chip")
    assert why[2].startswith("without accuracy >= 80.00%: 2-bit spikes, 1 step on chip")
    why = choose([a_point(0, "chip", 9, 3.0, 2, 2, False)], Wanted()).why
    assert why[0] == "none of the 1 points fits its target"
    assert why[1].endswith("program: it needs more; fix: a larger chip")


def test_an_incomplete_energy_proves_no_limit():
    point = msgspec.structs.replace(a_point(0, "chip", 9, 1.0, 2, 2, True), energy_missing=("static_power",))
    assert choose([point], Wanted(max_energy=2.0)).point is None
    assert choose([point], Wanted()).point == point


def test_why_a_point_is_chosen():
    points = [a_point(0, "chip", 10, 3.0, 2, 2, True), a_point(1, "chip", 9, 1.0, 1, 1, True)]
    best = choose(points, Wanted(max_energy=4.0))
    assert best.point == points[0]
    text = "\n".join(best.why)
    assert "2 of 2 points fit their target, 2 of them keep energy <= 0.00000400 uJ; it is the most accurate" in text
    assert "the limit is kept by the typical value, not by the highest" in text
    tight = choose(points, Wanted(max_energy=1.0))
    assert tight.point == points[1]
    assert tight.why[-1].startswith("without the limits: 1-bit spikes, 1 step on chip")


@given(st.integers(1, 1000), st.data())
@settings(deadline=None, derandomize=True, max_examples=50)
def test_the_standard_error_is_that_of_the_posterior(samples, data):
    from scipy.stats import beta

    correct = data.draw(st.integers(0, samples))
    point = msgspec.structs.replace(a_point(0, "chip", 0, 1.0, 1, 1, True), samples=samples, correct=correct)
    assert standard_error(point) == pytest.approx(beta(correct + 1, samples - correct + 1).std(), rel=1e-9)
