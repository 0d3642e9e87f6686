"""Steps of the optimiser: gradients of weighted losses, none of them taken where something is not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor

from memagents import ranks
from memagents.algorithms.causes import listed
from memagents.algorithms.cuda_graphs import look
from memagents.algorithms.joint import JointAlgorithm
from memagents.policies.core_policy import CorePolicy
from memagents.runs.checkpoint import holds
from memagents.runs.layout import STATE_FILE


class Descent(JointAlgorithm):
    """Algorithm whose policy is trained by gradients, or in part."""

    policy: CorePolicy
    max_grad_norm: float
    memory_learning_rate: float | Schedule | None
    memory_lr_schedule: Schedule

    def step_optimizer(self, losses: dict[str, Tensor]) -> float:
        """One step down the weighted sum of the losses, unless one of them, or the gradient, is not finite.

        :param losses: scalars, weighted by :meth:`loss_weights`
        :return: the gradient's norm before clipping
        :raises FloatingPointError: naming the quantity; the weights stay as they were
        """
        gradients, length = self.gradients(losses, self.loss_weights())
        figures = look({**losses, "gradient_norm": length})
        norm = figures.pop("gradient_norm")
        self.descend(gradients, figures, norm)
        return norm

    def gradients(
        self, losses: dict[str, Tensor], weights: Mapping[str, float | Tensor]
    ) -> tuple[list[Tensor | None], Tensor]:
        """The clipped gradients of the weighted sum of the losses, found without a look at the device.

        :param losses: scalars
        :param weights: of those losses that are not simply added
        :return: for each parameter of the policy its gradient, None where it has no part; their norm before clipping
        """
        parameters = list(self.policy.parameters())
        self.policy.optimizer.zero_grad()
        weighted = [weights[name] * loss if name in weights else loss for name, loss in losses.items()]
        torch.stack(weighted).sum().backward()
        ranks.mean_gradients(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
        return [parameter.grad for parameter in parameters], norm

    def descend(self, gradients: Sequence[Tensor | None], losses: Mapping[str, float], norm: float) -> None:
        """A step of the optimiser by :meth:`gradients`.

        :param losses: what the gradients are of, as numbers
        :param norm: of the gradients before clipping
        :raises FloatingPointError: if one of these is not finite; the weights stay as they were
        """
        wrong = [name for name, loss in losses.items() if not math.isfinite(loss)]
        if wrong or not math.isfinite(norm):
            raise self.not_finite(wrong or ["the norm of the gradient"])
        for parameter, gradient in zip(self.policy.parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.policy.optimizer.step()

    def not_finite(self, names: Sequence[str], cause: str = "") -> FloatingPointError:
        """Return the error that ends ``learn``: the names of what is not finite and, where one is seen, the cause."""
        kept, cause = "", cause or self.visible_cause()
        if self.run_dir is not None:
            saved = holds(self.run_dir, STATE_FILE)
            kept = f"; the last good checkpoint is in {self.run_dir}" if saved else "; nothing was saved yet"
        why = f": {cause}" if cause else ""
        return FloatingPointError(f"{listed(names)} not finite at step {self.num_timesteps}{why}{kept}")

    def visible_cause(self) -> str:
        """Return what the environment gave that no loss can be finite with, in words; nothing where none is seen."""
        return ""

    def loss_weights(self) -> dict[str, float]:
        """Return the weights of those losses that are not simply added."""
        return {}

    def _set_learning_rates(self) -> None:
        """Set the learning rate of each group of parameters by its own schedule."""
        progress = self._current_progress_remaining
        rates = {"policy": self.lr_schedule(progress), "memory": self.memory_lr_schedule(progress)}
        for group in self.policy.optimizer.param_groups:
            group["lr"] = rates[group["name"]]
        self.logger.record("train/learning_rate", rates["policy"])
        if self.memory_learning_rate is not None:
            self.logger.record("train/memory_learning_rate", rates["memory"])
