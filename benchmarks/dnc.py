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

import torch
import tyro
from report import show
from turns import KernelBenchmark, Makers, kernel_rows
from windows import Turn, WindowSize, turn_of, window_of

from memagents.cores.core import Unrolled, unroll_by_steps
from memagents.cores.dnc import DNC

INPUT_SIZE = 32
SIZES = [WindowSize(16, 32, 64, 32, 4, 64), WindowSize(64, 128, 64, 32, 4, 64), WindowSize(256, 20, 32, 24, 2, 64)]


def ours(size: WindowSize, unroll: Callable[..., Unrolled]) -> Turn:
    """Return a window of our core by ``unroll``."""
    core = DNC(INPUT_SIZE, size.slots, size.width, size.heads, size.hidden)
    return window_of(core, size.batch, size.steps, INPUT_SIZE, unroll)


def installed_package() -> ModuleType | None:
    """Return the PyPI package, if there is one: not this file, which has the same name."""
    here, paths = Path(__file__).resolve().parent, sys.path
    try:
        sys.path = [path for path in paths if Path(path).resolve() != here]
        return importlib.import_module("dnc")
    except ModuleNotFoundError:
        return None
    finally:
        sys.path = paths


def package(size: WindowSize) -> Turn:
    """Return a window of the package, with one LSTM layer as its controller."""
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
    return turn_of(model, lambda: model(inputs, (None, None, None), reset_experience=True)[0])


MAKERS: Makers = {
    "fused": (ours, (DNC.unroll,)),
    "plain loop": (ours, (unroll_by_steps,)),
    "PyPI dnc": (package, ()),
}


def main(settings: KernelBenchmark) -> None:
    """Print one table."""
    makers = {name: maker for name, maker in MAKERS.items() if name != "PyPI dnc" or installed_package()}
    rows = []
    for size in SIZES:
        shape = [f"{size.batch} × {size.steps}", f"{size.slots} × {size.width}", str(size.heads), str(size.hidden)]
        rows += kernel_rows(size, shape, makers, settings)
    heads = ["batch × steps", "memory", "reads", "controller", "threads", *makers, "steps/s, fused"]
    show("DNC, forward + backward: ms (times the fused kernel), peak MiB", heads, rows)
    print(f"torch {torch.__version__}; every environment step counts once, forward and backward together")


if __name__ == "__main__":
    main(tyro.cli(KernelBenchmark, description=__doc__))
