"""Charts per layer, and where the energy goes."""

from __future__ import annotations

from hmdf.hw_targets.place.layers import READOUT
from hmdf.hw_targets.price.cost import Spread
from hmdf.hw_targets.schema import PURPOSES, Cost, triple
from hmdf.sim.contract import INPUT

from ...documents.report import ReportLayer
from ...text import count, decibel, energy, percent, size
from .charts import Bar, Scale, Span, bars, legend, spans
from .markup import Child, Markup, Numbers, el, join

EVENTS = {
    "synaptic_op_energy": "Synaptic operations",
    "mac_energy": "Dense MACs",
    "port_energy": "Direct messages",
    "neuron_active_energy": "Updates that send",
    "neuron_inactive_energy": "Silent updates",
    "message_energy": "Messages to cores",
    "hop_x_energy": "Hops along x",
    "hop_y_energy": "Hops along y",
    "static_power": "Static power",
}


def charts(numbers: Numbers) -> Markup:
    """One card for each question about the layers."""
    cards = _operations, _energy_by_event, _energy_by_layer, _density, _memory, _head_room, _noise
    drawn = [card(numbers) for card in cards]
    return el("div", *(card for card in drawn if card is not None), cls="cards")


def _card(title: str, about: Child, *content: Child) -> Markup:
    return el("article", el("h3", title), el("p", about, cls="sub"), *content, cls="card")


def _synapses(numbers: Numbers) -> list[ReportLayer]:
    return [layer for layer in numbers.report.layers if layer.role == "synapse"]


def _populations(numbers: Numbers) -> list[ReportLayer]:
    return [layer for layer in numbers.report.layers if layer.role == "population"]


def _operations(numbers: Numbers) -> Markup:
    rows = []
    for layer in _synapses(numbers):
        field, series = ("macs_per_sample", 2) if layer.macs_per_sample else ("sops_per_sample", 1)
        value = numbers.show(layer, field, count)
        rows.append(Bar(layer.name, [(series, layer.macs_per_sample or layer.sops_per_sample or 0)], value))
    sops, show = numbers.report.sops, numbers.show
    about = join(
        "Per sample: ", show(sops, "per_sample", count), " SOPs (from ", show(sops, "smallest", count), " to ",
        show(sops, "largest", count), ") and ", show(numbers.report.macs, "per_sample", count),
        " MACs. As Spikformer counts SOPs: ", show(sops, "conventional_per_sample", count), ".",
    )  # fmt: skip
    keys = legend(("s1", "SOPs: spikes meeting weights"), ("s2", "MACs: dense messages"))
    return _card("Operations", about, keys, bars(rows))


def _energy_by_event(numbers: Numbers) -> Markup | None:
    row = numbers.report.targets[0]
    if row.energy_pj is None:
        return None
    costs = row.energy_by_constant_pj or {}
    scale = Scale.over(list(costs.values()))
    rows = [_event(numbers, name, cost, row.energy_pj.typical) for name, cost in costs.items()]
    about: list[Child] = ["Low to high, with a dot at typical and its share of the total; the axis is logarithmic."]
    if isinstance(spread := row.energy_spread_pj, Spread):
        about += [
            " Over the samples, at typical constants: ", numbers.show(spread, "smallest", energy),
            " – ", numbers.show(spread, "largest", energy), ".",
        ]  # fmt: skip
    if row.energy_missing:
        missing = ", ".join(EVENTS.get(name, name).lower() for name in row.energy_missing)
        about.append(f" Not known for this target, and in no sum: {missing}.")
    return _card("Energy by kind of event", about, spans(rows, scale, scale.ticks(energy)))


def _event(numbers: Numbers, name: str, cost: Cost, total: float) -> Span:
    share = cost.typical / total if total else 0
    text = el("small", "<1%" if 0 < share < 0.01 else f"{share:.0%}")
    return Span(EVENTS.get(name, name), cost if cost.high else None, [numbers.typical(cost, energy), text], "event")


def _energy_by_layer(numbers: Numbers) -> Markup | None:
    report = numbers.report
    places = [
        (INPUT, report.ends[INPUT].energy_pj, 3),
        *((layer.name, layer.energy_pj, 1 if layer.role == "synapse" else 3) for layer in report.layers),
        (READOUT, report.ends[READOUT].energy_pj, 3),
    ]
    rows = [_energy_bar(numbers, name, cost, series) for name, cost, series in places if cost is not None]
    if not rows:
        return None
    keys = legend(("s1", "operations of synapses"), ("s3", "updates and messages of populations"))
    about = "Typical, with a line from low to high. Static power belongs to no layer and is not in here."
    return _card("Energy by layer", about, keys, bars(rows))


