"""Locks on folders: two trainings in one would write over each other's files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from memagents.runs.layout import LOCK_FILE, sweep


@contextlib.contextmanager
def held(folder: Path, refusal: str) -> Iterator[int | None]:
    """Hold a folder; the lock goes with the process, however that ends.

    :param folder: that exists
    :param refusal: message of the error
    :return: descriptor of the lock; None where the system, or the folder's, has no such locks
    :raises ValueError: if somebody holds it
    """
    with open(folder / LOCK_FILE, "a") as file:
        if _locked(file.fileno()):
            yield file.fileno()
        elif is_held(folder):
            raise ValueError(refusal)
        else:
            yield None


@contextlib.contextmanager
def training_in(run_dir: Path | None) -> Iterator[None]:
    """Hold the folder of a run while it is trained, and make it where there is none.

    :param run_dir: the folder; None for a training without one
    :raises ValueError: if another training runs in it
    """
    if run_dir is None:
        yield
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    with held(run_dir, refusal_in(run_dir)):
        sweep(run_dir)
        yield


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until nobody else writes a checkpoint there, where the system has locks for that.

    Unlike :func:`held`, which a training does for hours, this is for the time of a write, and leaves no file.
    """
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # Windows
        yield
        return
    try:
        with contextlib.suppress(OSError):  # a network's folder
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def check_free(run_dir: Path) -> None:
    """:raises ValueError: if a training runs in the folder"""
    if is_held(run_dir):
        raise ValueError(refusal_in(run_dir))


def refusal_in(run_dir: Path) -> str:
    """Return the message that a training runs in a folder already."""
    return f"run_dir {run_dir}: a training is running in it; wait until it has ended, or choose another run_dir"


def is_held(folder: Path) -> bool:
    """Return whether somebody holds a folder; false where the system has no such locks."""
    try:
        import fcntl

        with open(folder / LOCK_FILE) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):  # Windows; no file; a network's folder without locks
        pass
    return False


def _locked(descriptor: int) -> bool:
    """Lock a file, and return whether that was possible."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True
