"""The ONNX model is the program: random programs agree with the reference to the last bit, in plain onnxruntime."""

import json
import sys
from typing import get_args

import msgspec
import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import pytest
from onnx import TensorProto

from hmdf.export.onnx import OnnxRuntime, export_onnx, save_onnx
from hmdf.export.onnx.functions import LIBRARY
from hmdf.extras import MissingExtraError
from hmdf.sim import reference
from hmdf.sim.contract import (
    INPUT,
    Conv2d,
    Dynamics,
    Gate,
    HybridFiring,
    Linear,
    LookupTable,
    Message,
    Op,
    ParallelFiring,
    Population,
    Port,
    Relay,
    SumPool,
    Synapse,
    WeightedOp,
)
from hmdf.sim.encoder import encode
from hmdf.sim.errors import InputError, ProgramError
from hmdf.sim.program import Input, Preprocessing, Program, Readout
from hmdf.sim.verify import compare
from programs import random_messages, random_program, recurrent_program

SEEDS = 160  # more of them: make soak
ONE = np.ones((1, 1), np.int32)
NONE = np.zeros((1, 1), np.int32)
FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}


def kinds_of(program):
    """The node kinds of a program and the choices that change its ONNX form."""
    yield program.input.timing
    yield "signed input" if program.input.message.signed else "unsigned input"
    for node in program.nodes:
        if isinstance(node, Synapse):
            yield type(node.op).__name__
            message = program.message_of(node.source)
            yield f"{'signed' if message.signed else 'unsigned'} {'wide' if message.bits > 8 else 'narrow'}"
            if isinstance(node.op, Conv2d):
                yield from (f"groups {node.op.groups > 1}", f"stride {node.op.stride}", f"dilation {node.op.dilation}")
        else:
            yield type(node.dynamics).__name__
            yield f"{len(node.ports)} ports"
            yield "gate" if node.gate is not None else "no gate"
            yield from ("per step" if len(a) > 1 else "constant in time" for _, a, _ in node.parameters())


@pytest.mark.parametrize("start", range(0, SEEDS, 40))
def test_random_programs_agree_with_the_reference(start):
    for seed in range(start, start + 40):
        program = random_program(seed)
        messages = random_messages(program, 1 + seed % 5, seed)
        verdict = compare(program, messages, [OnnxRuntime(threads=1)])[0]
        assert verdict.bit_exact, f"random_program({seed}): {verdict.first_mismatch}"
        assert verdict.compared > 0


def test_recurrent_programs_agree_with_the_reference():
    for seed in range(12):
        program = recurrent_program(seed)
        verdict = compare(program, random_messages(program, 3, seed), [OnnxRuntime(threads=1)])[0]
        assert verdict.bit_exact, f"recurrent_program({seed}): {verdict.first_mismatch}"


def test_the_random_programs_use_every_node_kind_and_every_function():
    programs = [random_program(seed) for seed in range(SEEDS)]
    kinds = {kind for program in programs for kind in kinds_of(program)}
    wanted = [kind.__name__ for kind in get_args(Op) + get_args(Dynamics)]
    wanted += ["gate", "constant", "frames"]
    wanted += ["1 ports", "2 ports", "3 ports", "per step", "constant in time", "signed input", "unsigned input"]
    wanted += [f"{sign} {width}" for sign in ("signed", "unsigned") for width in ("narrow", "wide")]
    wanted += ["groups True", "stride (2, 1)", "stride (2, 2)", "dilation (1, 2)", "dilation (2, 2)"]
    assert set(wanted) <= kinds
    assert {p.time_steps for p in programs} == {1, 2, 3, 4, 5, 6}
    used = {function.name for program in programs for function in export_onnx(program).functions}
    assert set(LIBRARY) <= used


def test_one_session_takes_batches_of_any_size():
    program = random_program(7)
    messages = random_messages(program, 6, 7)
    executor = OnnxRuntime(threads=1)
    whole = executor.run(program, messages)
    for part in (slice(0, 1), slice(1, 6)):
        some = executor.run(program, messages[part])
        assert np.array_equal(some.logits, whole.logits[part])
        for name, sent in whole.messages.items():
            assert np.array_equal(some.messages[name], sent[part])


