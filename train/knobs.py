"""The tables of docs/training.md: what each knob of recurrent PPO does, on tasks that are learned in seconds.

    python train/knobs.py                                           # all of it: an hour and a half on one core
    python train/knobs.py --only tmaze --knobs eps --seeds 0         # a part, beside the base; what is there stays
    python train/knobs.py --only ""                                 # the tables alone, from the runs there are

A run is one knob turned on one task with one seed, by one thread; all else is the task's base. What is finished is not
made again, so that parts (``--seeds 0 2 4`` and ``--seeds 1 3``) may run side by side in processes of their own.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads: spinning threads starve the environments

import numpy as np
import tyro

from memagents import RecurrentPPO
from memagents.checks import selected
from memagents.command_line.errors import plain_errors
from memagents.environments import cartpole
from memagents.experiments.configuration import of_recipe
from memagents.experiments.documents import markdown_table, write_between_marks
from memagents.experiments.evaluation import over_seeds
from memagents.experiments.lessons import lesson_env
from memagents.experiments.settings import PPOSettings, linear
from memagents.experiments.statistics import improvement
from memagents.experiments.training import prepare
from memagents.experiments.window_scores import WindowScores
from memagents.runs.files import read_json, write_json


@dataclass(frozen=True)
class Task:
    """Task to be learned, and the settings that every knob is a change of.

    :param title: of its column
    :param base: settings
    :param score: what is measured, in training
    :param digits: of the score, after the point
    :param steps: after which a run stops, if not at the end of its schedules
    :param arguments: of the agent's constructor, those that are no settings
    """

    title: str
    base: PPOSettings
    score: Literal["success", "return"]
    digits: int = 2
    steps: int | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


class Knob(NamedTuple):
    """Change of settings.

    :param title: of its row
    :param turn: from a task's base to the settings that differ; no run is made where none does
    """

    title: str
    turn: Callable[[PPOSettings], dict[str, Any]]


# RL Baselines3 Zoo's settings for the task, as in benchmarks/recurrent_ppo.py.
CARTPOLE = PPOSettings(
    env=f"{cartpole.__name__}:{cartpole.POSITIONS}",
    core_kwargs={"hidden_size": 64},
    critic_core=None,
    policy_kwargs={"net_arch": [64], "activation_fn": "ReLU", "ortho_init": False},
    normalize_observations=True,
    normalize_reward=True,
    n_envs=8,
    n_steps=32,
    n_minibatches=1,
    n_epochs=20,
    learning_rate=1e-3,
    schedule="linear",
    gamma=0.98,
    gae_lambda=0.8,
    total_timesteps=60_000,
)
TASKS = {
    "tmaze": Task("T-maze", of_recipe(PPOSettings, "tmaze", total_timesteps=200_000, lessons=()), "success"),
    "doorkey": Task("DoorKey", of_recipe(PPOSettings, "minigrid_doorkey", total_timesteps=200_000), "success"),
    "cartpole": Task("CartPole", CARTPOLE, "return", digits=0, arguments={"clip_range": linear(0.2, 0.0)}),
    "memory_s7": Task(
        "MemoryS7", of_recipe(PPOSettings, "minigrid_memory", critic_core=None), "success", steps=500_000
    ),
}


def to(**changes: Any) -> Callable[[PPOSettings], dict[str, Any]]:
    """Turn to the same values everywhere."""
    return lambda base: changes


def times(name: str, factor: float) -> Callable[[PPOSettings], dict[str, Any]]:
    """Turn to a multiple of the base's number; a whole one where the base's is."""

    def turn(base: PPOSettings) -> dict[str, Any]:
        value = getattr(base, name)
        return {name: max(1, round(factor * value)) if isinstance(value, int) else factor * value}

    return turn


def policy(**changes: Any) -> Callable[[PPOSettings], dict[str, Any]]:
    """Turn parameters of the policy."""
    return lambda base: {"policy_kwargs": {**base.policy_kwargs, **changes}}


def core(**changes: Any) -> Callable[[PPOSettings], dict[str, Any]]:
    """Turn parameters of the memory."""
    return lambda base: {"core_kwargs": {**base.core_kwargs, **changes}}


def entropy(factor: float) -> Callable[[PPOSettings], dict[str, Any]]:
    """Turn to a multiple of the entropy bonus, at the beginning and at the end."""

    def turn(base: PPOSettings) -> dict[str, Any]:
        end = base.final_ent_coef
        return {"ent_coef": factor * base.ent_coef, "final_ent_coef": None if end is None else factor * end}

    return turn


def falling_entropy(base: PPOSettings) -> dict[str, Any]:
    """Let the entropy bonus, where there is one, fall to nothing."""
    return {"final_ent_coef": 0.0} if base.ent_coef else {}


def windows(factor: float) -> Callable[[PPOSettings], dict[str, Any]]:
    """Turn to a multiple of a window's length, and of its minibatches, so that a minibatch has as many steps."""

    def turn(base: PPOSettings) -> dict[str, Any]:
        count = factor * (base.n_minibatches or min(4, base.n_envs))
        return {"n_steps": int(factor * base.n_steps), "n_minibatches": int(count)} if count >= 1 else {}

    return turn


