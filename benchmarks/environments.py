"""How many steps a second the environments make, beside Gymnasium's SyncVectorEnv over the same environment.

Resets are included: episodes end and begin as random actions, drawn beforehand, let them. Everything runs on one thread
unless ``--threads`` says otherwise. Each figure is the best of several tries, the engine and its peer taking turns,
so that a busy machine slows both.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import cycle

import gymnasium
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import memenvs  # noqa: F401  (registers the environments)

CASES = [
    ("memenvs/TMaze-v0", {}, 100e6),
    ("memenvs/Underground-v0", {}, 10e6),
    ("memenvs/Underground-v0", {"map": "underground"}, 10e6),
]
PEER_ENVS = 64


@dataclass
class Settings:
    """What to measure."""

    num_envs: int = 1024
    """Environments of the batch."""
    threads: int = 1
    """Threads that share a step of the batch."""
    tries: int = 60
    """Measurements of which the best counts."""
    seconds: float = 0.03
    """Length of one measurement: short enough that some escape whatever else the machine does."""


def steps_per_second(envs: gymnasium.vector.VectorEnv, actions: list[np.ndarray], seconds: float) -> float:
    """Environment steps a second, measured over about so many seconds."""
    steps, started, following = 0, time.perf_counter(), cycle(actions)
    while time.perf_counter() - started < seconds:
        for _ in range(16):
            envs.step(next(following))
        steps += 16
    return steps * envs.num_envs / (time.perf_counter() - started)


def measure(name: str, parameters: dict, settings: Settings) -> tuple[float, float, float]:
    """Steps a second of the engine, of the engine with fresh arrays in every step, and of the peer."""
    batch = {"num_envs": settings.num_envs, "threads": settings.threads, **parameters}
    contenders = [
        gymnasium.make_vec(name, copy=False, **batch),
        gymnasium.make_vec(name, **batch),
        gymnasium.make_vec(name, num_envs=PEER_ENVS, vectorization_mode="sync", **parameters),
    ]
    rng = np.random.default_rng(0)
    drawn = [list(rng.integers(0, envs.single_action_space.n, (64, envs.num_envs))) for envs in contenders]
    for envs in contenders:
        envs.reset(seed=0)
    tries = [
        [steps_per_second(envs, actions, settings.seconds) for envs, actions in zip(contenders, drawn, strict=True)]
        for _ in range(settings.tries + 1)
    ]
    for envs in contenders:
        envs.close()
    engine, fresh, peer = np.max(tries[1:], axis=0)  # the first try compiles
    return engine, fresh, peer


def main(settings: Settings) -> None:
    """Measure all environments and print one table."""
    table = Table(title=f"Millions of steps a second: {settings.num_envs} environments, {settings.threads} thread(s)")
    for heading in ("environment", "engine", "with copies", f"SyncVectorEnv({PEER_ENVS})", "ratio", "wanted"):
        table.add_column(heading, justify="left" if heading == "environment" else "right")
    for name, parameters, wanted in CASES:
        engine, fresh, peer = measure(name, parameters, settings)
        label = " ".join([name, *(f"{key}={value}" for key, value in parameters.items())])
        cells = (f"{engine / 1e6:.1f}", f"{fresh / 1e6:.1f}", f"{peer / 1e6:.3f}", f"{engine / peer:,.0f}×")
        table.add_row(label, *cells, f"{wanted / 1e6:.0f}")
    Console(width=max(100, Console().width)).print(table)


if __name__ == "__main__":
    main(tyro.cli(Settings))
