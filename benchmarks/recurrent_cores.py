"""LSTM and GRU forward and backward over a window: the fused CPU kernels, the plain loop they equal, and torch's own.

``torch.nn.LSTM`` and ``nn.GRU`` know no resets: once they run through the whole window in spite of them, and the LSTM
also from each step with a reset to the next, which equals the others. Contestants take turns and the fastest
turn of each counts, so that what else runs on the machine disturbs all of them alike.

python benchmarks/recurrent_cores.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import tyro
from report import show
from torch import Tensor, nn
from turns import beside_fused, fastest
from windows import Turn, turn_of

from memagents import make_core
from memagents.cores.core import Unrolled, reset_steps, unroll_by_steps

INPUT_SIZE = 32


class RecurrentSize(NamedTuple):
    """Sizes of a window and of its core."""

    batch: int
    steps: int
    hidden: int


SIZES = [RecurrentSize(*sizes) for sizes in ((8, 128, 64), (16, 32, 128), (64, 128, 64), (64, 32, 256))]


@dataclass
class RecurrentCoresBenchmark:
    """Settings: resets, and how the cores are timed.

    :param threads: numbers of torch threads
    :param resets: shares of all steps at which an episode begins
    :param seconds: time for the turns of one row, for all contestants together
    """

    threads: tuple[int, ...] = (1, 2)
    resets: tuple[float, ...] = (0.0, 0.01, 0.1)
    seconds: float = 5.0


Forward = Callable[[Tensor, Tensor], Tensor]  # inputs (T, B, I) and starts (T, B) to outputs (T, B, H)


def contestants(name: str, hidden: int) -> dict[str, tuple[nn.Module, Forward]]:
    """Return contestants by name, each with the module whose gradients are taken."""
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

    def unroll(way: Callable[..., Unrolled]) -> Forward:
        return lambda inputs, starts: way(core, inputs, core.initial_state(starts.shape[1]), starts).outputs

    both = {
        "fused": (core, unroll(type(core).unroll)),
        "plain loop": (core, unroll(unroll_by_steps)),
        "torch, no resets": (torchs, through_all),
    }
    return both | ({"torch between resets": (torchs, between_resets)} if name == "lstm" else {})


def seconds_of(name: str, size: RecurrentSize, resets: float, seconds: float) -> dict[str, float]:
    """Return the seconds of the fastest turn of each."""
    inputs, starts = torch.randn(size.steps, size.batch, INPUT_SIZE), torch.rand(size.steps, size.batch) < resets

    def turn(module: nn.Module, forward: Forward) -> Turn:
        return turn_of(module, lambda: forward(inputs, starts))

    return fastest({way: turn(*what) for way, what in contestants(name, size.hidden).items()}, seconds)


def main(settings: RecurrentCoresBenchmark) -> None:
    """Print a table for each of the two."""
    for name in ("lstm", "gru"):
        rows = []
        for size in SIZES:
            for threads in settings.threads:
                torch.set_num_threads(threads)
                for resets in settings.resets:
                    best = seconds_of(name, size, resets, settings.seconds)
                    times = beside_fused({way: 1e3 * taken for way, taken in best.items()}, "{:.2f}")
                    rows.append(
                        [f"{size.batch} × {size.steps}", f"{size.hidden}", f"{threads}", f"{resets:.0%}", *times]
                    )
        heads = ["batch × steps", "units", "threads", "resets", *contestants(name, 1)]
        show(f"{name.upper()}, forward + backward: ms (times the fused kernel)", heads, rows)


if __name__ == "__main__":
    main(tyro.cli(RecurrentCoresBenchmark, description=__doc__))
