"""What a policy thinks in a window: its estimates, and the trace of its memory by the plain loop.

Letters in shapes: T steps, B batch rows, O the core's output size, A actions, P neighbours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from gymnasium import spaces
from torch import Tensor

from memagents.cores.core import MemoryCore, State, restart_state, stack_dicts, state_leaves
from memagents.nec.policy import EpisodicPolicy, ProjectionPolicy
from memagents.policies.actor_critic import MemoryPolicy
from memagents.policies.core_policy import CorePolicy
from memagents.policies.distributions import Choices
from memagents.policies.encoding import Observations, map_observations

Named = dict[str, Tensor]


class Replayed(NamedTuple):
    """A window that was run again: outputs (T, B, O), the trace (T, B, ...) by name, and the state after it.

    ``states`` are the leaves of the states before each step, (T, B, ...) each, where they were asked for.
    """

    outputs: Tensor
    trace: Named
    state: State
    states: list[Tensor]


@torch.no_grad()
def replay(
    policy: CorePolicy, observations: Observations, state: State, starts: Tensor, keep_states: bool = False
) -> Replayed:
    """Run a window again by the core's plain loop, which alone leaves a trace.

    :param observations: (T, B, ...)
    :param state: before the window, leaves (B, ...)
    :param starts: (T, B) booleans
    :param keep_states: also return the states before each step, in episodes' first steps the initial ones
    :return: as outputs of episodic control its keys, which are what it acts by
    :raises ValueError: if the core's trace is of another shape than it must be
    """
    if isinstance(policy, ProjectionPolicy):  # which goes past its core
        keys, state, _ = policy.keys(observations, state, starts)
        return Replayed(keys, neighbours(policy, keys, observations), state, [])
    projected = policy.project(observations)
    if keep_states:
        outputs, trace, state, states = _step_by_step(policy.core, projected, state, starts)
    else:
        outputs, state, _, trace = policy.core.recur(projected, state, starts, trace=True)
        states = []
    for name, values in trace.items():
        if values.shape[:2] != starts.shape:
            raise ValueError(
                f"trace of {type(policy.core).__name__}: {name!r} must be a tensor (B, ...) in each step, that is "
                f"{(*starts.shape, '...')} in this window, not {tuple(values.shape)}"
            )
    if isinstance(policy, EpisodicPolicy):
        outputs = policy.key_net(outputs)
        trace = {**trace, **neighbours(policy, outputs, observations)}
    return Replayed(outputs, trace, state, states)


def _step_by_step(core: MemoryCore, x: Tensor, state: State, starts: Tensor) -> Replayed:
    """Run a window of (T, B, X) by the plain loop, and keep the states before its steps."""
    never, initial = torch.zeros_like(starts[:1]), core.initial_state(starts.shape[1])
    outputs, traces, states = [], [], []
    for now, begins in zip(x, starts, strict=True):
        state = restart_state(begins, initial, state)
        states.append([leaf.clone() for leaf in state_leaves(state)])
        step = core.recur(now[None], state, never, trace=True)
        state = step.state
        outputs.append(step.outputs[0])
        traces.append({name: values[0] for name, values in step.trace.items()})
    leaves = [torch.stack(leaf) for leaf in zip(*states, strict=True)]
    return Replayed(torch.stack(outputs), stack_dicts(traces), state, leaves)


@torch.no_grad()
def estimates(policy: CorePolicy, observations: Observations, outputs: Tensor, actions: Tensor) -> Named:
    """Return what a policy makes of the outputs that it acted by.

    :param observations: (T, B, ...)
    :param outputs: of :meth:`CorePolicy.forward`, (T, B, O); of episodic control, keys
    :param actions: (T, B, ...)
    :return: of actor and critic ``values``, ``log_probs`` and ``entropy`` (T, B), and ``probabilities`` (T, B, A) of
        discrete actions (those of several in a row), or ``action_mean`` and ``action_std``; of episodic control
        ``action_values`` (T, B, A) and ``values``, the largest of them
    """
    if isinstance(policy, EpisodicPolicy):
        ids = own_ids(policy, observations)
        action_values = policy.dictionary.lookup_all(outputs.flatten(0, 1), ids=ids, touch=False)
        action_values = action_values.unflatten(0, outputs.shape[:2])
        return {"values": action_values.amax(-1), "action_values": action_values}
    if not isinstance(policy, MemoryPolicy):
        return {}
    appraised = policy.appraise(outputs, actions)
    found = {name: values for name, values in appraised._asdict().items() if values is not None}
    drawn = action_distribution(policy, outputs.flatten(0, 1))
    return {**found, **{name: values.unflatten(0, outputs.shape[:2]) for name, values in drawn.items()}}


def action_distribution(policy: MemoryPolicy, outputs: Tensor) -> Named:
    """Return the parameters of the distribution of actions for outputs (N, O).

    :return: ``probabilities`` (N, A) of Discrete, MultiDiscrete (those of several in a row) and MultiBinary actions
        (each of being 1), else ``action_mean`` and ``action_std`` (N, A)
    """
    distribution: Any = policy.distribution(outputs)
    if isinstance(distribution, Choices):
        return {"probabilities": distribution.probabilities()}
    drawn = distribution.distribution  # torch's
    if isinstance(policy.action_space, spaces.MultiBinary):
        return {"probabilities": drawn.probs}
    return {"action_mean": drawn.mean, "action_std": drawn.stddev}


def neighbours(policy: EpisodicPolicy, keys: Tensor, observations: Observations) -> Named:
    """Return which remembered situations answer for each action, from the nearest on.

    :param keys: (T, B, W)
    :param observations: (T, B, ...)
    :return: ``neighbour_rows`` (T, B, A, P), ``neighbour_weights``, ``neighbour_values`` and ``neighbour_ages``, see
        :class:`memagents.nec.dictionary.Answers`
    """
    answers = policy.dictionary.answers(keys.flatten(0, 1), ids=own_ids(policy, observations))
    names = ("neighbour_rows", "neighbour_weights", "neighbour_values", "neighbour_ages")
    return {name: part.unflatten(0, keys.shape[:2]) for name, part in zip(names, answers, strict=True)}


def own_ids(policy: EpisodicPolicy, observations: Observations) -> Tensor | None:
    """Return the ids (T·B,) of observations (T, B, ...) that answer for themselves, None where they never do."""
    return policy.own_ids(map_observations(lambda values: values.flatten(0, 1), observations))
