"""What recording an agent costs beside evaluating it: the same episodes, with and without the memory's inside.

python benchmarks/recording.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from report import show
from turns import fastest

from memagents import RecurrentPPO
from memagents.environments import make_env
from memagents.experiments.evaluation import evaluate
from memagents.inspection import record

EPISODES = 64
CASES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "LSTM 64, T-maze of 40 steps": ("memenvs/TMaze-v0", {"length": 40}, "lstm", {}),
    "LSTM 64, MemoryS7": ("memenvs/MiniGrid-MemoryS7-v0", {}, "lstm", {}),
    "DNC 32 × 16, Underground": ("memenvs/Underground-v0", {}, "dnc", {}),
}


@dataclass
class RecordingBenchmark:
    """Settings of the comparison.

    :param seconds: time for the turns of one row, for all contestants together
    :param threads: torch threads
    """

    seconds: float = 20.0
    threads: int = 1


def contestants(agent: RecurrentPPO, folder: Path) -> dict[str, Callable[[], object]]:
    """Return what plays the same episodes: an evaluation, and recordings with and without a trace."""
    written = partial(record, agent, folder, EPISODES, deterministic=False, overwrite=True)
    return {
        "evaluate": partial(evaluate, agent, agent.env, EPISODES, deterministic=False, seed=0),
        "record": partial(written, trace=False),
        "with a trace": written,
    }


def main(settings: RecordingBenchmark) -> None:
    """Measure every case, and print the table."""
    torch.set_num_threads(settings.threads)
    rows = []
    for name, (env, kwargs, core, core_kwargs) in CASES.items():
        policy = {"core": core, "core_kwargs": core_kwargs, "critic_core": None}
        agent = RecurrentPPO("MultiInputPolicy", make_env(env, EPISODES, **kwargs), policy_kwargs=policy, seed=0)
        with tempfile.TemporaryDirectory() as folder:
            best = fastest(contestants(agent, Path(folder) / "recording"), settings.seconds)
        ratios = (f"{best[kind] / best['evaluate']:.2f}×" for kind in ("record", "with a trace"))
        rows.append([name, f"{1e3 * best['evaluate']:.0f}", *ratios])
    show(f"Recording {EPISODES} episodes", ["", "evaluation, ms", "recorded", "with a trace"], rows)


if __name__ == "__main__":
    main(tyro.cli(RecordingBenchmark, description=__doc__))
