"""The RMC forward and backward over a window: the fused CPU kernel, the plain loop it equals, and the published cell.

The last is a direct port to eager PyTorch of a step of Santoro et al. 2018 and their published program, in that
order and for all rows. GFLOP are those of the products that a window needs, the same for all contestants; their peak is
that of a large product in the same run.

python benchmarks/rmc.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Callable
from typing import NamedTuple

import torch
import tyro
from report import show
from torch import Tensor, nn
from turns import KernelBenchmark, Makers, beside_fused, fastest, memory_cells
from windows import Turn, turn_of, window_of

from memagents.cores.core import unroll_by_steps
from memagents.cores.rmc import RMC

INPUT_SIZE = 32
LARGE = 1024  # rows and columns of the large product


class RelationalSize(NamedTuple):
    """Sizes of a window and of its core."""

    batch: int
    steps: int
    slots: int
    heads: int
    head_size: int

    @property
    def width(self) -> int:
        return self.heads * self.head_size

    @property
    def flop(self) -> float:
        """Floating-point operations of the products, forward and backward, the latter twice the former."""
        w, n = self.width, self.slots
        linear = 3 * (n + 1) * w * w + 2 * n * w * w + 2 * (n + 1) * w * w + INPUT_SIZE * w
        return 3.0 * 2 * self.batch * self.steps * (linear + 2 * n * (n + 1) * w)


SIZES = [RelationalSize(16, 32, 8, 4, 32), RelationalSize(64, 128, 8, 4, 16), RelationalSize(256, 20, 4, 4, 16)]


class PublishedCell(nn.Module):
    """One step: attention and perceptron of all N + 1 rows, and gates for every number of the memory."""

    def __init__(self, size: RelationalSize):
        super().__init__()
        width = size.width
        self.heads, self.key_size = size.heads, size.head_size
        self.input_row = nn.Linear(INPUT_SIZE, width)
        self.qkv = nn.Linear(width, 3 * width)
        self.qkv_norm = nn.LayerNorm(3 * width)
        self.attention_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.mlp_norm = nn.LayerNorm(width)
        self.input_gates = nn.Linear(width, 2 * width)
        self.memory_gates = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Return the memory (B, N, W) after an input (B, I)."""
        row = self.input_row(x).unsqueeze(1)
        rows = torch.cat([memory, row], dim=1)
        rows = self.attention_norm(rows + self.attend(rows))
        rows = self.mlp_norm(rows + self.mlp(rows))[:, :-1]
        gates = self.memory_gates(memory.tanh()) + self.input_gates(row)
        input_gate, forget_gate = gates.chunk(2, dim=-1)
        return input_gate.sigmoid() * rows.tanh() + (forget_gate + 1.0).sigmoid() * memory

    def attend(self, rows: Tensor) -> Tensor:
        """Return what M rows (B, M, W) attend to, of the same shape."""
        qkv = self.qkv_norm(self.qkv(rows)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        queries, keys, values = qkv.chunk(3, dim=-1)  # (B, heads, M, ·)
        scores = (queries * self.key_size**-0.5) @ keys.transpose(-1, -2)
        return (scores.softmax(dim=-1) @ values).transpose(1, 2).flatten(2)


def published(size: RelationalSize) -> Turn:
    """Return a window of the published cell, step by step."""
    cell = PublishedCell(size)
    inputs = torch.randn(size.steps, size.batch, INPUT_SIZE)
    start = torch.eye(size.slots, size.width).repeat(size.batch, 1, 1)

    def forward() -> Tensor:
        memory, outputs = start, []
        for x in inputs.unbind(0):
            memory = cell(x, memory)
            outputs.append(memory)
        return torch.stack(outputs)

    return turn_of(cell, forward)


def ours(size: RelationalSize, fused: bool) -> Turn:
    """Return a window of our core."""
    core = RMC(INPUT_SIZE, size.slots, size.width, size.heads)
    return window_of(core, size.batch, size.steps, INPUT_SIZE, RMC.unroll if fused else unroll_by_steps)


def large_product() -> Callable[[], Tensor]:
    """Return the product whose speed is the peak."""
    a, b = torch.randn(2, LARGE, LARGE).unbind(0)
    return lambda: torch.matmul(a, b)


MAKERS: Makers = {"fused": (ours, (True,)), "plain loop": (ours, (False,)), "published": (published, ())}


def timed_rows(size: RelationalSize, shape: list[str], threads: int, seconds: float) -> list[list[str]]:
    """Return two rows: the time of each contestant, and its GFLOP/s with their share of the peak."""
    torch.set_num_threads(threads)
    runs = {name: make(size, *rest) for name, (make, rest) in MAKERS.items()}
    best = fastest(runs | {"peak": large_product()}, seconds)
    peak = 2 * LARGE**3 / best.pop("peak")
    times = beside_fused({name: 1e3 * taken for name, taken in best.items()}, "{:.1f}", digits=2)
    speeds = [size.flop / taken for taken in best.values()]
    rate = f"{size.batch * size.steps / best['fused']:,.0f}"
    return [
        [*shape, str(threads), *times, f"{1e-9 * peak:.0f}", rate],
        ["", "", "", "", *(f"{1e-9 * speed:.0f} GFLOP/s, {100 * speed / peak:.0f}%" for speed in speeds), "", ""],
    ]


def main(settings: KernelBenchmark) -> None:
    """Print one table."""
    rows = []
    for size in SIZES:
        shape = [f"{size.batch} × {size.steps}", f"{size.slots} × {size.width}", f"{size.heads} × {size.head_size}"]
        for threads in settings.threads:
            rows += timed_rows(size, shape, threads, settings.seconds)
        if settings.memory:
            rows.append([*shape, "memory", *memory_cells(size, MAKERS), "", ""])
    title = "RMC, forward + backward: ms (times the fused kernel), GFLOP/s and their share of the peak, peak MiB"
    heads = ["batch × steps", "memory", "heads", "threads", *MAKERS, "peak GFLOP/s", "steps/s, fused"]
    show(title, heads, rows)
    print(f"torch {torch.__version__}; every environment step counts once, forward and backward together")


if __name__ == "__main__":
    main(tyro.cli(KernelBenchmark, description=__doc__))
