"""Charts per layer, and where the energy goes."""

from __future__ import annotations

from typing import Any

from hmdf.hw_targets.schema import PURPOSES

from .charts import Bar, Scale, Span, bars, legend, spans
from .markup import Child, Markup, Numbers, count, decibel, el, energy, join, percent, size

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


def _of_role(numbers: Numbers, role: str) -> list[tuple[str, dict[str, Any]]]:
    """Pointer and layer of every synapse or population."""
    layers = numbers.value("/layers")
    return [(f"/layers/{i}", layer) for i, layer in enumerate(layers) if layer["role"] == role]


def _operations(numbers: Numbers) -> Markup:
    rows = []
    for at, layer in _of_role(numbers, "synapse"):
        dense = bool(layer["macs_per_sample"])
        key = "macs_per_sample" if dense else "sops_per_sample"
        rows.append(Bar(layer["name"], [(2 if dense else 1, layer[key] or 0)], numbers.show(f"{at}/{key}", count)))
    about = join(
        "Per sample: ", numbers.show("/sops/per_sample", count), " SOPs (from ",
        numbers.show("/sops/smallest", count), " to ", numbers.show("/sops/largest", count), ") and ",
        numbers.show("/macs/per_sample", count), " MACs. As Spikformer counts SOPs: ",
        numbers.show("/sops/conventional_per_sample", count), ".",
    )  # fmt: skip
    keys = legend(("s1", "SOPs: spikes meeting weights"), ("s2", "MACs: dense messages"))
    return _card("Operations", about, keys, bars(rows))


def _energy_by_event(numbers: Numbers) -> Markup | None:
    row = numbers.value("/targets/0")
    if row["energy_pj"] is None:
        return None
    costs = row["energy_by_constant_pj"]
    scale = Scale.over([cost[key] for cost in costs.values() for key in ("low", "typical", "high")])
    total = row["energy_pj"]["typical"]
    rows = [_event(numbers, name, total) for name in costs]
    about: list[Child] = ["Low to high, with a dot at typical and its share of the total; the axis is logarithmic."]
    if row["energy_spread_pj"] is not None:
        about += [
            " Over the samples, at typical constants: ", numbers.show("/targets/0/energy_spread_pj/smallest", energy),
            " – ", numbers.show("/targets/0/energy_spread_pj/largest", energy), ".",
        ]  # fmt: skip
    if row["energy_missing"]:
        missing = ", ".join(EVENTS.get(name, name).lower() for name in row["energy_missing"])
        about.append(f" Not known for this target, and in no sum: {missing}.")
    return _card("Energy by kind of event", about, spans(rows, scale, scale.ticks(energy)))


def _event(numbers: Numbers, name: str, total: float) -> Span:
    at = f"/targets/0/energy_by_constant_pj/{name}"
    cost = numbers.value(at)
    share = cost["typical"] / total if total else 0
    text = el("small", "<1%" if 0 < share < 0.01 else f"{share:.0%}")
    figures = (cost["low"], cost["typical"], cost["high"]) if cost["high"] else None
    return Span(EVENTS.get(name, name), figures, [numbers.show(f"{at}/typical", energy), text], "event")


def _energy_by_layer(numbers: Numbers) -> Markup | None:
    places = [("input", "/ends/input", 3)]
    places += [
        (layer["name"], f"/layers/{index}", 1 if layer["role"] == "synapse" else 3)
        for index, layer in enumerate(numbers.value("/layers"))
    ]
    places.append(("readout", "/ends/readout", 3))
    rows = [
        _energy_bar(numbers, name, f"{at}/energy_pj", series)
        for name, at, series in places
        if numbers.value(f"{at}/energy_pj") is not None
    ]
    if not rows:
        return None
    keys = legend(("s1", "operations of synapses"), ("s3", "updates and messages of populations"))
    about = "Typical, with a line from low to high. Static power belongs to no layer and is not in here."
    return _card("Energy by layer", about, keys, bars(rows))


def _energy_bar(numbers: Numbers, name: str, at: str, series: int) -> Bar:
    cost = numbers.value(at)
    note = f"{name}: {energy(cost['low'])} – {energy(cost['typical'])} – {energy(cost['high'])}"
    whisker = (cost["low"], cost["high"]) if cost["low"] != cost["high"] else None
    return Bar(name, [(series, cost["typical"])], numbers.show(f"{at}/typical", energy), whisker, note=note)


