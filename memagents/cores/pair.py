"""Two memories side by side over the same inputs: one for an actor, one for its critic."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from memagents.cores.core import MemoryCore, State, Step, Unrolled

CRITIC = "critic_"
"""Before the names of the critic's losses and traces."""


class PairState(NamedTuple):
    """States of the two cores, B rows each."""

    actor: State
    critic: State


class Pair(MemoryCore[PairState]):
    """Two cores that see the same and share nothing; the outputs are the actor's, then the critic's.

    A policy makes one of its ``core`` and ``critic_core``. Each runs by its own fastest way, and each loss reaches its
    own memory alone, through the half of the outputs that the head in question takes.

    :param actor: core of the actor
    :param critic: core of the critic, of the same input size
    :param critic_gradient: whether what the critic's core learns goes on into the inputs
    """

    def __init__(self, actor: MemoryCore, critic: MemoryCore, critic_gradient: bool = True):
        super().__init__(actor.input_size, actor.output_size + critic.output_size)
        if critic.input_size != actor.input_size:
            raise ValueError(f"critic must take inputs of width {actor.input_size}, not {critic.input_size}")
        self.actor, self.critic = actor, critic
        self.critic_gradient = critic_gradient
        with torch.no_grad():
            self._actor_width = actor.project(torch.zeros(1, self.input_size)).shape[-1]

    def split(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the actor's and the critic's share of outputs (..., O)."""
        return outputs[..., : self.actor.output_size], outputs[..., self.actor.output_size :]

    def initial_state(self, batch_size: int) -> PairState:
        return PairState(self.actor.initial_state(batch_size), self.critic.initial_state(batch_size))

    def project(self, inputs: Tensor) -> Tensor:
        theirs = inputs if self.critic_gradient else inputs.detach()
        return torch.cat([self.actor.project(inputs), self.critic.project(theirs)], dim=-1)

    def step(self, x: Tensor, state: PairState) -> Step[PairState]:
        """Step and read out both, since each has a readout of its own."""
        width = self._actor_width
        actor, critic = self.actor.step(x[..., :width], state.actor), self.critic.step(x[..., width:], state.critic)
        outputs = [self.actor.readout(actor.features), self.critic.readout(critic.features)]
        return Step(
            torch.cat(outputs, dim=-1),
            PairState(actor.state, critic.state),
            _both(actor.losses, critic.losses),
            _both(actor.trace, critic.trace),
        )

    def recur(self, x: Tensor, state: PairState, starts: Tensor, trace: bool = False) -> Unrolled[PairState]:
        """Run each core's own ``recur``."""
        width = self._actor_width
        actor = self.actor.recur(x[..., :width], state.actor, starts, trace)
        critic = self.critic.recur(x[..., width:], state.critic, starts, trace)
        return Unrolled(
            torch.cat([actor.outputs, critic.outputs], dim=-1),
            PairState(actor.state, critic.state),
            _both(actor.losses, critic.losses),
            _both(actor.trace, critic.trace),
        )

    def act(self, x: Tensor, state: PairState, starts: Tensor) -> tuple[Tensor, PairState]:
        """Run the actor's core alone: (T, B, its output size), and the state in which the critic's waits.

        :meth:`follow` takes it through the same steps, at once.
        """
        actor = self.actor.recur(x[..., : self._actor_width], state.actor, starts)
        return actor.outputs, PairState(actor.state, state.critic)

    def critics(self, x: Tensor) -> Tensor:
        """The critic's share of what :meth:`project` returned."""
        return x[..., self._actor_width :]

    def follow(self, x: Tensor, state: PairState, starts: Tensor) -> tuple[Tensor, PairState]:
        """Run the critic's core alone.

        :param x: of :meth:`critics`, (T, B, X)
        :return: (T, B, its output size), and the state
        """
        critic = self.critic.recur(x, state.critic, starts)
        return critic.outputs, PairState(state.actor, critic.state)

    def with_more_slots(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        enlarged: dict[str, Tensor] = {}
        for part, core in (("actor.", self.actor), ("critic.", self.critic)):
            own = {name.removeprefix(part): tensor for name, tensor in weights.items() if name.startswith(part)}
            enlarged |= {part + name: tensor for name, tensor in core.with_more_slots(own).items()}
        return enlarged


def _both(actor: dict[str, Tensor], critic: dict[str, Tensor]) -> dict[str, Tensor]:
    """Join what both cores report by name."""
    return {**actor, **{CRITIC + name: tensor for name, tensor in critic.items()}}
