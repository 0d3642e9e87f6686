"""Settings of trainings by episodic control, beside those of :mod:`memagents.experiments.settings`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from memagents.experiments.settings import GradientSettings, TrainSettings


@dataclass(kw_only=True)
class EpisodicSettings(TrainSettings):
    """Settings of episodic control.

    :param train_freq: steps of every environment in an iteration
    :param exploration_fraction: share of the training over which exploration falls linearly
    :param exploration_initial_eps: probability of a random action at the beginning
    :param exploration_final_eps: probability of a random action after that
    """

    arguments: ClassVar[tuple[str, ...]] = (
        *TrainSettings.arguments,
        *("train_freq", "exploration_fraction", "exploration_initial_eps", "exploration_final_eps"),
    )

    n_envs: int = 1
    total_timesteps: int = 100_000
    checkpoint_interval: int = 5000
    train_freq: int = 4
    exploration_fraction: float = 0.1
    exploration_initial_eps: float = 1.0
    exploration_final_eps: float = 0.01


@dataclass(kw_only=True)
class NECSettings(EpisodicSettings, GradientSettings):
    """Neural Episodic Control; --policy-kwargs key_size=64 capacity=100000 neighbours=50 set its dictionaries.

    :param dictionary_learning_rate: learning rate of the keys and values in the dictionaries
    :param n_steps: N of the N-step returns
    :param buffer_size: steps that the replay holds
    :param learning_starts: environment steps before the first update
    :param batch_size: steps in an update
    :param batch_episodes: episodes they are drawn from, where the core is recurrent
    :param gradient_steps: updates in an iteration
    :param priority_exponent: exponent α of prioritised replay; 0 for uniform replay
    :param importance_exponent: exponent β of its importance weights
    """

    algorithm: ClassVar[str] = "NEC"
    common: ClassVar[tuple[str, ...]] = GradientSettings.common
    arguments: ClassVar[tuple[str, ...]] = (
        *dict.fromkeys((*EpisodicSettings.arguments, *GradientSettings.arguments)),
        *("n_steps", "buffer_size", "learning_starts", "batch_size", "batch_episodes", "gradient_steps"),
        *("priority_exponent", "importance_exponent"),
    )

    core: str = "none"
    max_grad_norm: float = 10.0
    dictionary_learning_rate: float = 0.01
    n_steps: int | None = 100
    buffer_size: int = 100_000
    learning_starts: int = 1000
    batch_size: int = 32
    batch_episodes: int = 8
    gradient_steps: int = 1
    priority_exponent: float = 0.0
    importance_exponent: float = 0.4

    @property
    def agent(self) -> str:
        return "nec" if self.core == "none" else f"nec-{self.core}"

    def hyperparameters(self) -> dict[str, Any]:
        rate = self.scheduled("dictionary_learning_rate")
        return {**super().hyperparameters(), "dictionary_learning_rate": rate}


@dataclass(kw_only=True)
class MFECSettings(EpisodicSettings):
    """Model-Free Episodic Control; --policy-kwargs key_size=64 neighbours=11 set its dictionaries."""

    algorithm: ClassVar[str] = "MFEC"

    gamma: float = 1.0
    exploration_final_eps: float = 0.005

    @property
    def agent(self) -> str:
        return "mfec"
