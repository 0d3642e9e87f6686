"""A policy with a memory as a module of RLlib: what samples, and what its learners train."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchMultiCategorical
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.rl_module.apis import TARGET_NETWORK_ACTION_DIST_INPUTS, InferenceOnlyAPI, TargetNetworkAPI
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor

from memagents.cores.core import State, state_leaves
from memagents.policies.actor_critic import MemoryPolicy
from memagents.policies.encoding import Observations, any_entry, map_observations
from memagents.rllib.states import NestedState, from_nested, nested

CORE_LOSSES = "core_losses"  # beside RLlib's own columns: what a memory wants to be learned, (B, T)


class MemoryModule(TorchRLModule, ValueFunctionAPI, TargetNetworkAPI, InferenceOnlyAPI):
    """A :class:`memagents.policies.actor_critic.MemoryPolicy` for RLlib's PPO, APPO and IMPALA.

    Its weights and its functions are those of the policy, which is there as ``policy``; so what RLlib trained acts,
    is evaluated, is saved and is exported as what was trained here, and the other way round. In shapes: B rows, which
    are windows of T steps of one episode each, with zeros behind an episode's end.

    :param model_config: ``policy_kwargs``, the keyword arguments of the policy (``core``, ``core_kwargs``,
        ``net_arch`` and so on), and RLlib's ``max_seq_len``; :func:`memagents.rllib.use_memory` writes both
    :raises ValueError: for actions that RLlib has no distribution for, or counts otherwise
    """

    policy: MemoryPolicy

    def setup(self) -> None:
        """Make the policy; called by RLlib's constructor."""
        _check_actions(self.action_space)
        self.policy = MemoryPolicy(
            self.observation_space, self.action_space, lambda _: 0.0, **self.model_config["policy_kwargs"]
        )
        if isinstance(self.action_space, spaces.MultiDiscrete):
            lengths = self.action_space.nvec.ravel().tolist()
            self.action_dist_cls = TorchMultiCategorical.get_partial_dist_cls(input_lens=lengths)

    def get_initial_state(self) -> NestedState:
        """Return the memory at an episode's beginning, nested dicts of arrays without the batch; empty without any."""
        state = self.policy.initial_state(1)
        return _map_leaves(lambda leaf: leaf[0].detach().cpu().numpy(), nested(state)) if _holds(state) else {}

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return what actions are drawn from, and the memory after the window."""
        outputs, state, _ = _unrolled(self.policy, batch)
        return {Columns.ACTION_DIST_INPUTS: _chosen_by(self.policy, outputs), **_state_out(state)}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return beside that the core's outputs, from which values are found, and its own losses if it has any."""
        outputs, state, losses = _unrolled(self.policy, batch)
        found = {
            Columns.ACTION_DIST_INPUTS: _chosen_by(self.policy, outputs),
            Columns.EMBEDDINGS: outputs,
            **_state_out(state),
        }
        return {**found, CORE_LOSSES: losses} if losses is not None else found

    def compute_values(self, batch: dict[str, Any], embeddings: Tensor | None = None) -> Tensor:
        """Return the critic's values, (B, T), or (B,) without a memory.

        :param batch: of RLlib's columns
        :param embeddings: of :meth:`_forward_train`; without them the window is unrolled
        """
        return self.policy.values(_unrolled(self.policy, batch)[0] if embeddings is None else embeddings)

    # --- APPO's target network --------------------------------------------------------------------------------------

    def make_target_networks(self) -> None:
        """Keep a copy of the policy beside it."""
        self.target_policy = make_target_network(self.policy)

    def get_target_network_pairs(self) -> list[tuple[torch.nn.Module, torch.nn.Module]]:
        """Return the policy with its copy."""
        return [(self.policy, self.target_policy)]

    def forward_target(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return what the copy would draw actions from."""
        outputs, _, _ = _unrolled(self.target_policy, batch)
        return {TARGET_NETWORK_ACTION_DIST_INPUTS: _chosen_by(self.target_policy, outputs)}

    def get_non_inference_attributes(self) -> list[str]:
        """Return what sampling does not need."""
        return ["target_policy"]


def _unrolled(policy: MemoryPolicy, batch: dict[str, Any]) -> tuple[Tensor, State, Tensor | None]:
    """Take a batch of windows through encoder and memory.

    :param batch: observations (B, T, ...) and the states before the windows; or without a memory observations (B, ...)
    :return: the core's outputs (B, T, O) or (B, O), the state after the windows, and the sum of the core's losses for
        each step
    """
    observations, carried = _within(policy.observation_space, batch[Columns.OBS]), batch.get(Columns.STATE_IN)
    if carried:
        # RLlib begins no episode within a window: its first state is the initial one.
        window = map_observations(_turned, observations)
        state = from_nested(policy.initial_state(1), carried)
    else:
        window = map_observations(lambda values: values.unsqueeze(0), observations)
        state = policy.initial_state(any_entry(window).shape[1])
    entry = any_entry(window)
    starts = torch.zeros(entry.shape[:2], dtype=torch.bool, device=entry.device)
    outputs, after, losses = policy.unroll(window, state, starts)
    total = torch.stack(list(losses.values())).sum(0) if losses else None
    if not carried:
        return outputs[0], after, None if total is None else total[0]
    return _turned(outputs), after, None if total is None else _turned(total)


def _turned(values: Tensor) -> Tensor:
    """Exchange the first two dimensions: RLlib has the batch before the steps."""
    return values.transpose(0, 1)


def _within(space: spaces.Space, observations: Observations) -> Observations:
    """Lift codes that begin above 0: RLlib fills up windows with zeros, which those have no number for."""
    if isinstance(space, spaces.Dict):
        assert isinstance(observations, dict)
        return {name: _within(entry, observations[name]) for name, entry in space.items()}  # type: ignore[misc]
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete) and np.any(space.start):
        assert isinstance(observations, Tensor)
        least = torch.as_tensor(space.start, device=observations.device).to(observations.dtype)
        return torch.maximum(observations, least)
    return observations


def _chosen_by(policy: MemoryPolicy, outputs: Tensor) -> Tensor:
    """Return logits (..., choices), or means and log standard deviations (..., 2 A)."""
    numbers = policy.action_numbers(outputs)
    if policy.log_std is None:
        return numbers
    return torch.cat([numbers, policy.log_std.expand_as(numbers)], dim=-1)


def _state_out(state: State) -> dict[str, NestedState]:
    return {Columns.STATE_OUT: nested(state)} if _holds(state) else {}


def _holds(state: State) -> bool:
    """Return whether there is anything in a state: else RLlib is told that the module has none."""
    return any(leaf.numel() for leaf in state_leaves(state))


def _map_leaves(function: Any, values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _map_leaves(function, child) for name, child in values.items()}
    return function(values)


def _check_actions(space: spaces.Space) -> None:
    """:raises ValueError: for actions that a module cannot have"""
    can = "Box of one dimension, Discrete and MultiDiscrete of one dimension"
    if not isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete):
        raise ValueError(f"action_space must be {can} in RLlib, not {space}")
    if not isinstance(space, spaces.Discrete) and len(space.shape) != 1:
        raise ValueError(f"action_space must be {can} in RLlib, not {space}")
    if not isinstance(space, spaces.Box) and np.any(space.start):
        raise ValueError(f"action_space must begin at 0, as RLlib counts actions, not {space}")
