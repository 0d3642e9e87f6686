"""The DNC forward and backward over a window: the fused CPU kernel, the plain loop it equals, and the PyPI package.

The package (``pip install --no-deps dnc==1.1.0``) takes part if it is installed. Contestants take turns and the fastest
turn of each counts, so that what else runs on the machine disturbs all of them alike.

python benchmarks/dnc.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import importlib
import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
import tyro
from rich.console import Console
from rich.table import Table

from memagents.cores.core import MemoryCore
from memagents.cores.dnc import DNC

INPUT_SIZE = 32


class Size(NamedTuple):
    """One row of the table."""

    batch: int
    steps: int
    slots: int
    width: int
    heads: int
    hidden: int


SIZES = [Size(16, 32, 64, 32, 4, 64), Size(64, 128, 64, 32, 4, 64), Size(256, 20, 32, 24, 2, 64)]


@dataclass
class Settings:
    """What to measure.

    :param threads: numbers of torch threads
    :param seconds: time for the turns of one row, for all contestants together
    :param memory: also measure the peak memory, in a process for each
    """

    threads: tuple[int, ...] = (1, 2)
    seconds: float = 20.0
    memory: bool = True


def ours(size: Size, unroll: Callable) -> Callable[[], None]:
    """Forward and backward of a core by ``unroll``, in the middle of an episode."""
    core = DNC(INPUT_SIZE, size.slots, size.width, size.heads, size.hidden)
    inputs = torch.randn(size.steps, size.batch, INPUT_SIZE)
    starts = torch.zeros(size.steps, size.batch, dtype=torch.bool)
    with torch.no_grad():
        state = core.unroll(inputs, core.initial_state(size.batch), starts).state

    def run() -> None:
        core.zero_grad()
        unroll(core, inputs, state, starts).outputs.sum().backward()

    return run


def installed_package() -> ModuleType | None:
    """The PyPI package, if there is one: not this file, which has the same name."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != here]
    try:
        return importlib.import_module("dnc")
    except ModuleNotFoundError:
        return None


def package(size: Size) -> Callable[[], None]:
    """The same of the package, one LSTM layer as its controller."""
    module = installed_package()
    assert module is not None
    model = module.DNC(
        INPUT_SIZE,
        size.hidden,
        num_hidden_layers=1,
        nr_cells=size.slots,
        cell_size=size.width,
        read_heads=size.heads,
        batch_first=False,
        gpu_id=-1,
    )
    inputs = torch.randn(size.steps, size.batch, INPUT_SIZE)

    def run() -> None:
        model.zero_grad()
        model(inputs, (None, None, None), reset_experience=True)[0].sum().backward()

    return run


CONTESTANTS: dict[str, Callable[[Size], Callable[[], None]]] = {
    "fused": lambda size: ours(size, DNC.unroll),
    "plain loop": lambda size: ours(size, MemoryCore.unroll),
    "PyPI dnc": package,
}


def fastest(size: Size, names: list[str], seconds: float) -> dict[str, float]:
    """Seconds of the fastest turn of each."""
    runs = {name: CONTESTANTS[name](size) for name in names}
    best = dict.fromkeys(names, float("inf"))
    for run in runs.values():
        run()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - begin)
    return best


def peak_memory(size: Size, name: str) -> float:
    """MiB by which one forward and backward raise the memory of a fresh process (Linux only, else NaN)."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_measure_memory, args=(size, name, theirs))
    child.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        return float("nan")
    finally:
        child.join()


def _measure_memory(size: Size, name: str, connection: Connection) -> None:
    torch.set_num_threads(1)
    CONTESTANTS[name](size._replace(batch=2, steps=2))()  # what is loaded at the first run does not count
    run = CONTESTANTS[name](size)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _memory("VmRSS")
    run()
    connection.send(_memory("VmHWM") - before)


def _memory(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def main(settings: Settings) -> None:
    """Print one table."""
    names = [name for name in CONTESTANTS if name != "PyPI dnc" or installed_package()]
    table = Table(title="DNC, forward + backward: ms (times the fused kernel), peak MiB")
    for column in ("batch × steps", "memory", "reads", "controller", "threads", *names, "steps/s, fused"):
        table.add_column(column, justify="right")
    for size in SIZES:
        shape = [f"{size.batch} × {size.steps}", f"{size.slots} × {size.width}", str(size.heads), str(size.hidden)]
        for threads in settings.threads:
            torch.set_num_threads(threads)
            best = fastest(size, names, settings.seconds)
            ratios = [f"{1e3 * best[name]:.1f} ({best[name] / best['fused']:.1f}×)" for name in names]
            table.add_row(*shape, str(threads), *ratios, f"{size.batch * size.steps / best['fused']:,.0f}")
        if settings.memory:
            peaks = {name: peak_memory(size, name) for name in names}
            ratios = [f"{peaks[name]:.0f} MiB ({peaks[name] / peaks['fused']:.1f}×)" for name in names]
            table.add_row(*shape, "memory", *ratios, "", end_section=True)
    Console().print(table)
    print(f"torch {torch.__version__}; every environment step counts once, forward and backward together")


if __name__ == "__main__":
    main(tyro.cli(Settings))
