"""Speed of the environments of POPGym here beside POPGym's own.

Two tables over all ids: batches beside Gymnasium's SyncVectorEnv of POPGym's environments, and single environments
through ``gym.make``. Episodes end and begin as random actions, drawn beforehand, let them, and resets are included.
Everything runs on one thread. Each figure is the best of several tries, the two taking turns.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import tyro
from environments import PEER_ENVS, steps_per_second
from report import show

import memenvs  # noqa: F401  (registers the environments)
from memenvs.popgym.ids import ENVIRONMENTS

Contender = tuple[Callable[[Any], Any], Sequence[Any], int]  # step, actions, number of environments


@dataclass
class PopgymBenchmark:
    """Settings: environments, and how they are timed."""

    num_envs: int = 1024
    """Environments of the batch."""
    tries: int = 12
    """Measurements of which the best counts."""
    seconds: float = 0.05
    """Length of one measurement."""
    only: str = ""
    """Measure only ids with this in them."""
    single: bool = True
    """Measure also single environments."""


def batches(name: str, settings: PopgymBenchmark) -> list[gymnasium.vector.VectorEnv]:
    """Return a batch of ours and one of POPGym's."""
    return [
        gymnasium.make_vec(f"memenvs/{name}", num_envs=settings.num_envs, copy=False),
        gymnasium.make_vec(name, num_envs=PEER_ENVS, vectorization_mode="sync"),
    ]


def singles(name: str) -> list[gymnasium.Env]:
    """Return an environment of ours and one of POPGym's, which reset themselves."""
    made = [gymnasium.make(env_id, disable_env_checker=True) for env_id in (f"memenvs/{name}", name)]
    return [gymnasium.wrappers.Autoreset(env) for env in made]


def measured(envs: Sequence[Any], actions: int, settings: PopgymBenchmark) -> np.ndarray:
    """Return the best steps a second of each; they take turns."""
    contenders: list[Contender] = []
    for env in envs:
        env.reset(seed=0)
        env.action_space.seed(0)
        drawn = [env.action_space.sample() for _ in range(actions)]
        contenders.append((env.step, drawn, getattr(env, "num_envs", 1)))
    # Longer than an episode: the batches begin at once, and until some have ended few resets are in a measurement.
    for step, moves, _ in contenders:
        for number in range(1000):
            step(moves[number % actions])
    found = np.max(
        [[steps_per_second(*contender, settings.seconds) for contender in contenders] for _ in range(settings.tries)],
        axis=0,
    )
    for env in envs:
        env.close()
    return found


def main(settings: PopgymBenchmark) -> None:
    """Measure all ids and print the tables."""
    import popgym  # noqa: F401  (registers the peers; in here, since importing it warns)

    names = [name for name in ENVIRONMENTS if settings.only in name]
    rows, ratios = [], []
    for name in names:
        ours, theirs = measured(batches(name, settings), 64, settings)
        ratios.append(ours / theirs)
        rows.append([name, f"{ours / 1e6:.1f}", f"{theirs / 1e6:.3f}", f"{ours / theirs:,.0f}×"])
    if len(names) > 1:
        rows.append(["least, geometric mean", "", "", f"{min(ratios):,.0f}×, {np.exp(np.mean(np.log(ratios))):,.0f}×"])
    title = f"Millions of steps a second: {settings.num_envs} environments beside {PEER_ENVS} in a SyncVectorEnv"
    show(title, ["environment", "ours", "POPGym", "ratio"], rows)
    rows = []
    for name in names if settings.single else ():
        ours, theirs = measured(singles(name), 256, settings)
        rows.append([name, f"{ours / 1e3:.1f}", f"{theirs / 1e3:.1f}", f"{ours / theirs:.1f}×"])
    show(
        "Thousands of steps a second: one environment through gym.make",
        ["environment", "ours", "POPGym", "ratio"],
        rows,
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    main(tyro.cli(PopgymBenchmark, description=__doc__))
