"""One population with the synapses that it reads, or the read-out, as C functions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from hmdf.sim.contract import INPUT, Population, Shape, Synapse
from hmdf.sim.contract.intervals import Interval
from hmdf.sim.listing import reads
from hmdf.sim.program import Program
from hmdf.sim.ranges import PopulationRange, Ranges

from .accumulate import Accumulation, Origin, Site
from .arena import Buffer
from .dynamics import UPDATES
from .lanes import LANES, LaneWriter, NoLanesError
from .layout import TYPES, Names, code_of, message_code, positions
from .neuron import NeuronWriter, stored
from .ops import ACCUMULATIONS
from .tables import PREFIX, ConstantArray, Parameters
from .values import Value

_LINE = 118
ARENA = "model_arena *arena = &state->arena;"


@dataclass
class State:
    """A state of a population's neurons: elements of a type, kept from step to step.

    Fields:
        channels: of the population; element i is of channel c = i mod channels.
        initial: the expression of its value before the first step, at channel c; "" for 0.
    """

    name: str
    code: str
    count: int
    note: str
    channels: int
    initial: str

    @property
    def reset(self) -> str:
        """The statements that set it for a new sample."""
        if not self.initial:
            return f"    memset(state->{self.name}, 0, sizeof state->{self.name});\n"
        loop = f"    for (size_t i = 0; i < {self.count}; i += {self.channels})\n"
        inner = f"        for (size_t c = 0; c < {self.channels}; ++c)\n"
        return f"{loop}{inner}            state->{self.name}[i + c] = {self.initial};\n"


@dataclass
class LayerCode:
    """The C of one population, or of the read-out.

    Fields:
        call: the statement of model_step that computes it.
        kept: the statement of model_step that keeps its messages for the next step; "" for none.
        definitions: constants before its functions.
        functions: text.
        buffers: memory of the arena: its message and scratch.
    """

    call: str = ""
    kept: str = ""
    definitions: list[str] = field(default_factory=list)
    functions: str = ""
    tables: list[ConstantArray] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)


class Layers:
    """Writes the layers of one program."""

    def __init__(self, program: Program, proof: Ranges) -> None:
        self.program, self.proof, self.names = program, proof, Names()
        self.stage = {p.name: i for i, p in enumerate(program.populations)}
        self.last_read = self._last_reads()
        self._weights: set[str] = set()

    @property
    def readout_stage(self) -> int:
        return len(self.stage)

    def _last_reads(self) -> dict[str, int]:
        """The stage at which each population's message is read last; its own where nobody reads it."""
        last = dict(self.stage)
        reads = [(s, self.stage[p.name]) for p in self.program.populations for s in _sources(p)]
        for source, stage in [*reads, (self.program.readout.source, self.readout_stage)]:
            node = self.program.by_name.get(source)
            origin = node.source if isinstance(node, Synapse) else source
            if origin in last:
                last[origin] = max(last[origin], stage)
        return last | dict.fromkeys(self.program.remembered, self.readout_stage)  # kept when the step is done

    # --------------------------------------------------------------------------- populations

    def population(self, population: Population) -> LayerCode:
        """A function for a population's neurons at one position, and one that walks the positions."""
        layer, name = LayerCode(), population.name
        proof, stage = self.proof.populations[name], self.stage[name]
        parameters = Parameters(self.names, name)
        neuron = NeuronWriter(population, proof, parameters, self.program.state_bits)
        synapses = self._accumulations(layer, population, stage)
        inputs = [self._port_input(population, port.source) for port in population.ports]
        gate = None if population.gate is None else self._message(population.gate.source)
        lines = _neuron_lines(population, proof, parameters, neuron, inputs, gate)
        states = population.dynamics.facts.states
        code, count = message_code(population.message), int(np.prod(population.shape))
        out = self.names(name, "messages")
        layer.buffers.append(
            Buffer(out, code, count, stage, self.last_read[name], f"messages of {name} {_by(population.shape)}")
        )
        for state in states:
            state_name = self.names(name, state)
            state_code = code_of(neuron.state_interval)
            note, start = f"{state} of {name} {_by(population.shape)}", ""
            if (initial := population.initial().get(state)) is not None:
                start = stored(parameters.value(f"initial_{state}", initial), state_code)
            layer.states.append(State(state_name, state_code, count, note, population.shape[0], start))
        if name in self.program.remembered:
            note = f"messages of {name} {_by(population.shape)} of the step before"
            before = State(self.names(name, "before"), code, count, note, population.shape[0], "")
            layer.states.append(before)
            layer.kept = f"memcpy(state->{before.name}, state->arena.{out}.data, sizeof state->{before.name});"
        arguments = [f"const {TYPES[i.code]} *restrict in{n}" for n, i in enumerate(inputs)]
        if gate is not None:
            arguments.append(f"const {TYPES[gate.code]} *restrict gate")
        arguments += [f"{TYPES[code_of(neuron.state_interval)]} *restrict {s}" for s in states]
        arguments.append(f"{TYPES[code]} *restrict out")
        functions = [self._comment(population, proof, synapses)]
        function = self.names(name, "neurons")
        used = set(re.findall(r"\w+", " ".join(lines)))
        unused = [f"(void){name};" for name in (a.split()[-1].lstrip("*") for a in arguments) if name not in used]
        local = [line for line in parameters.locals if re.search(r"(\w+) =", line)[1] in used]  # type: ignore[index]
        uses_step = bool(local)
        if uses_step:
            arguments.insert(0, "int t")
        body = _indented([*unused, *local])
        loop = _loop(lines, population.shape[0], 1)
        if in_lanes := self._in_lanes(population, inputs, gate):
            loop = ["#if MODEL_HELIUM", *_loop(in_lanes, population.shape[0], LANES), "#else", *loop, "#endif"]
        body += loop
        functions.append(
            "\n".join([*_wrapped([f"static void {function}({', '.join(arguments)})"]), "{", *_wrapped(body), "}", ""])
        )
        functions.append(self._walk(population, synapses, inputs, gate, function, uses_step))
        layer.functions = "\n".join(functions)
        layer.tables += parameters.tables
        layer.call = f"{self.names(name, 'step')}(state{', input' if self._reads_input(population) else ''});"
        return layer

    def _in_lanes(self, population: Population, inputs: list[Origin], gate: Origin | None) -> list[str]:
        """The statements for four channels in Helium; none where a number needs more than 32 bits or has no vectors."""
        if population.shape[0] % LANES:
            return []
        proof, parameters = self.proof.populations[population.name], Parameters(self.names, population.name)
        neuron = LaneWriter(population, proof, parameters, self.program.state_bits)
        try:
            return _neuron_lines(population, proof, parameters, neuron, inputs, gate)
        except NoLanesError:
            return []

    def _walk(
        self,
        population: Population,
        synapses: dict[str, Accumulation],
        inputs: list[Origin],
        gate: Origin | None,
        function: str,
        uses_step: bool,
    ) -> str:
        """The function that computes all positions of a population."""
        name, channels = population.name, population.shape[0]
        spatial = positions(population.shape) > 1
        at = f" + position * {channels}" if spatial else ""
        arguments = ["state->t"] if uses_step else []
        arguments += [source.text if source.text.startswith("acc") else f"{source.text}{at}" for source in inputs]
        if gate is not None:
            arguments.append(gate.text)
        arguments += [f"state->{self.names(name, s)}{at}" for s in population.dynamics.facts.states]
        arguments.append(f"arena->{self.names(name, 'messages')}.data{at}")
        call = f"{function}({', '.join(arguments)});"
        starts = [line for a in synapses.values() for line in a.start.splitlines()]
        starts = [
            f"int32_t *acc{i} = arena->{self.names(name, f'acc{i}')}.data;"
            for i in [[port.source for port in population.ports].index(name) for name in synapses]
        ] + starts
        rows = [a.row for a in synapses.values() if a.row]
        each = [a.position for a in synapses.values()] + [call]
        if spatial:
            _, height, width = population.shape
            loop = [f"for (int y = 0; y < {height}; ++y) {{", *_indented(rows)]
            loop += _indented([f"for (int x = 0; x < {width}; ++x) {{"])
            loop += _indented([f"const size_t position = (size_t)y * {width} + (size_t)x;", *each], 2)
            loop += ["    }", "}"]
        else:
            loop = [*rows, *each]
            if any("y, x" in line or " y," in line for line in loop):
                loop.insert(0, "const int y = 0, x = 0;")
        argument = _input_argument(self.program) if self._reads_input(population) else ""
        signature = f"static void {self.names(name, 'step')}(model_state *state{argument})"
        return "\n".join([signature, "{", *_wrapped(_indented([ARENA, *starts, *loop])), "}", ""])

    def _accumulations(self, layer: LayerCode, population: Population, stage: int) -> dict[str, Accumulation]:
        """The synapses that a population reads, with their memory added to the layer."""
        found: dict[str, Accumulation] = {}
        for i, port in enumerate(population.ports):
            synapse = self.program.by_name.get(port.source)
            if isinstance(synapse, Synapse) and synapse.name not in found:
                found[synapse.name] = self._accumulation(layer, synapse, population.name, i, stage)
        return found

    def _accumulation(self, layer: LayerCode, synapse: Synapse, reader: str, port: int, stage: int) -> Accumulation:
        acc = f"acc{port}"
        shape = self.program.shapes[synapse.name]
        origin = self._before(synapse.source) if synapse.delay else self._message(synapse.source)
        site = Site(synapse.name, origin, shape, acc, self.names)
        result = ACCUMULATIONS[type(synapse.op)](synapse.op, site)
        layer.tables += [table for table in result.tables if table.name not in self._weights]
        self._weights |= {table.name for table in result.tables}
        layer.definitions += result.definitions
        note = f"of {synapse.name}"
        layer.buffers.append(
            Buffer(self.names(reader, acc), "i32", result.outputs, stage, stage, f"accumulators {note}, one position")
        )
        for scratch in result.scratch:
            name = self.names(synapse.name, scratch.what)
            layer.buffers.append(Buffer(name, scratch.code, scratch.elements, stage, stage, f"{scratch.what} {note}"))
        return result

    # ------------------------------------------------------------------------------ read-out

    def readout(self) -> LayerCode:
        """The function that adds one step to the logits."""
        program, layer = self.program, LayerCode()
        synapse = program.by_name[program.readout.source]
        assert isinstance(synapse, Synapse)
        result = self._accumulation(layer, synapse, "readout", 0, self.readout_stage)
        bias = np.broadcast_to(program.readout.bias, (program.classes,))
        text = "0"
        if bias.any():
            code = code_of(Interval(int(bias.min()), int(bias.max())))
            table = ConstantArray(f"{PREFIX}readout_bias", code, bias, "readout: bias of each class")
            layer.tables.append(table)
            text = f"{table.name}[k]"
        limits, total = self.proof.synapses[synapse.name], self.proof.logits
        source = f"{synapse.name} of {reads(synapse)} {_by(program.shapes[synapse.source])}"
        reads_input = synapse.source == INPUT
        argument = _input_argument(program) if reads_input else ""
        lines = [
            ARENA,
            f"int32_t *acc0 = arena->{self.names('readout', 'acc0')}.data;",
            *result.start.splitlines(),
            result.position,
            f"for (int k = 0; k < {program.classes}; ++k)",
            f"    state->logits[k] += acc0[k]{'' if text == '0' else f' + {text}'};",
        ]
        comment = [
            f"Read-out: {program.classes} classes.",
            "",
            f"  acc = {source}: {result.equation[0]}",
            *(f"    {line}" for line in result.equation[1:]),
            f"    proven {_proven(limits)}: int32_t",
            "  logits[k] = sum over t of (acc[k] + bias[k])",
            f"    proven {_proven(total)} for a whole sample: int64_t",
        ]
        signature = f"static void readout_step(model_state *state{argument})"
        layer.functions = "\n".join([_block(comment), signature, "{", *_wrapped(_indented(lines)), "}", ""])
        layer.call = f"readout_step(state{', input' if reads_input else ''});"
        return layer

    # -------------------------------------------------------------------------------- common

    def _message(self, name: str) -> Origin:
        """A message as an expression: of the input or of a population."""
        shape, message = self.program.shapes[name], self.program.message_of(name)
        if name == INPUT:
            return Origin(name, shape, "input", message_code(message), Interval(*message.range))
        text = f"arena->{self.names(name, 'messages')}.data"
        return Origin(name, shape, text, message_code(message), self.proof.populations[name].message)

    def _before(self, name: str) -> Origin:
        """What a population sent at the step before, 0 at the first, as an expression."""
        now, text = self._message(name), f"state->{self.names(name, 'before')}"
        return now._replace(text=text, limits=now.limits.hull(Interval(0, 0)))

    def _port_input(self, population: Population, name: str) -> Origin:
        """What a port reads: the accumulator of one position, that of the first port that reads it; or a message."""
        if isinstance(self.program.by_name.get(name), Synapse):
            index = [port.source for port in population.ports].index(name)
            return Origin(name, self.program.shapes[name], f"acc{index}", "i32", self.proof.synapses[name])
        return self._message(name)

    def _reads_input(self, population: Population) -> bool:
        for source in _sources(population):
            node = self.program.by_name.get(source)
            if INPUT in (source, getattr(node, "source", "")):
                return True
        return False

    def _comment(self, population: Population, proof: PopulationRange, synapses: dict[str, Accumulation]) -> str:
        message = population.message
        sends = f"{message.bits} bits, {'signed' if message.signed else 'unsigned'}"
        lines = [f"{population.name}: {population.dynamics.kind()}, {_by(population.shape)}, sends {sends}.", ""]
        terms = []
        for i, port in enumerate(population.ports):
            what = "acc" if port.source in synapses else "in"
            synapse = self.program.by_name.get(port.source)
            if isinstance(synapse, Synapse):
                source = f"{synapse.name} of {reads(synapse)} {_by(self.program.shapes[synapse.source])}"
                equation = synapses[port.source].equation
                lines += [f"  acc{i} = {source}: {equation[0]}", *(f"    {line}" for line in equation[1:])]
                lines.append(f"    proven {_proven(self.proof.synapses[synapse.name])}: int32_t")
            else:
                lines.append(f"  in{i} = message of {port.source}")
            terms.append(f"rshift(multiplier{i} * {what}{i}, {port.shift})")
        lines.append(f"  I = bias + {' + '.join(terms)}")
        if population.gate is not None:
            gate = population.gate
            lines += [f"  I <- rshift(I * gate[c], {gate.shift}) + gate_bias, gate = message of {gate.source}"]
        lines += [f"  {line}" for line in UPDATES[type(population.dynamics)].equation]
        if population.initial_state:
            lines.append(f"  before the first step, {' and '.join(population.initial())} as model_reset sets it")
        products = ", ".join(f"{p.bits}" for p in proof.products)
        membrane = "" if proof.membrane is None else f", membrane {proof.membrane.bits}"
        widths = f"products {products}, current {proof.current.bits}{membrane}, widest {proof.widest.bits}"
        lines.append(f"  proven bits: {widths}; message {proof.message.low}..{proof.message.high}")
        clamps = [n for n, c in (("state", proof.state_clamps), ("message", proof.message_clamps)) if not c]
        if clamps:
            lines.append(f"  clamps that provably never act are left out: {' and '.join(clamps)}")
        return _block(lines)


