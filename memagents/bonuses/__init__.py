"""Intrinsic rewards: what an agent pays itself for meeting something new, by the names they are known by."""

from __future__ import annotations

import inspect
from typing import Any

from gymnasium import spaces

from memagents.bonuses.bonus import Bonus, Experience, Product
from memagents.bonuses.count import CountBonus
from memagents.bonuses.e3b import E3BBonus
from memagents.bonuses.features import Encoder
from memagents.bonuses.rnd import NovelDBonus, RNDBonus

BONUSES: dict[str, type[Bonus]] = {"count": CountBonus, "rnd": RNDBonus, "noveld": NovelDBonus, "e3b": E3BBonus}

_GIVEN = ("space", "rows", "action_space", "encoder")  # by the agent
OF_ALL = ("coef", "final_coef", "normalize", "heads", "bonus_gamma", "episodic", "learning_rate")
"""Parameters of :class:`memagents.bonuses.reward.IntrinsicReward`, for messages."""


def make_bonus(
    name: str, space: spaces.Space, action_space: spaces.Space, rows: int, /, encoder: Encoder = "auto", **kwargs: Any
) -> Bonus:
    """Make a bonus by its name.

    :param name: one of :data:`BONUSES`, or several with ``*`` between them for their product, such as ``"e3b*rnd"``
    :param space: of one observation
    :param action_space: of one environment
    :param rows: environments B
    :param encoder: of the policy, for bonuses with networks of their own
    :param kwargs: parameters; in a product each factor takes those that it has
    :raises ValueError: for a name or a parameter that there is not, a value that is not allowed, or observations that
        the bonus cannot take
    """
    names = check_bonus(name)
    allowed = {own: _parameters(BONUSES[own]) for own in names}
    known = list(dict.fromkeys(parameter for parameters in allowed.values() for parameter in parameters))
    unknown = sorted(kwargs.keys() - set(known))
    if unknown:
        raise ValueError(f"bonus {name!r} has no parameter {unknown[0]!r}; it has: {', '.join([*known, *OF_ALL])}")
    factors = []
    for own in names:
        given = {key: value for key, value in kwargs.items() if key in allowed[own]}
        shared = {"action_space": action_space, "encoder": encoder}
        given |= {key: shared[key] for key in inspect.signature(BONUSES[own]).parameters if key in shared}
        factors.append(BONUSES[own](space=space, rows=rows, **given))  # type: ignore[call-arg]
    return factors[0] if len(factors) == 1 else Product(factors)


def check_bonus(name: str) -> list[str]:
    """Return the names of the factors of a bonus.

    :raises ValueError: for a name that there is not
    """
    names = [own.strip() for own in name.split("*")] if isinstance(name, str) else []
    if not names or not set(names) <= BONUSES.keys():
        raise ValueError(f"bonus must be one of {', '.join(BONUSES)}, or a product such as 'e3b*rnd', not {name!r}")
    return names


def _parameters(kind: type[Bonus]) -> list[str]:
    return [name for name in inspect.signature(kind).parameters if name not in _GIVEN]


__all__ = ["BONUSES", "Bonus", "Experience", "Product", "check_bonus", "make_bonus"]
