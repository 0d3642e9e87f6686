"""Exported policies: how large their files are, how far they are from the policy, and how long a step of theirs takes.

Each core as it is by default, in an untrained policy for CartPole whose actor and critic share one memory. A step is
timed in ONNX Runtime beside the policy's own in torch, kernels included, both with one thread: the fastest of many.

    python benchmarks/export.py
    python benchmarks/export.py --cores lstm dnc --seconds 5
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from report import show
from turns import fastest

from memagents import RecurrentPPO, core_names
from memagents.export import export_run
from memagents.export.programs import onnx_runner
from memagents.export.step import PolicyStep
from memagents.policies.actor_critic import MemoryPolicy

ROWS = (1, 64)
STEPS = 20  # in a row, to be timed


@dataclass
class ExportBenchmark:
    """Settings: cores, and how long they are timed.

    :param cores: names; by default all of the catalogue
    :param seconds: time for the turns of one core and one number of rows
    """

    cores: tuple[str, ...] = ()
    seconds: float = 2.0


def exported_steps(step: PolicyStep, path: Path, rows: int) -> Callable[[], object]:
    """Return what takes :data:`STEPS` steps of a file in ONNX Runtime."""
    run = onnx_runner(path.read_bytes())
    assert run is not None
    first = {name: tensor.detach().numpy() for name, tensor in step.example(rows).items()}
    carried = [name for name in first if name.startswith("state")]

    def steps() -> None:
        inputs = dict(first)
        for _ in range(STEPS):
            found = run(inputs)
            inputs |= {name: found[name.replace("state", "next", 1)] for name in carried}
            inputs["episode_start"] = np.zeros(rows, bool)

    return steps


def own_steps(policy: MemoryPolicy, rows: int) -> Callable[[], object]:
    """Return what takes as many of the policy's own."""
    observations, starts = torch.zeros(rows, 4), torch.zeros(rows, dtype=torch.bool)

    @torch.no_grad()
    def steps() -> None:
        state = policy.initial_state(rows)
        for _ in range(STEPS):
            acted = policy(observations, state, starts, deterministic=True)
            state = acted.state

    return steps


def row_of(core: str, folder: Path, seconds: float) -> list[str]:
    """Return a core's row of the table."""
    agent = RecurrentPPO("MlpPolicy", "CartPole-v1", policy_kwargs={"core": core, "critic_core": None}, device="cpu")
    agent.save(folder / core)
    try:
        path, difference = export_run(folder / core, folder / f"{core}.onnx")
    except ValueError as error:
        print(error)
        return [f"`{core}`", "no", *[""] * 7]
    assert difference is not None
    assert isinstance(agent.policy, MemoryPolicy)
    agent.policy.set_training_mode(False)
    step, times = PolicyStep(agent.policy, None), []
    for rows in ROWS:
        ways = {"onnx": exported_steps(step, path, rows), "ours": own_steps(agent.policy, rows)}
        best = fastest(ways, seconds)
        times += [f"{1e6 * best[name] / STEPS:,.0f}" for name in ways]
    sizes = [f"{difference.size:.1e}", f"{difference.ties}", f"{path.stat().st_size / 1024:,.0f}"]
    return [f"`{core}`", "yes", *sizes, *times]


def main(settings: ExportBenchmark) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [row_of(core, Path(folder), settings.seconds) for core in settings.cores or core_names()]
    timed = [f"µs, {rows} row{'s' * (rows > 1)}{who}" for rows in ROWS for who in (": ONNX Runtime", ": ours")]
    show("Exported steps", ["core", "exports", "largest difference", "ties", "KiB", *timed], rows)


if __name__ == "__main__":
    main(tyro.cli(ExportBenchmark, description=__doc__))
