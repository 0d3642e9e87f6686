"""Modules of memagents 0.1, which stood on one floor, by their new names: old imports and old run folders go on."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

MOVED = {
    "algorithm": "algorithms.algorithm",
    "checkpoint": "runs.files",
    "conditioning": "environments.conditioning",
    "configuration": "experiments.configuration",
    "core_policy": "policies.core_policy",
    "curriculum": "experiments.curriculum",
    "distributions": "policies.distributions",
    "documents": "experiments.documents",
    "encoding": "policies.encoding",
    "evaluation": "experiments.evaluation",
    "figures": "experiments.figures",
    "graphs": "algorithms.cuda_graphs",
    "hindsight": "algorithms.hindsight",
    "imitation": "algorithms.imitation",
    "joined": "environments.joined",
    "policy": "policies.actor_critic",
    "ppo": "algorithms.ppo",
    "progress": "runs.progress",
    "repetition": "policies.repetition",
    "rollout": "algorithms.rollout",
    "settings": "experiments.settings",
    "snapshot": "environments.snapshot",
    "spaces": "environments.spaces",
    "symbols": "policies.symbol_encoders",
    "training": "experiments.training",
    "vector": "environments.vector",
    "window_algorithm": "algorithms.window_algorithm",
}


def new_name(module: str) -> str:
    """Return the present name of a module, which is its own unless it has moved."""
    package, _, rest = module.partition(".")
    return f"memagents.{MOVED[rest]}" if package == "memagents" and rest in MOVED else module


class MovedFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Import of a module by its old name: the new module itself, and a warning that names it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if new_name(fullname) == fullname:
            return None
        return importlib.machinery.ModuleSpec(fullname, self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Return the module by its new name."""
        message = f"{spec.name} is now {new_name(spec.name)}; the old name goes with memagents 0.4"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        module = importlib.import_module(new_name(spec.name))
        spec.loader_state = module.__spec__, module.__loader__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Execute nothing, since the module has its new name's contents; only give that name back to it."""
        assert module.__spec__ is not None
        module.__spec__, module.__loader__ = module.__spec__.loader_state


def install() -> None:
    """Let old names be imported, once, after all other ways of finding a module."""
    if not any(isinstance(finder, MovedFinder) for finder in sys.meta_path):
        sys.meta_path.append(MovedFinder())
