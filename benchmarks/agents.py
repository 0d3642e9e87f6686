"""RecurrentPPO end to end on the Underground, a row a core: environment steps per second on a device and on the CPU.

Beside them, for the CPU, the memory that two windows take at most, and the operations of the products that a step of a
core takes, acting and learning once: where these alone take the time of the LSTM's whole agent, no kernel reaches it.

python benchmarks/agents.py --device cuda --cuda-graphs
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import gymnasium as gym
import torch
import tyro
from products import peak_of_products, products_of_a_step
from report import show
from stable_baselines3.common.callbacks import BaseCallback
from turns import fastest, peak_memory

import memenvs  # noqa: F401 — registers the environments
from memagents import RecurrentPPO, as_vec_env, core_names


@dataclass
class AgentsBenchmark:
    """Settings: agents, and how they are timed.

    :param cores: names; by default the whole catalogue
    :param device: to be compared with the CPU
    :param envs: environments stepped at once
    :param steps: length of a window
    :param windows: in a turn, after one that warms up
    :param seconds: time for the turns of a core, of which the fastest counts
    :param threads: of torch
    :param critic_core: as the agents have it: None, where actor and critic share a memory, or "same"
    :param cuda_graphs: measure the device with CUDA graphs as well
    """

    cores: tuple[str, ...] = ()
    device: str = "cpu"
    envs: int = 256
    steps: int = 32
    windows: int = 2
    seconds: float = 6.0
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


def make_agent(core: str, device: str, graphs: bool, settings: AgentsBenchmark) -> RecurrentPPO:
    """Make an agent that learns from each window in 1 epoch of 4 minibatches."""
    env = as_vec_env(gym.make_vec("memenvs/Underground-v0", num_envs=settings.envs, copy=False))
    return RecurrentPPO(
        "MlpPolicy",
        env,
        n_steps=settings.steps,
        n_epochs=1,
        cuda_graphs=graphs,
        policy_kwargs={"core": core, "critic_core": settings.critic_core},
        device=device,
        seed=0,
    )


def two_windows(core: str, settings: AgentsBenchmark) -> Callable[[], object]:
    """Return a turn of an agent on the CPU that :func:`turns.peak_memory` can measure."""
    agent = make_agent(core, "cpu", False, settings)
    return lambda: agent.learn(2 * settings.envs * settings.steps)


def seconds_of_windows(core: str, device: str, graphs: bool, settings: AgentsBenchmark) -> Callable[[], float]:
    """Return a turn of an agent: windows of collecting and learning, after one that warms up, and their seconds."""
    agent, clock = make_agent(core, device, graphs, settings), Clock()
    window = settings.envs * settings.steps

    def turn() -> float:
        clock.times = []
        agent.learn((1 + settings.windows) * window, clock)
        return clock.times[-1] - clock.times[1]

    return turn


def steps_per_second(
    core: str, ways: dict[str, tuple[str, bool]], settings: AgentsBenchmark
) -> tuple[list[float], float]:
    """Return an agent's steps a second in several ways, and how many times the LSTM's on the CPU they are in the first.

    The LSTM takes its turns among them, so that whatever else runs on the machine disturbs both alike.
    """
    runs = {way: seconds_of_windows(core, *how, settings) for way, how in ways.items()}
    runs["the LSTM"] = seconds_of_windows("lstm", "cpu", False, settings)
    best = fastest(runs, settings.seconds, lambda turn: turn())
    rates = {way: settings.windows * settings.envs * settings.steps / taken for way, taken in best.items()}
    yardstick = rates.pop("the LSTM")
    return list(rates.values()), next(iter(rates.values())) / yardstick


def main(settings: AgentsBenchmark) -> None:
    """Measure every core on the CPU and, if it is another, on the device."""
    torch.set_num_threads(settings.threads)
    ways = {"cpu": ("cpu", False)}
    if settings.device != "cpu":
        ways[settings.device] = (settings.device, False)
        if settings.cuda_graphs:
            ways[f"{settings.device} with graphs"] = (settings.device, True)
    title = f"RecurrentPPO on memenvs/Underground-v0, {settings.envs} environments, {settings.threads} thread(s)"
    cores = settings.cores or core_names()
    results = {core: steps_per_second(core, ways, settings) for core in cores}
    peak, small, rows = peak_of_products(), replace(settings, envs=4), []
    for core, (rates, share) in results.items():
        memory, products = peak_memory(two_windows, (core, settings), (core, small)), products_of_a_step(core)
        of_peak = f"{100 * rates[0] * products * 1e-3 / peak:.0f}%"
        rates_shown = [f"{rate:,.0f}" for rate in rates]
        rows.append([core, *rates_shown, f"{share:.2f}", f"{memory:.0f}", f"{products:.2f}", of_peak])
    heads = [*(f"steps/s, {way}" for way in ways), "against lstm on the CPU", "MiB", "MFLOP of products", "of the peak"]
    show(title, ["core", *heads], rows)
    print(f"The peak: {peak:.0f} GFLOP/s, of a product of 2048 × 256 by 256 × 256")


if __name__ == "__main__":
    main(tyro.cli(AgentsBenchmark, description=__doc__))
