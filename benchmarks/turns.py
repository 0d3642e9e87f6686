"""How the benchmarks measure: contestants take turns, and memory is that of a process of its own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch


@dataclass
class Settings:
    """What the benchmarks of a kernel measure.

    :param threads: numbers of torch threads
    :param seconds: time for the turns of one row, for all contestants together
    :param memory: also measure the peak memory, in a process for each
    """

    threads: tuple[int, ...] = (1, 2)
    seconds: float = 20.0
    memory: bool = True


def fastest(runs: Mapping[Any, Callable[[], object]], seconds: float) -> dict[Any, float]:
    """Seconds of the fastest turn of each, so that what else runs on the machine disturbs all of them alike.

    :param runs: the contestants; each has a first turn that does not count
    :param seconds: time for the turns of all together
    """
    best = dict.fromkeys(runs, float("inf"))
    for run in runs.values():
        run()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - begin)
    return best


def peak_memory(make: Callable[..., Callable[[], object]], arguments: tuple, small: tuple) -> float:
    """MiB by which one turn raises the memory of a fresh process of one thread (Linux only, else NaN).

    :param make: makes a contestant; a function of a module's top level, as it goes to another process
    :param arguments: its arguments
    :param small: arguments of one that runs before, so that what is loaded at the first turn does not count
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
