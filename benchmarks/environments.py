"""Speed of the environments beside MiniGrid itself or Gymnasium's SyncVectorEnv over the same environment.

Three tables: batches, single environments through ``gym.make``, and how long it takes from ``gym.make_vec`` to the
first step, with and without compiled code on the disk. Resets and the making of levels are included: episodes end and
begin as random actions, drawn beforehand, let them. Everything runs on one thread unless ``--threads`` says otherwise.
Each figure is the best of several tries, the engine and its peer taking turns, so that a busy machine slows both.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import gymnasium
import minigrid  # noqa: F401  (registers the peer)
import numpy as np
import tyro
from report import show

import memenvs  # noqa: F401  (registers the environments)

PEER_ENVS = 64


@dataclass
class Case:
    """An environment to measure."""

    name: str
    """Its id below ``memenvs/``."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Its parameters."""
    wanted: str = ""
    """The speed or ratio asked for."""

    @property
    def label(self) -> str:
        """The id and the parameters."""
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.parameters.items())])

    @property
    def peer(self) -> tuple[str, dict[str, Any]]:
        """The environment to compare with, for one after the other: MiniGrid's own where there is one."""
        return (self.name, {}) if self.name.startswith("MiniGrid-") else (f"memenvs/{self.name}", self.parameters)


CASES = [
    Case("MiniGrid-MemoryS13-v0", wanted="1,000×"),
    Case("MiniGrid-DoorKey-8x8-v0"),
    Case("MiniGrid-MultiRoom-N6-v0"),
    Case("MiniGrid-ObstructedMaze-Full-v1"),
    Case("MiniGrid-Dynamic-Obstacles-8x8-v0"),
    Case("Maze-v0", {"size": 21}, "10 M"),
    Case("Maze-v0", {"size": 41, "goals": 3}),
    Case("Underground-v0", {}, "10 M"),
    Case("Underground-v0", {"map": "underground"}, "10 M"),
    Case("Underground-v0", {"task": "traversal", "lesson": 14}, "5 M"),
    Case("Underground-v0", {"task": "shortest_path", "lesson": 15}, "5 M"),
    Case("Underground-v0", {"task": "explore"}, "5 M"),
    Case("Underground-v0", {"map": "zone1", "task": "traversal"}, "5 M"),
    Case("FamilyTree-v0", {}, "5 M"),
    Case("MiniShrdlu-v0"),
    Case("Bandit-v0"),
    Case("Harlow-v0"),
    Case("MemoryPlanning-v0"),
    Case("OneShotUnderground-v0"),
    Case("TMaze-v0", {}, "100 M"),
    Case("TMaze-v0", {"noise": "bits"}),
    Case("EndlessTMaze-v0"),
    Case("RuneTMaze-v0"),
    Case("ColorCubes-v0"),
    Case("MemoryLength-v0"),
]
SINGLE = [Case("MiniGrid-MemoryS13-v0", wanted="3×"), Case("MiniGrid-DoorKey-8x8-v0")]
STARTED = [Case("MiniGrid-MemoryS13-v0"), Case("Maze-v0"), Case("Underground-v0"), Case("TMaze-v0")]

FIRST_STEP = """
import sys, time
import gymnasium, numpy, memenvs
started = time.perf_counter()
envs = gymnasium.make_vec(sys.argv[1], num_envs=1024)
envs.reset(seed=0)
envs.step(envs.action_space.sample())
print(time.perf_counter() - started)
"""


@dataclass
class EnvironmentsBenchmark:
    """Settings: environments, and how they are timed."""

    num_envs: int = 1024
    """Environments of the batch."""
    threads: int = 1
    """Threads that share a step of the batch."""
    tries: int = 40
    """Measurements of which the best counts."""
    seconds: float = 0.03
    """Length of one measurement: short enough that some escape whatever else the machine does."""
    only: str = ""
    """Measure only cases with this in their id and parameters."""
    startup: bool = True
    """Measure also the time to the first step, compiling once."""


def steps_per_second(step: Callable[[Any], Any], actions: Sequence[Any], batch: int, seconds: float) -> float:
    """Return environment steps a second over about ``seconds``; a call of ``step`` makes ``batch`` of them."""
    calls, started, following = 0, time.perf_counter(), cycle(actions)
    while time.perf_counter() - started < seconds:
        for _ in range(16):
            step(next(following))
        calls += 16
    return calls * batch / (time.perf_counter() - started)


