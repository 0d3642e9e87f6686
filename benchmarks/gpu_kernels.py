"""DNC, NTM, LSTM and GRU forward and backward over a window on a GPU: their Triton kernels, the plain loop they equal.

No episode begins inside the window, so that torch's own LSTM and GRU, which know no resets, can stand beside ours: by
cuDNN, in full float32 as the others.

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
from functools import partial
from typing import NamedTuple

import torch
import tyro
from report import show, table
from torch import nn

from memagents.cores.core import MemoryCore, unroll_by_steps
from memagents.cores.dnc import DNC
from memagents.cores.gru import GRU
from memagents.cores.lstm import LSTM
from memagents.cores.ntm import NTM

INPUT_SIZE = 32
CONTESTANTS = ("Triton", "plain loop", "cuDNN")
SHIFTS = 3  # places that a head of the NTM can move to


class Size(NamedTuple):
    """One row of the table. Without a memory its sizes are 0."""

    batch: int
    steps: int
    slots: int
    width: int
    heads: int
    hidden: int

    @property
    def features(self) -> int:
        return self.hidden + self.heads * self.width


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
RECURRENT_SIZES = [Size(1024, 128, 0, 0, 0, 128)]


@dataclass
class Settings:
    """Settings: what to measure, on which device.

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


def lstm_numbers(size: Size) -> dict[str, int]:
    """Numbers that the cell of a row moves in a step, forward and backward."""
    return {"cell: read and written, both again, its gradient in and out": 6 * size.hidden}


