"""Environments as the agents take them: made by their ids, batched, joined, conditioned, snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memagents.lazy import exports

if TYPE_CHECKING:
    from memagents.environments.conditioning import ConditionOn
    from memagents.environments.joined import JoinedVecEnv
    from memagents.environments.make import make_env, make_single_env
    from memagents.environments.vector import GymnasiumVecEnv, as_vec_env

__all__ = ["ConditionOn", "GymnasiumVecEnv", "JoinedVecEnv", "as_vec_env", "make_env", "make_single_env"]

__getattr__, __dir__ = exports(
    __name__,
    {
        "ConditionOn": "memagents.environments.conditioning",
        "GymnasiumVecEnv": "memagents.environments.vector",
        "JoinedVecEnv": "memagents.environments.joined",
        "as_vec_env": "memagents.environments.vector",
        "make_env": "memagents.environments.make",
        "make_single_env": "memagents.environments.make",
    },
)
