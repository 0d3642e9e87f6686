"""Agents made as a training would make them, but not trained: mistakes are found before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memagents.checks import positive_int
from memagents.environments.make import make_env
from memagents.experiments.catalogue import ALGORITHMS
from memagents.experiments.configuration import command_line
from memagents.experiments.lessons import make_curriculum
from memagents.experiments.options import as_words
from memagents.experiments.settings import WindowSettings
from memagents.experiments.training import check_oracle, check_parameters, prepare, take_weights


class Rehearsal:
    """Agents of one algorithm in one environment.

    :param env: id of the environment
    :param env_kwargs: its parameters
    :param imports: packages to import first
    :param algorithm: the one that learns from windows by this name
    :raises ValueError: for what there is not
    """

    def __init__(self, env: str, env_kwargs: dict[str, Any], imports: Sequence[str] = (), algorithm: str = "ppo"):
        prepare(imports, 1)
        self._algorithm = ALGORITHMS[algorithm]
        self._words = as_words("env", env) + (as_words("env_kwargs", env_kwargs) if env_kwargs else [])
        self._made = env_kwargs, make_env(env, 1, **env_kwargs)

    def settings(self, words: Sequence[str]) -> WindowSettings:
        """Read words of a training by the algorithm, without the environment."""
        kind = self._algorithm.settings
        assert issubclass(kind, WindowSettings)
        return command_line(kind, [*words, *self._words])

    def weights(self, settings: WindowSettings, core_kwargs: dict[str, Any] | None = None) -> int:
        """Make an agent as a training of these settings would, and count its weights.

        :param settings: of its training
        :param core_kwargs: parameters of its memory instead of those of the settings
        :raises ValueError: for what cannot be trained
        """
        prepare((), None, settings.device)
        algorithm = self._algorithm.load()
        check_parameters(settings, algorithm)
        if (settings.n_minibatches or 1) > positive_int("n_envs", settings.n_envs):
            raise ValueError(f"n_minibatches must be at most the number of environments ({settings.n_envs})")
        if settings.lessons:
            make_curriculum(settings)
        if self._made[0] != settings.env_kwargs:  # a recipe may have some of its own
            self._made = settings.env_kwargs, make_env(settings.env, 1, **settings.env_kwargs)
        arguments = {**settings.hyperparameters(), "n_minibatches": None, "device": "cpu"}
        if core_kwargs is not None:
            arguments["policy_kwargs"] = {**arguments["policy_kwargs"], "core_kwargs": core_kwargs}
        check_oracle(settings, self._made[1])
        agent = algorithm("MlpPolicy", self._made[1], **arguments)
        if settings.init_from is not None:
            take_weights(agent, Path(settings.init_from))
        return sum(parameter.numel() for parameter in agent.policy.parameters())
