"""A bonus among the rewards of a training: its scale, its schedule, and what its networks learn."""

from __future__ import annotations

from typing import Any, Literal

import torch
from gymnasium import spaces
from torch import Tensor, nn

from memagents.bonuses import Experience, make_bonus
from memagents.bonuses.features import Moments
from memagents.checks import boolean, finite, in_range, one_of, positive
from memagents.ranks import mean_figures, mean_gradients


class IntrinsicReward(nn.Module):
    """Bonuses as rewards: divided by how they vary, times a coefficient. All that is to be saved is in its state dict.

    :param bonus: see :func:`memagents.bonuses.make_bonus`
    :param space: of one observation
    :param action_space: of one environment
    :param rows: environments B
    :param gamma: the agent's discount
    :param coef: coefficient β of the bonus among the rewards
    :param final_coef: β at the end of the training, reached linearly; by default it stays
    :param normalize: divide by the running standard deviation of the bonuses (``"std"``), by that of their discounted
        sums, as Burda et al. 2019 do (``"returns"``), or not at all (None); the mean is not subtracted
    :param heads: 1: the bonus is added to the reward; 2: it has a value head of its own, as in Burda et al. 2019
    :param bonus_gamma: discount of the bonuses where they have their own head; by default the agent's
    :param episodic: where they have their own head, whether their return ends with the episode
    :param learning_rate: of the bonus's own networks
    :param kwargs: parameters of the bonus
    :raises ValueError: for what is not allowed, naming it
    """

    def __init__(
        self,
        bonus: str,
        space: spaces.Space,
        action_space: spaces.Space,
        rows: int,
        gamma: float,
        /,
        coef: float = 0.01,
        final_coef: float | None = None,
        normalize: Literal["std", "returns"] | None = "std",
        heads: int = 1,
        bonus_gamma: float | None = None,
        episodic: bool = True,
        learning_rate: float = 3e-4,
        **kwargs: Any,
    ):
        super().__init__()
        self.coef = finite("coef", coef)
        self.final_coef = self.coef if final_coef is None else finite("final_coef", final_coef)
        self.normalize = one_of("normalize", normalize, ("std", "returns", None))
        self.heads = one_of("heads", heads, (1, 2))
        if heads == 1 and (bonus_gamma is not None or not episodic):
            raise ValueError("bonus_gamma and episodic are for heads=2: with one head the bonus is part of the reward")
        self.gamma = gamma if bonus_gamma is None else in_range("bonus_gamma", bonus_gamma, 0, 1)
        self.episodic = boolean("episodic", episodic)
        self.bonus = make_bonus(bonus, space, action_space, rows, **kwargs)
        self.moments = Moments()
        self.register_buffer("sums", torch.zeros(rows, dtype=torch.float64))  # discounted, of past bonuses
        self.sums: Tensor
        learning = [parameter for parameter in self.bonus.parameters() if parameter.requires_grad]
        rate = positive("bonus_kwargs: learning_rate", learning_rate)
        self.optimizer = torch.optim.Adam(learning, lr=rate) if learning else None

    @torch.no_grad()
    def rewards(self, experience: Experience, progress_remaining: float) -> Tensor:
        """Return the rewards (T, B) of a window's transitions, and remember the window.

        :param progress_remaining: from 1 to 0 over the training
        """
        bonuses = self.bonus.bonus(experience)
        scale = self.final_coef + progress_remaining * (self.coef - self.final_coef)
        return scale * bonuses / self._deviation(bonuses)

    def learn(self, experience: Experience) -> float | None:
        """Step once down the loss of the bonus's networks, and return it; None where nothing is learned.

        :raises FloatingPointError: if the loss is not finite; the weights stay as they were
        """
        if self.optimizer is None:
            return None
        loss = self.bonus.loss(experience)
        assert loss is not None
        self.optimizer.zero_grad()
        loss.backward()
        mean_gradients(self.optimizer.param_groups[0]["params"])
        value = mean_figures({"loss": loss.item()})["loss"]
        if value - value != 0:
            raise FloatingPointError("bonus_loss is not finite")
        self.optimizer.step()
        return value

    def state(self) -> dict[str, Any]:
        """Return all that an interrupted training needs, as a tree of tensors and plain values."""
        optimizer = None if self.optimizer is None else self.optimizer.state_dict()
        return {"module": dict(self.state_dict()), "optimizer": optimizer}

    def restore(self, tree: dict[str, Any] | None) -> None:
        """Put back what :meth:`state` returned.

        :raises ValueError: for what does not fit
        """
        if tree is None:
            raise ValueError("the training had no bonus, and this one has")
        try:
            self.load_state_dict(tree["module"])
        except RuntimeError as error:
            raise ValueError("the bonus of the training was another one, or had other parameters") from error
        if self.optimizer is not None:
            self.optimizer.load_state_dict(tree["optimizer"])

    def _deviation(self, bonuses: Tensor) -> Tensor:
        """The running standard deviation to divide by, with this window's counted in."""
        if self.normalize is None:
            return torch.ones((), device=bonuses.device)
        if self.normalize == "std":
            self.moments.update(bonuses.flatten())
        else:
            for now in bonuses:
                self.sums.mul_(self.gamma).add_(now)
                self.moments.update(self.sums)
        return self.moments.std().to(bonuses.dtype)