BASE = "base"
USUAL = {
    BASE: Knob("the base", to()),
    "critic_core": Knob("critic_core: same", to(critic_core="same")),
    "critic_gradient": Knob("critic_gradient: false", policy(critic_gradient=False)),
    "normalize_advantage": Knob("normalize_advantage: false", to(normalize_advantage=False)),
    "clip_range_vf": Knob("clip_range_vf: 0.2", to(clip_range_vf=0.2)),
    "normalize_values": Knob("normalize_values", to(normalize_values=True)),
    "refresh_states": Knob("refresh_states", to(refresh_states=True)),
    "constant_rate": Knob("schedule: constant", to(schedule="constant")),
    "high_rate": Knob("learning_rate × 3", times("learning_rate", 3.0)),
    "falling_entropy": Knob("final_ent_coef: 0", falling_entropy),
    "short_windows": Knob("n_steps / 2", windows(0.5)),
    "long_windows": Knob("n_steps × 2", windows(2.0)),
    "horizon": Knob("horizon: 30", core(horizon=30)),
    "eps": Knob("Adam, eps: 1e-8", policy(optimizer_kwargs={"eps": 1e-8})),
    "weight_decay": Knob(
        "AdamW, weight_decay: 0.01",
        policy(optimizer_class="AdamW", optimizer_kwargs={"eps": 1e-5, "weight_decay": 0.01}),
    ),
    "max_grad_norm": Knob("max_grad_norm: 5", to(max_grad_norm=5.0)),
}
MORE = {
    "low_rate": Knob("learning_rate × 0.3", times("learning_rate", 0.3)),
    "more_entropy": Knob("ent_coef × 3", entropy(3.0)),
    "less_entropy": Knob("ent_coef × 0.3", entropy(0.3)),
    "few_epochs": Knob("n_epochs / 2", times("n_epochs", 0.5)),
    "many_epochs": Knob("n_epochs × 2", times("n_epochs", 2.0)),
    "gae_lambda": Knob("(1 − gae_lambda) / 2", lambda base: {"gae_lambda": (1 + base.gae_lambda) / 2}),
    "ortho_init": Knob("ortho_init: false", policy(ortho_init=False)),
}
KNOBS = {**USUAL, **MORE}


@dataclass
class KnobsSettings:
    """Settings of the trainings and the tables.

    :param only: names of tasks; by default all
    :param knobs: names of knobs, beside which the base is trained; by default those in ``USUAL``
    :param seeds: of the trainings
    :param folder: of the results
    :param documents: folder of the document that the tables are written into; an empty path writes none
    :param share: of the environment steps, for a quick look
    """

    only: tuple[str, ...] = ()
    knobs: tuple[str, ...] = tuple(USUAL)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    folder: Path = Path("runs/knobs")
    documents: Path = Path("docs")
    share: float = 1.0


def turned(task: Task, knob: str) -> PPOSettings | None:
    """Return a task's settings with a knob turned; None where that changes nothing."""
    settings = replace(task.base, **KNOBS[knob].turn(task.base))
    return None if knob != BASE and settings == task.base else settings


