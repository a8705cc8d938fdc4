"""Which edges of a graph go back: NIR does not say it, a recurrent network is a graph with cycles.

Spiking neurons are numbered by how many of them lie on the shortest way from the input. Within a cycle, an edge goes
back that leads from neurons to themselves, or to such of a lower number, whatever lies between. Where cycles are left,
of neurons of one number, all their edges go back. What goes back is the spike of the step before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping

SPIKING = frozenset({"IF", "LIF", "CubaLIF", "Threshold"})
Edges = set[tuple[str, str]]


def late_edges(sources: Mapping[str, Collection[str]], kinds: Mapping[str, str], start: str) -> Edges:
    """(neurons, node): each edge out of spiking neurons that goes back.

    Args:
        sources: by node, what it reads.
        start: the input.
    """
    loops = in_cycles(sources)
    if not loops:
        return set()
    readers: dict[str, list[str]] = {name: [] for name in sources}
    for name, read in sources.items():
        for source in read:
            readers[source].append(name)
    spiking = {name for name, kind in kinds.items() if kind in SPIKING}
    number = _numbers(readers, spiking, start)
    farthest = len(sources)
    late: Edges = set()
    for within in (True, False):
        for name in sorted(spiking & set(loops)):
            for node in readers[name]:
                ends = _ends(node, readers, spiking)
                inside = {end for end in ends if loops.get(end) == loops[name]}
                lower = {e for e in inside if e == name or number.get(e, farthest) < number.get(name, farthest)}
                if inside and ends == (lower if within else inside):
                    late.add((name, node))
        left = {name: [s for s in read if (s, name) not in late] for name, read in sources.items()}
        loops = in_cycles(left)
        if not loops:
            break
        readers = {name: [node for node in read if (name, node) not in late] for name, read in readers.items()}
    return late


def _ends(node: str, readers: Mapping[str, list[str]], spiking: set[str]) -> set[str]:
    """The spiking neurons that a node leads to, itself or through others; "" where it leads to the end of the graph."""
    ends, seen, waiting = set(), {node}, [node]
    while waiting:
        name = waiting.pop()
        if name in spiking:
            ends.add(name)
            continue
        if not readers[name]:
            ends.add("")
        waiting += [reader for reader in readers[name] if reader not in seen]
        seen |= set(readers[name])
    return ends


def _numbers(readers: Mapping[str, list[str]], spiking: set[str], start: str) -> dict[str, int]:
    """By node, how many spiking neurons lie on the shortest way to it, itself included."""
    number: dict[str, int] = {}
    waiting = deque([(start, int(start in spiking))])
    while waiting:
        name, passed = waiting.popleft()
        if number.get(name, passed + 1) <= passed:
            continue
        number[name] = passed
        for reader in readers[name]:
            if reader in spiking:
                waiting.append((reader, passed + 1))
            else:
                waiting.appendleft((reader, passed))
    return number


def in_cycles(sources: Mapping[str, Collection[str]]) -> dict[str, str]:
    """By node that is in a cycle, a name for all nodes that are in cycles with it (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: dict[str, str] = {}
    done: set[str] = set()
    for root in sorted(sources):
        if root in index:
            continue
        index[root] = low[root] = len(index)
        stack.append(root)
        work = [(root, iter(sorted(sources[root])))]
        while work:
            name, rest = work[-1]
            following = next(rest, None)
            if following is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    members = [stack.pop()]
                    while members[-1] != name:
                        members.append(stack.pop())
                    done |= set(members)
                    if len(members) > 1 or name in sources[name]:
                        found |= dict.fromkeys(members, name)
            elif following not in index:
                index[following] = low[following] = len(index)
                stack.append(following)
                work.append((following, iter(sorted(sources[following]))))
            elif following not in done:
                low[name] = min(low[name], index[following])
    return found
