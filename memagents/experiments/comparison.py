"""Comparison of memories: cores × learning rates × seeds on one environment, each a training of its own."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tyro

from memagents.checks import positive, positive_int
from memagents.experiments.jobs import SET_FOR_ALL, Job
from memagents.experiments.jobs import claim as claim_folder
from memagents.experiments.options import Pairs, as_words, refuse_words
from memagents.experiments.settings import packages_of
from memagents.runs.layout import RUNS

SETTINGS_FILE = "comparison.json"
RESULTS_FILE = "results.json"
TABLE_FILE = "table.md"
FIGURE_FILE = "comparison.png"


_MOST_PARAMETERS = 100_000_000  # sizes are found by making agents of them
_SET = {**SET_FOR_ALL, "core": "--cores", "learning_rate": "--learning-rates", "seed": "--seeds"}


@dataclass(kw_only=True)
class ComparisonSettings:
    """Compare memories on one environment: every core with every learning rate, several seeds each.

    Each training is a process of its own with one thread. What is done is kept: the same command goes on after Ctrl-C
    or a crash. Words after ``--`` are settings of ``memagents train`` that all trainings share.

    :param env: id of an environment, or "package:Id"
    :param env_kwargs: its parameters, as key=value with values in YAML
    :param cores: memories to compare; the first is the one the others are held against
    :param seeds: trainings of every core and learning rate; five or more have intervals
    :param learning_rates: tried for each core; that which does best at the end of its trainings stands for the core
    :param total_timesteps: environment steps of each training
    :param parameters: size every memory so that the agent has about so many weights; by default as the settings say
    :param episodes: of each evaluation
    :param processes: trainings at a time; by default one for each processor
    :param ray: run the trainings on a cluster of Ray: its address, "auto" for the one that this machine belongs to,
        or "local" for one of this machine alone. All its machines must see the folder by the same path
    :param folder: where everything goes; by default runs/compare-ENV
    :param imports: packages to import first, for the cores and environments they register
    :param algorithm: by which all are trained; imitate wants an environment with an oracle
    :param words: settings of that training, such as --gamma 0.99, after ``--``
    """

    env: str
    env_kwargs: Pairs = field(default_factory=dict)
    cores: tuple[str, ...] = ("lstm", "gru", "dnc", "gtrxl")
    seeds: int = 5
    learning_rates: tuple[float, ...] = (1e-3, 3e-3)
    total_timesteps: int = 1_000_000
    parameters: int | None = None
    episodes: int = 1000
    processes: int | None = None
    ray: str | None = None
    folder: Path | None = None
    imports: tuple[str, ...] = ()
    algorithm: Literal["ppo", "imitate"] = "ppo"
    words: tyro.conf.Suppress[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name in ("seeds", "total_timesteps", "episodes"):
            positive_int(name, getattr(self, name))
        for name, most in (("parameters", _MOST_PARAMETERS), ("processes", None)):
            if getattr(self, name) is not None:
                positive_int(name, getattr(self, name), most)
        for rate in self.learning_rates:
            positive("learning_rates", rate)
        for name in ("cores", "learning_rates"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                raise ValueError(f"{name} must be one or more, each once, not {' '.join(map(str, given)) or 'none'}")
        refuse_words(self.words, _SET, "compare")

    @property
    def place(self) -> Path:
        """Folder of the comparison."""
        env = re.split("[:/]", self.env)[-1]
        return RUNS / re.sub(r"[^\w.-]+", "-", f"compare-{env}") if self.folder is None else self.folder

    def plain(self) -> dict[str, Any]:
        """Return what decides the results, as plain values."""
        settings = dataclasses.asdict(self)
        left_out = ("processes", "ray", "folder", *(["algorithm"] if self.algorithm == "ppo" else []))
        return {name: settings[name] for name in settings if name not in left_out}


class Trial(NamedTuple):
    """Core with a learning rate, and a job for each seed."""

    core: str
    learning_rate: float
    jobs: list[Job]


def claim(settings: ComparisonSettings) -> None:
    """Make the folder of a comparison, or find it as it was left.

    :raises ValueError: if it holds a comparison of other settings, or something else, or cannot be made
    """
    claim_folder(settings.place, SETTINGS_FILE, settings.plain(), "comparison")


def trials(settings: ComparisonSettings, core_kwargs: dict[str, dict[str, Any]]) -> list[Trial]:
    """Return every core with every learning rate, and its jobs.

    :param core_kwargs: parameters of each core
    """
    found = []
    for core in settings.cores:
        for rate in settings.learning_rates:
            name = re.sub(r"[^\w.-]+", "-", core)
            imports = (*settings.imports, *packages_of(settings.env, core))
            folder = settings.place / (name if len(settings.learning_rates) == 1 else f"{name}-{rate}")
            jobs = [
                Job(folder / f"seed-{seed}", _words(settings, core, rate, seed, core_kwargs[core]), imports)
                for seed in range(settings.seeds)
            ]
            found.append(Trial(core, rate, jobs))
    return found


def _words(settings: ComparisonSettings, core: str, rate: float, seed: int, core_kwargs: dict[str, Any]) -> list[str]:
    """Return the words of one training after ``memagents train``."""
    own: dict[str, Any] = {"env": settings.env, "core": core, "learning_rate": rate, "env_kwargs": settings.env_kwargs}
    own |= {"core_kwargs": core_kwargs, "imports": settings.imports, "seed": seed, "threads": 1}
    own |= {"total_timesteps": settings.total_timesteps, "eval_episodes": settings.episodes}
    words = [settings.algorithm, *settings.words]
    for name, value in own.items():
        if value not in ({}, ()):
            words += as_words(name, value)
    return words