def best_of(
    contenders: list[tuple[Callable[[Any], Any], Sequence[Any], int]], settings: EnvironmentsBenchmark
) -> np.ndarray:
    """Return the best steps a second of each contender; they take turns."""
    tries = [
        [steps_per_second(step, actions, batch, settings.seconds) for step, actions, batch in contenders]
        for _ in range(settings.tries + 1)
    ]
    return np.max(tries[1:], axis=0)  # the first try compiles


def measure_batch(case: Case, settings: EnvironmentsBenchmark) -> np.ndarray:
    """Return steps a second of the engine, of the engine with fresh arrays in every step, and of the peer."""
    batch = {"num_envs": settings.num_envs, "threads": settings.threads, **case.parameters}
    peer, parameters = case.peer
    contenders = [
        gymnasium.make_vec(f"memenvs/{case.name}", copy=False, **batch),
        gymnasium.make_vec(f"memenvs/{case.name}", **batch),
        gymnasium.make_vec(peer, num_envs=PEER_ENVS, vectorization_mode="sync", **parameters),
    ]
    for envs in contenders:
        envs.reset(seed=0)
        envs.action_space.seed(0)
    found = best_of(
        [(envs.step, [envs.action_space.sample() for _ in range(64)], envs.num_envs) for envs in contenders], settings
    )
    for envs in contenders:
        envs.close()
    return found


def measure_single(case: Case, settings: EnvironmentsBenchmark) -> np.ndarray:
    """Return steps a second of an environment and of its peer, both made by ``gym.make`` and resetting themselves."""
    peer, parameters = case.peer
    contenders: list[tuple[Callable[[Any], Any], Sequence[Any], int]] = []
    for made in (gymnasium.make(f"memenvs/{case.name}", **case.parameters), gymnasium.make(peer, **parameters)):
        env = gymnasium.wrappers.Autoreset(made)
        env.reset(seed=0)
        env.action_space.seed(0)
        contenders.append((env.step, [env.action_space.sample() for _ in range(256)], 1))
    return best_of(contenders, settings)


def seconds_to_first_step(case: Case, cache: str) -> float:
    """Return how long a new process takes from ``gym.make_vec`` through the first step, imports not counted."""
    command = [sys.executable, "-c", FIRST_STEP, f"memenvs/{case.name}"]
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def main(settings: EnvironmentsBenchmark) -> None:
    """Measure all environments and print the tables."""
    rows = []
    for case in chosen(CASES, settings):
        engine, fresh, peer = measure_batch(case, settings)
        figures = [f"{engine / 1e6:.1f}", f"{fresh / 1e6:.1f}", f"{peer / 1e6:.4f}", f"{engine / peer:,.0f}×"]
        rows.append([case.label, *figures, case.wanted])
    title = f"Millions of steps a second: {settings.num_envs} environments, {settings.threads} thread(s)"
    show(title, ["environment", "engine", "with copies", f"one by one ({PEER_ENVS})", "ratio", "wanted"], rows)

    rows = []
    for case in chosen(SINGLE, settings):
        ours, peer = measure_single(case, settings)
        rows.append([case.label, f"{ours / 1e3:.1f}", f"{peer / 1e3:.1f}", f"{ours / peer:.1f}×", case.wanted])
    title = "Thousands of steps a second: one environment through gym.make"
    show(title, ["environment", "ours", "MiniGrid", "ratio", "wanted"], rows)

    rows = []
    for case in chosen(STARTED, settings) if settings.startup else ():
        with tempfile.TemporaryDirectory() as cache:
            first, *later = (seconds_to_first_step(case, cache) for _ in range(4))
        rows.append([case.label, f"{first:.1f}", f"{min(later):.2f}"])
    show("Seconds from gym.make_vec to the first step", ["environment", "nothing compiled", "compiled"], rows)


def chosen(cases: list[Case], settings: EnvironmentsBenchmark) -> list[Case]:
    """Return the cases that ``only`` leaves."""
    return [case for case in cases if settings.only in case.label]


if __name__ == "__main__":
    main(tyro.cli(EnvironmentsBenchmark, description=__doc__))
