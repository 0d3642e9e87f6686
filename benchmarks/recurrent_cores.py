"""LSTM and GRU forward and backward over a window: the fused CPU kernels, the plain loop they equal, and torch's own.

``torch.nn.LSTM`` and ``nn.GRU`` know no resets: once they run through the whole window in spite of them, and the LSTM
also from each step with a reset to the next, which is what equals the others. Contestants take turns and the fastest
turn of each counts, so that what else runs on the machine disturbs all of them alike.

python benchmarks/recurrent_cores.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import tyro
from report import show, table
from torch import Tensor, nn
from turns import fastest

from memagents import make_core
from memagents.cores.core import reset_steps, unroll_by_steps

INPUT_SIZE = 32


class Size(NamedTuple):
    """One row of the table."""

    batch: int
    steps: int
    hidden: int


SIZES = [Size(8, 128, 64), Size(16, 32, 128), Size(64, 128, 64), Size(64, 32, 256)]


@dataclass
class Settings:
    """What to measure.

    :param threads: numbers of torch threads
    :param resets: shares of all steps at which an episode begins
    :param seconds: time for the turns of one row, for all contestants together
    """

    threads: tuple[int, ...] = (1, 2)
    resets: tuple[float, ...] = (0.0, 0.01, 0.1)
    seconds: float = 5.0


Run = Callable[[Tensor, Tensor], Tensor]  # inputs (T, B, I) and starts (T, B) to outputs (T, B, H)


def contestants(name: str, hidden: int) -> dict[str, tuple[nn.Module, Run]]:
    """By name, each with the module whose gradients are taken."""
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

    def unroll(way: Callable) -> Run:
        return lambda inputs, starts: way(core, inputs, core.initial_state(starts.shape[1]), starts).outputs

    both = {
        "fused": (core, unroll(type(core).unroll)),
        "plain loop": (core, unroll(unroll_by_steps)),
        "torch, no resets": (torchs, through_all),
    }
    return both | ({"torch between resets": (torchs, between_resets)} if name == "lstm" else {})


def seconds_of(name: str, size: Size, resets: float, seconds: float) -> dict[str, float]:
    """Of the fastest turn of each."""
    inputs, starts = torch.randn(size.steps, size.batch, INPUT_SIZE), torch.rand(size.steps, size.batch) < resets

    def turn(module: nn.Module, run: Callable[[Tensor, Tensor], Tensor]) -> None:
        module.zero_grad()
        run(inputs, starts).sum().backward()

    return fastest({way: partial(turn, *what) for way, what in contestants(name, size.hidden).items()}, seconds)


def main(settings: Settings) -> None:
    """Print a table for each of the two."""
    for name in ("lstm", "gru"):
        names = list(contestants(name, 1))
        heads = ("batch × steps", "units", "threads", "resets", *names)
        shown = table(f"{name.upper()}, forward + backward: ms (times the fused kernel)", *heads)
        for size in SIZES:
            for threads in settings.threads:
                torch.set_num_threads(threads)
                for resets in settings.resets:
                    best = seconds_of(name, size, resets, settings.seconds)
                    times = [f"{1e3 * best[way]:.2f} ({best[way] / best['fused']:.1f}×)" for way in names]
                    shape = [f"{size.batch} × {size.steps}", str(size.hidden), str(threads), f"{resets:.0%}"]
                    shown.add_row(*shape, *times)
        show(shown)


if __name__ == "__main__":
    main(tyro.cli(Settings))
