"""Which points are worth having, and which one to take: the Pareto front, the limits, and the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import inf, sqrt

import msgspec

from ..documents.exploration import Point, WantedLimits
from ..text import percent
from .criteria import CORES, COSTS, ENERGY, LATENCY, MEMORY, Criterion, describe

FRONT = (ENERGY, MEMORY, CORES)
"""Costs that span the front, with accuracy."""


class Wanted(WantedLimits, frozen=True):
    """What a setting must keep, and how points are held to it."""

    @property
    def given(self) -> list[str]:
        """Names of the limits that are set."""
        return [name for name in self.__struct_fields__ if getattr(self, name) is not None]

    def without(self, name: str) -> Wanted:
        """The same without one limit."""
        return msgspec.structs.replace(self, **{name: None})

    def only(self, name: str) -> Wanted:
        """One of the limits alone."""
        return Wanted(**{name: getattr(self, name)})

    def allow(self, point: Point) -> bool:
        """Whether a point keeps all limits; a figure that is not known keeps none."""
        for name, criterion in _LIMITED.items():
            limit, value = getattr(self, name), criterion.of(point)
            if limit is not None and (value is None or value > limit):
                return False
        return self.min_accuracy is None or (point.accuracy is not None and point.accuracy >= self.min_accuracy)

    def text(self, name: str) -> str:
        """A limit as a formula."""
        if name == "min_accuracy":
            return f"accuracy >= {percent(getattr(self, name))}"
        return f"{_LIMITED[name].name} <= {_LIMITED[name].text(getattr(self, name))}"


_LIMITED = {
    "max_energy": ENERGY,
    "max_memory": MEMORY,
    "max_latency": LATENCY,
    "max_cores": CORES,
}


class Chosen(msgspec.Struct, frozen=True):
    """The point to take, None when there is none, and why, in sentences."""

    point: Point | None
    why: list[str]


def front(points: list[Point], costs: tuple[Criterion, ...] = FRONT) -> set[str]:
    """Keys of the points that fit and that no other point of the same target beats.

    A point beats another when it is no worse in accuracy and in every cost, and better in one. An unknown cost is
    worse than any known one.
    """
    rows = {p.key: (p.target, (-_accuracy(p), *(_cost(criterion, p) for criterion in costs))) for p in points if p.fits}

    def beaten(key: str) -> bool:
        target, mine = rows[key]
        return any(
            t == target and other != mine and all(a <= b for a, b in zip(other, mine, strict=True))
            for t, other in rows.values()
        )

    return {key for key in rows if not beaten(key)}


def choose(points: list[Point], limits: Wanted) -> Chosen:
    """The setting to take.

    Of the points that fit and keep all limits: with `min_accuracy` the cheapest, else the most accurate and then the
    cheapest; cheaper means less energy, then less memory, fewer cores, less latency.
    """
    fitting = [p for p in points if p.fits]
    allowed = [p for p in fitting if limits.allow(p)]
    if not fitting:
        return Chosen(None, _nothing_fits(points))
    if not allowed:
        return Chosen(None, _nothing_allowed(fitting, limits))
    best = preferred(allowed, limits)
    return Chosen(best, _reasons(points, fitting, allowed, best, limits))


def preference(limits: Wanted) -> Callable[[Point], tuple[object, ...]]:
    """The order of `choose` as a key for sorting, best first; whether the limits are kept is not asked."""

    def order(point: Point) -> tuple[object, ...]:
        costs, accuracy = tuple(_cost(criterion, point) for criterion in COSTS), -_accuracy(point)
        first = (costs, accuracy) if limits.min_accuracy is not None else (accuracy, costs)
        return (*first, point.target, point.setting)

    return order


def preferred(points: list[Point], limits: Wanted) -> Point:
    """The first in the order of preference."""
    return min(points, key=preference(limits))


def summary(point: Point) -> str:
    """A point in one line."""
    known = [(criterion, criterion.of(point)) for criterion in COSTS]
    costs = [f"{criterion.name} {criterion.text(value)}" for criterion, value in known if value is not None]
    accuracy = f"accuracy {percent(_accuracy(point))} ({point.correct} of {point.samples})"
    return f"{describe(point.setting)} on {point.target}: {', '.join([accuracy, *costs])}"


def standard_error(point: Point) -> float:
    """Of the accuracy on samples of the same kind: the standard deviation of Beta(correct + 1, wrong + 1).

    Unlike sqrt(p (1 - p) / N) it is not 0 where all samples are right.
    """
    right, wrong = (point.correct or 0) + 1, point.samples - (point.correct or 0) + 1
    return sqrt(right * wrong / (right + wrong + 1)) / (right + wrong)


# ----------------------------------------------------------------------------- order


def _accuracy(point: Point) -> float:
    return 0.0 if point.accuracy is None else point.accuracy


def _cost(criterion: Criterion, point: Point) -> float:
    value = criterion.of(point)
    return inf if value is None else float(value)


# ----------------------------------------------------------------------------- reasons


def _reasons(points: list[Point], fitting: list[Point], allowed: list[Point], best: Point, limits: Wanted) -> list[str]:
    count = f"{len(fitting)} of {len(points)} points fit their target"
    if limits.given:
        kept = ", ".join(limits.text(name) for name in limits.given)
        count += f", {len(allowed)} of them {'keeps' if len(allowed) == 1 else 'keep'} {kept}"
    decisive = next((criterion.name for criterion in COSTS if criterion.of(best) is not None), "cost")
    if limits.min_accuracy is not None:
        lines = [f"{count}; of these it has the least {decisive}"]
    else:
        equal = sum(_accuracy(p) == _accuracy(best) for p in allowed)
        least = f", and of the {equal} as accurate the one with the least {decisive}" if equal > 1 else ""
        lines = [f"{count}; it is the most accurate of these{least}"]
    return [
        *lines,
        *_uncertain(best, limits),
        *_cheaper(allowed, best),
        *_elsewhere(allowed, best, limits),
        *_forgone(fitting, best, limits),
    ]


def _uncertain(best: Point, limits: Wanted) -> list[str]:
    """The range of an energy that rests on estimates, and whether the limit holds throughout."""
    cost = best.energy_pj
    if energy_is_exact(best) or cost is None:
        return []
    low, high = (ENERGY.text(value) for value in (cost.low, cost.high))
    line = f"its energy lies between {low} and {high} (constants: {best.energy_status})"
    if limits.max_energy is not None and cost.high > limits.max_energy:
        line += "; the limit is kept by the typical value, not by the highest"
    return [line]


def energy_is_exact(point: Point) -> bool:
    """Whether a point's energy has no range."""
    return point.energy_pj is None or point.energy_pj.low == point.energy_pj.high


