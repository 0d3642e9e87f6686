"""The DNC forward and backward over a window: the fused CPU kernel, the plain loop it equals, and the PyPI package.

The package (``pip install --no-deps dnc==1.1.0``) takes part if it is installed. Contestants take turns and the fastest
turn of each counts, so that what else runs on the machine disturbs all of them alike.

python benchmarks/dnc.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
import tyro
from report import show, table
from turns import Settings, fastest, peak_memory

from memagents.cores.core import unroll_by_steps
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
    here, paths = Path(__file__).resolve().parent, sys.path
    try:
        sys.path = [path for path in paths if Path(path).resolve() != here]
        return importlib.import_module("dnc")
    except ModuleNotFoundError:
        return None
    finally:
        sys.path = paths


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


CONTESTANTS: dict[str, tuple] = {
    "fused": (ours, DNC.unroll),
    "plain loop": (ours, unroll_by_steps),
    "PyPI dnc": (package,),
}
"""What makes a contestant, and its arguments after the size."""


def main(settings: Settings) -> None:
    """Print one table."""
    names = [name for name in CONTESTANTS if name != "PyPI dnc" or installed_package()]
    contestants = {name: CONTESTANTS[name] for name in names}
    heads = ("batch × steps", "memory", "reads", "controller", "threads", *names, "steps/s, fused")
    shown = table("DNC, forward + backward: ms (times the fused kernel), peak MiB", *heads)
    for size in SIZES:
        shape = [f"{size.batch} × {size.steps}", f"{size.slots} × {size.width}", str(size.heads), str(size.hidden)]
        for threads in settings.threads:
            torch.set_num_threads(threads)
            runs = {name: make(size, *options) for name, (make, *options) in contestants.items()}
            best = fastest(runs, settings.seconds)
            ratios = [f"{1e3 * best[name]:.1f} ({best[name] / best['fused']:.1f}×)" for name in names]
            shown.add_row(*shape, str(threads), *ratios, f"{size.batch * size.steps / best['fused']:,.0f}")
        if settings.memory:
            small = size._replace(batch=2, steps=2)
            peaks = {
                name: peak_memory(make, (size, *options), (small, *options))
                for name, (make, *options) in contestants.items()
            }
            ratios = [f"{peaks[name]:.0f} MiB ({peaks[name] / peaks['fused']:.1f}×)" for name in names]
            shown.add_row(*shape, "memory", *ratios, "")
    show(shown)
    print(f"torch {torch.__version__}; every environment step counts once, forward and backward together")


if __name__ == "__main__":
    main(tyro.cli(Settings))