def _neuron_lines(
    population: Population,
    proof: PopulationRange,
    parameters: Parameters,
    neuron: NeuronWriter,
    inputs: list[Origin],
    gate: Origin | None,
) -> list[str]:
    """The statements for one neuron: its current, gated and limited, then its dynamics and its message."""
    total = neuron.element(parameters.value("bias", population.bias))
    for i, (port, source) in enumerate(zip(population.ports, inputs, strict=True)):
        x = neuron.element(Value(f"in{i}[c]", source.limits.low, source.limits.high), source.code)
        multiplier = neuron.element(parameters.value(f"multiplier{i}", port.multiplier))
        term = (multiplier * x).within(proof.products[i]).rshift(port.shift)
        total = term + total if total.low == total.high == 0 else total + term
    if population.gate is not None and gate is not None:
        total = neuron.let("ungated", total)
        factor = neuron.element(Value("gate[c]", gate.limits.low, gate.limits.high), gate.code)
        gate_bias = neuron.element(parameters.value("gate_bias", population.gate.bias))
        total = (total * factor).rshift(population.gate.shift) + gate_bias
    total = total.within(proof.current)
    current = neuron.let("current", neuron.limit_state(total))
    sent = UPDATES[type(population.dynamics)].write(neuron, current)
    neuron.send(neuron.limit_message(sent), message_code(population.message))
    return neuron.lines


