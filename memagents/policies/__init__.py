"""Policies: encoder, core and heads, as Stable-Baselines3 takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memagents.lazy import exports

if TYPE_CHECKING:
    from memagents.policies.actor_critic import MemoryPolicy
    from memagents.policies.core_policy import CorePolicy
    from memagents.policies.symbol_encoders import GridEncoder, WordsEncoder

__all__ = ["CorePolicy", "GridEncoder", "MemoryPolicy", "WordsEncoder"]

__getattr__, __dir__ = exports(
    __name__,
    {
        "CorePolicy": "memagents.policies.core_policy",
        "GridEncoder": "memagents.policies.symbol_encoders",
        "MemoryPolicy": "memagents.policies.actor_critic",
        "WordsEncoder": "memagents.policies.symbol_encoders",
    },
)
