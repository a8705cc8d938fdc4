"""What a run costs: spikes, saturations, synaptic operations (SOPs), multiply-accumulates (MACs), weight memory.

Definitions (docs/counters.md):

* spike: a non-zero message. Spike density: spikes per neuron and time-step.
* SOP: one (non-zero message, non-zero weight, valid output position) triple. Counted for synapses driven by spikes
  (`Program.carries_spikes`). A pool counts with weights of 1: one event per message and window.
* MAC: one (non-zero weight, valid output position whose input lies inside the frame) pair, whatever the message;
  for synapses driven by dense messages. A constant input costs its MACs at every step.
* dense MACs: every weight at every output position, zeros and padding included, as papers count them.
* Spikformer's way (`conventional_sops`): spike density of the source x dense MACs; of what has weights and reads no
  picture.

`count` is the definition, from the messages of the reference; the simulator's own counters are equal to it.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple
from weakref import WeakKeyDictionary

import msgspec
import numpy as np

from .arithmetic import Integers
from .contract import INPUT, Synapse, WeightedOp
from .executor import Taps
from .packing import packed_bytes
from .program import Program


class PopulationCounts(msgspec.Struct, frozen=True, eq=False):
    """Totals over all samples, per time-step.

    Attributes:
        neurons: per sample.
        spikes: int64 (T,), non-zero messages.
        state_saturations, message_saturations: int64 (T,), clamps that changed a value.
        spikes_per_sample: int64 (N,), over all steps.
    """

    neurons: int
    spikes: Integers
    state_saturations: Integers
    message_saturations: Integers
    spikes_per_sample: Integers

    def density(self) -> float:
        """Spikes per neuron, time-step and sample."""
        possible = self.neurons * len(self.spikes) * len(self.spikes_per_sample)
        return sum(self.spikes.tolist()) / possible if possible else 0.0


class SynapseCounts(msgspec.Struct, frozen=True, eq=False):
    """Operations of one synapse.

    Attributes:
        carries_spikes: whether it is counted in SOPs or in MACs; the other one is 0.
        sops: int64 (T,), total over all samples.
        sops_per_sample: int64 (N,), over all steps.
        macs: per sample, over all steps.
        dense_macs: per sample and step.
        conventional_sops: firing rate of the source x dense MACs x T, per sample; 0 for pools and for what reads a
            picture, which papers do not count as SOPs.
        weight_bytes: at the true packed width.
    """

    carries_spikes: bool
    sops: Integers
    sops_per_sample: Integers
    macs: int
    dense_macs: int
    conventional_sops: float
    weight_bytes: int


class Counters(msgspec.Struct, frozen=True, eq=False):
    """Counters of a run over N samples; `populations` has the input's messages under "input"."""

    samples: int
    time_steps: int
    populations: dict[str, PopulationCounts]
    synapses: dict[str, SynapseCounts]

    def sops_per_sample(self) -> Integers:
        """SOPs of each sample over all synapses and steps, int64 (N,)."""
        zeros = np.zeros(self.samples, dtype=np.int64)
        return sum((s.sops_per_sample for s in self.synapses.values()), start=zeros)

    def macs_per_sample(self) -> int:
        return sum(s.macs for s in self.synapses.values())

    def weight_bytes(self) -> int:
        return sum(s.weight_bytes for s in self.synapses.values())


class Tally(msgspec.Struct, frozen=True, eq=False):
    """Raw counts of one block of n samples, int64; rows of populations are the input, then all in order.

    Attributes:
        spikes_by_step, spikes_by_sample: (1 + P, T) and (1 + P, n).
        saturations: (1 + P, T, 2), state and message.
        sops_by_step, sops_by_sample: (synapses, T) and (synapses, n); 0 where no spikes are carried.
    """

    spikes_by_step: Integers
    spikes_by_sample: Integers
    saturations: Integers
    sops_by_step: Integers
    sops_by_sample: Integers

    @classmethod
    def of(cls, spikes: Integers, saturations: Integers, sops: Integers) -> Tally:
        """From spikes (1 + P, n, T) and SOPs (synapses, n, T)."""
        return cls(spikes.sum(axis=1), spikes.sum(axis=2), saturations, sops.sum(axis=1), sops.sum(axis=2))


class _Facts(NamedTuple):
    """What is known of a synapse without a run, as in SynapseCounts; `conventional`: counted in papers' SOPs."""

    carries_spikes: bool
    macs: int
    dense_macs: int
    conventional: bool
    weight_bytes: int


