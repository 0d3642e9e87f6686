"""Every memory inside RLlib: policies as modules of its API stack, for PPO, APPO and IMPALA on a cluster.

Ray is not installed with memagents: ``pip install 'memagents[rllib]'``, see docs/rllib.md.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from memagents.lazy import exports

if find_spec("ray") is None:
    raise ImportError("memagents.rllib needs Ray: pip install 'memagents[rllib]', best in an environment of its own")

if TYPE_CHECKING:
    from memagents.rllib.configuration import use_memory
    from memagents.rllib.module import MemoryModule
    from memagents.rllib.weights import policy_of, put_policy

__all__ = ["MemoryModule", "policy_of", "put_policy", "use_memory"]

__getattr__, __dir__ = exports(
    __name__,
    {
        "MemoryModule": "memagents.rllib.module",
        "policy_of": "memagents.rllib.weights",
        "put_policy": "memagents.rllib.weights",
        "use_memory": "memagents.rllib.configuration",
    },
)
