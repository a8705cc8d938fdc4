"""The first screen: does it fit, how good is it, what does a sample cost."""

from __future__ import annotations

from typing import Any

from .charts import Scale, span_marks
from .markup import Child, Markup, Numbers, count, duration, el, energy, join, percent, size, step, whole


def verdict(numbers: Numbers) -> Markup:
    """One sentence and six tiles."""
    tiles = _accuracy(numbers), _energy(numbers), _latency(numbers), _memory(numbers), _cores(numbers), _exact(numbers)
    return el("section", _headline(numbers), _sentence(numbers), el("div", *tiles, cls="tiles"), id="verdict")


def sign(good: bool | None) -> Markup:
    """A mark that does not rely on colour; None: not known."""
    kind, mark = {True: ("good", "✓"), False: ("bad", "✗"), None: ("unknown", "?")}[good]
    return el("span", mark, cls=f"sign {kind}", aria_hidden="true")


def _headline(numbers: Numbers) -> Markup:
    row, target = numbers.value("/targets/0"), numbers.value("/target")
    allowed = target["chips_allowed"]
    if row["fits"]:
        text = f"Fits {row['title']}"
        about: Child = [_plural(numbers, "core"), " on ", _plural(numbers, "chip")]
    else:
        text = f"Does not fit {row['title']}"
        findings = len(row["findings"])
        about = [f"{findings} finding{'s' if findings != 1 else ''} for {allowed} chip{'s' if allowed != 1 else ''}; "]
        about += [el("a", "what would mend them", href="#findings")]
    return el("p", sign(row["fits"]), el("strong", text), el("span", about), cls="headline")


def _plural(numbers: Numbers, what: str) -> Markup:
    """Cores or chips that the program takes, with the word."""
    at = f"/targets/0/{what}s"
    return join(numbers.show(at, count), f" {what}" if numbers.value(at) == 1 else f" {what}s")


def _sentence(numbers: Numbers) -> Markup:
    """The same in words, for a reader who reads nothing else."""
    document = numbers.document
    program, row, accuracy = document["program"], document["targets"][0], document["accuracy"]
    trained = f" (trained on {program['data_set']})" if program["data_set"] else ""
    words: list[Child] = [f"As an integer program, {program['network'] or 'the network'}{trained}"]
    if accuracy["integer"] is None and document["sample"] is None:
        words.append(" has not been measured on samples")
    elif accuracy["integer"] is None:
        words += [" was run on ", numbers.show("/samples", count), " samples without labels"]
    else:
        words += [" classifies ", numbers.show("/accuracy/integer", percent), " of "]
        words += [numbers.show("/samples", count), " samples correctly"]
    if accuracy["float"] is not None:
        words += ["; the float network ", numbers.show("/accuracy/float", percent)]
    words.append(". ")
    if row["energy_pj"] is not None:
        words.append("One sample costs " if row["fits"] else "With its findings mended, one sample would cost ")
        words += [numbers.show("/targets/0/energy_pj/typical", energy), f" on {row['title']}"]
        if row["energy_status"] == "estimate":
            words += [" (an estimate, ", numbers.triple("/targets/0/energy_pj", energy)]
            words.append(": not every energy per event is published)")
        if row["latency_ns"] is not None:
            words += [
                " and takes " if row["fits"] else " and take ",
                numbers.show("/targets/0/latency_ns/typical", duration),
            ]
        words.append(".")
    return el("p", *words, cls="lead")


def _tile(name: str, figure: Child, *about: Child, kind: str | None = None) -> Markup:
    return el("div", el("h3", name), el("p", figure, cls="figure"), *about, cls=f"tile {kind or ''}".strip())


def _small(*words: Child) -> Markup:
    return el("p", *words, cls="sub")


