"""``njit`` for environments: Numba's, with a cache that notices every edit.

Numba keys its cache by the file of the compiled function alone. Two things follow from that: editing a helper in
another file leaves the machine code of its callers stale, and a closure over compiled functions is never found again.
Here the cache directory is named by a hash of the sources (all of memenvs, and the function's own package where that
is another one), so that a compiled function can be known in a key by its name. Only functions decorated here are
concerned; other users of Numba in the same process keep their own cache.

Processes may fill the cache at the same time, and use what others have put there: see :func:`tell_apart` and
:class:`_CacheFile` for what Numba alone would then mix up.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import secrets
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator
from numba.core.dispatcher import Dispatcher

PACKAGE = Path(__file__).parent


def njit(function: Callable, inline: bool = False) -> Any:
    """Compile a function as Numba's ``njit`` does: with a cache, without the interpreter's lock, floats as in NumPy.

    :param function: a function of the subset of Python that Numba compiles
    :param inline: put its code into that of its callers even if it is long, since what they know makes it faster
    :return: the compiled function; where no cache directory can be written, it is compiled anew in each process
    """
    dispatcher: Any = numba.njit(nogil=True, error_model="numpy", forceinline=inline)(function)
    dispatcher.is_compiled = True
    with contextlib.suppress(OSError):
        dispatcher._cache = _Cache(function)
    return dispatcher


def tell_apart() -> None:
    """Give the functions that this process compiles other names than those of any other process.

    Numba's names hold two numbers that every process counts from 1: of the function, and of the layout of a record that
    it takes. Machine code keeps them in the cache, so that code of two processes may have one name and take records of
    different layouts; where both are loaded, one runs in place of the other, without an error (Numba 0.68). Here the
    first number begins anywhere.
    """
    FunctionIdentity._unique_ids = itertools.count(secrets.randbits(62))


tell_apart()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=tell_apart)


def cache_directory() -> Path:
    """Return the cache directory: below ``NUMBA_CACHE_DIR`` if that is set, else below the user's cache directory."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"]) / "memenvs"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "memenvs"


@functools.cache
def source_hash(folder: Path | None) -> str:
    """A hash of memenvs' sources, and of those below ``folder`` if it is given."""
    digest = hashlib.sha256(numba.__version__.encode())
    for root in (PACKAGE, folder):
        if root is None:
            continue
        for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def sources_of(function: Callable) -> Path | None:
    """Return the sources to hash beside memenvs for a function from elsewhere: its top-level package or its file."""
    file = Path(function.__code__.co_filename)
    if file.is_relative_to(PACKAGE) or not file.exists():
        return None
    package = sys.modules.get(function.__module__.partition(".")[0])
    init = getattr(package, "__file__", None)
    if init and Path(init).name == "__init__.py":
        return Path(init).parent
    return file


class _Locator(_CacheLocator):
    """The place of a function's machine code, for Numba. Nothing else can make it stale: the folder is the stamp."""

    def __init__(self, function: Callable, file: str):
        self._py_file = file
        self._lineno = function.__code__.co_firstlineno
        self._path = cache_directory() / source_hash(sources_of(function))

    def get_cache_path(self) -> str:
        return str(self._path)

    def get_source_stamp(self) -> str:
        return self._path.name

    def get_disambiguator(self) -> str:
        return hashlib.sha256(self._py_file.encode()).hexdigest()[:8] + f"-{self._lineno}"

    @classmethod
    def from_function(cls, py_func: Callable, py_file: str) -> _Locator:
        locator = cls(py_func, py_file)
        locator.ensure_cache_path()
        return locator

    def ensure_cache_path(self) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=self._path).close()


class _CacheFile(IndexDataCacheFile):
    """The files of a function's cache: machine code, and an index that tells for which types of arguments each is.

    Numba numbers the files of machine code in the order of the index. Of processes that add to it at the same time two
    may take one number, and the index that is written last then names the code of the other. Here a file is named by
    what it is for, so that at worst an entry of the index is lost.
    """

    def save(self, key: Any, data: Any) -> None:
        """Keep machine code under a key."""
        stem = self._index_name.removesuffix(".nbi")
        name = f"{stem}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"
        self._save_data(name, data)
        self._save_index({**self._load_index(), key: name})


class ForgivingCache(FunctionCache):
    """Numba's cache of machine code: made anew where it is damaged, done without where it cannot be written.

    Numba itself ends the program with the error of the file, again and again until somebody deletes it.
    """

    _warned = False  # once in a process is enough

    def __init__(self, function: Callable):
        super().__init__(function)
        there = self._cache_file
        self._cache_file = _CacheFile(there._cache_path, self._impl.filename_base, there._source_stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the machine code for these types of arguments; None if there is none that can be used."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # whatever bytes that are no pickle may raise
            self._warn(f"holds a damaged file, which is made anew: {self._name} ({error!r})")
            with contextlib.suppress(OSError):
                os.unlink(self._cache_file._index_path)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the machine code for these types of arguments, where that is possible."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            self._warn(f"cannot be written, so that each process compiles for itself: {error}")
        except Exception:  # the index that is to be added to is damaged; load_overload has removed it where it could
            self._warn(f"cannot be added to: {self._name}")

    def _warn(self, what: str) -> None:
        if not ForgivingCache._warned:
            ForgivingCache._warned = True
            warnings.warn(f"the cache of compiled code in {self.cache_path} {what}", stacklevel=2)


class _CacheImpl(CompileResultCacheImpl):
    _locator_classes = [_Locator]


class _Cache(ForgivingCache):
    _impl_class: Any = _CacheImpl

    def _index_key(self, sig: Any, codegen: Any) -> tuple:
        cells = [cell.cell_contents for cell in self._py_func.__closure__ or ()]
        hashed = hashlib.sha256(self._py_func.__code__.co_code)
        for content in cells:
            hashed.update(_name(content).encode())
        return sig, codegen.magic_tuple(), hashed.hexdigest()

    def holds(self, signature: tuple, target: Any) -> bool:
        """Return whether there is machine code for these types of arguments."""
        try:
            return self._index_key(signature, target.codegen()) in self._cache_file._load_index()
        except Exception:  # damaged: see ForgivingCache
            return False


def is_disabled() -> bool:
    """Return whether ``NUMBA_DISABLE_JIT`` leaves all functions as they are."""
    config: Any = numba.config
    return bool(config.DISABLE_JIT)


def is_compiled(function: object) -> bool:
    """Return whether a function is compiled, or would be if Numba were not disabled."""
    return isinstance(function, Dispatcher) or hasattr(function, "is_compiled")


def is_cached(dispatcher: Any, signature: tuple) -> bool:
    """Return whether a function has been compiled for these types of arguments, here or in another process."""
    cache = dispatcher._cache
    return signature in dispatcher.overloads or (
        isinstance(cache, _Cache) and cache.holds(signature, dispatcher.targetctx)
    )


def _name(content: Any) -> str:
    """Return the text that stands for a closed-over value in the cache's key."""
    if isinstance(content, Dispatcher):
        function = content.py_func
        inner = "".join(_name(cell.cell_contents) for cell in function.__closure__ or ())
        return f"{function.__module__}.{function.__qualname__} {source_hash(sources_of(function))} ({inner})"
    return repr(content)
