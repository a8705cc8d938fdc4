"""The loop over a list of events, the same for all paths: what events.py has listed meets its weights."""

from __future__ import annotations

from llvmlite import ir
from numba import types

from ..compiling import intrinsic
from .loops import INT32, INT64, apart, broadcast, vectors_at, words
from .path import OUTPUTS


def make_add_events(lanes, emit_quad):
    """An intrinsic: accumulators of one pixel += values x weights, for a stretch of a list of events.py.

    Arguments, all int64: address of the first event, number of events (at least one), address of the weights of
    quad 0, address of the accumulators. Two events are in flight at once, with accumulators of their own:

        entry ──(two or more)──> pairs ⟲ ──> rest ──(one is left)──> one ──> done
          └────────────(one)────────────────> ┘└───────(none)────────────────> ┘

    `pairs` carries both sets of accumulators, `rest` adds them up, `done` stores them.
    """
    vectors, vector = OUTPUTS // lanes, words(lanes)

    @intrinsic
    def add(typing_context, events, count, weights, accumulators):
        def generate(context, builder, signature, args):
            events, count, weights, accumulators = args
            b, zero = builder, ir.Constant(INT64, 0)
            list_ = b.inttoptr(events, INT32.as_pointer())
            target = b.inttoptr(accumulators, vector.as_pointer())
            places = [b.gep(target, [ir.Constant(INT64, v)]) for v in range(vectors)]
            olds = [b.load(place, align=4) for place in places]
            entry, pairs, rest, one, done = (
                b.block,
                *(b.append_basic_block(n) for n in ("pairs", "rest", "one", "done")),
            )
            none = ir.Constant(vector, [0] * lanes)
            two_or_more = b.icmp_signed(">=", count, ir.Constant(INT64, 2))
            b.cbranch(two_or_more, pairs, rest)

            b.position_at_end(pairs)
            index = b.phi(INT64)
            index.add_incoming(zero, entry)
            sums = [b.phi(vector) for _ in range(2 * vectors)]
            for phi, value in zip(sums, olds + [none] * vectors, strict=True):
                phi.add_incoming(value, entry)
            updated = []
            for event in (0, 1):
                updated += _one_event(b, list_, b.add(index, ir.Constant(INT64, event)), weights,
                                      sums[event * vectors : (event + 1) * vectors], emit_quad)  # fmt: skip
            following = b.add(index, ir.Constant(INT64, 2))
            index.add_incoming(following, pairs)
            for phi, value in zip(sums, updated, strict=True):
                phi.add_incoming(value, pairs)
            b.cbranch(b.icmp_signed("<=", b.add(following, ir.Constant(INT64, 2)), count), pairs, rest)

            b.position_at_end(rest)
            at = b.phi(INT64)
            at.add_incoming(zero, entry)
            at.add_incoming(following, pairs)
            both = [b.phi(vector) for _ in range(2 * vectors)]
            for phi, before, after in zip(both, olds + [none] * vectors, updated, strict=True):
                phi.add_incoming(before, entry)
                phi.add_incoming(after, pairs)
            merged = [b.add(both[v], both[vectors + v]) for v in range(vectors)]
            b.cbranch(b.icmp_signed("<", at, count), one, done)

            b.position_at_end(one)
            last = _one_event(b, list_, at, weights, merged, emit_quad)
            b.branch(done)

            b.position_at_end(done)
            for v in range(vectors):
                result = b.phi(vector)
                result.add_incoming(merged[v], rest)
                result.add_incoming(last[v], one)
                both[v] = result
            for place, value in zip(places, both, strict=False):
                b.store(value, place, align=4)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    return add


def _one_event(builder, list_, index, weights, sums, emit_quad):
    """An event is two 32-bit integers: where its weights are, in bytes, and four messages."""
    first = builder.shl(index, ir.Constant(INT64, 1))
    offset = builder.zext(builder.load(builder.gep(list_, [first])), INT64)
    quad = builder.load(builder.gep(list_, [builder.or_(first, ir.Constant(INT64, 1))]))
    return emit_quad(builder, quad, builder.inttoptr(builder.add(weights, offset), sums[0].type.as_pointer()), sums)


def quad_of_bytes(emit):
    """Four messages with the weights of a quad."""

    def emit_quad(builder, quad, row, sums):
        inputs = broadcast(builder, quad, sums[0].type.count)
        rows = vectors_at(builder, row, len(sums))
        return [emit(builder, s, inputs, weights) for s, weights in zip(sums, rows, strict=True)]

    return emit_quad


def quad_of_pairs(emit):
    """Two pairs, one after the other, as BYTE_PAIRS keeps their weights."""

    def emit_quad(builder, quad, row, sums):
        rows = vectors_at(builder, row, 2 * len(sums))
        for half in (0, 1):
            pair = builder.and_(builder.lshr(quad, ir.Constant(INT32, 16 * half)), ir.Constant(INT32, 0xFFFF))
            inputs = broadcast(builder, apart(builder, pair), sums[0].type.count)
            mine = rows[half * len(sums) : (half + 1) * len(sums)]
            sums = [emit(builder, s, inputs, weights) for s, weights in zip(sums, mine, strict=True)]
        return sums

    return emit_quad
