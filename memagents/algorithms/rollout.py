"""A window of experience on the device: T steps of B environments, and what is learned from it.

Only the memory's state at the *start* of the window is kept; everything after it is recomputed by unrolling.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from memagents.cores.core import State, select_rows
from memagents.environments.spaces import ArrayObservations
from memagents.policies.encoding import Observations, map_observations, stack_observations
from memagents.runs.arrays import native_type, tensor_of


class StepResults(NamedTuple):
    """Results of T steps of B environments, kept on their side until the window is full; all (T, B)."""

    rewards: np.ndarray
    ends: np.ndarray
    decisions: np.ndarray


class Window:
    """Storage for T steps of B environments, allocated once.

    Row t of ``observations`` is what the agent saw, ``outputs`` what its memory gave, ``actions`` what it did about it,
    ``rewards`` and ``ends`` what came of it; ``starts[t]`` is true where observation t begins an episode;
    ``decisions[t]`` is false where the action did not matter. ``bootstrap[t]`` is the value of the final observation of
    an episode that was cut by a time limit at step t, zero elsewhere.

    :param steps: T
    :param rows: B
    :param observation_space: of one environment
    :param action_space: of one environment
    :param output_size: numbers in an output of the core
    :param device: where everything lives
    :param dtype: of rewards, values and log-probabilities
    """

    def __init__(
        self,
        steps: int,
        rows: int,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        output_size: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ):
        self.steps, self.rows, self.device = steps, rows, device
        self.initial_state: State = ()  # set as a window begins
        self.observations = _observation_storage((steps, rows), observation_space, device)
        # As the distributions take them: a Bernoulli's outcomes are numbers, a categorical's are indices.
        action_dtype = dtype if isinstance(action_space, spaces.Box | spaces.MultiBinary) else torch.int64
        shape = (steps, rows, *(action_space.shape or ()))
        self.actions = torch.zeros(shape, dtype=action_dtype, device=device)

        def zeros(kind: torch.dtype) -> Tensor:
            return torch.zeros((steps, rows), dtype=kind, device=device)

        self.rewards, self.values, self.log_probs, self.bootstrap = (zeros(dtype) for _ in range(4))
        self.starts, self.ends, self.decisions = (zeros(torch.bool) for _ in range(3))
        self.results = StepResults(np.zeros((steps, rows)), *(np.zeros((steps, rows), dtype=bool) for _ in range(2)))
        self.outputs = torch.zeros((steps, rows, output_size), dtype=dtype, device=device)
        # The oracle's actions, −1 where none matters; filled by imitation alone.
        self.labels = torch.full(shape, -1, dtype=torch.int64, device=device)
        self.advantages, self.returns = zeros(dtype), zeros(dtype)
        self.bonus_values, self.bonus_returns = zeros(dtype), zeros(dtype)  # where bonuses have a head of their own

    def observation(self, t: int) -> Observations:
        """The observations of step t, (B, ...)."""
        return map_observations(lambda values: values[t], self.observations)

    def store_observation(self, t: int, observations: ArrayObservations | None) -> Observations:
        """Copy the environment's observations (B, ...) in; the copy to the device happens here, once."""
        if isinstance(self.observations, dict):
            assert isinstance(observations, dict)
            for name, storage in self.observations.items():
                storage[t].copy_(tensor_of(np.ascontiguousarray(observations[name])))
        else:
            self.observations[t].copy_(tensor_of(np.ascontiguousarray(observations)))
        return self.observation(t)

    def take_results(self) -> None:
        """Bring the environments' results to the device, for all steps at once."""
        for name, values in self.results._asdict().items():
            getattr(self, name).copy_(torch.from_numpy(values))

    def compute_returns(self, last_values: Tensor, gamma: float, gae_lambda: float) -> None:
        """Fill ``advantages`` and ``returns``; see :func:`advantages`."""
        self.advantages = advantages(
            self.rewards, self.values, self.ends, self.bootstrap, last_values, gamma, gae_lambda
        )
        self.returns = self.advantages + self.values

    def minibatches(self, count: int) -> Iterator[Minibatch]:
        """The environments in random order, dealt into ``count`` sets, each with its whole window."""
        order = torch.randperm(self.rows).to(self.device)
        for rows in order.tensor_split(count):
            yield self.minibatch(rows)

    def minibatch(self, rows: Tensor) -> Minibatch:
        """Return the minibatch of some environments, by their numbers, with their whole window."""
        observations = map_observations(lambda values: values.index_select(1, rows), self.observations)
        others = (getattr(self, name).index_select(1, rows) for name in Minibatch._fields[3:])
        return Minibatch(rows, observations, select_rows(self.initial_state, rows), *others)


