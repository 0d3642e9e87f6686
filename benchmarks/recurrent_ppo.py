"""Our RecurrentPPO beside sb3-contrib's: same task, same budget, same settings, in one run.

The task is CartPole with only the cart's position and the pole's angle, so that velocities must be remembered. The
settings are RL Baselines3 Zoo's for it, and the same but that advantages are left as they are ("raw"). Prints, for
sb3-contrib's agent with its two LSTMs and ours with one or two, the mean return of the last tenth of training over the
seeds, how probably a run is better than one of sb3-contrib's, and the ratio of the steps per second; with ``--figure``
it draws the curves.

    python benchmarks/recurrent_ppo.py --seeds 5 --steps 100000
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from report import show
from sb3_contrib import RecurrentPPO as TheirPPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import nn

from memagents import RecurrentPPO as OurPPO
from memagents.checks import selected
from memagents.environments.cartpole import POSITIONS
from memagents.experiments.evaluation import over_seeds
from memagents.experiments.statistics import improvement


@dataclass
class LearningBenchmark:
    """Settings of the comparison.

    :param seeds: trainings of either agent
    :param steps: environment steps of a training
    :param agents: names of agents, by default all; sb3-contrib's is always among them
    :param threads: torch threads
    :param figure: PNG of the learning curves
    """

    seeds: int = 5
    steps: int = 100_000
    agents: tuple[str, ...] = ()
    threads: int = 1
    figure: Path | None = None


def make_env(seed: int) -> VecEnv:
    return VecNormalize(make_vec_env(POSITIONS, 8, seed=seed), gamma=GAMMA)


GAMMA = 0.98
COMMON: dict[str, Any] = {
    "n_steps": 32,
    "n_epochs": 20,
    "gae_lambda": 0.8,
    "gamma": GAMMA,
    "clip_range": LinearSchedule(0.2, 0.0, 1.0),
    "learning_rate": LinearSchedule(1e-3, 0.0, 1.0),
    "device": "cpu",
}
HEADS: dict[str, Any] = {"net_arch": {"pi": [64], "vf": [64]}, "activation_fn": nn.ReLU, "ortho_init": False}


def theirs(seed: int, **changes: Any) -> TheirPPO:
    """Return sb3-contrib's agent: one LSTM for the actor, another for the critic."""
    policy = dict(**HEADS, lstm_hidden_size=64, enable_critic_lstm=True)
    arguments = {**COMMON, **changes}
    return TheirPPO("MlpLstmPolicy", make_env(seed), batch_size=256, seed=seed, policy_kwargs=policy, **arguments)


def ours(seed: int, critic_core: str | None = "same", **changes: Any) -> OurPPO:
    """Return our agent; by default it has an LSTM for the actor and one for the critic, too."""
    policy = dict(**HEADS, core="lstm", core_kwargs={"hidden_size": 64}, critic_core=critic_core)
    arguments = {**COMMON, **changes}
    return OurPPO("MlpPolicy", make_env(seed), n_minibatches=1, seed=seed, policy_kwargs=policy, **arguments)


RAW: dict[str, Any] = {"normalize_advantage": False}
THEIRS = "sb3-contrib"
AGENTS: dict[str, Callable[[int], Any]] = {
    THEIRS: theirs,
    f"{THEIRS}, raw advantages": partial(theirs, **RAW),
    "memagents": ours,
    "memagents, raw advantages": partial(ours, **RAW),
    "memagents, one LSTM": partial(ours, critic_core=None),
    "memagents, one LSTM, raw advantages": partial(ours, critic_core=None, **RAW),
}
COLOURS = ("#1f77b4", "#7fb3d8", "#d95f02", "#e8a56b", "#2e933c", "#7b3294")


def train(make: Callable, seed: int, steps: int) -> tuple[np.ndarray, float]:
    """Train one agent.

    :return: the mean return of recent episodes after every window, and the seconds it took
    """
    agent, curve = make(seed), []
    begin = time.perf_counter()

    def note(local_variables: dict, _: dict) -> bool:
        if agent.ep_info_buffer and agent.num_timesteps % 256 == 0:
            curve.append(np.mean([episode["r"] for episode in list(agent.ep_info_buffer)[-20:]]))
        return True

    agent.learn(steps, callback=note)
    return np.array(curve), time.perf_counter() - begin


def draw(curves: dict[str, list[np.ndarray]], steps: int, path: Path) -> None:
    """Draw the mean of each agent's return, and its range over the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for (name, runs), colour in zip(curves.items(), COLOURS, strict=False):
        length = min(map(len, runs))
        stack = np.stack([run[:length] for run in runs])
        x = np.linspace(0, steps, length)
        axes.plot(x, stack.mean(0), color=colour, label=name)
        axes.fill_between(x, stack.min(0), stack.max(0), color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="environment steps", ylabel="return", title="CartPole without velocities")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main(settings: LearningBenchmark) -> None:
    """Train all agents on every seed, in turn, and print the comparison."""
    torch.set_num_threads(settings.threads)
    asked = {THEIRS, *selected(settings.agents, AGENTS)}
    names = [name for name in AGENTS if name in asked]
    curves: dict[str, list[np.ndarray]] = {name: [] for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(settings.seeds):
        for name in names:
            curve, took = train(AGENTS[name], seed, settings.steps)
            curves[name].append(curve)
            seconds[name].append(took)
            end = curve[-len(curve) // 10 :].mean()
            print(f"seed {seed} {name:28s} return {end:6.1f}  {took:6.1f} s", file=sys.stderr, flush=True)
    rows = []
    reached = {name: [float(run[-len(run) // 10 :].mean()) for run in runs] for name, runs in curves.items()}
    for name, runs in curves.items():
        ends, means = reached[name], [run.mean() for run in runs]
        rate, ratio = settings.steps / min(seconds[name]), min(seconds[THEIRS]) / min(seconds[name])
        returns = [over_seeds(values, digits=0, low=0, high=500) for values in (ends, means)]
        better = improvement(ends, reached[THEIRS])
        rows.append([name, *returns, better, f"{rate:,.0f}", f"{ratio:.1f}×", " ".join(f"{end:.0f}" for end in ends)])
    title = f"CartPole without velocities, {settings.steps:,} steps, {settings.seeds} seeds: return"
    show(
        title,
        ["", "last tenth", "whole training", "better than sb3-contrib", "steps/s", "ratio", "last tenth, each seed"],
        rows,
    )
    if settings.figure is not None:
        draw(curves, settings.steps, settings.figure)


if __name__ == "__main__":
    main(tyro.cli(LearningBenchmark, description=__doc__))
