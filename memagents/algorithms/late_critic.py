"""The critic's memory, behind the actor's: it goes through many steps of a window at once, when it is asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from memagents.algorithms.rollout import Window
from memagents.cores.core import State
from memagents.policies.actor_critic import MemoryPolicy


class LateCritic:
    """Steps of a window that the critic's own memory has yet to go through.

    Nobody looks at what it gives before the window is full, an episode is cut by a time limit, or the training is
    saved. One step at a time it would take several times as long.

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
