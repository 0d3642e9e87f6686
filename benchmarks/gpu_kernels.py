"""The DNC and the NTM forward and backward over a window on a GPU: their Triton kernels, and the plain loop they equal.

Contestants take turns and the fastest turn of each counts, measured between events on the device, gaps included.
Beside each time stands the share of the roofline: the least time in which the device could move the bytes and do the
operations counted here, over the time measured. What is counted is what the kernels' algorithm needs, each number read
or written once a kernel, nothing kept in a cache between two of them; what the plain loop moves beyond is its loss.
Then the memory that a contestant takes, and last the largest difference between the outputs of the two.

python benchmarks/gpu_kernels.py --bandwidth 4.8e12 --flops 67e12
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import tyro
from report import show, table

from memagents.cores.core import unroll_by_steps
from memagents.cores.dnc import DNC
from memagents.cores.ntm import NTM

INPUT_SIZE = 32
CONTESTANTS = ("Triton", "plain loop")
SHIFTS = 3  # places that a head of the NTM can move to


class Size(NamedTuple):
    """One row of the table."""

    batch: int
    steps: int
    slots: int
    width: int
    heads: int
    hidden: int


DNC_SIZES = [
    Size(16, 32, 64, 32, 4, 64),
    Size(64, 128, 64, 32, 4, 64),
    Size(256, 20, 32, 24, 2, 64),
    Size(1024, 64, 64, 32, 4, 64),
    Size(128, 64, 128, 64, 4, 256),
]
NTM_SIZES = [
    Size(16, 40, 128, 20, 1, 100),
    Size(64, 128, 128, 20, 1, 100),
    Size(1024, 64, 128, 20, 1, 100),
    Size(128, 64, 128, 64, 4, 256),
]


@dataclass
class Settings:
    """What to measure, and of which device.

    :param device: a CUDA device
    :param bandwidth: bytes a second of its memory; by default an H200's
    :param flops: float32 operations a second without its matrix units; by default an H200's
    :param seconds: time for the turns of one row, for all contestants together
    """

    device: str = "cuda"
    bandwidth: float = 4.8e12
    flops: float = 67e12
    seconds: float = 20.0


# --- what a step needs ----------------------------------------------------------------------------------------------


def dnc_numbers(size: Size) -> dict[str, int]:
    """Numbers that the memory of a row moves in a step, forward and backward."""
    n, w, r = size.slots, size.width, size.heads
    matrices = n * (w + n)
    return {
        "memory and links, forward": 2 * matrices,
        "memory and links computed again": matrices,
        "backward: memory and links, their gradients in and out": 3 * matrices,
        "tape written, its carry read; all read again": (4 + 3 * r) * n + (3 + r) * n + (7 + 4 * r) * n,
        "gradients of the carry in and out": 2 * (3 + r) * n,
    }


def ntm_numbers(size: Size) -> dict[str, int]:
    """Numbers that the memory of a row moves in a step, forward and backward."""
    n, w, k = size.slots, size.width, size.heads + 1
    return {
        "memory, forward": 2 * n * w,
        "memory computed again, from the write weighting": n * w + n,
        "backward: memory, its gradient in and out": 3 * n * w,
        "tape written, its carry read; all read again": 2 * k * n + k * n + 3 * k * n,
        "gradients of the carry in and out": 2 * k * n,
    }


def dnc_operations(size: Size) -> dict[str, int]:
    """Floating-point operations on the memory of a row in a step, forward and backward."""
    n, w, r = size.slots, size.width, size.heads
    return {
        "erase and add: forward, again, again in the backward": 3 * 5 * n * w,
        "norms and write's match, forward and again": 2 * (2 + 2 + 2) * n * w,
        "write, backward: weighting, erase, write, memory, key": 16 * n * w,
        "allocation, forward and backward: compare, multiply or add": 2 * 3 * n * n,
        "links: forward, again, again in the backward": 3 * 5 * n * n,
        "links followed both ways, forward and backward": r * (4 + 8) * n * n,
        "links, backward of their update": 8 * n * n,
        "read match and vector": r * 4 * n * w,
        "reads, backward: weighting, match again, key, memory, norms": (10 * r + 2) * n * w,
    }


def ntm_operations(size: Size) -> dict[str, int]:
    """Floating-point operations on the memory of a row in a step, forward and backward."""
    n, w, r, k = size.slots, size.width, size.heads, size.heads + 1
    return {
        "erase and add: forward, again, again in the backward": 3 * 5 * n * w,
        "norms and matches, forward and again": 2 * (2 + 2 * k) * n * w,
        "matches, backward: key, memory, norms": (4 * k + 2) * n * w,
        "content, interpolation, sharpening: forward, again, backward": 3 * 12 * k * n,
        "shift: forward, again, backward of weightings and of shifts": 4 * 2 * SHIFTS * k * n,
        "write, backward: weighting, erase, add, memory": 10 * n * w,
        "read vectors; backward: weighting, memory": r * (2 + 4) * n * w,
    }


class Kernel(NamedTuple):
    """A core that has kernels, its rows, and what its memory needs."""

    core: type[DNC] | type[NTM]
    sizes: list[Size]
    numbers: Callable[[Size], dict[str, int]]
    operations: Callable[[Size], dict[str, int]]


KERNELS = [Kernel(DNC, DNC_SIZES, dnc_numbers, dnc_operations), Kernel(NTM, NTM_SIZES, ntm_numbers, ntm_operations)]


def make(kernel: Kernel, size: Size) -> DNC | NTM:
    """A core of a size, with random weights."""
    return kernel.core(INPUT_SIZE, size.slots, size.width, size.heads, controller_size=size.hidden)


def window_bytes(kernel: Kernel, size: Size) -> int:
    """Bytes that a window's forward and backward move at least, in float32."""
    h, features, interface = size.hidden, size.hidden + size.heads * size.width, sum(make(kernel, size).interface_sizes)
    moved = kernel.numbers(size) | {
        "gates: x, sum, LSTM, again; their gradients": 4 * h * (1 + 2 + 1 + 1 + 2),
        "interface: written, read twice; its gradient": interface * (3 + 2),
        "features and their gradients": features * (3 + 4),
    }
    weights = features * 4 * h + h * interface
    return 4 * size.steps * (size.batch * sum(moved.values()) + 2 * weights)


