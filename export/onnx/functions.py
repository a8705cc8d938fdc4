"""The model-local ONNX functions (domain `hmdf`): every equation of docs/numerics.md in standard operators.

They are written in ONNX's textual syntax, one line per operation. Messages, clamped currents and states are int32;
products and sums int64; the only floating point is in `Encode`. In `Cast`, 2 = uint8, 6 = int32, 7 = int64,
11 = double, 12 = uint32, 13 = uint64; a Cast to a narrower integer keeps the low bits (ONNX defines it so).

Nothing limits an int64 with Min, Max or Clip: onnxruntime 1.31 gets those wrong beyond 32 bits on x86. Values are
lifted by 2^62 and limited as uint64, where they are right, in every version tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

import msgspec
import onnx.parser
from onnx import FunctionProto, NodeProto

from hmdf.sim.contract import Population

from .dynamics import UPDATES

DOMAIN = "hmdf"
OPSET = 18
REACH = (1 << 62) - (1 << 46)
"""`RoundingShift` (of up to 47 bits) and `Clamp` are exact for |x| < REACH; what could leave that is refused."""


class _Function(msgspec.Struct, frozen=True):
    """A function's equation, shown as its documentation in viewers, and its text."""

    equation: str
    text: str


def population_operator(population: Population) -> str:
    """Name of the function that computes a population: one per dynamics, number of ports and gate."""
    ports = len(population.ports)
    gated = "Gated" if population.gate is not None else ""
    return f"{gated}{type(population.dynamics).__name__}{ports if ports > 1 else ''}"


def needed_functions(nodes: Iterable[NodeProto], populations: Iterable[Population]) -> list[FunctionProto]:
    """Every function that `nodes` call, directly or through another, each once, callees first."""
    patterns = {population_operator(p): p for p in populations}
    found: dict[str, FunctionProto] = {}

    def collect(node: NodeProto) -> None:
        if node.domain != DOMAIN or node.op_type in found:
            return
        if node.op_type in patterns:
            function = _population_function(node.op_type, patterns[node.op_type])
        else:
            function = _library_function(node.op_type)
        for inner in function.node:
            collect(inner)
        found[node.op_type] = function

    for node in nodes:
        collect(node)
    return list(found.values())


def _population_function(name: str, population: Population) -> FunctionProto:
    """The current (ports, bias, gate, clamp) followed by the dynamics."""
    update, ports = UPDATES[type(population.dynamics)], len(population.ports)
    attributes = [f"shift_{i}" for i in range(ports)]
    inputs = [f for i in range(ports) for f in (f"in_{i}", f"multiplier_{i}")] + ["bias"]
    current, equation = [*_sum_of_ports(ports)], "(sum of rshift(multiplier * in, shift) + bias)"
    if population.gate is not None:
        attributes += ["gate_shift", "gate_shape"]
        inputs += ["gate", "gate_bias"]
        current.append("gated = hmdf.Gate <shift: int = @gate_shift, shape: ints = @gate_shape> (sum, gate, gate_bias)")
        equation = f"(rshift({equation} * gate, gate_shift) + gate_bias)"
    attributes += [*update.shifts, *dict.fromkeys(("state_min", "state_max", *update.limits))]
    inputs += [*update.arrays, *update.states]
    passed = ", ".join(f"{a}: int = @{a}" for a in (*update.shifts, *update.limits))
    lines = [
        f"{name} <{', '.join(attributes)}> ({', '.join(inputs)}) => ({update.results}) {{",
        *current,
        f"current = hmdf.Clamp <low: int = @state_min, high: int = @state_max> ({current[-1].split()[0]})",
        f"{update.results} = hmdf.{update.name} <{passed}> ({', '.join(('current', *update.arrays, *update.states))})",
        "}",
    ]
    return _parse("\n".join(lines), f"I = clamp{equation}; then {update.name}.")


def _sum_of_ports(ports: int) -> Iterator[str]:
    for i in range(ports):
        yield f"current_{i} = hmdf.Port <shift: int = @shift_{i}> (in_{i}, multiplier_{i})"
        before, after = ("bias" if i == 0 else f"sum_{i - 1}"), ("sum" if i == ports - 1 else f"sum_{i}")
        yield f"{after} = Add (current_{i}, {before})"


def _library_function(name: str) -> FunctionProto:
    function = LIBRARY[name]
    return _parse(name + function.text, function.equation)


