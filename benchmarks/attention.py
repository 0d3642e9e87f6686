"""Cores that attend to the episode: an acting step and an update, their CPU time and peak memory, beside another build.

The other build is a checkout of this repository, such as ``git worktree add`` makes. Each build is a process of its own
with one thread; they take turns, and the fastest turn of each counts, in CPU time.

python benchmarks/attention.py --base ../memagents-before
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import ctypes
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from report import show
from torch import Tensor

from memagents import make_core

ROOT = Path(__file__).resolve().parent.parent
INPUT_SIZE = 64
CORES = ("gtrxl", "compressive", "universal", "dmn", "memn2n", "kv", "hopfield")


@dataclass
class AttentionBenchmark:
    """Settings: what is measured, and how often.

    :param base: the other build; without one this build is measured alone
    :param cores: names, with their default sizes
    :param batch: environments
    :param steps: of an update
    :param turns: of each build
    :param worker: for this script's own processes: answer to the names of jobs
    """

    base: Path | None = None
    cores: tuple[str, ...] = CORES
    batch: int = 64
    steps: int = 128
    turns: int = 5
    worker: bool = False


def acting(name: str, settings: AttentionBenchmark) -> Callable[[], object]:
    """Return a step without a gradient, of a memory that is full."""
    core, batch = make_core(name, INPUT_SIZE), settings.batch
    with torch.no_grad():
        before = torch.zeros(200, batch, dtype=torch.bool)
        state = core.unroll(torch.randn(200, batch, INPUT_SIZE), core.initial_state(batch), before).state
    x, starts = torch.randn(1, batch, INPUT_SIZE), torch.zeros(1, batch, dtype=torch.bool)

    def run() -> None:
        with torch.no_grad():
            for _ in range(10):
                core.unroll(x, state, starts)

    return run


def updating(name: str, settings: AttentionBenchmark) -> Callable[[], object]:
    """Return a window of a few episodes, forward and backward."""
    core, (steps, batch) = make_core(name, INPUT_SIZE), (settings.steps, settings.batch)
    inputs, starts = torch.randn(steps, batch, INPUT_SIZE), torch.rand(steps, batch) < 0.01

    def run() -> Tensor:
        core.zero_grad()
        result = core.unroll(inputs, core.initial_state(batch), starts)
        total = result.outputs.sum() + sum(loss.sum() for loss in result.losses.values())
        total.backward()
        return total

    return run


def work(settings: AttentionBenchmark) -> None:
    """Answer every line, the name of a core, with the milliseconds of a step and of an update, and the latter's MiB."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    jobs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in jobs:
            jobs = {name: (acting(name, settings), updating(name, settings))}  # of one core at a time
            for job in jobs[name]:
                job()
        step, update = jobs[name]
        taken = milliseconds(step) / 10
        ctypes.CDLL(None).malloc_trim(0)  # what earlier turns left behind would hide the peak
        Path("/proc/self/clear_refs").write_text("5")  # which starts anew
        before = memory("VmRSS")
        print(taken, milliseconds(update), memory("VmHWM") - before, flush=True)


def milliseconds(run: Callable[[], object]) -> float:
    """Return the CPU time of a turn."""
    begin = time.process_time()
    run()
    return 1e3 * (time.process_time() - begin)


def memory(field: str) -> float:
    """Return MiB of this process's memory (Linux only)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def start(build: Path, settings: AttentionBenchmark) -> subprocess.Popen[str]:
    """Start this script in a process that imports a build."""
    sizes = ["--batch", str(settings.batch), "--steps", str(settings.steps)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(build), str(build / "envs")])}
    command = [sys.executable, __file__, "--worker", *sizes]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def ask(worker: subprocess.Popen[str], name: str) -> list[float]:
    """Return what a worker answers."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(name + "\n")
    worker.stdin.flush()
    return [float(number) for number in worker.stdout.readline().split()]


def main(settings: AttentionBenchmark) -> None:
    """Print one table."""
    builds = {"here": ROOT} if settings.base is None else {"base": settings.base.resolve(), "here": ROOT}
    workers = {build: start(path, settings) for build, path in builds.items()}
    rows = []
    for name in settings.cores:
        found: dict[str, list[list[float]]] = {build: [] for build in builds}
        for _ in range(settings.turns):
            for build, worker in workers.items():
                found[build].append(ask(worker, name))
        best = {build: [min(values) for values in zip(*turns, strict=True)] for build, turns in found.items()}
        cells = []
        for number, shown in enumerate(("{:.2f}", "{:.0f}", "{:.0f}")):
            values = [best[build][number] for build in builds]
            cells += [shown.format(value) for value in values]
            if len(values) == 2:
                cells.append(f"{values[0] / values[1]:.1f}")
        rows.append([name, *cells])
    for worker in workers.values():
        worker.communicate()
    heads = [
        head
        for what in ("step, ms", "update, ms", "update, MiB")
        for head in (*(f"{what}: {build}" for build in builds), *(["base / here"] if len(builds) == 2 else []))
    ]
    title = f"Acting step of {settings.batch} environments; update of {settings.steps} × {settings.batch} steps"
    show(f"{title}: CPU time of one thread, peak memory", ["core", *heads], rows)


if __name__ == "__main__":
    asked = tyro.cli(AttentionBenchmark, description=__doc__)
    (work if asked.worker else main)(asked)
