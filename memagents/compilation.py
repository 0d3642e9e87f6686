"""``njit`` for kernels: Numba's, with a cache that is made anew where it is damaged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numba

from memenvs.compilation import ForgivingCache


def njit(function: Callable) -> Any:
    """Compile a function without the interpreter's lock, and keep the machine code where Numba keeps it.

    :param function: a function of the subset of Python that Numba compiles
    :return: the compiled function; where no cache can be written, it is compiled anew in each process
    """
    dispatcher: Any = numba.njit(nogil=True)(function)
    with contextlib.suppress(OSError, RuntimeError):  # Numba's, where no place for a cache can be found
        dispatcher._cache = ForgivingCache(function)
    return dispatcher