@cache
def _parse(text: str, equation: str) -> FunctionProto:
    header = f'<domain: "{DOMAIN}", opset_import: ["" : {OPSET}, "{DOMAIN}" : 1]>\n'
    function = onnx.parser.parse_function(header + text)
    function.doc_string = equation
    return function


def _products(
    name: str, operator: str, attributes: dict[str, str], operand: str, prepare: str = ""
) -> dict[str, _Function]:
    """Two functions that multiply messages by weights: for messages of up to 8 bits, and (`Wide`) of up to 16.

    Both operands are uint8 with a zero point (128 for weights; 0 or 128 for messages). The uint8 x int8 form would be
    wrong on x86 processors without VNNI, where onnxruntime adds two products in a saturating 16-bit register.
    """
    given = ", ".join(f"{a}: {kind} = @{a}" for a, kind in attributes.items())
    product = f"{operator} <{given}>" if given else operator
    header = f""" <{", ".join((*attributes, "zero_point"))}> (messages, weight) => (accumulator) {{
        {prepare}
        zero = Constant <value_int: int = @zero_point> ()
        weight_zero = Constant <value = uint8 {{128}}> ()
    """
    narrow = f"""
        byte, byte_zero = hmdf.Byte (zero, {operand})
        accumulator = {product} (byte, weight, byte_zero, weight_zero)
    }}"""
    wide = f"""
        low, low_zero, high, high_zero = hmdf.Bytes (zero, {operand})
        low_sum = {product} (low, weight, low_zero, weight_zero)
        high_sum = {product} (high, weight, high_zero, weight_zero)
        accumulator = hmdf.JoinBytes (low_sum, high_sum)
    }}"""
    narrow_text = "acc = sum of weight * message; weights are stored plus 128."
    wide_text = "acc = 256 * (sum of weight * high byte) + sum of weight * low byte; weights are stored plus 128."
    return {name: _Function(narrow_text, header + narrow), f"Wide{name}": _Function(wide_text, header + wide)}


def _channel_conv(inner: str) -> _Function:
    return _Function(
        "acc[c] = sum_j w[j] * message[c + j - padding], the channels laid out as a line.",
        f""" <pads, zero_point> (messages, weight) => (accumulator) {{
            shape = Shape (messages)
            line_shape = Constant <value_ints = [0, 1, -1, 1]> ()
            line = Reshape (messages, line_shape)
            sums = hmdf.{inner} <strides = [1, 1], pads: ints = @pads, dilations = [1, 1], group = 1,
                                 zero_point: int = @zero_point> (line, weight)
            accumulator = Reshape (sums, shape)
        }}""",
    )


_SYNAPSES = {
    **_products(
        "Conv2d", "ConvInteger", {"strides": "ints", "pads": "ints", "dilations": "ints", "group": "int"}, "messages"
    ),
    **_products("Linear", "MatMulInteger", {}, "flat", prepare="flat = Flatten <axis = 1> (messages)"),
    "ChannelConv": _channel_conv("Conv2d"),
    "WideChannelConv": _channel_conv("WideConv2d"),
    "Byte": _Function(
        "byte = messages + zero, as uint8, with its zero point.",
        """ (zero, messages) => (byte, byte_zero) {
            offset = Cast <to = 6> (zero)
            lifted = Add (messages, offset)
            byte = Cast <to = 2> (lifted)
            byte_zero = Cast <to = 2> (zero)
        }""",
    ),
    "Bytes": _Function(
        "messages + 256 * zero = 256 * high + low, as uint8, with their zero points. Cast to uint8 keeps the low bits.",
        """ (zero, messages) => (low, low_zero, high, high_zero) {
            base = Constant <value_int = 256> ()
            offset = Mul (zero, base)
            offset_32 = Cast <to = 6> (offset)
            lifted = Add (messages, offset_32)
            low = Cast <to = 2> (lifted)
            low_zero = Constant <value = uint8 {0}> ()
            unsigned = Cast <to = 12> (lifted)
            eight = Constant <value = uint32 {8}> ()
            shifted = BitShift <direction = "RIGHT"> (unsigned, eight)
            high = Cast <to = 2> (shifted)
            high_zero = Cast <to = 2> (zero)
        }""",
    ),
    "JoinBytes": _Function(
        "acc = 256 * high + low, in int64.",
        """ (low, high) => (accumulator) {
            base = Constant <value_int = 256> ()
            low_64 = Cast <to = 7> (low)
            high_64 = Cast <to = 7> (high)
            scaled = Mul (high_64, base)
            accumulator = Add (scaled, low_64)
        }""",
    ),
    "SumPool": _Function(
        "acc = sum of the window's messages; rows and columns list the positions of every window; padding is 0.",
        """ (messages, rows, columns, pads) => (accumulator) {
            nothing = Constant <value = int32 {0}> ()
            row_axis = Constant <value_ints = [3]> ()
            column_axis = Constant <value_ints = [4]> ()
            padded = Pad (messages, pads, nothing)
            by_rows = Gather <axis = 2> (padded, rows)
            summed_rows = ReduceSum <keepdims = 0> (by_rows, row_axis)
            by_columns = Gather <axis = 3> (summed_rows, columns)
            accumulator = ReduceSum <keepdims = 0> (by_columns, column_axis)
        }""",
    ),
    "MaxPool": _Function(
        "acc = largest message of the window; positions in the padding stand for the nearest one inside.",
        """ (messages, rows, columns) => (accumulator) {
            row_axis = Constant <value_ints = [3]> ()
            column_axis = Constant <value_ints = [4]> ()
            by_rows = Gather <axis = 2> (messages, rows)
            largest_rows = ReduceMax <keepdims = 0> (by_rows, row_axis)
            by_columns = Gather <axis = 3> (largest_rows, columns)
            accumulator = ReduceMax <keepdims = 0> (by_columns, column_axis)
        }""",
    ),
}

