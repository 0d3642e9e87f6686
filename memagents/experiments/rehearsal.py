"""Agents made as a training would make them, but not trained: mistakes are found before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memagents.algorithms.ppo import RecurrentPPO
from memagents.environments.make import make_env
from memagents.experiments.configuration import command_line
from memagents.experiments.settings import PPOSettings
from memagents.experiments.training import prepare


class Rehearsal:
    """One environment, and agents of recurrent PPO in it.

    :param env: id of the environment
    :param env_kwargs: its parameters
    :param imports: packages to import first
    :raises ValueError: for what there is not
    """

    def __init__(self, env: str, env_kwargs: dict[str, Any], imports: Sequence[str] = ()):
        prepare(imports, 1)
        self.id, self.env = env, make_env(env, 1, **env_kwargs)

    def settings(self, words: Sequence[str]) -> PPOSettings:
        """Read words of ``memagents train ppo``, without the environment."""
        return command_line(PPOSettings, [*words, "--env", self.id])

    def weights(self, settings: PPOSettings, core_kwargs: dict[str, Any] | None = None) -> int:
        """Make an agent and count its weights.

        :param settings: of its training
        :param core_kwargs: parameters of its memory instead of those of the settings
        :raises ValueError: for what cannot be trained
        """
        arguments = {**settings.hyperparameters(), "n_minibatches": None, "device": "cpu"}
        if core_kwargs is not None:
            arguments["policy_kwargs"] = {**arguments["policy_kwargs"], "core_kwargs": core_kwargs}
        agent = RecurrentPPO("MlpPolicy", self.env, **arguments)
        return sum(parameter.numel() for parameter in agent.policy.parameters())
