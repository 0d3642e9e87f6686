"""A configuration of RLlib with a memory in it."""

from __future__ import annotations

from typing import Any, TypeVar

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from memagents.checks import positive_int
from memagents.cores import core_class
from memagents.rllib.learners import LEARNERS
from memagents.rllib.module import MemoryModule

Config = TypeVar("Config", bound=AlgorithmConfig)


def use_memory(
    config: Config,
    core: str = "lstm",
    core_kwargs: dict[str, Any] | None = None,
    max_seq_len: int = 64,
    **policy_kwargs: Any,
) -> Config:
    """Give an algorithm of RLlib a memory.

    The configuration is changed, and returned. Actions of a Box are clipped into it and not stretched, so that weights
    mean the same here and there.

    :param config: a ``PPOConfig``, ``APPOConfig`` or ``IMPALAConfig`` of the new API stack
    :param core: name of the memory system, see :func:`memagents.core_names`
    :param core_kwargs: its parameters
    :param max_seq_len: steps of a window that is learned from; the gradient goes no further back
    :param policy_kwargs: of the policy beside these, as ``net_arch`` or ``critic_core``; see
        :class:`memagents.policies.actor_critic.MemoryPolicy`
    :raises ValueError: if there is no such core, or ``max_seq_len`` is no positive integer
    """
    core_class(core)  # now, not in a process far away
    policy_kwargs |= {"core": core, "core_kwargs": dict(core_kwargs or {})}
    model_config = {"policy_kwargs": policy_kwargs, "max_seq_len": positive_int("max_seq_len", max_seq_len)}
    config.rl_module(rl_module_spec=RLModuleSpec(module_class=MemoryModule, model_config=model_config))
    config.environment(normalize_actions=False, clip_actions=True)
    learner = LEARNERS.get(config.learner_class)
    if learner is not None:
        config.learners(learner_class=learner)
    return config
