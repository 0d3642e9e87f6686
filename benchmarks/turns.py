"""Measurements of the benchmarks: contestants that take turns, and the memory of a process of its own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from windows import WindowSize

Makers = Mapping[str, tuple[Callable[..., Callable[[], object]], tuple]]
"""Contestants by name: the function that makes one, and its arguments after the size; ``fused`` is the yardstick."""


@dataclass
class KernelBenchmark:
    """Settings of the benchmarks of a kernel.

    :param threads: numbers of torch threads
    :param seconds: time for the turns of one row, for all contestants together
    :param memory: also measure the peak memory, in a process for each
    """

    threads: tuple[int, ...] = (1, 2)
    seconds: float = 20.0
    memory: bool = True


def seconds_of(run: Callable[[], object]) -> float:
    """Return the seconds of one turn by the clock on the wall."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def fastest(
    runs: Mapping[Any, Callable[[], Any]],
    seconds: float,
    measure: Callable[[Callable[[], Any]], float] = seconds_of,
) -> dict[Any, float]:
    """Return the fastest turn of each, so that what else runs on the machine disturbs all of them alike.

    :param runs: the contestants; each has a first turn that does not count
    :param seconds: time for the turns of all together
    :param measure: makes one turn and returns what it took
    """
    best = dict.fromkeys(runs, float("inf"))
    for run in runs.values():
        run()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, run in runs.items():
            best[name] = min(best[name], measure(run))
    return best


def beside_fused(values: Mapping[str, float], shown: str, digits: int = 1) -> list[str]:
    """Return the cells of some values, each with its ratio to that of ``fused``.

    :param shown: how a value is written, as ``str.format`` takes it
    :param digits: of the ratio, after the point
    """
    return [f"{shown.format(value)} ({value / values['fused']:.{digits}f}×)" for value in values.values()]


def memory_cells(size: Any, makers: Makers) -> list[str]:
    """Return the cells of the contestants' peak memory in a window of a size (a NamedTuple)."""
    small = size._replace(batch=2, steps=2)
    peaks = {name: peak_memory(make, (size, *rest), (small, *rest)) for name, (make, rest) in makers.items()}
    return beside_fused(peaks, "{:.0f} MiB")


def kernel_rows(size: WindowSize, shape: Sequence[str], makers: Makers, settings: KernelBenchmark) -> list[list[str]]:
    """Return the rows of a size: one for each number of threads, and one of peak memory.

    :param size: of the window
    :param shape: cells that describe it
    :param makers: the contestants
    :param settings: what to measure
    """
    rows = []
    for threads in settings.threads:
        torch.set_num_threads(threads)
        best = fastest({name: make(size, *rest) for name, (make, rest) in makers.items()}, settings.seconds)
        times = beside_fused({name: 1e3 * taken for name, taken in best.items()}, "{:.1f}")
        rows.append([*shape, str(threads), *times, f"{size.batch * size.steps / best['fused']:,.0f}"])
    if settings.memory:
        rows.append([*shape, "memory", *memory_cells(size, makers), ""])
    return rows


def peak_memory(make: Callable[..., Callable[[], object]], arguments: tuple, small: tuple) -> float:
    """Return the MiB by which one turn raises the memory of a fresh process of one thread (Linux only, else NaN).

    :param make: makes a contestant; a function of a module's top level, as it goes to another process
    :param arguments: its arguments
    :param small: arguments of one that runs before, so that what the first turn loads does not count
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_measure_memory, args=(make, arguments, small, theirs))
    child.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        return float("nan")
    finally:
        child.join()


def _measure_memory(
    make: Callable[..., Callable[[], object]], arguments: tuple, small: tuple, connection: Connection
) -> None:
    torch.set_num_threads(1)
    make(*small)()
    run = make(*arguments)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _memory("VmRSS")
    run()
    connection.send(_memory("VmHWM") - before)


def _memory(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024
