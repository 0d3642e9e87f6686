"""A finished or interrupted run, opened once: its settings, its description, its algorithm and its agent."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from memagents.algorithms.algorithm import MemoryAlgorithm
from memagents.environments.make import has_split
from memagents.environments.vector import Env
from memagents.experiments.catalogue import of_class
from memagents.experiments.configuration import check_folder, check_imports, of_run, say_left_out
from memagents.experiments.settings import TrainSettings, packages_of
from memagents.runs import agent_files, layout, pretrained
from memagents.runs.files import CheckpointError
from memagents.runs.layout import CONFIG_FILE, folder_of


class Run(NamedTuple):
    """A run folder that was read.

    :param folder: its path
    :param settings: of its training; None where ``agent.save`` made the folder and no training did
    :param description: of its agent, the contents of ``policy.json``
    :param algorithm: class of its agent
    """

    folder: Path
    settings: TrainSettings | None
    description: dict[str, Any]
    algorithm: type[MemoryAlgorithm]

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Read a run folder; nothing is imported or built on its behalf.

        :raises CheckpointError: if it is missing, damaged, foreign or of a newer version
        """
        folder = folder_of(folder)
        check_folder(folder)
        settings = of_run(folder) if (folder / CONFIG_FILE).is_file() else None
        description = agent_files.read_description(folder)
        try:
            algorithm = of_class(description["algorithm"]).load()
        except ValueError as error:
            raise CheckpointError(f"{folder}: {error}") from error
        return cls(folder, settings, description, algorithm)

    @property
    def outputs(self) -> Path:
        """Folder for what is made of the run: its own, or one in ``runs`` for a policy that came with the library."""
        if self.folder.parent != pretrained.FOLDER:
            return self.folder
        return layout.make(layout.RUNS / f"pretrained-{self.folder.name}", "folder")

    def check_imports(self, given: Sequence[str], env: str | None = None) -> None:
        """Refuse a run whose core or environment is in packages that nobody imports.

        :param given: packages named on the command line
        :param env: id of another environment named there, which names its package, too
        :raises CheckpointError: naming those that the run names and that are neither given nor imported already
        """
        if self.settings is not None:
            check_imports(self.folder, self.settings.packages, (*given, *packages_of(env)))

    @property
    def unfinished(self) -> str:
        """Tell how many of its steps the training has made; "" where those are all, or no training made the folder."""
        made, wanted = self.description["num_timesteps"], 0 if self.settings is None else self.settings.total_timesteps
        return f"{made:,} of {wanted:,} steps" if made < wanted else ""

    def load_agent(
        self, env: Env | None = None, device: str = "auto", slots: int | None = None, **kwargs: Any
    ) -> MemoryAlgorithm:
        """Load the agent, whatever it learned by.

        :param env: wrapped as the agent needs it; ``agent.env`` is the result. None: an agent that only predicts
        :param device: of the policy
        :param slots: of its memory; by default as many as it was trained with
        :param kwargs: arguments of the constructor to change
        :raises CheckpointError: if the run cannot be loaded, or its spaces are not the environment's
        """
        # Minibatches are learned from, and there may be more of them than environments here.
        changes = {"n_minibatches": None} if "n_minibatches" in self.algorithm.hyperparameters else {}
        changes |= kwargs
        return self.algorithm.load(self.folder, env, device, slots, **changes)

    def evaluation_env(
        self, env: str | None = None, env_kwargs: dict[str, Any] | None = None, split: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Choose the environment that the run is evaluated in.

        :param env: id of an environment; by default the run's own, as in its last lesson
        :param env_kwargs: its parameters; they add to the run's where the environment is the run's
        :param split: ``"train"`` or ``"test"``; by default ``"test"`` where there is one
        :return: id and parameters
        :raises CheckpointError: if no environment is given and the folder names none
        """
        if env is None and self.settings is None:
            raise CheckpointError(
                f"{self.folder} is no run of a training, so it names no environment: give one by --env ID"
            )
        return evaluation_env(self.settings, env, env_kwargs, split)

    def say_unfinished(self) -> None:
        """Say on the standard error how many of its steps the training has made, where those are not all."""
        if self.unfinished:
            print(f"note: the training of {self.folder} has made {self.unfinished}", file=sys.stderr)

    def say_what_does_not_apply(self, env: str | None) -> None:
        """Say that the parameters of the run's environment are left out where it is evaluated in another one.

        :param env: as for :meth:`evaluation_env`
        """
        if self.settings is None:
            return
        name, own = _task(self.settings)
        if env not in (None, name) and own:
            say_left_out("the run's", "env_kwargs", own, "env", str(env))


def evaluation_env(
    settings: TrainSettings | None,
    env: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    split: str | None = None,
) -> tuple[str, dict[str, Any]]:
    """Choose the environment that agents of some settings are evaluated in.

    :param settings: of their training; None where ``env`` is given
    :param env: id of an environment; by default that of the settings, as in their last lesson
    :param env_kwargs: its parameters; they add to those of the settings where the environment is theirs
    :param split: ``"train"`` or ``"test"``; by default ``"test"`` where there is one
    :return: id and parameters
    """
    name, own = (None, {}) if settings is None else _task(settings)
    kwargs = {**(own if env in (None, name) else {}), **(env_kwargs or {})}
    env = name if env is None else env
    assert env is not None
    if split is None and "split" not in kwargs and has_split(env, **kwargs):
        split = "test"
    return env, kwargs if split is None else {**kwargs, "split": split}


def _task(settings: TrainSettings) -> tuple[str, dict[str, Any]]:
    """Return the environment of some settings and its parameters, as in their last lesson, apart from the split."""
    env, kwargs = settings.task()
    return env, {name: value for name, value in kwargs.items() if name != "split"}


def load_agent(
    folder: str | Path, env: Env | None = None, device: str = "auto", slots: int | None = None
) -> MemoryAlgorithm:
    """Load the agent of a run folder, whatever it learned by.

    :param folder: of the run
    :param env: an environment of the run's spaces, normalised as in its training; None: an agent that only predicts
    :param device: of the policy
    :param slots: of its memory; by default as many as it was trained with
    :raises CheckpointError: if the run cannot be loaded, or its spaces are not the environment's
    """
    return Run.open(folder).load_agent(env, device, slots)
