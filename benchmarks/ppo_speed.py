"""RecurrentPPO's environment steps a second beside sb3-contrib's, and over one memory beside another.

Collecting and learning end to end. An agent and its peer have the same task, the same number of environments, steps,
epochs and minibatches, and take turns; the fastest window of each counts. sb3-contrib has an LSTM for the actor and one
for the critic, or one for both, and so has ours. On MiniGrid the peer sees the image of MiniGrid's
own environment, flattened; ours the whole observation of ours, through its encoder of grids.

    python benchmarks/ppo_speed.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401 — registers the peer
import torch
import tyro
from minigrid.wrappers import ImgObsWrapper
from report import show
from sb3_contrib import RecurrentPPO as TheirPPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

import memenvs  # noqa: F401 — registers the environments
from memagents import RecurrentPPO, as_vec_env

HIDDEN = 64


@dataclass
class SpeedBenchmark:
    """Settings of both agents, and how they are timed.

    :param turns: windows that each agent learns from, of which the fastest counts
    :param n_epochs: passes over a window
    :param n_minibatches: of a pass
    :param threads: of torch
    """

    turns: int = 5
    n_epochs: int = 4
    n_minibatches: int = 4
    threads: int = 1


def theirs(env: VecEnv, n_steps: int, settings: SpeedBenchmark, shared: bool = False) -> TheirPPO:
    """Return sb3-contrib's agent."""
    policy = {"lstm_hidden_size": HIDDEN, "net_arch": [], "shared_lstm": shared, "enable_critic_lstm": not shared}
    batch_size = env.num_envs * n_steps // settings.n_minibatches
    return TheirPPO(
        "MlpLstmPolicy",
        env,
        n_steps=n_steps,
        batch_size=batch_size,
        n_epochs=settings.n_epochs,
        policy_kwargs=policy,
        device="cpu",
        seed=0,
    )


def ours(
    env: VecEnv,
    n_steps: int,
    settings: SpeedBenchmark,
    core: str = "lstm",
    core_kwargs: dict[str, Any] | None = None,
    shared: bool = False,
) -> RecurrentPPO:
    """Return our agent."""
    policy = {"core": core, "core_kwargs": core_kwargs or {"hidden_size": HIDDEN}}
    return RecurrentPPO(
        "MlpPolicy",
        env,
        n_steps=n_steps,
        n_minibatches=settings.n_minibatches,
        n_epochs=settings.n_epochs,
        policy_kwargs={**policy, "critic_core": None if shared else "same"},
        device="cpu",
        seed=0,
    )


def cartpole(n_envs: int) -> VecEnv:
    return make_vec_env("CartPole-v1", n_envs, seed=0)


def their_memory(n_envs: int) -> VecEnv:
    return make_vec_env("MiniGrid-MemoryS7-v0", n_envs, seed=0, wrapper_class=ImgObsWrapper)


def our_env(name: str, n_envs: int, **parameters: Any) -> VecEnv:
    return as_vec_env(gym.make_vec(f"memenvs/{name}", num_envs=n_envs, copy=False, **parameters))


def steps_per_second(agents: dict[str, Any], turns: int) -> dict[str, float]:
    """Return the rate of each agent's fastest window, after one that warms up."""
    best = dict.fromkeys(agents, 0.0)
    for turn in range(turns + 1):
        for name, agent in agents.items():
            window, begin = agent.n_envs * agent.n_steps, time.perf_counter()
            agent.learn(window, reset_num_timesteps=False)
            if turn:
                best[name] = max(best[name], window / (time.perf_counter() - begin))
    return best


def against_contrib(settings: SpeedBenchmark) -> None:
    """Time sb3-contrib's agents and ours on the same tasks."""
    tasks: list[tuple[str, Callable[[], VecEnv], Callable[[], VecEnv], int]] = [
        ("CartPole-v1 × 8", partial(cartpole, 8), partial(cartpole, 8), 128),
        ("CartPole-v1 × 64", partial(cartpole, 64), partial(cartpole, 64), 128),
        ("MiniGrid-MemoryS7 × 16", partial(their_memory, 16), partial(our_env, "MiniGrid-MemoryS7-v0", 16), 128),
        ("MiniGrid-MemoryS7 × 64", partial(their_memory, 64), partial(our_env, "MiniGrid-MemoryS7-v0", 64), 128),
    ]
    rows = []
    for label, their_env, env, n_steps in tasks:
        found = steps_per_second(
            {
                "theirs": theirs(their_env(), n_steps, settings),
                "ours": ours(env(), n_steps, settings),
                "theirs, shared": theirs(their_env(), n_steps, settings, shared=True),
                "ours, shared": ours(env(), n_steps, settings, shared=True),
            },
            settings.turns,
        )
        cells = [label]
        for memories in ("", ", shared"):
            peer, own = found["theirs" + memories], found["ours" + memories]
            cells += [f"{peer:,.0f}", f"{own:,.0f}", f"{own / peer:.1f}×"]
        rows.append(cells)
    pair = ["sb3-contrib", "memagents", "ratio"]
    heads = ["task × environments", *pair, *(f"{head}, one LSTM" for head in pair)]
    show("RecurrentPPO, LSTM 64, windows of 128: environment steps a second", heads, rows)


def between_cores(settings: SpeedBenchmark) -> None:
    """Time our agent with a DNC beside the same with an LSTM."""
    agents = {
        core: ours(our_env("Underground-v0", 64, stations=5), 32, settings, core, parameters, shared=True)
        for core, parameters in (
            ("lstm", {"hidden_size": HIDDEN}),
            ("dnc", {"slots": 64, "width": 32, "read_heads": 4, "controller_size": HIDDEN}),
        )
    }
    found = steps_per_second(agents, 3 * settings.turns)
    rows = [
        ["LSTM 64", f"{found['lstm']:,.0f}", "1.00", ""],
        ["DNC 64×32, 4 reads", f"{found['dnc']:,.0f}", f"{found['dnc'] / found['lstm']:.2f}", "0.17"],
    ]
    title = "RecurrentPPO on Underground of 5 stations, 64 environments, windows of 32"
    show(title, ["core", "steps/s", "share of the LSTM's", "wanted"], rows)


def main(settings: SpeedBenchmark) -> None:
    """Measure and print."""
    torch.set_num_threads(settings.threads)
    against_contrib(settings)
    between_cores(settings)
    print(f"{settings.n_epochs} epochs of {settings.n_minibatches} minibatches, torch threads: {settings.threads}")


if __name__ == "__main__":
    main(tyro.cli(SpeedBenchmark, description=__doc__))
