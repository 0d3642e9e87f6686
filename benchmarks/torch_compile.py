"""Cores under torch.compile, beside the way they take now: forward and backward of a window.

Compiled is the largest part of a core's recurrence that torch.compile can take at once: a step where the window is a
loop of steps, the window where it is one (a compiled loop would be compiled anew for every length). Where a core has a
kernel of its own, compiled steps stand beside that. Needs a C++ compiler.

    python benchmarks/torch_compile.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import tyro
from report import show
from torch import Tensor
from turns import fastest

from memagents import make_core
from memagents.cores.core import MemoryCore, Unrolled, unroll_by_steps
from memagents.cores.window import WindowCore

INPUT_SIZE = 64


@dataclass
class CompileBenchmark:
    """Settings: cores and windows, and how they are timed.

    :param cores: names
    :param batch: rows
    :param steps: of a window
    :param seconds: time for the turns of one core
    :param threads: of torch
    """

    cores: tuple[str, ...] = field(
        default=("entnet", "gtrxl", "compressive", "kv", "memn2n", "hopfield", "ffm", "shm", "lstm")
    )
    batch: int = 16
    steps: int = 32
    seconds: float = 10.0
    threads: int = 1


def compiled(core: MemoryCore) -> Callable[..., Unrolled]:
    """Return the core's ``unroll`` with as much of it compiled as can be."""
    part, unroll = ("window", type(core).unroll) if isinstance(core, WindowCore) else ("step", unroll_by_steps)
    plain, faster = getattr(core, part), torch.compile(getattr(core, part), dynamic=False)

    def run(*window: Any) -> Unrolled:
        setattr(core, part, faster)
        try:
            return unroll(core, *window)
        finally:
            setattr(core, part, plain)

    return run


def learn(core: MemoryCore, unroll: Callable[..., Unrolled], inputs: Tensor, starts: Tensor) -> None:
    """Run a window forward and backward."""
    core.zero_grad()
    unrolled = unroll(inputs, core.initial_state(starts.shape[1]), starts)
    (unrolled.outputs.square().mean() + sum(loss.mean() for loss in unrolled.losses.values())).backward()


def main(settings: CompileBenchmark) -> None:
    """Print the table."""
    torch.set_num_threads(settings.threads)
    rows = []
    for name in settings.cores:
        torch.manual_seed(0)
        core = make_core(name, INPUT_SIZE)
        starts = torch.rand(settings.steps, settings.batch) < 0.02
        window = torch.randn(settings.steps, settings.batch, INPUT_SIZE), starts
        ways = {"as it is": partial(learn, core, core.unroll, *window)}
        ways["compiled"] = partial(learn, core, compiled(core), *window)
        begin = time.perf_counter()
        ways["compiled"]()
        compiling = time.perf_counter() - begin
        best = fastest(ways, settings.seconds)
        ratio = best["as it is"] / best["compiled"]
        times = [f"{1e3 * seconds:.1f}" for seconds in best.values()]
        rows.append([name, *times, f"{ratio:.2f}×", f"{compiling:.0f}"])
    title = f"Forward + backward of a window, {settings.batch} × {settings.steps}: ms"
    show(title, ["core", "as it is", "compiled", "ratio", "seconds to compile"], rows)
    print(f"torch threads: {settings.threads}; a ratio above 1: compiled is faster")


if __name__ == "__main__":
    main(tyro.cli(CompileBenchmark, description=__doc__))