def advantages(
    rewards: Tensor,
    values: Tensor,
    ends: Tensor,
    bootstrap: Tensor,
    last_values: Tensor,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """Generalised advantage estimation (Schulman et al. 2016, eq. 16), backwards over a window.

    An episode that ended contributes no value beyond its end, but for the bootstrap at a time limit.

    :param rewards: (T, B), and likewise ``values``, ``ends`` (booleans) and ``bootstrap``
    :param last_values: the value of the observation after the window, (B,)
    :return: (T, B)
    """
    going_on = (~ends).to(values.dtype)
    following = torch.cat([values[1:], last_values[None]]) * going_on + bootstrap
    surprises = (rewards + gamma * following - values).unbind(0)
    result, later = torch.empty_like(values), torch.zeros_like(last_values)
    decays = (gamma * gae_lambda * going_on).unbind(0)
    for t in reversed(range(len(surprises))):
        later = torch.addcmul(surprises[t], decays[t], later, out=result[t])
    return result


class Minibatch(NamedTuple):
    """Minibatch of a window: numbers of environments, the state before it (rows, ...), all else (T, rows, ...)."""

    rows: Tensor
    observations: Observations
    initial_state: State
    actions: Tensor
    starts: Tensor
    ends: Tensor
    decisions: Tensor
    labels: Tensor
    rewards: Tensor
    values: Tensor
    log_probs: Tensor
    bootstrap: Tensor
    advantages: Tensor
    returns: Tensor
    bonus_returns: Tensor


# --- episodes that a time limit cut ---------------------------------------------------------------------------------


class Beyond(NamedTuple):
    """Outputs of the memory beyond the window's edges: after its last step, and where time limits cut episodes."""

    last: Tensor  # (B, O)
    steps: Tensor  # (K,) of the window, whose observation after it was an episode's final one
    rows: Tensor  # (K,)
    cut: Tensor  # (K, O)


class CutEpisodes(NamedTuple):
    """Episodes that a time limit cut at step ``t``: rows, final observations, the memory after their last step.

    Where a critic's own memory waits, that is not needed, and the state is empty.
    """

    t: int
    rows: np.ndarray
    observations: list[Any]
    state: State


def cut_rows(dones: np.ndarray, infos: list[dict[str, Any]]) -> np.ndarray:
    """Return the rows whose episodes a time limit has just cut.

    :param dones: which episodes ended, (B,)
    :param infos: infos of the step, B dicts
    """
    return np.array([i for i in np.flatnonzero(dones) if infos[i].get("TimeLimit.truncated", False)], dtype=np.int64)


def cut_episodes(t: int, rows: np.ndarray, infos: list[dict[str, Any]], state: State) -> CutEpisodes:
    """Return the episodes that were cut at step t.

    :param rows: of :func:`cut_rows`
    :param infos: infos of the step, B dicts
    :param state: of the core after the step, leaves (B, ...)
    """
    # Copied, since the environment may overwrite them.
    finals = [map_observations(np.array, infos[i]["terminal_observation"]) for i in rows]
    return CutEpisodes(t, rows, finals, select_rows(state, torch.from_numpy(rows)))


def observation_tensors(observations: ArrayObservations | list[Any] | None, device: torch.device) -> Observations:
    """A batch of observations, or a list of single ones, as tensors on the device."""
    if isinstance(observations, list):
        observations = stack_observations(observations)
    return map_observations(lambda values: tensor_of(values, device), observations)


def all_observations(window: Window, last: Any) -> Any:
    """Return the observations of a window and those after it as arrays (T + 1, B, ...), or as a dict of such.

    :param last: what the environment gave after the window's last step, (B, ...)
    """
    seen = map_observations(lambda values: values.cpu().numpy(), window.observations)
    if isinstance(seen, dict):
        return {name: np.concatenate([values, np.asarray(last[name])[None]]) for name, values in seen.items()}
    return np.concatenate([seen, np.asarray(last)[None]])


def _observation_storage(shape: tuple[int, int], space: spaces.Space, device: torch.device) -> Any:
    """Zeros of the space's own type (bytes stay bytes), (T, B, ...)."""
    if isinstance(space, spaces.Dict):
        return {name: _observation_storage(shape, entry, device) for name, entry in space.spaces.items()}
    kind = torch.from_numpy(np.zeros(0, native_type(space.dtype))).dtype
    return torch.zeros((*shape, *(space.shape or ())), dtype=kind, device=device)
