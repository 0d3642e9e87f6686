"""Arguments checked, with one clear error that names the argument and what it may be."""

from __future__ import annotations

import math
import numbers
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def positive_int(name: str, value: int, most: int | None = None) -> int:
    """``value`` if it is a positive integer, of ``most`` at most.

    :raises ValueError: otherwise
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{name} must be a positive integer, not {value!r}")
    if most is not None and value > most:
        raise ValueError(f"{name} must be at most {most:,}, not {value:,}")
    return int(value)


def natural_int(name: str, value: int) -> int:
    """``value`` if it is an integer of 0 or more.

    :raises ValueError: otherwise
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 0:
        raise ValueError(f"{name} must be an integer of 0 or more, not {value!r}")
    return int(value)


def step_count(name: str, value: float) -> int:
    """``value`` if it is a number of steps: an integer of 0 or more, or a float that is one, such as 1e5.

    :raises ValueError: otherwise
    """
    return natural_int(name, int(value) if isinstance(value, float) and value.is_integer() else value)  # type: ignore[arg-type]


def string_keyed(name: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
    """A dict of ``value``, empty for None, if it holds values by their names.

    :raises ValueError: otherwise
    """
    if value is not None and not (isinstance(value, Mapping) and all(isinstance(key, str) for key in value)):
        raise ValueError(f"{name} must be a dict of values by their names, not {value!r}")
    return dict(value or {})


def folder_path(name: str, value: str | os.PathLike[str]) -> Path:
    """``value`` as a path.

    :raises ValueError: if it is none
    """
    if not isinstance(value, str | os.PathLike):
        raise ValueError(f"{name} must be the path of a folder, not {value!r}")
    return Path(value)


def device_name(value: Any) -> Any:
    """``value`` if it is a device of torch, or ``"auto"``.

    :raises ValueError: otherwise
    """
    import torch

    if value != "auto":
        try:
            torch.device(value)
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"device must be auto, cpu, cuda or cuda:N, not {value!r}") from error
    return value


def index(name: str, value: int, count: int) -> int:
    """``value`` if it numbers one of ``count`` things, from 0 on.

    :raises ValueError: otherwise
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not 0 <= value < count:
        raise ValueError(f"{name} must be an integer from 0 to {count - 1}, not {value!r}")
    return int(value)


def seed_int(name: str, value: int) -> int:
    """``value`` if it is a seed, of Gymnasium, NumPy and torch alike: an integer from 0 to 2³² − 1.

    :raises ValueError: otherwise
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not 0 <= value < 2**32:
        raise ValueError(f"{name} must be an integer from 0 to {2**32 - 1}, not {value!r}")
    return int(value)


def in_range(name: str, value: float, low: float, high: float = math.inf) -> float:
    """``value`` if it is a number in [low, high].

    :raises ValueError: otherwise
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not low <= value <= high:
        raise ValueError(f"{name} must be a number in [{low}, {high}], not {value!r}")
    return float(value)


def boolean(name: str, value: bool) -> bool:
    """``value`` if it is true or false: a word such as ``"false"`` would count as true.

    :raises ValueError: otherwise
    """
    if type(value).__name__ not in ("bool", "bool_"):  # Python's and NumPy's, which is not imported for it
        raise ValueError(f"{name} must be true or false, not {value!r}")
    return bool(value)


def finite(name: str, value: float, low: float = 0) -> float:
    """``value`` if it is a finite number of at least ``low``.

    :raises ValueError: otherwise
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not low <= value < math.inf:
        raise ValueError(f"{name} must be a finite number of at least {low}, not {value!r}")
    return float(value)


def positive(name: str, value: float) -> float:
    """``value`` if it is a finite number above 0.

    :raises ValueError: otherwise
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, not {value!r}")
    return float(value)


def scheduled(name: str, value: float | Callable[[float], float], check: Callable[[str, float], float]) -> Any:
    """A number that ``check`` allows, or a schedule that begins with a finite one of at least 0.

    :param value: the number, or a function of the remaining progress
    :raises ValueError: otherwise
    """
    if not callable(value):
        return check(name, value)
    finite(f"{name} at the beginning of its schedule", value(1.0))
    return value


def one_of(name: str, value: T, allowed: Sequence[T]) -> T:
    """``value`` if it is among those allowed.

    :raises ValueError: otherwise
    """
    if not any(type(value) is type(choice) and value == choice for choice in allowed):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return value


def path_ending(name: str, path: Path, *endings: str) -> Path:
    """``path`` if a file can be there, and it ends in one of some endings, such as ``.png``, in capitals or not.

    :raises ValueError: otherwise, also where a folder is there, or a file in place of one of its folders
    """
    if path.suffix.lower() not in endings:
        raise ValueError(f"{name} must be a path that ends in {' or '.join(endings)}, not {path}")
    if path.is_dir():
        raise ValueError(f"{name} must be a path of a file, and {path} is a folder")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise ValueError(f"{name} must be a path in a folder that can be written, and {above} cannot")
    return path


def selected(asked: Sequence[str], there: Iterable[str]) -> list[str]:
    """Names that were asked for, by default all there are; an empty word alone asks for none.

    :raises ValueError: for a name that there is not
    """
    known = list(there)
    for name in filter(None, asked):
        if name not in known:
            raise ValueError(f"there is no {name!r}; there are: {', '.join(known)}")
    return [name for name in asked or known if name]


def warn_user(message: str, kind: type[Warning] = UserWarning) -> None:
    """Warn at the line outside of this library, and of those that it is called through, that led here.

    What is shown is the message alone, without that line.

    :param kind: category of the warning
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _THROUGH:
        frame, level = frame.f_back, level + 1
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    try:
        warnings.warn(message, kind, stacklevel=level)
    finally:
        warnings.formatwarning = before


_THROUGH = ("memagents", "stable_baselines3", "gymnasium")


def most_threads() -> int:
    """Return how many threads torch may be asked for here: eight times the processors.

    A few thousand end the process without a word.
    """
    return 8 * (os.cpu_count() or 1)


def thread_count(threads: int) -> int:
    """Return a number of threads that torch can start.

    :raises ValueError: for more than :func:`most_threads`
    """
    if positive_int("threads", threads) > most_threads():
        raise ValueError(f"threads must be at most {most_threads()} on this machine, not {threads}")
    return threads
