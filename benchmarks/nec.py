"""Costs of the differentiable neural dictionary: a look-up with its update, memory, writes when full, and FAISS.

The yardstick of an update is the obvious search alone, one product of all keys with the queries and torch's topk.
Contestants take turns and the fastest turn of each counts, so that what else runs on the machine disturbs all alike.
Memory is what the process grew by (Linux).

python benchmarks/nec.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import importlib.util
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from report import show
from turns import fastest

from memagents.nec.dictionary import Dictionary

LATENT = 16  # keys of a trained encoder lie near a surface of fewer dimensions, and so do these


@dataclass
class DictionaryBenchmark:
    """Settings: sizes of the dictionary, and how it is timed.

    :param entries: numbers of entries
    :param width: W of a key
    :param batch: queries of an update
    :param neighbours: P of a query
    :param writes: to a full dictionary
    :param seconds: time for the turns of one number of entries, for all contestants together
    """

    entries: tuple[int, ...] = (10_000, 100_000, 500_000)
    width: int = 64
    batch: int = 32
    neighbours: int = 50
    writes: int = 1_000_000
    seconds: float = 15.0


def keys_of(count: int, width: int) -> torch.Tensor:
    """Return keys (count, W)."""
    basis = torch.randn(LATENT, width, generator=torch.Generator().manual_seed(0))
    return torch.randn(count, LATENT) @ basis / LATENT**0.5 + 0.1 * torch.randn(count, width)


def write(dictionary: Dictionary, first: int, count: int, at_once: int) -> None:
    """Write new situations, ``at_once`` at a time."""
    zeros = torch.zeros(at_once, dtype=torch.int64)
    for begin in range(first, first + count, at_once):
        ids = torch.arange(begin, begin + at_once)
        dictionary.write(keys_of(at_once, dictionary.width), zeros, torch.randn(at_once), ids)


def filled(entries: int, settings: DictionaryBenchmark, search: str = "exact") -> Dictionary:
    """Return a full dictionary of one action."""
    torch.manual_seed(0)
    dictionary = Dictionary(1, settings.width, entries, settings.neighbours, search=search)
    write(dictionary, 0, entries, 1000)
    return dictionary


def updates(settings: DictionaryBenchmark) -> None:
    """Time a look-up with its backward pass and a step of descent, beside the search alone."""
    rows = []
    actions = torch.zeros(settings.batch, dtype=torch.int64)
    for entries in settings.entries:
        dictionary = filled(entries, settings)
        asked = keys_of(settings.batch, settings.width)
        queries = asked.clone().requires_grad_()

        def update(dictionary: Dictionary = dictionary, queries: torch.Tensor = queries) -> None:
            lookup = dictionary.lookup(queries, actions, learn=True)
            lookup.values.square().sum().backward()
            dictionary.descend(lookup, 1e-6)

        runs = {
            "plain": lambda d=dictionary, q=asked: (q @ d.keys[0].T).topk(settings.neighbours),
            "update": update,
            "search": lambda d=dictionary, q=asked: d._nearest(0, q),
        }
        best = fastest(runs, settings.seconds)
        cells = [f"{1e3 * best[name]:.2f}" for name in ("plain", "update", "search")]
        rows.append([f"{entries:,}", *cells, f"{best['update'] / best['plain']:.2f}×"])
    title = f"An update of {settings.batch} queries, width {settings.width}, one thread: ms"
    show(title, ["entries", "matmul + topk", "look-up + update", "of it the search", "ratio"], rows)


def resident() -> int:
    """Return the bytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory_and_writes(settings: DictionaryBenchmark) -> None:
    """Measure the memory of a full dictionary, and time many writes to it."""
    entries = max(settings.entries)
    filled(1000, settings)  # what is loaded and compiled once
    before = resident()
    dictionary = filled(entries, settings)
    taken, least = resident() - before, 4 * entries * (settings.width + 1)
    part, rates = settings.writes // 10, []
    begin = resident()
    for number in range(10):
        start = time.perf_counter()
        write(dictionary, entries + number * part, part, 100)
        rates.append(part / (time.perf_counter() - start))
    rows = [
        ["memory", f"{taken / 2**20:.0f} MiB"],
        ["of it keys and values", f"{least / 2**20:.0f} MiB ({taken / least:.2f}×)"],
        [f"writes a second, the first {part:,} when full", f"{rates[0]:,.0f}"],
        [f"the last {part:,} of {settings.writes:,}", f"{rates[-1]:,.0f} ({rates[-1] / rates[0]:.2f}×)"],
        ["memory that they took", f"{max(resident() - begin, 0) / 2**20:.0f} MiB"],
    ]
    show(f"A dictionary of {entries:,} entries, width {settings.width}", ["what", "measured"], rows)


def approximate(settings: DictionaryBenchmark) -> None:
    """Time FAISS beside the exact search, for keys that never move."""
    entries = max(settings.entries)
    exact, faiss = (filled(entries, settings, search) for search in ("exact", "faiss"))
    rows = []
    for batch in (1, 8, settings.batch):
        queries = keys_of(batch, settings.width)
        runs = {"exact": lambda q=queries: exact._nearest(0, q), "faiss": lambda q=queries: faiss._nearest(0, q)}
        best = fastest(runs, settings.seconds / 3)
        pairs = zip(exact._nearest(0, queries)[1].tolist(), faiss._nearest(0, queries)[1].tolist(), strict=True)
        found = sum(len(set(a) & set(b)) for a, b in pairs) / (batch * settings.neighbours)
        ratio = f"{best['faiss'] / best['exact']:.2f}×"
        times = [f"{1e3 * best[name]:.2f}" for name in ("exact", "faiss")]
        rows.append([str(batch), *times, ratio, f"{100 * found:.0f} %"])
    title = f"The search of {entries:,} keys that never move, width {settings.width}: ms"
    show(title, ["queries", "exact", "faiss", "ratio", "found"], rows)


def main(settings: DictionaryBenchmark) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    memory_and_writes(settings)  # first: what others leave to be used again would not be seen
    updates(settings)
    if importlib.util.find_spec("faiss") is None:
        print("faiss-cpu is not installed: not measured")
    else:
        approximate(settings)
    print(f"torch {torch.__version__}; {settings.neighbours} neighbours")


if __name__ == "__main__":
    main(tyro.cli(DictionaryBenchmark, description=__doc__))
