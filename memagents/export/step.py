"""One step of a policy as a function of tensors by name: observation, start and state to action, value and state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from memagents.cores.core import State, as_reals, from_reals, map_state, restart_state
from memagents.export.names import EPISODE_START, NEXT, OBSERVATION, STATE, leaves_by_path, observation_entries
from memagents.export.normalization import Normalization
from memagents.policies.actor_critic import MemoryPolicy
from memagents.policies.encoding import Observations, map_observations
from memagents.runs.arrays import native_type


class PolicyStep(nn.Module):
    """The most likely action of a policy for each of B observations, the value, and the state after it.

    The core takes its plain :meth:`~memagents.cores.core.MemoryCore.step`. Complex numbers of a state are pairs of real
    and imaginary parts, (..., 2), which torch's exports and ONNX know how to pass.

    :param policy: in eval mode
    :param normalization: of its observations, if any
    """

    def __init__(self, policy: MemoryPolicy, normalization: Normalization | None):
        super().__init__()
        self.policy, self.normalization = policy, normalization
        self.entries = observation_entries(policy.observation_space)

    def example(self, rows: int) -> dict[str, Tensor]:
        """Return inputs by name: zeros, but for integers that begin elsewhere, and an episode that begins."""
        found = {name: torch.from_numpy(_lowest(space, rows)) for name, space in self.entries.items()}
        return found | {EPISODE_START: torch.ones(rows, dtype=torch.bool)} | self.initial_state(rows)

    def initial_state(self, rows: int) -> dict[str, Tensor]:
        """Return the leaves of the policy's initial state by the names of the inputs."""
        return real_leaves(self.policy.initial_state(rows), STATE)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Take one step of B rows.

        :param inputs: the entries of the observation, ``episode_start`` (B,) and the leaves of the state
        :return: ``action``, as the environment takes it; ``logits``, or ``mean`` and ``log_std``; ``value``, (B,); and
            the leaves of the next state
        """
        policy, starts = self.policy, inputs[EPISODE_START]
        initial = policy.initial_state(starts.shape[0])
        state = _with_leaves(initial, [inputs[name] for name in leaves_by_path(initial, STATE)])
        x = policy.project(map_observations(lambda values: values.unsqueeze(0), self._observations(inputs)))
        step = policy.core.step(x.squeeze(0), restart_state(starts, initial, state))
        outputs = policy.core.readout(step.features)
        return {**self.actions(outputs), "value": policy.values(outputs), **real_leaves(step.state, NEXT)}

    def _observations(self, inputs: dict[str, Tensor]) -> Observations:
        """The observation as the policy takes it."""
        entries = {name: inputs[name] for name in self.entries}
        if self.normalization is not None:
            entries = self.normalization(entries)
        return entries if isinstance(self.policy.observation_space, spaces.Dict) else entries[OBSERVATION]

    def actions(self, outputs: Tensor) -> dict[str, Tensor]:
        """The most likely actions for outputs of the core (B, O), and what their distribution is made of."""
        policy, space = self.policy, self.policy.action_space
        numbers = policy.action_numbers(outputs)  # (B, ·)
        if isinstance(space, spaces.Box):
            assert policy.log_std is not None
            low, high = (torch.as_tensor(bound.ravel()).to(numbers.dtype) for bound in (space.low, space.high))
            chosen = torch.minimum(torch.maximum(numbers, low), high)
            made_of = {"mean": numbers, "log_std": policy.log_std.expand_as(numbers)}
        else:
            chosen, made_of = _most_likely(numbers, space), {"logits": numbers}
        action = chosen.reshape(-1, *(space.shape or ())).to(_torch_type(space.dtype))
        return {"action": action, **made_of}


def outputs_of(step: PolicyStep) -> list[str]:
    """Return the names of what a step returns, in order."""
    kind = ["mean", "log_std"] if isinstance(step.policy.action_space, spaces.Box) else ["logits"]
    return ["action", *kind, "value", *leaves_by_path(step.policy.initial_state(1), NEXT)]


def _most_likely(logits: Tensor, space: spaces.Space) -> Tensor:
    """The actions of the largest logits (B, ·), as the space counts them: (B,) or (B, K)."""
    if isinstance(space, spaces.MultiBinary):
        return logits > 0
    if isinstance(space, spaces.Discrete):
        return logits.argmax(1) + int(space.start)
    assert isinstance(space, spaces.MultiDiscrete)
    parts = logits.split(space.nvec.ravel().tolist(), dim=1)
    return torch.stack([part.argmax(1) for part in parts], dim=1) + torch.as_tensor(space.start.ravel())


def _lowest(space: spaces.Space, rows: int) -> np.ndarray:
    """A batch of observations of a space, all alike."""
    start = space.start if isinstance(space, spaces.Discrete | spaces.MultiDiscrete) else 0
    kind = native_type(space.dtype)
    return np.zeros((rows, *(space.shape or ())), kind) + np.asarray(start, kind)


def _torch_type(dtype: np.dtype | type | None) -> torch.dtype:
    return torch.from_numpy(np.zeros(0, native_type(dtype))).dtype


def _with_leaves(like: State, leaves: Sequence[Tensor]) -> State:
    """A state of these leaves, as of :func:`real_leaves`."""
    rest = iter(leaves)
    return map_state(lambda leaf: from_reals(leaf, next(rest)), like)


def real_leaves(state: State, root: str) -> dict[str, Tensor]:
    """Return the tensors of a state by their paths, complex ones as pairs of real numbers."""
    return {path: as_reals(leaf) for path, leaf in leaves_by_path(state, root).items()}


def check_exportable(policy: object, kind: str) -> MemoryPolicy:
    """Return a policy that has one step to export.

    :param kind: of the agent, for the message
    :raises ValueError: for a policy of another kind, saying why and which can
    """
    can = "policies of RecurrentPPO, Imitation and Distillation can be exported"
    if not isinstance(policy, MemoryPolicy):
        raise ValueError(
            f"a policy of {kind} has no step that a file could hold: it looks into what it remembers of earlier "
            f"episodes, which grows as it acts; {can}"
        )
    own = type(policy)
    if own.forward is not MemoryPolicy.forward or own.unroll is not MemoryPolicy.unroll:
        raise ValueError(f"{own.__name__} has a way of its own to act, which cannot be exported; {can}")
    return policy
