"""The first screen: does it fit, how good is it, what does a sample cost."""

from __future__ import annotations

from hmdf.hw_targets.footprint import Footprint
from hmdf.hw_targets.schema import Cost

from ...text import Style, count, duration, energy, number, percent, plural, size
from .charts import Scale, span_marks
from .markup import Child, Markup, Numbers, el, join


def first_screen(numbers: Numbers) -> Markup:
    """One sentence and six tiles."""
    tiles = _accuracy(numbers), _energy(numbers), _latency(numbers), _memory(numbers), _cores(numbers), _exact(numbers)
    return el("section", _headline(numbers), _sentence(numbers), el("div", *tiles, cls="tiles"), id="verdict")


def sign(good: bool | None) -> Markup:
    """A mark that does not rely on colour; None: not known."""
    kind, mark = {True: ("good", "✓"), False: ("bad", "✗"), None: ("unknown", "?")}[good]
    return el("span", mark, cls=f"sign {kind}", aria_hidden="true")


def _headline(numbers: Numbers) -> Markup:
    row = numbers.report.targets[0]
    text, about = f"Does not fit {row.title}", [f"{plural(len(row.findings), 'finding')} for "]
    if row.fits:
        text, about = f"Fits {row.title}", [_amount(numbers, "core"), " on ", _amount(numbers, "chip")]
    else:
        about.append(f"{plural(numbers.report.target.chips_allowed, 'chip')}; ")
        about.append(el("a", "what would fix them", href="#findings"))
    return el("p", sign(row.fits), el("strong", text), el("span", about), cls="headline")


def _amount(numbers: Numbers, what: str) -> Markup:
    """Cores or chips that the program takes, with the word."""
    row = numbers.report.targets[0]
    return join(numbers.show(row, f"{what}s", count), f" {what}" if getattr(row, f"{what}s") == 1 else f" {what}s")


def _sentence(numbers: Numbers) -> Markup:
    """The same in words, for a reader who reads nothing else."""
    report = numbers.report
    program, row, accuracy = report.program, report.targets[0], report.accuracy
    trained = f" (trained on {program.data_set})" if program.data_set else ""
    words: list[Child] = [f"As an integer program, {program.network or 'the network'}{trained}"]
    samples = numbers.show(report, "samples", count)
    if accuracy.integer is None and report.sample is None:
        words.append(" has not been measured on samples")
    elif accuracy.integer is None:
        words += [" was run on ", samples, " samples without labels"]
    else:
        words += [" classifies ", numbers.show(accuracy, "integer", percent), " of ", samples, " samples correctly"]
    if accuracy.floating is not None:
        words += ["; the float network ", numbers.show(accuracy, "floating", percent)]
    words.append(". ")
    if row.energy_pj is not None:
        words.append("One sample costs " if row.fits else "With its findings fixed, one sample would cost ")
        words += [numbers.typical(row.energy_pj, energy), f" on {row.title}"]
        if row.energy_status == "estimate":
            words += [" (an estimate, ", numbers.ends(row.energy_pj, energy)]
            words.append(": not every energy per event is published)")
        if row.latency_ns is not None:
            words += [" and takes " if row.fits else " and take ", numbers.typical(row.latency_ns, duration)]
        words.append(".")
    return el("p", *words, cls="lead")


def _tile(name: str, figure: Child, *about: Child) -> Markup:
    return el("div", el("h3", name), el("p", figure, cls="figure"), *about, cls="tile")


def _small(*words: Child) -> Markup:
    return el("p", *words, cls="sub")


def _accuracy(numbers: Numbers) -> Markup:
    accuracy = numbers.report.accuracy
    if accuracy.integer is None:
        unlabelled = numbers.report.sample is not None
        why = "the samples have no labels" if unlabelled else "not measured: give the out.json of hmdf-sim"
        return _tile("Accuracy", "–", _small(why))
    integer = numbers.show(accuracy, "integer", percent)
    if accuracy.floating is None:
        return _tile("Accuracy", integer, _small("as integers; not compared"))
    return _tile(
        "Accuracy as integers",
        integer,
        _small("float network ", numbers.show(accuracy, "floating", percent)),
        _small("same class on ", numbers.show(accuracy, "agreement", percent), " of samples"),
    )


