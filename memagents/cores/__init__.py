"""The catalogue of memory systems: one file each, and the names they are known by."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from memagents.cores.core import MemoryCore
from memagents.cores.dropout import Dropout

_BUILT_IN = {
    "none": "memagents.cores.none",
    "gru": "memagents.cores.gru",
    "lstm": "memagents.cores.lstm",
    "dnc": "memagents.cores.dnc",
    "rmc": "memagents.cores.rmc",
    "ntm": "memagents.cores.ntm",
    "sam": "memagents.cores.sam",
    "sdnc": "memagents.cores.sdnc",
    "memn2n": "memagents.cores.memn2n",
    "kv": "memagents.cores.kv",
    "dmn": "memagents.cores.dmn",
    "entnet": "memagents.cores.entnet",
    "hopfield": "memagents.cores.hopfield",
    "gtrxl": "memagents.cores.gtrxl",
    "compressive": "memagents.cores.compressive",
    "universal": "memagents.cores.universal",
    "ffm": "memagents.cores.ffm",
    "shm": "memagents.cores.shm",
    "mingru": "memagents.cores.mingru",
    "lru": "memagents.cores.lru",
    "s5": "memagents.cores.s5",
    "lmu": "memagents.cores.lmu",
    "gcm": "memagents.cores.gcm",
    "deltanet": "memagents.cores.deltanet",
    "mamba2": "memagents.cores.mamba2",
    "mlstm": "memagents.cores.mlstm",
    "mann": "memagents.cores.mann",
    "epn": "memagents.cores.epn",
    "hcam": "memagents.cores.hcam",
    "aler": "memagents.cores.aler",
    "stack": "memagents.cores.stack",
}
_registered: dict[str, type[MemoryCore]] = {}


def register_core(name: str) -> Callable[[type[MemoryCore]], type[MemoryCore]]:
    """Class decorator that adds a :class:`MemoryCore` to the catalogue.

    :param name: the word by which ``make_core``, a policy's ``core=`` and ``--core`` know it
    :raises ValueError: if the name is taken by another class, or holds a colon (kept for ``module:name``)
    """

    def register(cls: type[MemoryCore]) -> type[MemoryCore]:
        if not isinstance(name, str) or not name or ":" in name:
            raise ValueError(f"a core's name must be a non-empty string without a colon, not {name!r}")
        if not (isinstance(cls, type) and issubclass(cls, MemoryCore)):
            raise ValueError(f"core {name!r} must be a subclass of MemoryCore, not {cls!r}")
        owner = _registered.get(name)
        home = _BUILT_IN.get(name, cls.__module__)
        same = owner is None or (owner.__module__, owner.__qualname__) == (cls.__module__, cls.__qualname__)
        if not same or home != cls.__module__:
            raise ValueError(f"a core named {name!r} exists already; choose another name")
        _registered[name] = cls
        return cls

    return register


def core_names() -> list[str]:
    """The names of all cores that can be made without importing anything more."""
    return sorted(_BUILT_IN.keys() | _registered.keys())


def core_class(name: str) -> type[MemoryCore]:
    """The class a name stands for; ``"my_package.my_module:mine"`` imports the module first.

    :raises ValueError: if there is no such core; the message lists those that exist
    """
    if not isinstance(name, str):
        raise ValueError(f"core must be a name, not {name!r}; there are: {', '.join(core_names())}")
    module, _, short = name.rpartition(":")
    try:
        importlib.import_module(module or _BUILT_IN.get(short, __name__))
    except ModuleNotFoundError as error:
        if module and (error.name is None or module == error.name or module.startswith(error.name + ".")):
            raise ValueError(f"core {name!r}: there is no module {module!r} to import it from") from error
        raise
    if short not in _registered:
        raise ValueError(f"there is no core {short!r}; there are: {', '.join(core_names())}")
    return _registered[short]


def make_core(name: str, input_size: int, dropout: float = 0.0, **kwargs: Any) -> MemoryCore:
    """A memory system by its name.

    :param name: one of :func:`core_names`, or ``"module:name"`` to import the module that registers it
    :param input_size: width of one input
    :param dropout: the share of its outputs that is set to zero in training, in [0, 1); if not 0, the core is wrapped
        in a :class:`~memagents.cores.dropout.Dropout`
    :param kwargs: the parameters of that core
    :raises ValueError: if the core or one of its parameters does not exist, or a value is not allowed
    """
    cls = core_class(name)
    allowed = [p for p in inspect.signature(cls).parameters if p != "input_size"]
    unknown = sorted(kwargs.keys() - set(allowed))
    if unknown:
        raise ValueError(f"core {name!r} has no parameter {unknown[0]!r}; it has: {', '.join([*allowed, 'dropout'])}")
    core = cls(input_size, **kwargs)
    return core if dropout == 0 else Dropout(core, dropout)


__all__ = ["MemoryCore", "core_class", "core_names", "make_core", "register_core"]
