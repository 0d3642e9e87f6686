"""How the episodes of a recording are played."""

from __future__ import annotations

from typing import Any, NamedTuple


class Played(NamedTuple):
    """What is played, and how.

    :param env: id of the environment
    :param env_kwargs: its parameters
    :param episodes: how many, one a row
    :param seed: of the environments and of sampled actions
    :param stochastic: sampled actions instead of the most likely ones
    :param slots: of the memory; None: as many as it was trained with
    :param device: of the policy
    """

    env: str
    env_kwargs: dict[str, Any]
    episodes: int = 3
    seed: int = 0
    stochastic: bool = False
    slots: int | None = None
    device: str = "auto"
