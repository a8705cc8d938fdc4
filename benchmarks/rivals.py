"""What the simulator is measured against: the same network in PyTorch float32, our exported integer graph in
onnxruntime, its convolutions alone in onnxruntime int8, and Lava."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hmdf.sim.contract import (
    Conv2d,
    HybridFiring,
    Linear,
    ParallelFiring,
    Population,
    Relay,
    SumPool,
    Synapse,
    WeightedOp,
)
from hmdf.sim.program import Program


def torch_network(program: Program, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """The folded network in float32, channels last, inference mode: constant multipliers live in the weights, stateless
    layers see all steps as one batch, a constant stem is computed once. Inputs (n, 1, C, H, W), logits (n, classes).
    """
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    steps = program.time_steps
    folded = {
        port.source: port.multiplier[0] / 2.0**port.shift
        for population in program.populations
        for port in population.ports
        if len(port.multiplier) == 1
    }
    weights = {}
    for synapse in program.synapses:
        if isinstance(synapse.op, WeightedOp):
            scale = np.asarray(folded.get(synapse.name, 1.0)).reshape(-1, *(1,) * (synapse.op.weight.ndim - 1))
            weight = torch.from_numpy((synapse.op.weight * scale).astype(np.float32))
            weights[synapse.name] = weight.to(memory_format=torch.channels_last) if weight.ndim == 4 else weight

    def synapse_output(synapse: Synapse, x: torch.Tensor) -> torch.Tensor:
        match synapse.op:
            case Conv2d(stride=stride, padding=padding):
                return functional.conv2d(x, weights[synapse.name], None, stride, padding)
            case Linear():
                return functional.linear(x.flatten(1), weights[synapse.name])
            case SumPool(kernel=kernel, stride=stride):
                return functional.avg_pool2d(x, kernel, stride) * float(np.prod(kernel))
            case _:
                return functional.max_pool2d(x, synapse.op.kernel, synapse.op.stride, synapse.op.padding)

    def row(array: np.ndarray, t: int) -> torch.Tensor:
        return torch.from_numpy(array[t % len(array)].astype(np.float32)).reshape(1, -1, 1, 1)

    tables = {
        p.name: [
            (
                [row(port.multiplier / 2.0**port.shift, t) for port in p.ports],
                row(p.bias, t),
                row(getattr(p.dynamics, "leak", np.zeros((1, 1))) / 2.0 ** getattr(p.dynamics, "leak_shift", 0), t),
                row(getattr(p.dynamics, "threshold", np.zeros((1, 1))), t),
            )
            for t in range(steps)
        ]
        for p in program.populations
    }

    def population_output(p: Population, inputs: list[torch.Tensor], batch: int) -> torch.Tensor:
        """All inputs step-major (steps * n or n, ...); the output likewise."""
        constant = all(x.shape[0] == batch for x in inputs) and isinstance(p.dynamics, Relay)
        stateless = isinstance(p.dynamics, Relay | ParallelFiring) and len(p.bias) == 1
        if constant or stateless:
            wanted = batch if constant else steps * batch
            scales, bias, _, theta = tables[p.name][0]
            current = bias
            for x, scale, port in zip(inputs, scales, p.ports, strict=True):
                x = x if x.shape[0] == wanted else x.repeat(steps, 1, 1, 1)
                current = current + (x if port.source in weights else x * scale)
            return spikes(p, current, theta)
        v, sent = torch.zeros(()), []
        for t in range(steps):
            scales, bias, leak, theta = tables[p.name][t]
            m = leak * v + bias
            for x, scale in zip(inputs, scales, strict=True):
                m = m + scale * (x if x.shape[0] == batch else x[t * batch : (t + 1) * batch])
            v = torch.minimum(m, theta)
            sent.append(spikes(p, m, theta))
        return torch.cat(sent)

    def spikes(p: Population, m: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        if isinstance(p.dynamics, Relay):
            return m
        assert isinstance(p.dynamics, HybridFiring | ParallelFiring)
        return ((m - theta) * 0.5**p.dynamics.spike_shift).round_().clamp_(0, p.message.range[1])

    @torch.inference_mode()
    def run(messages: np.ndarray) -> np.ndarray:
        batch = len(messages)
        x = torch.from_numpy(messages[:, 0].astype(np.float32)).contiguous(memory_format=torch.channels_last)
        values = {"input": x}
        for node in program.nodes:
            if isinstance(node, Synapse):
                values[node.name] = synapse_output(node, values[node.source])
            else:
                values[node.name] = population_output(node, [values[port.source] for port in node.ports], batch)
        return values[program.readout.source].reshape(steps, batch, -1).sum(0).numpy()

    return run


def quantised_convolutions(program: Program, threads: int) -> Callable[[np.ndarray], None]:
    """A chain of QLinearConv in onnxruntime: the program's 3x3 and larger convolutions on spikes, one after the other.

    No neurons, no counters, no residuals, no stem: only what has to be multiplied. Inputs (steps * n, C, H, W), uint8.
    """
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    convolutions = [s for s in program.synapses if isinstance(s.op, Conv2d) and program.carries_spikes(s)]
    nodes, constants, x = [], [], "x"
    for name, value in (
        ("scale", np.float32(1)),
        ("wide", np.float32(64)),
        ("zero", np.uint8(0)),
        ("none", np.int8(0)),
    ):
        constants.append(numpy_helper.from_array(np.asarray(value), name))
    for synapse in convolutions:
        assert isinstance(synapse.op, Conv2d)
        constants.append(numpy_helper.from_array(np.asarray(synapse.op.weight), synapse.name))
        pads = [*synapse.op.padding, *synapse.op.padding]
        inputs = [x, "scale", "zero", synapse.name, "scale", "none", "wide", "zero"]
        nodes.append(
            helper.make_node("QLinearConv", inputs, [f"{synapse.name}.y"], strides=synapse.op.stride, pads=pads)
        )
        x = f"{synapse.name}.y"
    first, last = program.shapes[convolutions[0].source], program.shapes[convolutions[-1].name]
    graph = helper.make_graph(
        nodes,
        "convolutions",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", *first])],
        [helper.make_tensor_value_info(x, TensorProto.UINT8, ["n", *last])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return lambda messages: session.run(None, {"x": messages})[0]


def quantised_network(program: Program, calibration: np.ndarray) -> bytes:
    """The same network without time as onnxruntime's own quantisation leaves it: ReLU for neurons; static, per channel,
    8-bit weights and activations, in QDQ form. An ONNX model of images (n, C, H, W), float32.

    Args:
        calibration: messages (n, 1, C, H, W) of the input.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    nodes, constants, names = [], [], {"input": "x"}
    for node in program.nodes:
        if isinstance(node, Synapse):
            x, kind, attributes, inputs = names[node.source], "AveragePool", {}, []
            if isinstance(node.op, WeightedOp):
                # Of a variance that keeps activations of one size through the network.
                weight = (node.op.weight / (node.op.weight.std() * node.op.weight[0].size ** 0.5)).astype(np.float32)
                constants.append(numpy_helper.from_array(weight, f"{node.name}.w"))
                inputs = [f"{node.name}.w"]
            if isinstance(node.op, Conv2d):
                pads = [*node.op.padding, *node.op.padding]
                kind, attributes = "Conv", {"strides": node.op.stride, "pads": pads}
            elif isinstance(node.op, Linear):
                nodes.append(helper.make_node("Flatten", [x], [f"{node.name}.flat"]))
                kind, attributes, x = "Gemm", {"transB": 1}, f"{node.name}.flat"
            elif isinstance(node.op, SumPool):
                attributes = {"kernel_shape": node.op.kernel, "strides": node.op.stride}
            nodes.append(helper.make_node(kind, [x, *inputs], [node.name], **attributes))
            names[node.name] = node.name
        else:
            names[node.name] = names[node.ports[0].source]
            if len(node.ports) == 2 or not isinstance(node.dynamics, Relay):
                kind = "Add" if len(node.ports) == 2 else "Relu"
                nodes.append(helper.make_node(kind, [names[p.source] for p in node.ports], [node.name]))
                names[node.name] = node.name
    y = names[program.readout.source]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *program.input.shape])],
        [helper.make_tensor_value_info(y, TensorProto.FLOAT, ["n", program.classes])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [{"x": float_images(calibration)}]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return self.left.pop() if self.left else None

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, before)
        types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        quantize_static(before, after, Images(), quant_format=QuantFormat.QDQ, per_channel=True, **types)
        return after.read_bytes()


