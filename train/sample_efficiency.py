"""Steps that agents need to a good return: NEC and MFEC beside Stable-Baselines3's DQN and RecurrentPPO.

    python train/sample_efficiency.py                                     # all of it: an hour and more on two cores
    python train/sample_efficiency.py --tasks underground --agents nec --seeds 0
    python train/sample_efficiency.py --agents ""                         # table and figure, from the runs there are

Every agent is evaluated, greedily, every so many steps. Its result is the number of steps it had made when it first
reached the return that the task asks for. A run that is finished is not made again, so parts may run side by side in
processes of their own. The table and the figure are those of docs/nec.md.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads: spinning threads starve the environments

import numpy as np
import tyro
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from memagents import MFEC, RecurrentPPO
from memagents.checks import selected
from memagents.command_line.errors import plain_errors
from memagents.environments.make import make_env
from memagents.environments.vector import as_vec_env
from memagents.experiments.configuration import of_recipe
from memagents.experiments.documents import markdown_table, write_between_marks
from memagents.experiments.episodic_settings import NECSettings
from memagents.experiments.evaluation import evaluate, over_seeds
from memagents.experiments.evaluation_settings import EVALUATION_SEED
from memagents.experiments.figures import curves_over_seeds
from memagents.experiments.training import prepare
from memagents.nec.nec import NEC
from memagents.policies.encoding import encoder_for
from memagents.runs.files import read_json, write_json


class SymbolsDQN(DQN):
    """Stable-Baselines3's DQN without its guess that bytes (7, 7, 3) are a picture whose channels come last."""

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        return as_vec_env(env)


@dataclass(frozen=True)
class Task:
    """A task to be learned.

    :param title: of its column
    :param recipe: of NEC, which also names the environment
    :param wanted: return to be reached
    :param steps: most steps of a run, by agent
    """

    title: str
    recipe: str
    wanted: float
    steps: dict[str, int]


SHORT = {"nec": 15_000, "mfec": 15_000}
TASKS = {
    "cartpole": Task("CartPole-v1", "nec_cartpole", 195.0, {**SHORT, "dqn": 60_000, "ppo": 150_000}),
    "maze": Task("Maze 7×7, fixed", "nec_maze", 0.9, {**SHORT, "dqn": 60_000, "ppo": 300_000}),
    "underground": Task("Underground, fixed", "nec_underground", 0.8, {**SHORT, "dqn": 60_000, "ppo": 300_000}),
}


def make_nec(settings: NECSettings, seed: int, steps: int) -> BaseAlgorithm:
    """Return an agent by the task's recipe."""
    env = make_env(settings.env, settings.n_envs, seed=seed, **settings.env_kwargs)
    return NEC("MlpPolicy", env, **{**settings.hyperparameters(), "seed": seed})


def make_mfec(settings: NECSettings, seed: int, steps: int) -> BaseAlgorithm:
    """Return an agent with the exploration and the discount of NEC's recipe."""
    own = settings.hyperparameters()
    same = {name: own[name] for name in ("gamma", "exploration_fraction", "exploration_final_eps", "device")}
    env = make_env(settings.env, 1, seed=seed, **settings.env_kwargs)
    return MFEC("MlpPolicy", env, seed=seed, **same)


def make_dqn(settings: NECSettings, seed: int, steps: int) -> BaseAlgorithm:
    """Return an agent with NEC's encoder, discount, exploration and number of updates, and a network of its own."""
    ours = settings.env.startswith("memenvs/")
    kept: dict[str, Any] = {"copy": True} if ours else {}  # SB3 keeps observations over a step
    env = make_env(settings.env, 1, seed=seed, **settings.env_kwargs, **kept)
    symbols = isinstance(env.observation_space, spaces.Dict)
    encoder: dict[str, Any] = {
        "features_extractor_class": encoder_for(env.observation_space)[0],
        "normalize_images": False,
    }
    usual: dict[str, Any] = {
        "learning_rate": 1e-3,
        "gamma": settings.gamma,
        "batch_size": 64,
        "learning_starts": settings.learning_starts,
        "train_freq": settings.train_freq,
        "target_update_interval": 500,
        "exploration_fraction": settings.exploration_fraction * settings.total_timesteps / steps,
        "exploration_final_eps": settings.exploration_final_eps,
        "policy_kwargs": {"net_arch": [64, 64], **(encoder if symbols else {})},
    }
    policy = "MultiInputPolicy" if symbols else "MlpPolicy"
    return SymbolsDQN(policy, env, seed=seed, device=settings.device, **usual)