def window_flops(kernel: Kernel, size: Size) -> int:
    """Floating-point operations of a window's forward and backward; an exponential counts as one."""
    h, features, interface = size.hidden, size.hidden + size.heads * size.width, sum(make(kernel, size).interface_sizes)
    products = 2 * (4 * h * features + interface * h)
    operations = kernel.operations(size) | {
        "inputs and outputs: forward, to weights, outputs also back": 2 * (2 * 4 * h * INPUT_SIZE + 3 * h * features),
        "controller and interface: forward, back, to weights": 3 * products,
    }
    return size.steps * size.batch * sum(operations.values())


# --- measuring ------------------------------------------------------------------------------------------------------


def contestant(kernel: Kernel, size: Size, unroll: Callable, device: torch.device) -> Callable[[], torch.Tensor]:
    """Forward and backward of a core by ``unroll``, in the middle of an episode; gives the outputs."""
    torch.manual_seed(0)
    core = make(kernel, size).to(device)
    inputs = torch.randn(size.steps, size.batch, INPUT_SIZE, device=device)
    starts = torch.zeros(size.steps, size.batch, dtype=torch.bool, device=device)
    with torch.no_grad():
        state = unroll_by_steps(core, inputs, core.initial_state(size.batch), starts).state

    def run() -> torch.Tensor:
        core.zero_grad()
        outputs = unroll(core, inputs, state, starts).outputs
        outputs.sum().backward()
        return outputs.detach()

    return run


def milliseconds(run: Callable[[], object]) -> float:
    """Of one turn, on the device."""
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    begin.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


def fastest(runs: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Milliseconds of the fastest turn of each; they are warm."""
    best = dict.fromkeys(runs, float("inf"))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, run in runs.items():
            best[name] = min(best[name], milliseconds(run))
    return best


def prepare(kernel: Kernel, size: Size, unroll: Callable, device: torch.device) -> tuple[Callable, torch.Tensor, float]:
    """A contestant, warm (compiled and, where it is, captured), its outputs, and its MiB of the device's memory."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run = contestant(kernel, size, unroll, device)
    for _ in range(3):
        outputs = run()
    torch.cuda.synchronize()
    return run, outputs, (torch.cuda.max_memory_allocated() - before) / 2**20


def row(kernel: Kernel, size: Size, settings: Settings, device: torch.device) -> list[str]:
    """One row of the table."""
    unrolls = zip(CONTESTANTS, (kernel.core.unroll, unroll_by_steps), strict=True)
    prepared = {name: prepare(kernel, size, unroll, device) for name, unroll in unrolls}
    best = fastest({name: run for name, (run, _, _) in prepared.items()}, settings.seconds)
    ours, loop = (outputs for _, outputs, _ in prepared.values())
    moved, operations = window_bytes(kernel, size), window_flops(kernel, size)
    least = 1e3 * max(moved / settings.bandwidth, operations / settings.flops)
    return [
        kernel.core.__name__,
        f"{size.batch} × {size.steps}",
        f"{size.slots} × {size.width}",
        str(size.heads),
        str(size.hidden),
        *(f"{best[name]:.2f} ms, {least / best[name]:.1%}, {prepared[name][2]:.0f} MiB" for name in CONTESTANTS),
        f"{best['plain loop'] / best['Triton']:.1f}×",
        f"{moved / 1e9:.2f}",
        f"{operations / 1e9:.1f}",
        f"{(ours - loop).abs().max().item():.0e}",
    ]


def main(settings: Settings) -> None:
    """Print one table."""
    if not torch.cuda.is_available():
        print("no GPU: not measured")
        return
    device = torch.device(settings.device)
    title = f"On {torch.cuda.get_device_name(device)}, forward + backward: time, share of the roofline"
    columns = (
        "core",
        "batch × steps",
        "memory",
        "reads",
        "controller",
        *CONTESTANTS,
        "faster",
        "GB",
        "GFLOP",
        "difference",
    )
    shown = table(title, *columns)
    with torch.cuda.device(device):
        for kernel in KERNELS:
            for size in kernel.sizes:
                shown.add_row(*row(kernel, size, settings, device))
    show(shown)
    print(f"roofline: {settings.bandwidth / 1e12:g} TB/s, {settings.flops / 1e12:g} TFLOP/s; torch {torch.__version__}")


if __name__ == "__main__":
    main(tyro.cli(Settings))
