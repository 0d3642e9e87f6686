"""The critic's memory, behind the actor's: it goes through many steps of a window at once, when it is asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from memagents.algorithms.rollout import Window
from memagents.cores.core import State, advance_keys, select_rows
from memagents.policies.actor_critic import MemoryPolicy
from memagents.policies.encoding import Observations, map_observations


class LateCritic:
    """Steps of a window that the critic's own memory has yet to go through.

    Nobody looks at what it gives before the window is full or the training is saved. One step at a time it would take
    several times as long.

    :param policy: that acts
    :param window: takes its share of the outputs
    """

    def __init__(self, policy: MemoryPolicy, window: Window):
        self.policy, self.window = policy, window
        self._inputs: Tensor | None = None  # of all steps, (T, B, X)
        self.begin()

    def begin(self) -> None:
        """Begin with a window: nothing is waiting."""
        self._done = self._noted = 0  # steps

    def note(self, t: int, waiting: Tensor | None) -> None:
        """Keep what the memory will take at step t; None where it waits for nothing."""
        if waiting is None:
            return
        if self._inputs is None:
            self._inputs = waiting.new_empty(self.window.steps, *waiting.shape)
        self._inputs[t] = waiting
        self._noted = t + 1

    @torch.no_grad()
    def caught_up(self, state: State) -> State:
        """Return the state after all steps that were noted, and fill in the outputs."""
        if self._done == self._noted:
            return state
        assert self._inputs is not None
        steps = slice(self._done, self._noted)
        outputs, state = self.policy.follow(self._inputs[steps], state, self.window.starts[steps])
        self.window.outputs[steps, :, -outputs.shape[-1] :] = outputs
        self._done = self._noted
        return state

    @property
    def waits(self) -> bool:
        """Whether anything of the window has waited."""
        return self._noted > 0

    @torch.no_grad()
    def after(self, steps: Tensor, rows: Tensor, finals: Observations) -> Tensor:
        """Return the outputs for what followed the last steps of episodes that a time limit cut, the actor's zero.

        Each episode is lived through once more, as far as it is in the window, all of about the same length together.

        :param steps: (K,), the last ones
        :param rows: (K,)
        :param finals: what was seen after them, (K, ...)
        :return: (K, O)
        """
        assert self._inputs is not None
        window = self.window
        last = self.policy.waiting(map_observations(lambda values: values[None], finals))[0]  # (K, X)
        numbers = torch.arange(window.steps, device=steps.device).unsqueeze(1)
        begun = torch.where(window.starts, numbers, 0).cummax(0).values[steps, rows]
        lengths = steps - begun + 1
        outputs = window.outputs.new_zeros(len(steps), window.outputs.shape[-1])
        for some in lengths.argsort().split(window.rows):
            length, first, row = lengths[some], begun[some], rows[some]
            places = (first + numbers[: int(length.max()) + 1]).clamp(max=window.steps - 1)
            x = self._inputs[places, row]  # (L + 1, K, X); what is beyond an episode's end does not matter
            column = torch.arange(len(some), device=steps.device)
            x = torch.cat([x, x[:1]])[: int(length.max()) + 1].index_put((length, column), last[some])
            starts = torch.zeros(x.shape[:2], dtype=torch.bool, device=steps.device)
            starts[0] = window.starts[first, row]
            state = advance_keys(select_rows(window.initial_state, row), first)
            found, _ = self.policy.follow(x, state, starts)
            outputs[some, -found.shape[-1] :] = found[length, column]
        return outputs
