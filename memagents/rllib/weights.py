"""Weights on their way out of RLlib, and into it."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID

from memagents.policies.actor_critic import MemoryPolicy
from memagents.rllib.module import MemoryModule


def policy_of(algorithm: Algorithm, module_id: str = DEFAULT_MODULE_ID) -> MemoryPolicy:
    """Return the policy that an algorithm has learned, as it is now.

    It is one of memagents: ``policy.predict(observation, state, episode_start)`` acts, ``policy.save(path)`` writes it,
    ``MemoryPolicy.load(path)`` reads it again.

    :param algorithm: built from what :func:`memagents.rllib.use_memory` returned
    :param module_id: of one agent of several
    :raises ValueError: if the module is of another kind
    """
    policy = copy.deepcopy(_module(algorithm, module_id).policy)
    weights = algorithm.learner_group.get_weights([module_id])[module_id]
    own = {name.removeprefix("policy."): w for name, w in weights.items() if name.startswith("policy.")}
    policy.load_state_dict({name: torch.as_tensor(weight) for name, weight in own.items()})
    policy.set_training_mode(False)
    return policy


def put_policy(algorithm: Algorithm, policy: MemoryPolicy, module_id: str = DEFAULT_MODULE_ID) -> None:
    """Put a policy's weights into an algorithm, for its learners and for all that sample.

    :param algorithm: built from what :func:`memagents.rllib.use_memory` returned, with a policy of the same make
    :param policy: such as ``RecurrentPPO.load(path).policy``
    :param module_id: of one agent of several
    :raises ValueError: if the module is of another kind, or the weights have other names or shapes
    """
    own = dict(_module(algorithm, module_id).policy.state_dict())
    given = policy.state_dict()
    if shapes(own) != shapes(given):
        other = sorted(shapes(own).items() ^ shapes(given).items())[0][0]
        raise ValueError(f"policy must be made as the algorithm's: they differ in {other!r}")
    weights = {f"policy.{name}": weight.detach().cpu().numpy() for name, weight in given.items()}
    algorithm.learner_group.set_weights({module_id: weights})
    # Algorithm.set_weights (Ray 2.60) gives them to the learners alone once there was an update: to those that sample,
    # weights that bear the number of the last update are not new. Without a number they are.
    state = {COMPONENT_RL_MODULE: {module_id: weights}}
    for group in (algorithm.env_runner_group, algorithm.eval_env_runner_group):
        if group is not None:
            group.foreach_env_runner(partial(_set_state, state))


def _set_state(state: dict[str, Any], env_runner: Any) -> None:
    env_runner.set_state(state)


def shapes(weights: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of weights by their names."""
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def _module(algorithm: Algorithm, module_id: str) -> MemoryModule:
    """Return an algorithm's module.

    :raises ValueError: if it is of another kind
    """
    module = algorithm.get_module(module_id)
    if not isinstance(module, MemoryModule):
        raise ValueError(
            f"module {module_id!r} must be a MemoryModule, as use_memory makes, not {type(module).__name__}"
        )
    return module