def make_ppo(settings: NECSettings, seed: int, steps: int) -> BaseAlgorithm:
    """Return an agent with an LSTM of 64, in 8 environments."""
    env = make_env(settings.env, 8, seed=seed, **settings.env_kwargs)
    usual: dict[str, Any] = {
        "learning_rate": 1e-3,
        "gamma": settings.gamma,
        "n_steps": 64,
        "ent_coef": 0.01,
        "policy_kwargs": {"core": "lstm", "core_kwargs": {"hidden_size": 64}, "critic_core": None},
    }
    return RecurrentPPO("MlpPolicy", env, seed=seed, device=settings.device, **usual)


AGENTS: dict[str, tuple[str, Callable[..., BaseAlgorithm]]] = {
    "nec": ("NEC", make_nec),
    "mfec": ("MFEC", make_mfec),
    "dqn": ("DQN (Stable-Baselines3)", make_dqn),
    "ppo": ("RecurrentPPO, LSTM", make_ppo),
}


@dataclass
class EfficiencySettings:
    """Settings of the trainings and the table.

    :param tasks: by default all
    :param agents: by default all; an empty word trains none
    :param seeds: of the trainings
    :param every: steps between two evaluations; later on a twentieth of those made
    :param episodes: of an evaluation
    :param folder: of the runs
    :param document: file that the table is written into, with the figure beside it; an empty path writes neither
    :param share: of the environment steps, for a quick look
    """

    tasks: tuple[str, ...] = tuple(TASKS)
    agents: tuple[str, ...] = tuple(AGENTS)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    every: int = 500
    episodes: int = 20
    folder: Path = Path("runs/sample_efficiency")
    document: Path = Path("docs/nec.md")
    share: float = 1.0