_ARITHMETIC = {
    "RoundingShift": _Function(
        "y = floor((x + 2^(shift-1)) / 2^shift). BitShift is unsigned: x is lifted by 2^62, a multiple of 2^shift, "
        "and lowered after; exact for -2^62 <= x < 2^62 - 2^(shift-1).",
        """ <shift> (x) => (y) {
            amount = Constant <value_int: int = @shift> ()
            bits = Cast <to = 13> (amount)
            one = Constant <value = uint64 {1}> ()
            lift = Constant <value = uint64 {4611686018427387904}> ()
            unit = BitShift <direction = "LEFT"> (one, bits)
            half = BitShift <direction = "RIGHT"> (unit, one)
            half_64 = Cast <to = 7> (half)
            lift_64 = Cast <to = 7> (lift)
            offset = Add (lift_64, half_64)
            lowering = BitShift <direction = "RIGHT"> (lift, bits)
            lowering_64 = Cast <to = 7> (lowering)
            lifted = Add (x, offset)
            unsigned = Cast <to = 13> (lifted)
            quotient = BitShift <direction = "RIGHT"> (unsigned, bits)
            signed = Cast <to = 7> (quotient)
            y = Sub (signed, lowering_64)
        }""",
    ),
    "Clamp": _Function(
        "y = min(max(x, low), high), of at most 32 bits; limited as uint64 after adding 2^62, which the Cast drops.",
        """ <low, high> (x) => (y) {
            lift = Constant <value_int = 4611686018427387904> ()
            low_64 = Constant <value_int: int = @low> ()
            high_64 = Constant <value_int: int = @high> ()
            low_lifted = Add (low_64, lift)
            high_lifted = Add (high_64, lift)
            smallest = Cast <to = 13> (low_lifted)
            largest = Cast <to = 13> (high_lifted)
            lifted = Add (x, lift)
            unsigned = Cast <to = 13> (lifted)
            limited = Clip (unsigned, smallest, largest)
            y = Cast <to = 6> (limited)
        }""",
    ),
    "Port": _Function(
        "current = rshift(multiplier * in, shift).",
        """ <shift> (in, multiplier) => (current) {
            wide = Cast <to = 7> (in)
            product = Mul (wide, multiplier)
            current = hmdf.RoundingShift <shift: int = @shift> (product)
        }""",
    ),
    "Gate": _Function(
        "y = rshift(current * gate[c], shift) + bias.",
        """ <shift, shape> (current, gate, bias) => (y) {
            wide = Cast <to = 7> (gate)
            shape = Constant <value_ints: ints = @shape> ()
            per_channel = Reshape (wide, shape)
            product = Mul (current, per_channel)
            scaled = hmdf.RoundingShift <shift: int = @shift> (product)
            y = Add (scaled, bias)
        }""",
    ),
    "Leak": _Function(
        "y = rshift(leak * state, leak_shift).",
        """ <leak_shift> (state, leak) => (y) {
            wide = Cast <to = 7> (state)
            product = Mul (wide, leak)
            y = hmdf.RoundingShift <shift: int = @leak_shift> (product)
        }""",
    ),
    "Decay": _Function(
        "y = leak * state / 4096, rounded toward zero. (Runtimes have a Sign that looks at 32 of 64 bits.)",
        """ (state, leak) => (y) {
            wide = Cast <to = 7> (state)
            product = Mul (wide, leak)
            zero = Constant <value = int64 {0}> ()
            negative = Less (product, zero)
            magnitude = Abs (product)
            unsigned = Cast <to = 13> (magnitude)
            bits = Constant <value = uint64 {12}> ()
            shifted = BitShift <direction = "RIGHT"> (unsigned, bits)
            quotient = Cast <to = 7> (shifted)
            opposite = Sub (zero, quotient)
            y = Where (negative, opposite, quotient)
        }""",
    ),
    "GradedSpike": _Function(
        "rest = min(m, threshold); message = min(rshift(m - rest, spike_shift), message_max); m - rest is unsigned.",
        """ <spike_shift, message_max> (m, threshold) => (message, rest) {
            amount = Constant <value_int: int = @spike_shift> ()
            bits = Cast <to = 13> (amount)
            one = Constant <value = uint64 {1}> ()
            unit = BitShift <direction = "LEFT"> (one, bits)
            half = BitShift <direction = "RIGHT"> (unit, one)
            half_64 = Cast <to = 7> (half)
            message_max = Constant <value_int: int = @message_max> ()
            largest = Cast <to = 13> (message_max)
            rest = Min (m, threshold)
            m_64 = Cast <to = 7> (m)
            rest_64 = Cast <to = 7> (rest)
            excess = Sub (m_64, rest_64)
            rounded = Add (excess, half_64)
            unsigned = Cast <to = 13> (rounded)
            graded = BitShift <direction = "RIGHT"> (unsigned, bits)
            limited = Min (graded, largest)
            message = Cast <to = 6> (limited)
        }""",
    ),
    "BinarySpike": _Function(
        "message = 1 if m >= threshold else 0; v = m - message * threshold (threshold >= 0).",
        """ (m, threshold) => (message, v_next) {
            fires = GreaterOrEqual (m, threshold)
            message = Cast <to = 6> (fires)
            taken = Mul (message, threshold)
            v_next = Sub (m, taken)
        }""",
    ),
}