_known_facts: WeakKeyDictionary[Program, list[_Facts]] = WeakKeyDictionary()


def _facts(program: Program) -> list[_Facts]:
    """Of all synapses. A Program never changes, so they are found once."""
    if program not in _known_facts:
        _known_facts[program] = [_facts_of(program, synapse) for synapse in program.synapses]
    return _known_facts[program]


def _facts_of(program: Program, synapse: Synapse) -> _Facts:
    op, spiking = synapse.op, program.carries_spikes(synapse)
    macs = 0 if spiking else int(op.fanout(program.shapes[synapse.source]).sum()) * program.time_steps
    dense = op.taps * prod(program.shapes[synapse.name])
    conventional = isinstance(op, WeightedOp) and (spiking or synapse.source != INPUT)
    packed = packed_bytes(op.weight.size, op.weight_bits) if isinstance(op, WeightedOp) else 0
    return _Facts(spiking, macs, dense, conventional, packed)


def count(program: Program, messages: np.ndarray, taps: Taps) -> Counters:
    """The definition of every counter, from the messages of all populations.

    `Taps` holds saturations only as totals, so their per-step arrays carry the total at the last step.

    Args:
        messages: the input's, (N, 1 or T, *shape).
        taps: from the reference.
    """
    samples, steps = len(messages), program.time_steps
    shown = np.broadcast_to(messages, (samples, steps, *program.input.shape))
    fired = {name: (m != 0).astype(np.int64) for name, m in {INPUT: shown, **taps.messages}.items()}
    spikes = np.stack([f.reshape(samples, steps, -1).sum(axis=2) for f in fired.values()])
    saturations = np.zeros((len(fired), steps, 2), dtype=np.int64)
    for row, population in enumerate(program.populations, start=1):
        saturations[row, -1] = taps.saturations.get(population.name, 0)
    sops = np.zeros((len(program.synapses), samples, steps), dtype=np.int64)
    for row, synapse in enumerate(program.synapses):
        if program.carries_spikes(synapse):
            ones = synapse.op.counting()
            for t in range(steps):
                if (read := t - synapse.delay) >= 0:
                    operations = ones.accumulate(fired[synapse.source][:, read])
                    sops[row, :, t] = operations.reshape(samples, -1).sum(axis=1)
    return collect(program, [Tally.of(spikes, saturations, sops)])


def collect(program: Program, tallies: list[Tally]) -> Counters:
    """Counters of a run from the raw counts of its blocks, in order."""
    return counters_of(program, joined(program, tallies))


def joined(program: Program, tallies: list[Tally]) -> Tally:
    """The raw counts of blocks, in order, as those of one."""
    if len(tallies) == 1:
        return tallies[0]
    rows, steps, synapses = 1 + len(program.populations), program.time_steps, len(program.synapses)
    empty = ((rows, 0, steps), (rows, steps, 2), (synapses, 0, steps))
    nothing = Tally.of(*(np.zeros(shape, dtype=np.int64) for shape in empty))
    tallies = [nothing, *tallies]
    return Tally(
        spikes_by_step=np.sum([t.spikes_by_step for t in tallies], axis=0),
        spikes_by_sample=np.concatenate([t.spikes_by_sample for t in tallies], axis=1),
        saturations=np.sum([t.saturations for t in tallies], axis=0),
        sops_by_step=np.sum([t.sops_by_step for t in tallies], axis=0),
        sops_by_sample=np.concatenate([t.sops_by_sample for t in tallies], axis=1),
    )


def counters_of(program: Program, tally: Tally) -> Counters:
    """Counters of a run from the raw counts of all its samples."""
    spikes, saturations = tally.spikes_by_sample, tally.saturations
    populations = {
        name: PopulationCounts(
            prod(program.shapes[name]), tally.spikes_by_step[i], saturations[i, :, 0], saturations[i, :, 1], spikes[i]
        )
        for i, name in enumerate([INPUT, *(p.name for p in program.populations)])
    }
    operations = {
        s.name: SynapseCounts(
            carries_spikes=facts.carries_spikes,
            sops=tally.sops_by_step[i],
            sops_per_sample=tally.sops_by_sample[i],
            macs=facts.macs,
            dense_macs=facts.dense_macs,
            conventional_sops=populations[s.source].density() * facts.dense_macs * program.time_steps
            if facts.conventional
            else 0.0,
            weight_bytes=facts.weight_bytes,
        )
        for i, (s, facts) in enumerate(zip(program.synapses, _facts(program), strict=True))
    }
    return Counters(spikes.shape[1], program.time_steps, populations, operations)