def train(task: Task, settings: PPOSettings, seed: int, share: float) -> dict[str, float]:
    """Make one run; return its scores, and the seconds of the processor that it took."""
    settings = replace(settings, seed=seed, device="cpu", total_timesteps=int(share * settings.total_timesteps))
    arguments = {**settings.hyperparameters(), **task.arguments}
    agent = RecurrentPPO("MlpPolicy", lesson_env(settings, 0), **arguments)
    scores, begin = WindowScores(task.score, task.steps and int(share * task.steps)), time.process_time()
    agent.learn(settings.total_timesteps, scores)
    seconds = time.process_time() - begin
    return {"area": scores.area, "final": scores.final, "steps": agent.num_timesteps, "seconds": seconds}


# --- tables ---------------------------------------------------------------------------------------------------------

SCORES = {"area": "over the whole training", "final": "over the last tenth of the training"}
Results = dict[str, dict[str, dict[int, dict[str, float]]]]
"""What runs came to, by knob, task and seed."""


def read_results(folder: Path) -> Results:
    """Read the results of all finished runs, in the order of the tables."""
    found: Results = {}
    for knob in KNOBS:
        for task in TASKS:
            files = {int(path.stem.rpartition("-")[2]): path for path in (folder / task).glob(f"{knob}-*.json")}
            if files:
                found.setdefault(knob, {})[task] = {seed: read_json(path) for seed, path in sorted(files.items())}
    return found


def table(results: Results, score: str) -> list[str]:
    """Return the lines of a table: a row for each knob, a column for each task."""
    heads = ["", *(f"{task.title}: {task.score}" for task in TASKS.values()), "all tasks", "time"]
    return markdown_table(heads, [row(knob, results, score) for knob in results])


def row(knob: str, results: Results, score: str) -> list[str]:
    """Return the cells of a knob: its score and how probably it is better than the base on each task, and on all."""
    own, base = results[knob], results.get(BASE, {})
    cells = [f"`{KNOBS[knob].title}`" if knob != BASE else KNOBS[knob].title]
    for name, task in TASKS.items():
        ours, theirs = ([run[score] for run in runs.get(name, {}).values()] for runs in (own, base))
        if not ours:
            cells.append("as the base" if turned(task, knob) is None else "")
        elif knob == BASE or not theirs:
            cells.append(over_seeds(ours, task.digits, 0, 1 if task.score == "success" else np.inf))
        else:
            cells.append(f"{np.mean(ours):.{task.digits}f}; {improvement(ours, theirs)}")
    shared = [task for task in own if task in base]
    if knob == BASE or not shared:
        return [*cells, "", ""]
    ratios = [_seconds(own[task]) / _seconds(base[task]) for task in shared]
    return [*cells, improvement(*(_array(runs, shared, score) for runs in (own, base))), f"{np.mean(ratios):.2f}"]


def _array(runs: dict[str, dict[int, dict[str, float]]], tasks: list[str], score: str) -> np.ndarray:
    """Return the scores (seeds, tasks) of the seeds that are finished on all tasks."""
    seeds = sorted(set.intersection(*(set(runs[task]) for task in tasks)))
    return np.array([[runs[task][seed][score] for task in tasks] for seed in seeds])


def _seconds(runs: dict[int, dict[str, float]]) -> float:
    return float(np.median([run["seconds"] for run in runs.values()]))


def main(settings: KnobsSettings) -> None:
    tasks = selected(settings.only, TASKS)
    knobs = dict.fromkeys([BASE, *selected(settings.knobs, KNOBS)])
    prepare(threads=1)
    for seed in settings.seeds:
        for knob in knobs:
            for name in tasks:
                path, chosen = settings.folder / name / f"{knob}-{seed}.json", turned(TASKS[name], knob)
                if chosen is None or path.is_file():
                    continue
                try:
                    write_json(path, train(TASKS[name], chosen, seed, settings.share))
                except FloatingPointError as error:  # of a knob that is turned too far; it has no score
                    print(f"{name} {path.stem}: {error}", flush=True)
                else:
                    print(
                        name, path.stem, *(f"{key} {value:.3g}" for key, value in read_json(path).items()), flush=True
                    )
    results = read_results(settings.folder)
    for score, title in SCORES.items():
        if results and settings.documents.name:
            lines = [f"Mean score {title}:", "", *table(results, score), ""]
            write_between_marks(settings.documents / "training.md", f"knobs_{score}", lines)


if __name__ == "__main__":
    with plain_errors(ValueError, KeyboardInterrupt):
        main(tyro.cli(KnobsSettings, description=__doc__))