def _ranged(name: str, numbers: Numbers, cost: Cost, style: Style, *about: Child) -> Markup:
    if cost.low == cost.high or cost.low <= 0:
        return _tile(name, numbers.typical(cost, style), *about)
    marks = el("span", span_marks(cost, Scale.between(cost.low, cost.high)), cls="track range")
    ends = el("p", numbers.show(cost, "low", style), numbers.show(cost, "high", style), cls="ends")
    return _tile(name, numbers.typical(cost, style), marks, ends, *about)


def _energy(numbers: Numbers) -> Markup:
    row = numbers.report.targets[0]
    if row.energy_pj is None:
        return _tile("Energy per sample", "–", _small("no energy per event is known for this target"))
    about: list[Child] = [f"constants: {row.energy_status}"]
    static = (row.energy_by_constant_pj or {}).get("static_power")
    if static and row.energy_pj.typical:
        about.append(f"; {static.typical / row.energy_pj.typical:.0%} of it is static power")
    if row.energy_missing:
        about.append(f"; not in it: {', '.join(row.energy_missing)}")
    return _ranged("Energy per sample", numbers, row.energy_pj, energy, _small(*about))


def _latency(numbers: Numbers) -> Markup:
    latency, timing = numbers.report.targets[0].latency_ns, numbers.report.target.timing
    if latency is None or timing is None:
        return _tile("Latency", "–", _small("no time per event is known for this target"))
    rate = _small("a sample every ", numbers.typical(timing.period, duration), " in a stream")
    return _ranged("Latency", numbers, latency, duration, rate)


def _memory(numbers: Numbers) -> Markup:
    memory, row = numbers.report.memory, numbers.report.targets[0]
    total = numbers.show(memory, "total_bytes", size)
    if row.memory_bytes is None:
        return _tile("Memory", total, _small("of the program on no chip"))
    if (held := row.footprint) is not None:
        flash, ram = (numbers.show(held, name, size) for name in ("flash_bytes", "ram_bytes"))
        return _tile("Flash and RAM", join(flash, " + ", ram), _small(*_instructions(numbers, held)))
    weights = _small("the program alone: ", total, ", weights ", numbers.show(memory, "weight_bytes", size))
    return _tile("Memory on the chip", numbers.show(row, "memory_bytes", size), weights)


def _instructions(numbers: Numbers, held: Footprint) -> list[Child]:
    if held.instructions is None:
        return ["instructions were not counted"]
    return [numbers.show(held, "instructions", count), " instructions for a sample in QEMU, not cycles"]


def _cores(numbers: Numbers) -> Markup:
    row, limits = numbers.report.targets[0], numbers.report.target.limits
    if row.cores is None:
        return _tile("Cores", "–", _small("some layer fits no core at all"))
    of = [" of ", numbers.show(limits, "cores", count)] if limits.cores and row.chips == 1 else []
    bound = _small("no mapping can use fewer than ", numbers.show(row, "core_lower_bound", count))
    cores = [numbers.show(row, "cores", count), el("small", *of)]
    return _tile("Cores", cores, _small("on ", _amount(numbers, "chip")), bound)


def _exact(numbers: Numbers) -> Markup:
    compared = numbers.report.verify
    if not compared:
        return _tile("Bit-exact", "–", _small("not verified: hmdf-sim --verify reference,onnx,lava"))
    good = all(one.bit_exact for one in compared.values())
    first = next(iter(compared.values()))
    return _tile(
        "Bit-exact",
        [sign(good), "yes" if good else "no"],
        _small("compared: ", ", ".join(compared)),
        _small(numbers.show(first, "compared", number), " integers in each"),
    )