class Evaluations(BaseCallback):
    """The mean return of greedy episodes, every so many steps; learning ends when it reaches what is wanted.

    :param env: environments of the evaluation
    :param settings: the interval between evaluations, and their episodes
    :param wanted: return at which learning ends
    """

    def __init__(self, env: VecEnv, settings: EfficiencySettings, wanted: float):
        super().__init__()
        self.env, self.settings, self.wanted = env, settings, wanted
        self.steps: list[int] = []
        self.returns: list[float] = []

    def _on_step(self) -> bool:
        last = self.steps[-1] if self.steps else 0
        if self.num_timesteps >= last - last % self.settings.every + max(self.settings.every, last // 20):
            played = evaluate(self.model, self.env, self.settings.episodes, seed=EVALUATION_SEED)
            self.steps.append(self.num_timesteps)
            self.returns.append(float(played.returns.mean()))
        return not self.returns or self.returns[-1] < self.wanted


def train(name: str, agent: str, seed: int, settings: EfficiencySettings) -> dict[str, Any]:
    """Make one run; return its evaluations and the steps to the wanted return (None if it was not reached)."""
    task = TASKS[name]
    recipe = of_recipe(NECSettings, task.recipe)
    model = AGENTS[agent][1](recipe, seed, task.steps[agent])
    env = make_env(recipe.env, settings.episodes, **recipe.env_kwargs)
    evaluations = Evaluations(env, settings, task.wanted)
    begin = time.perf_counter()
    model.learn(int(settings.share * task.steps[agent]), evaluations)
    reached = [s for s, value in zip(evaluations.steps, evaluations.returns, strict=True) if value >= task.wanted]
    return {
        "reached": reached[0] if reached else None,
        "steps": evaluations.steps,
        "returns": evaluations.returns,
        "minutes": (time.perf_counter() - begin) / 60,
    }


# --- the table ------------------------------------------------------------------------------------------------------


def results_of(name: str, agent: str, settings: EfficiencySettings) -> list[dict[str, Any]]:
    """Return the results of all finished runs of an agent on a task."""
    return [read_json(path) for path in sorted(settings.folder.glob(f"{name}-{agent}-*.json"))]


def steps_of(results: list[dict[str, Any]], most: int) -> np.ndarray:
    """Return the steps to the wanted return, (N,); all of them for a run that did not reach it."""
    return np.array([most if result["reached"] is None else result["reached"] for result in results], dtype=np.float64)


def cell(results: list[dict[str, Any]], most: int) -> str:
    """Return the number of steps over seeds; a lower bound if some runs did not reach the return."""
    if not results:
        return ""
    there = sum(result["reached"] is not None for result in results)
    if not there:
        return f"not in {most:,} (0 of {len(results)})"
    steps = over_seeds(steps_of(results, most).tolist(), digits=0, low=0)
    return steps if there == len(results) else f"> {steps}, {there} of {len(results)}"


def share(results: dict[str, list[dict[str, Any]]], task: Task) -> str:
    """Return NEC's steps over DQN's: nothing unless NEC always got there, an upper bound if DQN did not."""
    ours, theirs = results["nec"], results["dqn"]
    if not ours or not theirs or any(result["reached"] is None for result in ours):
        return ""
    ratio = steps_of(ours, task.steps["nec"]).mean() / steps_of(theirs, task.steps["dqn"]).mean()
    return f"{'< ' if any(result['reached'] is None for result in theirs) else ''}{ratio:.2f}"


def table(settings: EfficiencySettings) -> list[str]:
    """Return the lines of the table: agents, tasks as columns, and NEC's steps as a share of DQN's."""
    tasks = {name: {agent: results_of(name, agent, settings) for agent in AGENTS} for name in TASKS}
    heads = ["steps to a return of", *(f"{task.title}: {task.wanted:g}" for task in TASKS.values())]
    rows = [
        [title, *(cell(tasks[name][agent], task.steps[agent]) for name, task in TASKS.items())]
        for agent, (title, _) in AGENTS.items()
        if any(tasks[name][agent] for name in TASKS)
    ]
    shares = ["NEC's share of DQN's steps", *(share(tasks[name], task) for name, task in TASKS.items())]
    return [*markdown_table(heads, [*rows, shares]), ""]


def draw(settings: EfficiencySettings, path: Path) -> None:
    """Draw the returns over the course of training; a run that ended early stays at its last return."""
    panels: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for name, task in TASKS.items():
        panels[task.title] = {}
        for agent, (title, _) in AGENTS.items():
            results = results_of(name, agent, settings)
            if results:
                longest = max((result["steps"] for result in results), key=len)
                rows = [r["returns"] + [r["returns"][-1]] * (len(longest) - len(r["returns"])) for r in results]
                panels[task.title][title] = np.array(longest), np.array(rows)
    curves_over_seeds(panels, path, wanted={task.title: task.wanted for task in TASKS.values()})


def main(settings: EfficiencySettings) -> None:
    tasks, agents = selected(settings.tasks, TASKS), selected(settings.agents, AGENTS)
    prepare(threads=1)
    for seed in settings.seeds:
        for name in tasks:
            for agent in agents:
                path = settings.folder / f"{name}-{agent}-{seed}.json"
                if not path.is_file():
                    write_json(path, train(name, agent, seed, settings))
                    print(path.stem, read_json(path)["reached"], flush=True)
    lines = table(settings)
    print("\n".join(lines))
    if settings.document.name:
        picture = settings.document.with_suffix(".png")
        draw(settings, picture)
        lines += [f"![Returns over steps, all seeds]({picture.name})", ""]
        write_between_marks(settings.document, "sample_efficiency", lines)


if __name__ == "__main__":
    with plain_errors(ValueError, FloatingPointError, KeyboardInterrupt):
        main(tyro.cli(EfficiencySettings, description=__doc__))
