"""LSTM, GRU, EntNet and SHM, forward and backward: the fused CPU kernels, the plain loop they equal, and torch's own.

``torch.nn.LSTM`` and ``nn.GRU`` know no resets: once they run through the whole window in spite of them, and the LSTM
also from each step with a reset to the next, which equals the others. Of the EntNet and the Stable Hadamard Memory,
which torch has not, the latter also runs by the scan that serves other devices. Contestants take turns and the fastest
turn of each counts, so that what else runs on the machine disturbs all of them alike; with one thread, in time of the
processor. Below a size's times stands the memory that such a window takes at most.

python benchmarks/recurrent_cores.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import tyro
from report import show
from torch import Tensor, nn
from turns import beside_fused, fastest, memory_cells
from turns import seconds_of as wall_seconds
from windows import Turn, turn_of

from memagents import make_core
from memagents.cores.core import MemoryCore, Unrolled, reset_steps, unroll_by_steps
from memagents.cores.shm import SHM, SHMState

INPUT_SIZE = 32


class RecurrentSize(NamedTuple):
    """Sizes of a window and of its core."""

    batch: int
    steps: int
    hidden: int  # units, or the width of a slot or of a matrix


SIZES = [RecurrentSize(*sizes) for sizes in ((8, 128, 64), (16, 32, 128), (64, 128, 64), (64, 32, 256))]
MEMORY_SIZES = [RecurrentSize(*sizes) for sizes in ((16, 32, 32), (64, 128, 32), (16, 32, 64))]


@dataclass
class RecurrentCoresBenchmark:
    """Settings: resets, and how the cores are timed.

    :param cores: names of cores
    :param threads: numbers of torch threads
    :param resets: shares of all steps at which an episode begins
    :param seconds: time for the turns of one row, for all contestants together
    """

    cores: tuple[str, ...] = ("lstm", "gru", "entnet", "shm")
    threads: tuple[int, ...] = (1, 2)
    resets: tuple[float, ...] = (0.0, 0.01, 0.1)
    seconds: float = 5.0


Forward = Callable[[Tensor, Tensor], Tensor]  # inputs (T, B, I) and starts (T, B) to outputs (T, B, H)


def contestants(name: str, hidden: int) -> dict[str, tuple[nn.Module, Forward]]:
    """Return contestants by name, each with the module whose gradients are taken."""
    if name in ("entnet", "shm"):
        return memory_contestants(name, hidden)
    core = make_core(name, INPUT_SIZE, hidden_size=hidden)
    torchs = {"lstm": nn.LSTM, "gru": nn.GRU}[name](INPUT_SIZE, hidden)

    def through_all(inputs: Tensor, starts: Tensor) -> Tensor:
        return torchs(inputs)[0]

    def between_resets(inputs: Tensor, starts: Tensor) -> Tensor:
        resets, state = reset_steps(starts), tuple(torch.zeros(1, starts.shape[1], hidden) for _ in range(2))
        cuts, outputs = [t for t, reset in enumerate(resets) if reset and t > 0], []
        for stretch, start in zip(inputs.tensor_split(cuts), starts[[0, *cuts]], strict=True):
            state = tuple(leaf * ~start.unsqueeze(1) for leaf in state)
            hiddens, state = torchs(stretch, state)
            outputs.append(hiddens)
        return torch.cat(outputs)

    both = {
        "fused": (core, unrolled(core, type(core).unroll)),
        "plain loop": (core, unrolled(core, unroll_by_steps)),
        "torch, no resets": (torchs, through_all),
    }
    return both | ({"torch between resets": (torchs, between_resets)} if name == "lstm" else {})


def memory_contestants(name: str, width: int) -> dict[str, tuple[nn.Module, Forward]]:
    """Return those of a core with a memory."""
    core = make_core(name, INPUT_SIZE, width=width)

    def scan(core: SHM, inputs: Tensor, state: SHMState, starts: Tensor) -> Unrolled:
        return core.scan(core.project(inputs), state, starts)

    ways = {"fused": type(core).unroll, "plain loop": unroll_by_steps} | ({"scan": scan} if name == "shm" else {})
    return {way: (core, unrolled(core, function)) for way, function in ways.items()}


def unrolled(core: MemoryCore, way: Callable[..., Unrolled]) -> Forward:
    """Return the forward of a core from the initial state on, in such a way."""
    return lambda inputs, starts: way(core, inputs, core.initial_state(starts.shape[1]), starts).outputs


def processor_seconds(run: Callable[[], object]) -> float:
    """Return the seconds of one turn that the processor spent on it, of all threads together."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


def turn(size: RecurrentSize, name: str, way: str, resets: float) -> Turn:
    """Return a window of a contestant, forward and backward."""
    inputs, starts = torch.randn(size.steps, size.batch, INPUT_SIZE), torch.rand(size.steps, size.batch) < resets
    module, forward = contestants(name, size.hidden)[way]
    return turn_of(module, lambda: forward(inputs, starts))


def seconds_of(name: str, size: RecurrentSize, resets: float, seconds: float) -> dict[str, float]:
    """Return the seconds of the fastest turn of each."""
    turns = {way: turn(size, name, way, resets) for way in contestants(name, 1)}
    return fastest(turns, seconds, processor_seconds if torch.get_num_threads() == 1 else wall_seconds)


def main(settings: RecurrentCoresBenchmark) -> None:
    """Print a table for each core."""
    for name in settings.cores:
        rows = []
        for size in MEMORY_SIZES if name in ("entnet", "shm") else SIZES:
            for threads in settings.threads:
                torch.set_num_threads(threads)
                for resets in settings.resets:
                    best = seconds_of(name, size, resets, settings.seconds)
                    times = beside_fused({way: 1e3 * taken for way, taken in best.items()}, "{:.2f}")
                    rows.append(
                        [f"{size.batch} × {size.steps}", f"{size.hidden}", f"{threads}", f"{resets:.0%}", *times]
                    )
            resets = min(settings.resets)
            cells = memory_cells(size, {way: (turn, (name, way, resets)) for way in contestants(name, 1)})
            rows.append([f"{size.batch} × {size.steps}", f"{size.hidden}", "memory", f"{resets:.0%}", *cells])
        heads = ["batch × steps", "units or width", "threads", "resets", *contestants(name, 1)]
        show(f"{name.upper()}, forward + backward: ms (times the fused kernel)", heads, rows)


if __name__ == "__main__":
    main(tyro.cli(RecurrentCoresBenchmark, description=__doc__))