def _accuracy(numbers: Numbers) -> Markup:
    accuracy = numbers.value("/accuracy")
    if accuracy["integer"] is None:
        unlabelled = numbers.value("/sample") is not None
        why = "the samples have no labels" if unlabelled else "not measured: give the out.json of hmdf-sim"
        return _tile("Accuracy", "–", _small(why))
    if accuracy["float"] is None:
        return _tile("Accuracy", numbers.show("/accuracy/integer", percent), _small("as integers; not compared"))
    return _tile(
        "Accuracy as integers",
        numbers.show("/accuracy/integer", percent),
        _small("float network ", numbers.show("/accuracy/float", percent)),
        _small("same class on ", numbers.show("/accuracy/agreement", percent), " of samples"),
    )


def _ranged(name: str, numbers: Numbers, pointer: str, style: Any, *about: Child) -> Markup:
    cost = numbers.value(pointer)
    figures = cost["low"], cost["typical"], cost["high"]
    if figures[0] == figures[2] or figures[0] <= 0:
        return _tile(name, numbers.show(f"{pointer}/typical", style), *about)
    marks = el("span", span_marks(figures, Scale.between(figures[0], figures[2])), cls="track range")
    ends = el("p", numbers.show(f"{pointer}/low", style), numbers.show(f"{pointer}/high", style), cls="ends")
    return _tile(name, numbers.show(f"{pointer}/typical", style), marks, ends, *about)


def _energy(numbers: Numbers) -> Markup:
    row = numbers.value("/targets/0")
    if row["energy_pj"] is None:
        return _tile("Energy per sample", "–", _small("no energy per event is known for this target"))
    about: list[Child] = [f"constants: {row['energy_status']}"]
    static = row["energy_by_constant_pj"].get("static_power")
    if static and row["energy_pj"]["typical"]:
        share = static["typical"] / row["energy_pj"]["typical"]
        about.append(f"; {share:.0%} of it is static power")
    if row["energy_missing"]:
        about.append(f"; not in it: {', '.join(row['energy_missing'])}")
    return _ranged("Energy per sample", numbers, "/targets/0/energy_pj", energy, _small(*about))


def _latency(numbers: Numbers) -> Markup:
    timing = numbers.value("/target/timing")
    if timing is None:
        return _tile("Latency", "–", _small("no time per event is known for this target"))
    rate = _small("a sample every ", numbers.show("/target/timing/period/typical", duration), " in a stream")
    return _ranged("Latency", numbers, "/targets/0/latency_ns", duration, rate)


def _memory(numbers: Numbers) -> Markup:
    weights = _small(
        "the program alone: ", numbers.show("/memory/total_bytes", size),
        ", weights ", numbers.show("/memory/weight_bytes", size),
    )  # fmt: skip
    if numbers.value("/targets/0/memory_bytes") is None:
        return _tile("Memory", numbers.show("/memory/total_bytes", size), _small("of the program on no chip"))
    return _tile("Memory on the chip", numbers.show("/targets/0/memory_bytes", size), weights)


def _cores(numbers: Numbers) -> Markup:
    row, target = numbers.value("/targets/0"), numbers.value("/target")
    if row["cores"] is None:
        return _tile("Cores", "–", _small("some layer fits no core at all"))
    limit = target["limits"]["cores"]
    of = [" of ", numbers.show("/target/limits/cores", count)] if limit and row["chips"] == 1 else []
    bound = _small("no mapping can use fewer than ", numbers.show("/targets/0/core_lower_bound", count))
    return _tile(
        "Cores",
        [numbers.show("/targets/0/cores", count), el("small", *of)],
        _small("on ", _plural(numbers, "chip")),
        bound,
    )


def _exact(numbers: Numbers) -> Markup:
    verdicts = numbers.value("/verify")
    if not verdicts:
        return _tile("Bit-exact", "–", _small("not verified: hmdf-sim --verify reference,onnx,lava"))
    good = all(v["bit_exact"] for v in verdicts.values())
    first = next(iter(verdicts))
    return _tile(
        "Bit-exact",
        [sign(good), "yes" if good else "no"],
        _small("compared: ", ", ".join(verdicts)),
        _small(numbers.show(f"/verify/{step(first)}/compared", whole), " integers in each"),
    )
