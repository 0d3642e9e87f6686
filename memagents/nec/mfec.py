"""Model-Free Episodic Control (Blundell et al. 2016, arXiv:1606.04460): the dictionary alone, and no gradients."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from stable_baselines3.common.policies import BasePolicy

from memagents.cores.core import State
from memagents.environments.vector import Env
from memagents.nec.nec import NEC
from memagents.nec.policy import ProjectionPolicy


class MFEC(NEC):
    """The best return that followed what was done in a situation; of unknown situations, the mean of their neighbours.

    Keys are random projections of the observations. What was observed of an episode's return is written when it ends,
    and is never replaced by a lower one (equation 1). Nothing is replayed, and there is no recurrent core.

    :param policy: ``"MlpPolicy"``, ``"CnnPolicy"`` or ``"MultiInputPolicy"`` (one class serves all), or a policy class
    :param env: an SB3 VecEnv, a gymnasium VectorEnv or Env, the id of one, or None; actions Discrete
    :param gamma: discount; 1 in the paper
    :param train_freq: steps of every environment in an iteration
    :param exploration_fraction: share of the training over which the exploration falls, linearly
    :param exploration_initial_eps: probability ε of a random action at the beginning
    :param exploration_final_eps: what it falls to
    :param kwargs: of :class:`memagents.algorithms.algorithm.MemoryAlgorithm`
    :raises ValueError: for a value that is not allowed, naming the argument
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = dict.fromkeys(
        ("MlpPolicy", "CnnPolicy", "MultiInputPolicy"), ProjectionPolicy
    )
    hyperparameters: ClassVar[tuple[str, ...]] = (
        *("gamma", "condition_on", "checkpoint_interval", "checkpoint_minutes", "keep_last", "keep_best"),
        *("stats_window_size", "seed"),
        *("train_freq", "exploration_fraction", "exploration_initial_eps", "exploration_final_eps"),
    )

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Env | str | None,
        *,
        gamma: float = 1.0,
        train_freq: int = 4,
        exploration_fraction: float = 0.1,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.005,
        **kwargs: Any,
    ):
        super().__init__(
            policy,
            env,
            n_steps=None,
            gamma=gamma,
            train_freq=train_freq,
            exploration_fraction=exploration_fraction,
            exploration_initial_eps=exploration_initial_eps,
            exploration_final_eps=exploration_final_eps,
            **kwargs,
        )

    def make_replay(self) -> None:
        """There is none: everything is learned by writing it down."""

    def _final_values(self, dones: np.ndarray, infos: list[dict[str, Any]], state: State) -> list[float]:
        """Zero, also where a time limit cut an episode: an estimate that is too high would stay the best for ever."""
        return [0.0] * self.n_envs