def _energy_bar(numbers: Numbers, name: str, cost: Cost, series: int) -> Bar:
    note = f"{name}: {' – '.join(map(energy, triple(cost)))}"
    whisker = (cost.low, cost.high) if cost.low != cost.high else None
    return Bar(name, [(series, cost.typical)], numbers.typical(cost, energy), whisker, note=note)


def _density(numbers: Numbers) -> Markup:
    rows = [
        Bar(
            layer.name, [(2 if layer.signed else 1, layer.spike_density)], numbers.show(layer, "spike_density", percent)
        )
        for layer in _populations(numbers)
    ]
    keys = legend(("s1", "spikes"), ("s2", "signed messages (dense by nature)"))
    return _card("Density", "Share of neurons and time-steps with a non-zero message.", keys, bars(rows, 1.0))


def _memory(numbers: Numbers) -> Markup:
    held = [(layer.name, layer.core_bytes) for layer in _populations(numbers) if layer.core_bytes]
    if not held:
        rows = [
            Bar(layer.name, [(1, layer.weight_bytes)], numbers.show(layer, "weight_bytes", size))
            for layer in _synapses(numbers)
            if layer.weight_bytes
        ]
        return _card("Memory", "Weights of every layer at their true width.", bars(rows))
    held.append((READOUT, numbers.report.ends[READOUT].core_bytes or dict.fromkeys(PURPOSES, 0)))
    used = [p for p in PURPOSES if any(by_purpose[p] for _, by_purpose in held)]
    rows = []
    for name, by_purpose in held:
        parts = [(PURPOSES.index(p) + 1, by_purpose[p]) for p in used]
        note = ", ".join(f"{p} {size(by_purpose[p])}" for p in used)
        rows.append(Bar(name, parts, size(sum(by_purpose.values())), note=f"{name}: {note}"))
    totals: list[Child] = ["On all cores, by layer of neurons: "]
    for p in used:
        shown = numbers.show(numbers.report.targets[0], "memory_by_purpose", size, p)
        totals += [f"{p} ", shown, "; " if p != used[-1] else "."]
    keys = legend(*((f"s{PURPOSES.index(p) + 1}", p) for p in used))
    return _card("Memory on the chip", totals, keys, bars(rows))


def _head_room(numbers: Numbers) -> Markup:
    layers = numbers.report.layers
    rows = []
    for layer in layers:
        need, limit = (numbers.show(layer, field, count) for field in ("register_bits", "register_limit"))
        series, beyond = 1, "it cannot overflow"
        if layer.state_can_saturate:
            series, beyond = 2, "beyond that it is clamped, and every clamp is counted"
        note = f"{layer.name}: needs {layer.register_bits} of {layer.register_limit} bits; {beyond}"
        parts = [(series, layer.register_bits)]
        rows.append(Bar(layer.name, parts, join(need, " / ", limit), note=note))
    most = max(max(layer.register_bits, layer.register_limit) for layer in layers)
    keys = legend(("s1", "cannot overflow"), ("s2", "clamped at its limit, and counted"))
    clipped = sum(layer.message_saturations or 0 for layer in layers)
    saturated = sum(layer.state_saturations or 0 for layer in layers)
    about = (
        "Bits that each accumulator or membrane can need for any input at all, proven, of those it has. "
        f"Counted on the samples: {saturated:,} membranes and {clipped:,} messages at their limit."
    )
    return _card("Head-room, proven", about, keys, bars(rows, float(most)))


def _noise(numbers: Numbers) -> Markup | None:
    rows = []
    for layer in _populations(numbers):
        noise = layer.noise
        if noise is None:
            continue
        value: Child = "exact" if noise.sqnr_db is None else numbers.show(noise, "sqnr_db", decibel)
        alone = "exact" if noise.own_sqnr_db is None else decibel(noise.own_sqnr_db)
        note = f"{layer.name}: {alone} of this layer alone"
        rows.append(Bar(layer.name, [(1, max(noise.sqnr_db or 0, 0))], value, mark=noise.own_sqnr_db, note=note))
    if not rows:
        return None
    keys = legend(("s1", "with the noise of all layers before"), ("mark", "of this layer alone"))
    about = "Signal to quantization noise against the float network: higher is better, 6 dB are one bit."
    return _card("Where precision is lost", about, keys, bars(rows))
