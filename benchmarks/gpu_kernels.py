"""DNC, NTM, LSTM and GRU forward and backward on a GPU: their Triton kernels and the plain loops they equal.

No episode begins inside the window, so that torch's own LSTM and GRU, which know no resets, can stand beside ours: by
cuDNN, in full float32 as the others.

Contestants take turns and the fastest turn of each counts, measured between events on the device, gaps included.
Beside each time stands the share of the roofline: the least time in which the device could move the bytes and do the
operations counted here, over the time measured. Counted are the needs of the kernels' algorithm, each number read or
written once a kernel and nothing kept in a cache between two of them; whatever the plain loop moves beyond is its loss.
Then the memory that a contestant takes, and last the largest difference between the outputs of the two.

python benchmarks/gpu_kernels.py --bandwidth 4.8e12 --flops 67e12
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import tyro
from report import show
from torch import nn
from turns import fastest
from windows import Turn, WindowSize, turn_of, window_of

from memagents.cores.core import MemoryCore, Unrolled, unroll_by_steps
from memagents.cores.dnc import DNC
from memagents.cores.gru import GRU
from memagents.cores.lstm import LSTM
from memagents.cores.ntm import NTM

INPUT_SIZE = 32
CONTESTANTS = ("Triton", "plain loop", "cuDNN")
SHIFTS = 3  # places that a head of the NTM can move to


DNC_SIZES = [
    WindowSize(16, 32, 64, 32, 4, 64),
    WindowSize(64, 128, 64, 32, 4, 64),
    WindowSize(256, 20, 32, 24, 2, 64),
    WindowSize(1024, 64, 64, 32, 4, 64),
    WindowSize(128, 64, 128, 64, 4, 256),
]
NTM_SIZES = [
    WindowSize(16, 40, 128, 20, 1, 100),
    WindowSize(64, 128, 128, 20, 1, 100),
    WindowSize(1024, 64, 128, 20, 1, 100),
    WindowSize(128, 64, 128, 64, 4, 256),
]
RECURRENT_SIZES = [WindowSize(1024, 128, 0, 0, 0, 128)]


@dataclass
class GPUKernelsBenchmark:
    """Settings: the device and its limits.

    :param device: a CUDA device
    :param bandwidth: bytes a second of its memory; by default an H200's
    :param flops: float32 operations a second without its matrix units; by default an H200's
    :param seconds: time for the turns of one row, for all contestants together
    """

    device: str = "cuda"
    bandwidth: float = 4.8e12
    flops: float = 67e12
    seconds: float = 20.0


# --- the needs of a step ----------------------------------------------------------------------------------------------


def dnc_numbers(size: WindowSize) -> dict[str, int]:
    """Return the numbers that the memory of a row moves in a step, forward and backward."""
    n, w, r = size.slots, size.width, size.heads
    matrices = n * (w + n)
    return {
        "memory and links, forward": 2 * matrices,
        "memory and links computed again": matrices,
        "backward: memory and links, their gradients in and out": 3 * matrices,
        "tape written, its carry read; all read again": (4 + 3 * r) * n + (3 + r) * n + (7 + 4 * r) * n,
        "gradients of the carry in and out": 2 * (3 + r) * n,
    }


def ntm_numbers(size: WindowSize) -> dict[str, int]:
    """Return the numbers that the memory of a row moves in a step, forward and backward."""
    n, w, k = size.slots, size.width, size.heads + 1
    return {
        "memory, forward": 2 * n * w,
        "memory computed again, from the write weighting": n * w + n,
        "backward: memory, its gradient in and out": 3 * n * w,
        "tape written, its carry read; all read again": 2 * k * n + k * n + 3 * k * n,
        "gradients of the carry in and out": 2 * k * n,
    }


def lstm_numbers(size: WindowSize) -> dict[str, int]:
    """Return the numbers that the cell of a row moves in a step, forward and backward."""
    return {"cell: read and written, both again, its gradient in and out": 6 * size.hidden}


def gru_numbers(size: WindowSize) -> dict[str, int]:
    """Return the numbers that a row moves in a step beyond those of the gates that a product adds to."""
    return {
        "candidate's share of x: squashed, again; its gradient": 3 * size.hidden,
        "hidden state before: read, again; its gradient past the product, out and in": 4 * size.hidden,
    }


def dnc_operations(size: WindowSize) -> dict[str, int]:
    """Return the floating-point operations on the memory of a row in a step, forward and backward."""
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


def ntm_operations(size: WindowSize) -> dict[str, int]:
    """Return the floating-point operations on the memory of a row in a step, forward and backward."""
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


def lstm_operations(size: WindowSize) -> dict[str, int]:
    """Return the floating-point operations on the units of a row in a step, forward and backward."""
    return {
        "squashing, forward and again": 2 * (3 * 3 + 2 * 4) * size.hidden,
        "new state; its derivative": (4 + 25) * size.hidden,
    }


def gru_operations(size: WindowSize) -> dict[str, int]:
    """Return the floating-point operations on the units of a row in a step, forward and backward."""
    return {
        "squashing, forward and again": 2 * (2 * 3 + 4 + 2) * size.hidden,
        "new state; its derivative": (3 + 18) * size.hidden,
    }


class Kernel(NamedTuple):
    """A core that has kernels, its rows, its needs beside the products, and torch's own layer of the kind."""

    core: type[MemoryCore]
    sizes: list[WindowSize]
    gates: int
    numbers: Callable[[WindowSize], dict[str, int]]
    operations: Callable[[WindowSize], dict[str, int]]
    layer: type[nn.LSTM] | type[nn.GRU] | None