def _cheaper(allowed: list[Point], best: Point) -> list[str]:
    """A setting with much less energy whose accuracy these samples cannot tell from the best."""
    spent, error = ENERGY.of(best), standard_error(best)
    if not spent:
        return []
    near = [p for p in allowed if _accuracy(p) >= _accuracy(best) - error]
    other = min(near, key=lambda p: (_cost(ENERGY, p), p.target, p.setting))
    saved = 1 - _cost(ENERGY, other) / spent
    if saved <= 0:
        return []
    return [f"within its standard error of {percent(error)}, {saved:.0%} less energy: {summary(other)}"]


def _elsewhere(allowed: list[Point], best: Point, limits: Wanted) -> list[str]:
    """The choice on each other target: their energies count different events, so the user must compare them."""
    targets = dict.fromkeys(p.target for p in allowed if p.target != best.target)
    return [f"elsewhere: {summary(preferred([p for p in allowed if p.target == t], limits))}" for t in targets]


def _forgone(fitting: list[Point], best: Point, limits: Wanted) -> list[str]:
    """What the limits on cost exclude."""
    if limits.min_accuracy is not None or not limits.given:
        return []
    top = preferred(fitting, Wanted())
    return [f"without the limits: {summary(top)}"] if _accuracy(top) > _accuracy(best) else []


def _nothing_fits(points: list[Point]) -> list[str]:
    lines = [f"none of the {len(points)} points fits its target"]
    for target in dict.fromkeys(p.target for p in points):
        mine = [p for p in points if p.target == target]
        nearest = min(mine, key=lambda p: (len(p.findings), p.setting))
        kinds = Counter(f.problem for f in nearest.findings)
        first = nearest.findings[0]
        lines.append(
            f"{target}: nearest is {describe(nearest.setting)} with {sum(kinds.values())} findings, the first: "
            f"{first.where}: {first.problem}; fix: {first.fix}"
        )
    return lines


def _nothing_allowed(fitting: list[Point], limits: Wanted) -> list[str]:
    lines = [f"{len(fitting)} points fit their target, none keeps {', '.join(map(limits.text, limits.given))}"]
    alone = {name: [p for p in fitting if limits.only(name).allow(p)] for name in limits.given}
    for name, kept in alone.items():
        if not kept:
            lines.append(f"{limits.text(name)} is kept by none: {_nearest(fitting, name)}")
    if all(alone.values()):
        for name in limits.given:
            rest = [p for p in fitting if limits.without(name).allow(p)]
            if rest:
                lines.append(f"without {limits.text(name)}: {summary(preferred(rest, limits.without(name)))}")
    return lines


def _nearest(fitting: list[Point], name: str) -> str:
    """The point that comes closest to a limit."""
    if name == "min_accuracy":
        return f"the highest is {summary(preferred(fitting, Wanted()))}"
    criterion = _LIMITED[name]
    known = [p for p in fitting if criterion.of(p) is not None]
    if not known:
        return f"no target says what its {criterion.name} is"
    return (
        f"the least is {summary(min(known, key=lambda p: (_cost(criterion, p), -_accuracy(p), p.target, p.setting)))}"
    )
