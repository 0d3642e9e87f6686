"""DQN in a graph that stays the same, with and without hindsight: the table of docs/hindsight.md.

    python train/her.py                                      # all of it: a quarter of an hour on one core
    python train/her.py --replays none --seeds 0 --steps 2000 --run-dir runs/look --document ""

A training that is finished is not made again.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads: spinning threads starve the environments

import gymnasium as gym
import numpy as np
import tyro
from stable_baselines3 import DQN, HerReplayBuffer
from stable_baselines3.common.env_util import make_vec_env

import memenvs  # noqa: F401 — registers the environments
from memagents.algorithms.hindsight import HindsightReplay
from memagents.command_line.errors import plain_errors
from memagents.experiments.documents import markdown_table, write_between_marks
from memagents.experiments.evaluation import evaluate, over_seeds
from memagents.experiments.evaluation_settings import EVALUATION_SEED
from memagents.experiments.training import prepare
from memagents.runs.files import read_json, write_json
from memenvs.goals import GoalView

ENV = "memenvs/Underground-v0"
# One graph for all episodes, without a description: 32 stations with 2 or 3 exits, goals 4 to 8 of them away. No other
# reward than that of arriving, in at most 4 steps more than the shortest way takes.
GRAPH: dict[str, Any] = {
    "fixed": 0,
    "description": False,
    "stations": 32,
    "exits": (2, 3),
    "distance": (4, 8),
    "slack": 4,
    "step_cost": 0,
}
DQN_SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "buffer_size": 50_000,
    "learning_starts": 1_000,
    "batch_size": 256,
    "gamma": 0.9,
    "train_freq": 1,
    "gradient_steps": 2,
    "target_update_interval": 200,
    "exploration_fraction": 0.4,
}
REPLAYS = {"HindsightReplay": HindsightReplay, "HerReplayBuffer": HerReplayBuffer, "none": None}
ABOUT = {
    "HindsightReplay": "hindsight, ends on arrival (`memagents.algorithms.hindsight`)",
    "HerReplayBuffer": "hindsight as in Stable-Baselines3",
    "none": "no hindsight: the goals as they were",
}


@dataclass
class HindsightSettings:
    """Settings of the trainings and the table.

    :param replays: ``HindsightReplay``, ``HerReplayBuffer`` (with hindsight) and ``none`` (without)
    :param seeds: of the trainings
    :param steps: environment steps of each training
    :param episodes: of each evaluation
    :param run_dir: folder of the results
    :param document: file that the table is written into; an empty path prints it instead
    :param threads: of torch
    """

    replays: tuple[str, ...] = ("HindsightReplay", "none")
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 30_000
    episodes: int = 500
    run_dir: Path = Path("runs/her")
    document: Path = Path("docs/hindsight.md")
    threads: int = 1


def make_envs(seed: int) -> Any:
    """Return eight environments in one process."""
    return make_vec_env(lambda: GoalView(gym.make(ENV, **GRAPH)), n_envs=8, seed=seed)


def make_learner(replay: str, seed: int) -> DQN:
    """Return an untrained DQN."""
    kind = REPLAYS[replay]
    return DQN("MultiInputPolicy", make_envs(seed), replay_buffer_class=kind, seed=seed, device="cpu", **DQN_SETTINGS)


def train(replay: str, seed: int, settings: HindsightSettings) -> dict[str, Any]:
    """Train with one seed and return the success rate of the greedy policy, with steps and minutes."""
    learner, begin = make_learner(replay, seed), time.perf_counter()
    learner.learn(settings.steps)
    minutes = (time.perf_counter() - begin) / 60
    success = evaluate(learner, make_envs(0), settings.episodes, seed=EVALUATION_SEED).success
    assert success is not None
    return {"steps": settings.steps, "minutes": minutes, "success": float(success.mean())}


def table(settings: HindsightSettings) -> list[str]:
    """Return the lines of the table: a row for each replay that was trained."""
    rows = []
    for replay, about in ABOUT.items():
        results = [read_json(path) for path in sorted(settings.run_dir.glob(f"{replay}-*.json"))]
        for result in results:
            if result["steps"] != settings.steps:
                raise ValueError(f"steps must be those of the runs that are there already, {result['steps']}")
        if results:
            success = over_seeds([result["success"] for result in results], digits=2, low=0, high=1)
            minutes = np.mean([result["minutes"] for result in results])
            rows.append([f"`{replay}`", about, success, f"{settings.steps:,}", f"{minutes:.1f}"])
    return markdown_table(["replay", "", "success", "steps", "minutes"], rows)


def main(settings: HindsightSettings) -> None:
    for replay in settings.replays:
        if replay not in REPLAYS:
            raise ValueError(f"replays must be of {', '.join(REPLAYS)}, not {replay!r}")
    prepare(threads=settings.threads)
    for seed in settings.seeds:
        for replay in settings.replays:
            path = settings.run_dir / f"{replay}-{seed}.json"
            if not path.is_file():
                write_json(path, train(replay, seed, settings))
                print(f"{path}: {read_json(path)}")
    if settings.document.name:
        write_between_marks(settings.document, "her", [*table(settings), ""])
    else:
        print("\n".join(table(settings)))


if __name__ == "__main__":
    with plain_errors(ValueError, FloatingPointError, KeyboardInterrupt):
        main(tyro.cli(HindsightSettings, description=__doc__))