def _loop(lines: list[str], channels: int, each: int) -> list[str]:
    """The loop over the channels, `each` at a time."""
    step = "++c" if each == 1 else f"c += {each}"
    return [f"    for (int c = 0; c < {channels}; {step}) {{", *_indented(lines, 2), "    }"]


def _sources(population: Population) -> list[str]:
    gate = [] if population.gate is None else [population.gate.source]
    return [port.source for port in population.ports] + gate


def _input_argument(program: Program) -> str:
    return f", const {TYPES[message_code(program.input.message)]} *input"


def _wrapped(lines: list[str]) -> list[str]:
    """Long lines broken after commas, indented to the bracket that is open there."""
    result = []
    for line in lines:
        while len(line) > _LINE and (cut := line.rfind(", ", 0, _LINE)) > 0:
            opened = max(line.find("(") + 1, line.find("{") + 1)
            result.append(line[: cut + 1])
            line = " " * opened + line[cut + 2 :]
            if cut + 2 <= opened:
                break
        result.append(line)
    return result


def _indented(lines: list[str], depth: int = 1) -> list[str]:
    return [" " * (4 * depth) + line for line in lines]


def _block(lines: list[str]) -> str:
    """A comment."""
    text = "\n".join(f" * {line}".rstrip() for line in lines)
    return f"/* {text[3:]}\n */"


def _by(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))})"


def _proven(limits: Interval) -> str:
    return f"{limits.low}..{limits.high} ({limits.bits} bits)"