KERNELS = [
    Kernel(DNC, DNC_SIZES, 4, dnc_numbers, dnc_operations, None),
    Kernel(NTM, NTM_SIZES, 4, ntm_numbers, ntm_operations, None),
    Kernel(LSTM, RECURRENT_SIZES, 4, lstm_numbers, lstm_operations, nn.LSTM),
    Kernel(GRU, RECURRENT_SIZES, 3, gru_numbers, gru_operations, nn.GRU),
]


def make(kernel: Kernel, size: WindowSize) -> MemoryCore:
    """Return a core of a size, with random weights."""
    core: Callable[..., MemoryCore] = kernel.core
    if not size.slots:
        return core(INPUT_SIZE, size.hidden)
    return core(INPUT_SIZE, size.slots, size.width, size.heads, controller_size=size.hidden)


def interface_size(kernel: Kernel, size: WindowSize) -> int:
    """Return the length of the interface vector."""
    return sum(getattr(make(kernel, size), "interface_sizes", ()))


def window_bytes(kernel: Kernel, size: WindowSize) -> int:
    """Return the bytes that a window's forward and backward move at least, in float32."""
    h, features, interface, gates = size.hidden, size.features, interface_size(kernel, size), kernel.gates
    moved = kernel.numbers(size) | {
        "gates: x, sum, squashed, again; their gradients": gates * h * (1 + 2 + 1 + 1 + 2),
        "interface: written, read twice; its gradient": interface * (3 + 2),
        "features and their gradients": features * (3 + 4),
    }
    weights = features * gates * h + h * interface
    return 4 * size.steps * (size.batch * sum(moved.values()) + 2 * weights)


def window_flops(kernel: Kernel, size: WindowSize) -> int:
    """Return the floating-point operations of a window's forward and backward; an exponential counts as one."""
    h, features, interface, gates = size.hidden, size.features, interface_size(kernel, size), kernel.gates
    products, readout = 2 * (gates * h * features + interface * h), h * features if size.slots else 0
    operations = kernel.operations(size) | {
        "inputs and outputs: forward, to weights, outputs also back": 2 * (2 * gates * h * INPUT_SIZE + 3 * readout),
        "controller and interface: forward, back, to weights": 3 * products,
    }
    return size.steps * size.batch * sum(operations.values())


# --- measuring ------------------------------------------------------------------------------------------------------


def by(unroll: Callable[..., Unrolled], kernel: Kernel, size: WindowSize, device: torch.device) -> Turn:
    """Return a window of a core by ``unroll``, with the same weights and inputs every time."""
    torch.manual_seed(0)
    return window_of(make(kernel, size).to(device), size.batch, size.steps, INPUT_SIZE, unroll)


def by_cudnn(layer: type[nn.LSTM] | type[nn.GRU], size: WindowSize, device: torch.device) -> Turn:
    """Return a window of torch's own layer."""
    own = layer(INPUT_SIZE, size.hidden, device=device)
    inputs = torch.randn(size.steps, size.batch, INPUT_SIZE, device=device)
    return turn_of(own, lambda: own(inputs)[0])


def contestants(kernel: Kernel, size: WindowSize, device: torch.device) -> dict[str, Callable[[], Turn]]:
    """Return the makers of a row's contestants, by name."""
    made: dict[str, Callable[[], Turn]] = {
        "Triton": partial(by, kernel.core.unroll, kernel, size, device),
        "plain loop": partial(by, unroll_by_steps, kernel, size, device),
    }
    if kernel.layer is not None:
        made["cuDNN"] = partial(by_cudnn, kernel.layer, size, device)
    return made


def milliseconds(run: Callable[[], object]) -> float:
    """Return the milliseconds of one turn on the device."""
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    begin.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


def warmed(made: Callable[[], Turn]) -> tuple[Turn, torch.Tensor, float]:
    """Return a contestant that is warm (compiled, perhaps captured), its outputs, and its MiB on the device."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    turn = made()
    for _ in range(3):
        outputs = turn()
    torch.cuda.synchronize()
    return turn, outputs, (torch.cuda.max_memory_allocated() - before) / 2**20


def row(kernel: Kernel, size: WindowSize, settings: GPUKernelsBenchmark, device: torch.device) -> list[str]:
    """Return one row of the table."""
    prepared = {name: warmed(made) for name, made in contestants(kernel, size, device).items()}
    best = fastest({name: turn for name, (turn, _, _) in prepared.items()}, settings.seconds, milliseconds)
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


def main(settings: GPUKernelsBenchmark) -> None:
    """Print one table."""
    if not torch.cuda.is_available():
        print("no GPU: not measured")
        return
    device, torch.backends.cudnn.allow_tf32 = torch.device(settings.device), False
    title = f"On {torch.cuda.get_device_name(device)}, forward + backward: time, share of the roofline"
    sizes = ["core", "batch × steps", "memory", "reads", "units"]
    with torch.cuda.device(device):
        rows = [row(kernel, size, settings, device) for kernel in KERNELS for size in kernel.sizes]
    show(title, [*sizes, *CONTESTANTS, "faster", "GB", "GFLOP", "difference"], rows)
    print(f"roofline: {settings.bandwidth / 1e12:g} TB/s, {settings.flops / 1e12:g} TFLOP/s; torch {torch.__version__}")


if __name__ == "__main__":
    main(tyro.cli(GPUKernelsBenchmark, description=__doc__))