_BOUNDARY = {
    "Encode": _Function(
        "messages = clamp(round_half_even(x / scale), message range): the only floating point of the model.",
        """ <message_min, message_max> (x, scale) => (messages) {
            exact = Cast <to = 11> (x)
            units = Div (exact, scale)
            nearest = Round (units)
            low = Constant <value_int: int = @message_min> ()
            high = Constant <value_int: int = @message_max> ()
            smallest = Cast <to = 11> (low)
            largest = Cast <to = 11> (high)
            limited = Clip (nearest, smallest, largest)
            messages = Cast <to = 6> (limited)
        }""",
    ),
    "Rest": _Function(
        "state = 0 for every sample of `like`: the state before the first step.",
        """ <shape, type> (like) => (state) {
            samples = Shape <start = 0, end = 1> (like)
            extents = Constant <value_ints: ints = @shape> ()
            full = Concat <axis = 0> (samples, extents)
            zeros = ConstantOfShape <value = int64[1] {0}> (full)
            state = Cast <to: int = @type> (zeros)
        }""",
    ),
    "Start": _Function(
        "state = initial for every sample of `like`, broadcast over the positions: before the first step.",
        """ <shape, type> (like, initial) => (state) {
            zeros = hmdf.Rest <shape: ints = @shape, type: int = @type> (like)
            state = Add (zeros, initial)
        }""",
    ),
    "Readout": _Function(
        "logits_next = logits + accumulator + bias.",
        """ (accumulator, bias, logits) => (logits_next) {
            wide = Cast <to = 7> (accumulator)
            shifted = Add (wide, bias)
            logits_next = Add (logits, shifted)
        }""",
    ),
}

LIBRARY = {
    **_SYNAPSES,
    **_ARITHMETIC,
    **{update.name: _Function(update.equation, update.text) for update in UPDATES.values()},
    **_BOUNDARY,
}
"""Every function that a model may have besides those of its populations, by name."""
