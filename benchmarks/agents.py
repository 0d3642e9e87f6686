"""RecurrentPPO end to end on the Underground, a row a core: environment steps per second on a device and on the CPU.

python benchmarks/agents.py --device cuda
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import time
from dataclasses import dataclass

import gymnasium as gym
import torch
import tyro
from report import show, table

import memenvs  # noqa: F401 — registers the environments
from memagents import RecurrentPPO, as_vec_env, core_names


@dataclass
class Settings:
    """What to measure.

    :param device: the device to compare with the CPU
    :param envs: environments stepped at once
    :param steps: length of a window
    :param windows: windows a measurement times, after one that warms up
    :param repeats: measurements, of which the fastest counts
    :param threads: torch threads
    """

    device: str = "cpu"
    envs: int = 256
    steps: int = 32
    windows: int = 4
    repeats: int = 3
    threads: int = 2


def steps_per_second(core: str, device: str, settings: Settings) -> float:
    """Collecting and learning together, 1 epoch of 4 minibatches."""
    env = as_vec_env(gym.make_vec("memenvs/Underground-v0", num_envs=settings.envs, copy=False))
    agent = RecurrentPPO(
        "MlpPolicy", env, n_steps=settings.steps, n_epochs=1, policy_kwargs={"core": core}, device=device, seed=0
    )
    window = settings.envs * settings.steps
    agent.learn(window)
    best = 0.0
    for _ in range(settings.repeats):
        begin = time.perf_counter()
        agent.learn(settings.windows * window, reset_num_timesteps=False)
        if device != "cpu":
            torch.cuda.synchronize()
        best = max(best, settings.windows * window / (time.perf_counter() - begin))
    return best


def main(settings: Settings) -> None:
    """Measure every core on the CPU and, if it is another, on the device."""
    torch.set_num_threads(settings.threads)
    devices = ["cpu"] if settings.device == "cpu" else ["cpu", settings.device]
    title = f"RecurrentPPO on memenvs/Underground-v0, {settings.envs} environments, {settings.threads} thread(s)"
    shown = table(title, "core", *(f"steps/s, {device}" for device in devices), "against lstm on the CPU")
    results = {core: [steps_per_second(core, device, settings) for device in devices] for core in core_names()}
    for core, rates in results.items():
        shown.add_row(core, *(f"{rate:,.0f}" for rate in rates), f"{rates[0] / results['lstm'][0]:.2f}")
    show(shown)


if __name__ == "__main__":
    main(tyro.cli(Settings))