def gru_numbers(size: Size) -> dict[str, int]:
    """Numbers that a row moves in a step beside those of the gates that a product adds to, forward and backward."""
    return {
        "candidate's share of x: squashed, again; its gradient": 3 * size.hidden,
        "hidden state before: read, again; its gradient past the product, out and in": 4 * size.hidden,
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


def lstm_operations(size: Size) -> dict[str, int]:
    """Floating-point operations on the units of a row in a step, forward and backward."""
    return {
        "squashing, forward and again": 2 * (3 * 3 + 2 * 4) * size.hidden,
        "new state; its derivative": (4 + 25) * size.hidden,
    }


def gru_operations(size: Size) -> dict[str, int]:
    """Floating-point operations on the units of a row in a step, forward and backward."""
    return {
        "squashing, forward and again": 2 * (2 * 3 + 4 + 2) * size.hidden,
        "new state; its derivative": (3 + 18) * size.hidden,
    }


class Kernel(NamedTuple):
    """A core that has kernels, its rows, what it needs beside its products, and torch's own of the kind."""

    core: type[MemoryCore]
    sizes: list[Size]
    gates: int
    numbers: Callable[[Size], dict[str, int]]
    operations: Callable[[Size], dict[str, int]]
    layer: type[nn.LSTM] | type[nn.GRU] | None


KERNELS = [
    Kernel(DNC, DNC_SIZES, 4, dnc_numbers, dnc_operations, None),
    Kernel(NTM, NTM_SIZES, 4, ntm_numbers, ntm_operations, None),
    Kernel(LSTM, RECURRENT_SIZES, 4, lstm_numbers, lstm_operations, nn.LSTM),
    Kernel(GRU, RECURRENT_SIZES, 3, gru_numbers, gru_operations, nn.GRU),
]


def make(kernel: Kernel, size: Size) -> MemoryCore:
    """A core of a size, with random weights."""
    if not size.slots:
        return kernel.core(INPUT_SIZE, size.hidden)
    return kernel.core(INPUT_SIZE, size.slots, size.width, size.heads, controller_size=size.hidden)


def interface_size(kernel: Kernel, size: Size) -> int:
    """Length of the interface vector."""
    return sum(getattr(make(kernel, size), "interface_sizes", ()))


def window_bytes(kernel: Kernel, size: Size) -> int:
    """Bytes that a window's forward and backward move at least, in float32."""
    h, features, interface, gates = size.hidden, size.features, interface_size(kernel, size), kernel.gates
    moved = kernel.numbers(size) | {
        "gates: x, sum, squashed, again; their gradients": gates * h * (1 + 2 + 1 + 1 + 2),
        "interface: written, read twice; its gradient": interface * (3 + 2),
        "features and their gradients": features * (3 + 4),
    }
    weights = features * gates * h + h * interface
    return 4 * size.steps * (size.batch * sum(moved.values()) + 2 * weights)


def window_flops(kernel: Kernel, size: Size) -> int:
    """Floating-point operations of a window's forward and backward; an exponential counts as one."""
    h, features, interface, gates = size.hidden, size.features, interface_size(kernel, size), kernel.gates
    products, readout = 2 * (gates * h * features + interface * h), h * features if size.slots else 0
    operations = kernel.operations(size) | {
        "inputs and outputs: forward, to weights, outputs also back": 2 * (2 * gates * h * INPUT_SIZE + 3 * readout),
        "controller and interface: forward, back, to weights": 3 * products,
    }
    return size.steps * size.batch * sum(operations.values())


# --- measuring ------------------------------------------------------------------------------------------------------


Run = Callable[[], torch.Tensor]  # forward and backward; gives the outputs


def by(unroll: Callable, kernel: Kernel, size: Size, device: torch.device) -> Run:
    """A core by ``unroll``, in the middle of an episode."""
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


def by_cudnn(layer: type[nn.LSTM] | type[nn.GRU], size: Size, device: torch.device) -> Run:
    """Torch's own."""
    own = layer(INPUT_SIZE, size.hidden, device=device)
    inputs = torch.randn(size.steps, size.batch, INPUT_SIZE, device=device)

    def run() -> torch.Tensor:
        own.zero_grad()
        outputs, _ = own(inputs)
        outputs.sum().backward()
        return outputs.detach()

    return run


def contestants(kernel: Kernel, size: Size, device: torch.device) -> dict[str, Callable[[], Run]]:
    """Contestants of a row, by name, not made yet."""
    made = {
        "Triton": partial(by, kernel.core.unroll, kernel, size, device),
        "plain loop": partial(by, unroll_by_steps, kernel, size, device),
    }
    return made | ({"cuDNN": partial(by_cudnn, kernel.layer, size, device)} if kernel.layer else {})


def milliseconds(run: Callable[[], object]) -> float:
    """Milliseconds of one turn, on the device."""
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


def prepare(made: Callable[[], Run]) -> tuple[Run, torch.Tensor, float]:
    """A contestant, warm (compiled and, where it is, captured), its outputs, and its MiB of the device's memory."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run = made()
    for _ in range(3):
        outputs = run()
    torch.cuda.synchronize()
    return run, outputs, (torch.cuda.max_memory_allocated() - before) / 2**20


def row(kernel: Kernel, size: Size, settings: Settings, device: torch.device) -> list[str]:
    """One row of the table."""
    prepared = {name: prepare(made) for name, made in contestants(kernel, size, device).items()}
    best = fastest({name: run for name, (run, _, _) in prepared.items()}, settings.seconds)
    moved, operations = window_bytes(kernel, size), window_flops(kernel, size)
    least = 1e3 * max(moved / settings.bandwidth, operations / settings.flops)
    cells = {name: f"{best[name]:.2f} ms, {least / best[name]:.1%}, {prepared[name][2]:.0f} MiB" for name in prepared}
    return [
        kernel.core.__name__,
        f"{size.batch} × {size.steps}",
        f"{size.slots} × {size.width}" if size.slots else "",
        str(size.heads or ""),
        str(size.hidden),
        *(cells.get(name, "") for name in CONTESTANTS),
        f"{best['plain loop'] / best['Triton']:.1f}×",
        f"{moved / 1e9:.2f}",
        f"{operations / 1e9:.1f}",
        f"{(prepared['Triton'][1] - prepared['plain loop'][1]).abs().max().item():.0e}",
    ]


def main(settings: Settings) -> None:
    """Print one table."""
    if not torch.cuda.is_available():
        print("no GPU: not measured")
        return
    device, torch.backends.cudnn.allow_tf32 = torch.device(settings.device), False
    title = f"On {torch.cuda.get_device_name(device)}, forward + backward: time, share of the roofline"
    columns = (
        "core",
        "batch × steps",
        "memory",
        "reads",
        "units",
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
