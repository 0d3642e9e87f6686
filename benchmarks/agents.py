"""RecurrentPPO end to end on the Underground, a row a core: environment steps per second on a device and on the CPU.

python benchmarks/agents.py --device cuda --cuda-graphs
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import time
from dataclasses import dataclass
from itertools import pairwise

import gymnasium as gym
import torch
import tyro
from report import show
from stable_baselines3.common.callbacks import BaseCallback

import memenvs  # noqa: F401 — registers the environments
from memagents import RecurrentPPO, as_vec_env, core_names


@dataclass
class AgentsBenchmark:
    """Settings: agents, and how they are timed.

    :param device: to be compared with the CPU
    :param envs: environments stepped at once
    :param steps: length of a window
    :param windows: in a measurement, after one that warms up
    :param repeats: measurements, of which the fastest counts
    :param threads: of torch
    :param critic_core: as the agents have it: None, where actor and critic share a memory, or "same"
    :param cuda_graphs: measure the device with CUDA graphs as well
    """

    device: str = "cpu"
    envs: int = 256
    steps: int = 32
    windows: int = 4
    repeats: int = 3
    threads: int = 2
    critic_core: str | None = None
    cuda_graphs: bool = False


class Clock(BaseCallback):
    """Notes when each window begins, and when the agent has learned from the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def _on_rollout_start(self) -> None:
        if self.model.device.type != "cpu":
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    def _on_training_end(self) -> None:
        self._on_rollout_start()

    def _on_step(self) -> bool:
        return True


def steps_per_second(core: str, device: str, graphs: bool, settings: AgentsBenchmark) -> float:
    """Return the steps a second of collecting and learning together, with 1 epoch of 4 minibatches."""
    env = as_vec_env(gym.make_vec("memenvs/Underground-v0", num_envs=settings.envs, copy=False))
    agent = RecurrentPPO(
        "MlpPolicy",
        env,
        n_steps=settings.steps,
        n_epochs=1,
        cuda_graphs=graphs,
        policy_kwargs={"core": core, "critic_core": settings.critic_core},
        device=device,
        seed=0,
    )
    window, clock = settings.envs * settings.steps, Clock()
    agent.learn((1 + settings.repeats * settings.windows) * window, clock)  # at once, since every call records anew
    marks = clock.times[1 :: settings.windows]
    return settings.windows * window / min(end - begin for begin, end in pairwise(marks))


def main(settings: AgentsBenchmark) -> None:
    """Measure every core on the CPU and, if it is another, on the device."""
    torch.set_num_threads(settings.threads)
    ways = {"cpu": ("cpu", False)}
    if settings.device != "cpu":
        ways[settings.device] = (settings.device, False)
        if settings.cuda_graphs:
            ways[f"{settings.device} with graphs"] = (settings.device, True)
    title = f"RecurrentPPO on memenvs/Underground-v0, {settings.envs} environments, {settings.threads} thread(s)"
    results = {core: [steps_per_second(core, *way, settings) for way in ways.values()] for core in core_names()}
    base = results["lstm"][0]
    rows = [[core, *(f"{rate:,.0f}" for rate in rates), f"{rates[0] / base:.2f}"] for core, rates in results.items()]
    show(title, ["core", *(f"steps/s, {way}" for way in ways), "against lstm on the CPU"], rows)


if __name__ == "__main__":
    main(tyro.cli(AgentsBenchmark, description=__doc__))