def _density(numbers: Numbers) -> Markup:
    rows = [
        Bar(
            layer["name"],
            [(2 if layer["signed"] else 1, layer["spike_density"])],
            numbers.show(f"{at}/spike_density", percent),
        )
        for at, layer in _of_role(numbers, "population")
    ]
    keys = legend(("s1", "spikes"), ("s2", "signed messages (dense by nature)"))
    return _card("Density", "Share of neurons and time-steps with a non-zero message.", keys, bars(rows, 1.0))


def _memory(numbers: Numbers) -> Markup:
    held = [layer for _, layer in _of_role(numbers, "population") if layer["core_bytes"]]
    if held:
        held.append({"name": "readout", **numbers.value("/ends/readout")})
    if not held:
        rows = [
            Bar(layer["name"], [(1, layer["weight_bytes"])], numbers.show(f"{at}/weight_bytes", size))
            for at, layer in _of_role(numbers, "synapse")
            if layer["weight_bytes"]
        ]
        return _card("Memory", "Weights of every layer at their true width.", bars(rows))
    used = [p for p in PURPOSES if any(layer["core_bytes"][p] for layer in held)]
    rows = []
    for layer in held:
        parts = [(PURPOSES.index(p) + 1, layer["core_bytes"][p]) for p in used]
        note = ", ".join(f"{p} {size(layer['core_bytes'][p])}" for p in used)
        total = size(sum(layer["core_bytes"].values()))
        rows.append(Bar(layer["name"], parts, total, note=f"{layer['name']}: {note}"))
    totals: list[Child] = ["On all cores, by layer of neurons: "]
    for p in used:
        totals += [f"{p} ", numbers.show(f"/targets/0/memory_by_purpose/{p}", size), "; " if p != used[-1] else "."]
    keys = legend(*((f"s{PURPOSES.index(p) + 1}", p) for p in used))
    return _card("Memory on the chip", totals, keys, bars(rows))


def _head_room(numbers: Numbers) -> Markup:
    rows = []
    for index, layer in enumerate(numbers.value("/layers")):
        at = f"/layers/{index}"
        need, limit = layer["register_bits"], layer["register_limit"]
        text = join(numbers.show(f"{at}/register_bits", count), " / ", numbers.show(f"{at}/register_limit", count))
        over = layer.get("state_can_saturate")
        note = f"{layer['name']}: needs {need} of {limit} bits"
        note += "; beyond that it is clamped, and every clamp is counted" if over else "; it cannot overflow"
        rows.append(Bar(layer["name"], [(2 if over else 1, need)], text, note=note))
    limit = max(layer["register_limit"] for layer in numbers.value("/layers"))
    most = max(limit, max(layer["register_bits"] for layer in numbers.value("/layers")))
    keys = legend(("s1", "cannot overflow"), ("s2", "clamped at its limit, and counted"))
    about = "Bits that each accumulator or membrane can need for any input at all, proven, of those it has."
    clipped = sum(layer["message_saturations"] or 0 for layer in numbers.value("/layers"))
    saturated = sum(layer["state_saturations"] or 0 for layer in numbers.value("/layers"))
    counted = f" Counted on the samples: {saturated:,} membranes and {clipped:,} messages at their limit."
    return _card("Head-room, proven", about + counted, keys, bars(rows, float(most)))


def _noise(numbers: Numbers) -> Markup | None:
    rows = []
    for at, layer in _of_role(numbers, "population"):
        noise = layer["noise"]
        if noise is None:
            continue
        exact = noise["sqnr_db"] is None
        value: Child = "exact" if exact else numbers.show(f"{at}/noise/sqnr_db", decibel)
        own = noise["own_sqnr_db"]
        alone = "exact" if own is None else decibel(own)
        note = f"{layer['name']}: {alone} of this layer alone"
        rows.append(Bar(layer["name"], [(1, max(noise["sqnr_db"] or 0, 0))], value, mark=own, note=note))
    if not rows:
        return None
    keys = legend(("s1", "with the noise of all layers before"), ("mark", "of this layer alone"))
    about = "Signal to quantization noise against the float network: higher is better, 6 dB are one bit."
    return _card("Where precision is lost", about, keys, bars(rows))
