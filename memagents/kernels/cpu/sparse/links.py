"""The links of one row's slots: :mod:`memagents.memory.sparse_linkage`, whose names and order these functions keep."""

from __future__ import annotations

import math

from memagents.kernels.cpu.slots import EPSILON
from memagents.kernels.cpu.sparse.access import softmax
from memagents.kernels.cpu.sparse.tape import entries_of
from memagents.kernels.cpu.vector.simd import part


@part
def strongest(slots, weights, count, sums, out_slots, out_weights, start, most):
    """The slots of the largest sums of weights, to ``most`` places from ``start`` on; zeros where fewer are positive.

    :param slots: of ``count`` candidates
    :param sums: zeros for every slot, and zeros again afterwards
    """
    for k in range(start, start + most):
        out_slots[k] = 0
        out_weights[k] = 0.0
    for i in range(count):
        sums[slots[i]] += weights[i]
    for i in range(count):
        value = sums[slots[i]]
        sums[slots[i]] = 0.0  # another candidate of this slot finds nothing
        k = start + most - 1
        if value > out_weights[k]:
            while k > start and value > out_weights[k - 1]:
                out_weights[k] = out_weights[k - 1]
                out_slots[k] = out_slots[k - 1]
                k -= 1
            out_weights[k] = value
            out_slots[k] = slots[i]


@part
def later_weight(links, kept, link):
    """The weight of one of P's links as it is now; ``kept`` is where the row's begin."""
    forgotten = links.kept[kept + links.after[link]] - links.after_kept[link]
    return links.after_weights[link] * math.exp(forgotten)


@part
def update(sizes, places, row, links, tape, record, indices, first, sums, totals, slots, weights):
    """:func:`memagents.memory.sparse_linkage.update_links`, in place.

    :param totals: of every slot, zeros before and after: the weight that this step wrote with
    :param slots: room for candidates, and ``weights`` too
    """
    size, count = sizes.links, sizes.heads * entries_of(sizes) + 1
    base, precedence = row * sizes.slots, row * size
    write_slots, written = first + places.write_slots, record + places.written
    whole = 0.0
    for m in range(count):
        totals[indices[write_slots + m]] += tape[written + m]
        whole += tape[written + m]
    for m in range(count):
        slot = indices[write_slots + m]
        total, at = totals[slot], (base + slot) * size
        totals[slot] = 0.0  # so that it is not taken twice
        if total == 0.0:
            continue
        some = 0
        for k in range(size):  # weights are in descending order: those behind a zero are zeros
            if links.before_weights[at + k] == 0.0:
                break
            slots[some], weights[some] = links.before[at + k], (1.0 - total) * links.before_weights[at + k]
            some += 1
        for k in range(size):
            earlier, weight = links.precedence[precedence + k], links.precedence_weights[precedence + k]
            if weight == 0.0:
                break
            if earlier != slot:
                slots[some], weights[some] = earlier, total * weight
                some += 1
        strongest(slots, weights, some, sums, links.before, links.before_weights, at, size)
        links.kept[base + slot] += math.log(max(1.0 - total, EPSILON))
    for j in range(size):
        slot = links.precedence[precedence + j]
        at, total, again = (base + slot) * size, 0.0, False
        for k in range(size):
            if links.precedence[precedence + k] == slot:
                total += links.precedence_weights[precedence + k]
                again = again or k < j
        if again:
            continue
        some = 0
        for k in range(at, at + size):
            if links.after_weights[k] == 0.0:
                break
            slots[some], weights[some] = links.after[k], later_weight(links, base, k)
            some += 1
        for m in range(count):
            later, weight = indices[write_slots + m], total * tape[written + m]
            if later != slot and weight > 0.0:
                slots[some], weights[some] = later, weight
                some += 1
        strongest(slots, weights, some, sums, links.after, links.after_weights, at, size)
        for k in range(at, at + size):
            links.after_kept[k] = links.kept[base + links.after[k]]
    for k in range(size):
        slots[k] = links.precedence[precedence + k]
        weights[k] = (1.0 - whole) * links.precedence_weights[precedence + k]
    for m in range(count):
        slots[size + m], weights[size + m] = indices[write_slots + m], tape[written + m]
    strongest(slots, weights, size + count, sums, links.precedence, links.precedence_weights, precedence, size)


@part
def follow(sizes, places, row, links, kept, tape, record, indices, first, sums, slots, weights):
    """Where the links of what was read lead to: :func:`memagents.memory.sparse_linkage.backward_weighting` and
    ``forward_weighting``, to the slots read backward and forward and to ``followed``; and the share of each of these in
    the weight of each slot read before, to ``shares``.
    """
    size, reads, entries = sizes.links, sizes.reads, entries_of(sizes)
    base, read, most = row * sizes.slots, first + places.read_slots, entries * size
    for r in range(sizes.heads):
        before = row * sizes.heads * entries + r * entries  # of the slots that the step before read
        for forward in range(2):
            some = 0
            for s in range(entries):
                at = (base + kept.read_indices[before + s]) * size
                for k in range(at, at + size):
                    share = links.after_weights[k] if forward else links.before_weights[k]
                    if share == 0.0:
                        break
                    if forward:
                        share = later_weight(links, base, k)
                    slots[some], slots[most + some] = links.after[k] if forward else links.before[k], s
                    weights[some], weights[most + some] = share, share * kept.read_weights[before + s]
                    some += 1
            out = record + places.followed + (2 * r + forward) * reads
            chosen = read + r * entries + 2 * forward * reads
            strongest(slots, weights[most:], some, sums, indices[chosen:], tape[out:], 0, reads)
            for k in range(reads):
                shares = record + places.shares + ((2 * r + forward) * reads + k) * entries
                for s in range(entries):
                    tape[shares + s] = 0.0
                if tape[out + k] > 0:
                    for i in range(some):
                        if slots[i] == indices[chosen + k]:
                            tape[shares + slots[most + i]] += weights[i]
            if forward:
                total = 0.0
                for k in range(reads):
                    total += tape[out + k]
                divisor = max(total, 1.0)
                tape[record + places.divisors + r] = divisor
                for k in range(reads):
                    tape[out + k] /= divisor


@part
def sharpen(sizes, places, tape, record):
    """:func:`memagents.memory.sparse_linkage.sharpened` of what :func:`follow` found, which is kept as ``linked``."""
    reads, sharpness = sizes.reads, record + places.scalars + 5 * sizes.heads + 2
    for r in range(sizes.heads):
        for forward in range(2):
            own = (2 * r + forward) * reads
            at = record + places.followed + own
            some = 0  # that are linked: they stand first, as the largest
            for k in range(reads):
                tape[record + places.linked + own + k] = tape[at + k]
                if tape[at + k] > 0.0:
                    tape[at + k] = tape[sharpness + forward * sizes.heads + r] * math.log(tape[at + k] + EPSILON)
                    some += 1
            if some > 0:
                softmax(tape, at, some)
