"""Reinforcement-learning agents with external memory: the public names, each loaded when it is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memagents import moved
from memagents.lazy import exports

if TYPE_CHECKING:
    from memagents.algorithms.distillation import Distillation
    from memagents.algorithms.imitation import Imitation
    from memagents.algorithms.ppo import RecurrentPPO
    from memagents.cores import MemoryCore, core_names, make_core, register_core
    from memagents.environments.make import make_env
    from memagents.environments.vector import as_vec_env
    from memagents.experiments.evaluation import evaluate
    from memagents.experiments.run import load_agent
    from memagents.nec.mfec import MFEC
    from memagents.nec.nec import NEC
    from memagents.policies.actor_critic import MemoryPolicy
    from memagents.runs.files import CheckpointError
    from memagents.testing import check_core

__version__ = "0.2.0"

_HOMES = {
    "MFEC": "memagents.nec.mfec",
    "NEC": "memagents.nec.nec",
    "CheckpointError": "memagents.runs.files",
    "Distillation": "memagents.algorithms.distillation",
    "Imitation": "memagents.algorithms.imitation",
    "MemoryCore": "memagents.cores",
    "MemoryPolicy": "memagents.policies.actor_critic",
    "RecurrentPPO": "memagents.algorithms.ppo",
    "as_vec_env": "memagents.environments.vector",
    "check_core": "memagents.testing",
    "core_names": "memagents.cores",
    "evaluate": "memagents.experiments.evaluation",
    "load_agent": "memagents.experiments.run",
    "make_core": "memagents.cores",
    "make_env": "memagents.environments.make",
    "register_core": "memagents.cores",
}

__all__ = [
    "MFEC",
    "NEC",
    "CheckpointError",
    "Distillation",
    "Imitation",
    "MemoryCore",
    "MemoryPolicy",
    "RecurrentPPO",
    "__version__",
    "as_vec_env",
    "check_core",
    "core_names",
    "evaluate",
    "load_agent",
    "make_core",
    "make_env",
    "register_core",
]

__getattr__, __dir__ = exports(__name__, _HOMES)
moved.install()