def float_images(messages: np.ndarray) -> np.ndarray:
    """Images of about unit variance from messages of the input (n, 1, C, H, W)."""
    return (messages[:, 0] / messages.std()).astype(np.float32)


def in_onnxruntime(model: bytes, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A model of images (n, C, H, W)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    return lambda images: session.run(None, {"x": images})[0]


def in_openvino(model: bytes, threads: int, batch: int) -> Callable[[np.ndarray], np.ndarray] | None:
    """The same in OpenVINO, for one size of batches; None where it is not installed."""
    try:
        import openvino
    except ImportError:
        return None
    core = openvino.Core()
    network = core.read_model(model)
    shape = [d.get_length() for d in list(network.input().get_partial_shape())[1:]]
    network.reshape({"x": [batch, *shape]})
    compiled = core.compile_model(network, "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"})
    return lambda images: compiled(images)[0]


def integer_graph(program: Program, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """The exported integer graph in onnxruntime, without taps. Inputs (n, 1, C, H, W), logits (n, classes)."""
    import onnxruntime

    from hmdf.export.onnx import export_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    model = export_onnx(program).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    name, scale = session.get_inputs()[0].name, np.float32(program.input.message.scale)
    return lambda messages: session.run(None, {name: messages[:, 0].astype(np.float32) * scale})[0]


def lava_seconds(program: Program, messages: np.ndarray, samples: int, lava_conv: bool) -> tuple[float, float]:
    """Seconds per sample in Lava: once it runs, and of a run of `samples` with its start and end.

    Args:
        lava_conv: Lava's own model of Conv instead of ours with the same output.
    """
    from hmdf.export.lava import export_bundle
    from hmdf.export.lava.executor import run_bundle

    with tempfile.TemporaryDirectory() as folder:
        bundle = export_bundle(program, Path(folder) / "bundle")
        seconds = []
        for count in (1, samples):
            began = time.perf_counter()
            run_bundle(bundle, messages[:count], lava_conv=lava_conv)
            seconds.append(time.perf_counter() - began)
    return (seconds[1] - seconds[0]) / (samples - 1), seconds[1] / samples
