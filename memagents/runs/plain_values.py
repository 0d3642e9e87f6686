"""Hyperparameters as plain JSON values and back: schedules by their numbers, classes by their public names."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule
from torch import nn

from memagents.moved import new_name
from memagents.runs.files import CheckpointError

INSTEAD = "a LinearSchedule of stable_baselines3.common.utils is saved"  # of a function


CLASS_ARGUMENTS = ("features_extractor_class", "optimizer_class", "activation_fn")  # of policies


class LostSchedule:
    """Schedule that no file could hold: an agent that acts needs none, and one that learns is refused.

    :param was: how it was called
    """

    def __init__(self, was: str):
        self.was = was

    def __call__(self, progress_remaining: float) -> float:
        return 0.0


def encode(value: Any, name: str) -> Any:
    """Return a hyperparameter as JSON; of a function only its name is kept.

    :param name: of the hyperparameter, for messages
    :raises TypeError: if it is no plain value, schedule or class
    """
    if isinstance(value, FloatSchedule):
        return encode(value.value_schedule, name)
    if isinstance(value, ConstantSchedule):
        return value.val
    if isinstance(value, LinearSchedule):
        return {"linear_schedule": [value.start, value.end, value.end_fraction]}
    if isinstance(value, type):
        return {"class": public_name(value)}
    if isinstance(value, dict):
        return {str(k): encode(v, f"{name}[{k!r}]") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [encode(v, name) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, LostSchedule):
        return {"not_saved": value.was}
    if callable(value):
        return {"not_saved": repr(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name} cannot be saved: {type(value).__name__} is no plain value")


def decode(value: Any, name: str, source: str) -> Any:
    """Return the hyperparameter that :func:`encode` made ``value`` of.

    A file imports nothing and calls nothing of its choice: a class must be imported already, and be a module or an
    optimiser of torch's kind.

    :param name: of the hyperparameter, for messages
    :param source: the file it is from, for messages
    :raises CheckpointError: for what no file can hold, or a class that is unknown or of another kind
    """
    if isinstance(value, list):
        return [decode(v, name, source) for v in value]
    if not isinstance(value, dict):
        return value
    if "not_saved" in value:
        raise CheckpointError(f"{source}: {lost(name, value['not_saved'])}")
    if "float" in value:
        return float(value["float"])
    if "linear_schedule" in value:
        return LinearSchedule(*value["linear_schedule"])
    if "class" in value:
        return _class_named(value["class"], name, source)
    return {k: decode(v, f"{name}[{k!r}]", source) for k, v in value.items()}


def lost(name: str, was: str) -> str:
    """Return the message that a hyperparameter was a function."""
    return f"{name} was {was}, which no file can hold; pass {name}= anew to load or resume of its class ({INSTEAD})"


def not_saved(encoded: Any, name: str) -> list[str]:
    """Return what :func:`encode` could keep nothing but the name of.

    :param name: of the hyperparameter that ``encoded`` was made of
    """
    if isinstance(encoded, list):
        return [found for one in encoded for found in not_saved(one, name)]
    if not isinstance(encoded, dict):
        return []
    if "not_saved" in encoded:
        return [name]
    return [found for key, one in encoded.items() for found in not_saved(one, f"{name}[{key!r}]")]


def of_scripts(encoded: Any) -> list[str]:
    """Return the names of classes in what :func:`encode` made that were defined in a script, not in a module."""
    if isinstance(encoded, list):
        return [found for one in encoded for found in of_scripts(one)]
    if not isinstance(encoded, dict):
        return []
    if "class" in encoded:
        module, _, name = str(encoded["class"]).partition(":")
        return [name] if module == "__main__" else []
    return [found for one in encoded.values() for found in of_scripts(one)]


def check_imported(policy_kwargs: Mapping[str, Any], source: str) -> None:
    """Refuse to import anything for a file: the module of a core must be imported already.

    :param policy_kwargs: parameters of a policy, in which cores that are not the library's are ``"module:name"``, and
        there may be words for classes; also in what they hold, as the cores of a stack
    :param source: the file it is from, for messages
    :raises CheckpointError: if its module is not imported
    """
    for name, word in _words(policy_kwargs, "policy_kwargs"):
        module = word.rpartition(":")[0]
        if re.fullmatch(r"[\w.]+:[\w.]+", word) and module not in sys.modules:
            raise CheckpointError(
                f"{source}: the {name} is {word!r}, and a file imports nothing: "
                f"add --imports {module} (in Python: import {module})"
            )


def _words(tree: Any, name: str) -> Iterator[tuple[str, str]]:
    """Give the words in a tree of plain values, each with the key that it is found under."""
    if isinstance(tree, str):
        yield name, tree
    for key, value in tree.items() if isinstance(tree, Mapping) else ():
        yield from _words(value, str(key))
    for value in tree if isinstance(tree, list | tuple) else ():
        yield from _words(value, name)


def public_name(cls: type) -> str:
    """Return ``"package:Class"`` by the shortest path at which the class is offered, which stays when files move."""
    parts = cls.__module__.split(".")
    for end in range(1, len(parts)):
        package = sys.modules.get(".".join(parts[:end]))
        if cls.__qualname__ in getattr(package, "__all__", ()) and getattr(package, cls.__qualname__, None) is cls:
            return f"{'.'.join(parts[:end])}:{cls.__qualname__}"
    return f"{cls.__module__}:{cls.__qualname__}"


def _class_named(path: str, name: str, source: str) -> type:
    module, _, qualname = path.partition(":")
    found: Any = sys.modules.get(new_name(module))
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if found is None and module == "__main__":
        raise CheckpointError(f"{source}: {name} is {qualname}, which was defined in a script: put it into a module")
    if found is None:
        raise CheckpointError(f"{source}: {name} is the class {path}; import its module first")
    if not (isinstance(found, type) and issubclass(found, nn.Module | torch.optim.Optimizer)):
        raise CheckpointError(f"{source}: {name} is {path}, no torch module or optimiser")
    return found
