"""Reinforcement-learning agents with external memory: the public names."""

from memagents.cores import MemoryCore, core_names, make_core, register_core

__all__ = ["MemoryCore", "core_names", "make_core", "register_core"]
