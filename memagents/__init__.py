"""Reinforcement-learning agents with external memory: the public names."""

from memagents.checkpoint import CheckpointError
from memagents.cores import MemoryCore, core_names, make_core, register_core
from memagents.imitation import Imitation
from memagents.nec.mfec import MFEC
from memagents.nec.nec import NEC
from memagents.policy import MemoryPolicy
from memagents.ppo import RecurrentPPO
from memagents.vector import as_vec_env

__all__ = [
    "MFEC",
    "NEC",
    "CheckpointError",
    "Imitation",
    "MemoryCore",
    "MemoryPolicy",
    "RecurrentPPO",
    "as_vec_env",
    "core_names",
    "make_core",
    "register_core",
]
