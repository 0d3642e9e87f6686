"""Copies between the batch and a tile of its rows.

A tile is (entries, lanes), one :class:`~memagents.kernels.cpu.vector.simd.Vector` an entry; the batch is
(rows, entries).
"""

from __future__ import annotations

from memagents.kernels.cpu.vector.simd import full, gather_entries, load, part, scatter_entries, select_less, store


@part
def load_rows(batch, row, count, out):
    """``count`` rows of a (rows, entries) array to a tile's (entries, lanes); lanes without a row become zero."""
    entries, lanes = batch.shape[1], out.shape[1]
    done = 0
    if count == lanes:
        done = entries - entries % lanes
        for e in range(0, done, lanes):
            gather_entries(batch, row * entries + e, entries, out, e)
    for e in range(done, entries):
        store(out, e, full(out, 0.0))
        for lane in range(count):
            out[e, lane] = batch[row + lane, e]


@part
def store_rows(tile, batch, row, count):
    """Reverse of :func:`load_rows`."""
    entries, lanes = batch.shape[1], tile.shape[1]
    done = 0
    if count == lanes:
        done = entries - entries % lanes
        for e in range(0, done, lanes):
            scatter_entries(tile, e, batch, row * entries + e, entries)
    for lane in range(count):
        for e in range(done, entries):
            batch[row + lane, e] = tile[e, lane]


@part
def load_starts(starts, t, row, count, fresh):
    """One in the lanes whose row begins an episode at step t and zero in the others; whether there is any."""
    found = False
    for lane in range(fresh.shape[1]):
        fresh[0, lane] = 0.0
        if lane < count and starts[t, row + lane]:
            fresh[0, lane] = 1.0
            found = True
    return found


@part
def clear(out):
    """Zero everywhere."""
    zero = full(out, 0.0)
    for e in range(out.shape[0]):
        store(out, e, zero)


@part
def copy_vectors(values, at, count, out, out_at):
    """out = values, ``count`` vectors of each."""
    for k in range(count):
        store(out, out_at + k, load(values, at + k))


@part
def copy(source, out):
    """``out`` becomes ``source``."""
    for e in range(source.shape[0]):
        store(out, e, load(source, e))


@part
def clear_fresh(fresh, out):
    """Zero in the lanes that begin an episode."""
    flag, zero = load(fresh, 0), full(out, 0.0)
    for e in range(out.shape[0]):
        store(out, e, select_less(zero, flag, zero, load(out, e)))
