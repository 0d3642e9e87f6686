"""Log-probabilities and values of policies of known kinds, found by the methods that they have.

Letters in shapes: T steps, B rows.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from memagents.testing.observations import Observations, at, map_observations

Seen = dict[str, np.ndarray]


class Probe:
    """Reads a policy; a subclass knows one kind.

    :param policy: has all methods named in ``needs``
    :param action_space: of its actions
    """

    needs: tuple[str, ...] = ()

    def __init__(self, policy: Any, action_space: spaces.Space):
        self.policy = policy
        self.space = copy.deepcopy(action_space)

    def __call__(self, observations: Observations, state: Any, starts: np.ndarray) -> Seen:
        """What is reached of one step, by name, each (B,).

        :param observations: (B, ...)
        :param state: as ``predict`` takes it
        :param starts: (B,) booleans
        """
        raise NotImplementedError

    def acting_and_learning(self, observations: Observations, starts: np.ndarray) -> tuple[Seen, Seen]:
        """Steps one by one, as acting sees them, and the same in one window, as learning does; entries (T, B).

        :param observations: (T, B, ...)
        :param starts: (T, B) booleans, true in the first step
        """
        raise NotImplementedError

    def actions(self, rows: int) -> Tensor:
        """Some actions (B, ...), the same whenever asked, as the policy's distribution counts them."""
        self.space.seed(0)
        drawn = np.stack([self.space.sample() for _ in range(rows)])
        if isinstance(self.space, spaces.Discrete | spaces.MultiDiscrete):
            drawn = drawn - self.space.start
        return torch.as_tensor(drawn, device=self.policy.device)

    def tensors(self, observations: Observations) -> Any:
        """Observations (N, ...) as the policy's methods take them; in evaluation mode, as ``predict`` is."""
        self.policy.set_training_mode(False)
        return self.policy.obs_to_tensor(observations)[0]

    def on_device(self, values: Any) -> Tensor:
        return torch.as_tensor(values, device=self.policy.device)


class MemoryProbe(Probe):
    """Policies of memagents: windows (T, B, ...), the state a NamedTuple of tensors."""

    needs = ("unroll", "appraise", "initial_state", "evaluate_actions")

    @torch.no_grad()
    def __call__(self, observations: Observations, state: Any, starts: np.ndarray) -> Seen:
        state = self.policy.initial_state(len(starts)) if state is None else state
        now = map_observations(lambda values: values[None], self.tensors(observations))
        outputs = self.policy.unroll(now, state, self.on_device(starts)[None])[0]
        said = self.policy.appraise(outputs, self.actions(len(starts))[None])
        return {"log-probabilities": said.log_probs[0].cpu().numpy(), "values": said.values[0].cpu().numpy()}

    @torch.no_grad()
    def acting_and_learning(self, observations: Observations, starts: np.ndarray) -> tuple[Seen, Seen]:
        state, steps = self.policy.initial_state(starts.shape[1]), []
        for step, start in enumerate(starts):
            now = at(observations, step)
            steps.append(self(now, state, start))
            state = self.policy(self.tensors(now), state, self.on_device(start), deterministic=True).state
        flat = self.tensors(map_observations(lambda values: values.reshape(-1, *values.shape[2:]), observations))
        window = map_observations(lambda values: values.unflatten(0, starts.shape), flat)
        actions = self.actions(starts.shape[1])
        learned = self.policy.evaluate_actions(
            window,
            actions.expand(len(starts), *actions.shape),
            self.policy.initial_state(starts.shape[1]),
            self.on_device(starts),
        )
        seen = {"log-probabilities": learned.log_probs.cpu().numpy(), "values": learned.values.cpu().numpy()}
        return {name: np.stack([step[name] for step in steps]) for name in seen}, seen


class LSTMStates(NamedTuple):
    """As sb3-contrib's ``RNNStates``: of actor and critic, hidden and cell states (layers, B, units)."""

    pi: tuple[Tensor, Tensor]
    vf: tuple[Tensor, Tensor]


class LSTMProbe(Probe):
    """Policies of sb3-contrib's RecurrentPPO: sequences one after another in a flat batch, the state of the actor."""

    needs = ("get_distribution", "predict_values", "lstm_hidden_state_shape", "evaluate_actions")

    def zeros(self, rows: int) -> tuple[Tensor, Tensor]:
        layers, _, units = self.policy.lstm_hidden_state_shape
        hidden = torch.zeros(layers, rows, units, device=self.policy.device)
        return hidden, hidden.clone()

    @torch.no_grad()
    def __call__(self, observations: Observations, state: Any, starts: np.ndarray) -> Seen:
        now, begins = self.tensors(observations), self.on_device(starts).float()
        states = self.zeros(len(starts)) if state is None else tuple(self.on_device(leaf).float() for leaf in state)
        distribution, _ = self.policy.get_distribution(now, states, begins)
        seen = {"log-probabilities": distribution.log_prob(self.actions(len(starts))).cpu().numpy()}
        if self.policy.lstm_critic is None:  # otherwise the values need a state that predict does not carry
            seen["values"] = self.policy.predict_values(now, states, begins).flatten().cpu().numpy()
        return seen

    @torch.no_grad()
    def acting_and_learning(self, observations: Observations, starts: np.ndarray) -> tuple[Seen, Seen]:
        rows = starts.shape[1]
        states: Any = LSTMStates(self.zeros(rows), self.zeros(rows))
        actions, values, log_probs = [], [], []
        for step, start in enumerate(starts):
            now = self.tensors(at(observations, step))
            done, value, log_prob, states = self.policy.forward(now, states, self.on_device(start).float(), True)
            actions.append(done)
            values.append(value.flatten().cpu().numpy())
            log_probs.append(log_prob.cpu().numpy())
        flat = map_observations(lambda v: v.swapaxes(0, 1).reshape(-1, *v.shape[2:]), observations)
        value, log_prob, _ = self.policy.evaluate_actions(
            self.tensors(flat),
            torch.stack(actions, dim=1).flatten(0, 1),
            LSTMStates(self.zeros(rows), self.zeros(rows)),
            self.on_device(starts.T.reshape(-1)).float(),
        )
        learned = {"log-probabilities": log_prob, "values": value.flatten()}
        return {"log-probabilities": np.stack(log_probs), "values": np.stack(values)}, {
            name: tensor.view(rows, -1).T.cpu().numpy() for name, tensor in learned.items()
        }


def probe_of(policy: Any, action_space: spaces.Space) -> Probe | None:
    """What reads this policy; None for a kind that is not known."""
    for kind in (MemoryProbe, LSTMProbe):
        if all(hasattr(policy, name) for name in kind.needs):
            return kind(policy, action_space)
    return None