@pytest.mark.parametrize("seed", range(0, SEEDS, 20))
@pytest.mark.parametrize("taps", [False, True])
def test_models_pass_the_full_check_and_use_standard_operators_only(seed, taps):
    model = export_onnx(random_program(seed), taps)
    onnx.checker.check_model(model, full_check=True)
    assert {o.domain for o in model.opset_import} == {"", "hmdf"}
    local = {f.name for f in model.functions}
    for node in _all_nodes(model):
        assert node.domain in ("", "hmdf")
        if node.domain == "hmdf":
            assert node.op_type in local


def _all_nodes(model):
    def walk(nodes):
        for node in nodes:
            yield node
            for attribute in node.attribute:
                yield from walk(attribute.g.node)

    for nodes in (model.graph.node, *(f.node for f in model.functions)):
        yield from walk(nodes)


# ---------------------------------------------------------------------- integers only


def operators_on_floats(model):
    """Type inference on the inlined model: the operators, outermost graph and Scan body, that touch a float."""
    inlined = onnx.inliner.inline_local_functions(model)
    inferred = onnx.shape_inference.infer_shapes(inlined, strict_mode=True)
    scan = next(n for n in inferred.graph.node if n.op_type == "Scan")
    body = next(a.g for a in scan.attribute if a.name == "body")
    floats, untyped = [], []
    outer = _types(inferred.graph)
    for graph, types in ((inferred.graph, outer), (body, outer | _types(body))):
        for node in graph.node:
            kinds = [types.get(v, 0) for v in (*node.input, *node.output) if v]
            if set(kinds) & FLOATS:
                floats.append((graph.name, node.op_type))
            if 0 in kinds:
                untyped.append((graph.name, node.op_type))
    assert not untyped
    return floats


def _types(graph):
    values = (*graph.input, *graph.output, *graph.value_info)
    return {v.name: v.type.tensor_type.elem_type for v in values} | {i.name: i.data_type for i in graph.initializer}


@pytest.mark.parametrize("seed", range(5, SEEDS, 30))
def test_only_the_encoder_touches_floats(seed):
    model = export_onnx(random_program(seed), taps=True)
    outer = model.graph.name
    encoder = [(outer, op) for op in ("Cast", "Div", "Round", "Cast", "Cast", "Clip", "Cast")]
    assert operators_on_floats(model) == encoder


def test_the_search_for_floats_finds_one():
    model = export_onnx(random_program(5))
    function = next(f for f in model.functions if f.name == "Port")
    function.node.append(onnx.helper.make_node("Cast", ["wide"], ["stray"], to=TensorProto.FLOAT))
    assert ("time_step", "Cast") in operators_on_floats(model)


# -------------------------------------------------------------------------- the encoder


def test_the_encoder_rounds_half_to_even_and_clamps_as_the_definition():
    program = relays(Message(8, True, 0.1), bits=8)
    halves = (np.arange(-140, 141) + 0.5) * 0.1
    rng = np.random.default_rng(0)
    extremes = [0.0, -0.0, 1e30, -1e30, np.finfo(np.float32).max, np.finfo(np.float32).tiny]
    x = np.concatenate([halves, np.nextafter(halves, 99), np.nextafter(halves, -99), rng.normal(0, 8, 5000), extremes])
    x = x.astype(np.float32).reshape(-1, 1)
    session = session_of(export_onnx(program, taps=True))
    encoded = session.run(["messages/input"], {INPUT: x})[0]
    assert np.array_equal(encoded, encode(program, x)[:, 0])
    assert encoded.min() == -128
    assert encoded.max() == 127


@pytest.mark.parametrize("scale", [0.1, 1 / 3, 1e-6, 2.0**-20, 7.3e5])
@pytest.mark.parametrize("signed", [False, True])
def test_every_16_bit_message_survives_the_way_through_float32(scale, signed):
    program = relays(Message(16, signed, scale), bits=16, signed=signed)
    low, high = program.input.message.range
    messages = np.arange(low, high + 1).reshape(-1, 1, 1)
    assert np.array_equal(OnnxRuntime(threads=1).run(program, messages).messages["relay"], messages)


def test_a_scale_beyond_float32_is_refused():
    program = relays(Message(8, False, 1e-60), bits=8)
    with pytest.raises(InputError, match="not distinct float32 values"):
        OnnxRuntime(threads=1).run(program, np.array([[[3]]]))


# ------------------------------------------------------------------------ the extremes


def relays(message, bits, signed=True):
    """Input of one feature -> relay -> classifier."""
    nodes = (
        Population("relay", (1,), (Port(INPUT, ONE, 0),), NONE, Relay(), Message(bits, signed, 1.0)),
        Synapse("head", "relay", Linear(np.ones((1, 1), np.int8), 8)),
    )
    return program_of((1,), message, nodes)


def program_of(shape, message, nodes, state_bits=24, accumulator_bits=24, steps=1):
    return Program(
        time_steps=steps,
        state_bits=state_bits,
        accumulator_bits=accumulator_bits,
        input=Input(shape, message, "constant", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=tuple(nodes),
        readout=Readout(nodes[-1].name, np.zeros(1, np.int64), 1.0),
    )


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 9, 16])
@pytest.mark.parametrize("fill", [-128, 127])
def test_products_at_their_limits_do_not_saturate(signed, bits, fill):
    message = Message(bits, signed, 1.0)
    nodes = (
        Synapse("conv", INPUT, Conv2d(np.full((2, 16, 3, 3), fill, np.int8), 8, padding=(1, 1))),
        Population("sum", (2, 5, 5), (Port("conv", ONE, 8),), NONE, Relay(), Message(16, True, 1.0)),
        Synapse("head", "sum", Linear(np.full((3, 50), fill, np.int8), 8)),
    )
    program = program_of((16, 5, 5), message, nodes, 32, 32)
    low, high = message.range
    messages = np.stack([np.full((1, 16, 5, 5), v) for v in (low, high, high // 2, high // 256 * 256)])
    assert_exact(program, messages)


def test_a_fan_in_whose_raw_byte_products_exceed_32_bits_is_exact():
    """uint8 with zero points adds up to 255 * 255 * 70,000 > 2^32 on the way; the accumulator itself is small."""
    weight = np.tile(np.array([127, -128, 1, 0], np.int8), (2, 17_500))
    program = program_of((70_000,), Message(8, False, 1.0), [Synapse("head", INPUT, Linear(weight, 8))])
    assert_exact(program, np.full((2, 1, 70_000), 255))


@pytest.mark.parametrize("state_bits", [8, 24, 32])
def test_clamps_far_beyond_32_bits(state_bits):
    """Products of up to 2^46 before the clamp, where onnxruntime's own Min, Max and Clip of int64 are wrong."""
    low, high = -(1 << (state_bits - 1)), (1 << (state_bits - 1)) - 1
    factors = np.array([[1, -1, 32767, -32768, 0, 2]], np.int32)
    limits = np.array([[low, high, low + 1, high - 1, 0, 1]])
    shape = (6, 3, 3)
    weight = np.random.default_rng(0).integers(-128, 128, (6, 4, 3, 3)).astype(np.int8)
    leak = np.array([[-32768], [32767], [0]], np.int32)

    def population(name, dynamics, message):
        ports = (Port("conv", factors, 0), Port("conv", -np.maximum(factors, -32767)[:, ::-1], 3))
        return Population(name, shape, ports, limits[:, ::-1], dynamics, message)

    nodes = (
        Synapse("conv", INPUT, Conv2d(weight, 8, padding=(1, 1))),
        population("hybrid", HybridFiring(leak, 3, limits, 0), Message(16, False, 1.0)),
        population("parallel", ParallelFiring(limits, 5), Message(3, False, 1.0)),
        population("relay", Relay(), Message(16, True, 1.0)),
        population("table", LookupTable(np.arange(256), 0), Message(8, False, 1.0)),
        Synapse("head", "relay", Linear(np.ones((2, 54), np.int8), 1)),
    )
    program = program_of((4, 3, 3), Message(16, True, 1.0), nodes, state_bits, 32, steps=3)
    rng = np.random.default_rng(1)
    messages = np.concatenate([rng.integers(-32768, 32768, (6, 1, 4, 3, 3)), rng.integers(-9, 9, (6, 1, 4, 3, 3))])
    assert_exact(program, messages)


def test_a_pool_padded_by_more_than_its_kernel_sums_zeros():
    nodes = (
        Synapse("pool", INPUT, SumPool((2, 1), (1, 2), (3, 1))),
        Population("sum", (2, 8, 3), (Port("pool", ONE, 0),), NONE, Relay(), Message(16, True, 1.0)),
        Synapse("head", "sum", Linear(np.ones((2, 48), np.int8), 1)),
    )
    program = program_of((2, 3, 4), Message(16, True, 1.0), nodes)
    assert_exact(program, np.random.default_rng(0).integers(-9, 9, (3, 1, 2, 3, 4)))


def assert_exact(program, messages):
    verdict = compare(program, messages, [OnnxRuntime(threads=1)])[0]
    assert verdict.bit_exact, verdict.first_mismatch


# ------------------------------------------------------------------- it can be wrong


def test_a_flipped_weight_is_found_in_the_right_population():
    program = random_program(3)
    synapse = next(n for n in program.nodes if isinstance(n, Synapse) and isinstance(n.op, WeightedOp))
    weight = np.array(synapse.op.weight)
    weight.flat[0] = 1 if weight.flat[0] != 1 else -1
    other = msgspec.structs.replace(synapse, op=msgspec.structs.replace(synapse.op, weight=weight))
    planted = msgspec.structs.replace(program, nodes=tuple(other if n is synapse else n for n in program.nodes))

    class Planted(OnnxRuntime):
        def run(self, program, messages):
            return super().run(planted, messages)

    verdict = compare(program, random_messages(program, 4, 3), [Planted(threads=1)])[0]
    assert not verdict.bit_exact
    readers = [p.name for p in program.populations if synapse.name in {port.source for port in p.ports}]
    assert verdict.first_mismatch.population == readers[0]


# ------------------------------------------------------------------- layout of the model


def test_the_graph_reads_as_the_network():
    program = random_program(11)
    model = export_onnx(program, taps=True)
    scan = next(n for n in model.graph.node if n.op_type == "Scan")
    assert [n.op_type for n in model.graph.node].count("Scan") == 1
    body = next(a.g for a in scan.attribute if a.name == "body")
    assert [n.name for n in body.node] == [*(n.name for n in program.nodes), "readout"]
    assert {n.domain for n in body.node} == {"hmdf"}
    taps = [f"messages/{p.name}" for p in program.populations]
    assert [o.name for o in model.graph.output] == ["logits", *taps, "messages/input"]
    assert [o.name for o in export_onnx(program).graph.output] == ["logits"]
    for output, population in zip(model.graph.output[1:], program.populations, strict=False):
        dims = output.type.tensor_type.shape.dim
        assert dims[0].dim_param == "N"
        assert [d.dim_value for d in dims[1:]] == [program.time_steps, *population.shape]


@pytest.mark.parametrize("seed", [2, 5])
def test_viewers_find_every_layer_by_name_with_its_shape(seed):
    """A node of the body for each node of the program, and the type and shape of what it makes, true in onnxruntime."""
    program = random_program(seed)
    model = export_onnx(program)
    onnx.checker.check_model(model, full_check=True)
    (scan,) = [node for node in model.graph.node if node.op_type == "Scan"]
    body = next(attribute.g for attribute in scan.attribute if attribute.name == "body")
    assert [node.name for node in body.node] == [*(node.name for node in program.nodes), "readout"]
    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim][1:]
        for value in (*body.value_info, *body.output)
    }
    for node in program.nodes:
        made = f"{node.name}/{'accumulator' if isinstance(node, Synapse) else 'message'}"
        assert shapes[made] == list(program.shapes[node.name])
    assert OnnxRuntime().run(program, random_messages(program, 1, seed)).logits.shape == (1, program.classes)


def test_metadata_says_what_the_graph_cannot():
    program = msgspec.structs.replace(
        random_program(2), metadata=msgspec.structs.replace(random_program(2).metadata, class_names=())
    )
    names = tuple(f"class {i}" for i in range(program.classes))
    program = msgspec.structs.replace(
        program, metadata=msgspec.structs.replace(program.metadata, class_names=names, network="random")
    )
    model = export_onnx(program)
    props = {p.key.removeprefix("hmdf."): p.value for p in model.metadata_props}
    assert props["program_sha256"] == program.sha256
    assert tuple(json.loads(props["class_names"])) == names
    assert float(props["input_scale"]) == program.input.message.scale
    assert int(props["input_bits"]) == program.input.message.bits
    assert json.loads(props["input_signed"]) is program.input.message.signed
    assert json.loads(props["preprocessing"]) == {"divisor": 1.0, "mean": [0.0], "std": [1.0]}
    assert int(props["time_steps"]) == program.time_steps
    assert props["input_timing"] == program.input.timing
    assert props["format_version"] == "1"
    assert props["tool_version"]
    assert model.graph.name == "random"


def test_a_saved_model_runs_in_plain_onnxruntime(tmp_path):
    program = next(p for p in map(random_program, range(99)) if p.input.timing == "frames")
    path = tmp_path / "model.onnx"
    save_onnx(program, path)
    assert [f.name for f in tmp_path.iterdir()] == ["model.onnx"]
    messages = random_messages(program, 3, 0)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = (messages * program.input.message.scale).astype(np.float32)
    logits = session.run(None, {INPUT: x})[0]
    assert np.array_equal(logits, reference.run(program, messages).logits)


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(OSError, match=r"model\.onnx"):
        save_onnx(random_program(0), tmp_path / "model.onnx")
    assert [f.name for f in tmp_path.iterdir()] == ["model.onnx"]


# ---------------------------------------------------------------------------- refusals


def test_low_bytes_that_could_overflow_32_bits_are_refused():
    weight = np.full((1, 70_000), -128, np.int8)
    program = program_of((70_000,), Message(16, True, 1.0), [Synapse("head", INPUT, Linear(weight, 8))], 24, 32)
    with pytest.raises(ProgramError, match="synapse 'head': ONNX adds products in 32 bits"):
        export_onnx(program)


def test_a_gate_product_beyond_the_rounding_shift_is_refused():
    wide = Message(16, True, 1.0)
    largest = np.full((1, 1), 32767, np.int32)
    ports = (Port("conv", largest, 0), Port("conv", largest, 0))
    nodes = (
        Synapse("conv", INPUT, Conv2d(np.ones((1, 1, 1, 1), np.int8), 8)),
        Population("gate", (1, 1, 1), (Port("conv", ONE, 0),), NONE, Relay(), Message(16, False, 1.0)),
        Population("gated", (1, 1, 1), ports, NONE, Relay(), wide, Gate("gate", 4, NONE)),
        Synapse("head", "gated", Linear(np.ones((1, 1), np.int8), 8)),
    )
    with pytest.raises(ProgramError, match="population 'gated': its current times the gate could reach"):
        export_onnx(program_of((1, 1, 1), wide, nodes, 32, 32))
    export_onnx(program_of((1, 1, 1), wide, nodes, 32, 30))


def test_missing_onnxruntime_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"running an ONNX model needs onnxruntime.*'hmdf\[onnx\]'"):
        OnnxRuntime().run(random_program(0), random_messages(random_program(0), 1, 0))


def test_messages_that_do_not_fit_are_refused():
    program = random_program(0)
    with pytest.raises(InputError, match="input must be integers of shape"):
        OnnxRuntime().run(program, np.zeros((1, 9, 9)))


def session_of(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
