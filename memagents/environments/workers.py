"""Processes that environments run in: a cause with a name where one of them ends, and an end for the others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecEnvWrapper


@contextlib.contextmanager
def named_ends(present: Callable[[], VecEnv | None]) -> Iterator[None]:
    """Say which process of a SubprocVecEnv has ended, where Stable-Baselines3 sees a broken pipe; end the others.

    :param present: the environments that there are when it is asked, wrapped or not, of any kind
    :raises ConnectionError: naming the environment and the exit code; the environments are closed then
    """
    try:
        yield
    except (EOFError, ConnectionError) as error:
        inner = present()
        while isinstance(inner, VecEnvWrapper):
            inner = inner.venv
        if not isinstance(inner, SubprocVecEnv):
            raise
        for process in inner.processes:
            process.join(timeout=1)  # the one that broke the pipe is about to end
            if not process.is_alive():
                break
        ended = [f"{row} (exit code {p.exitcode})" for row, p in enumerate(inner.processes) if not p.is_alive()]
        if not ended:  # it was another pipe that broke
            raise
        for process in inner.processes:
            process.kill()
            process.join()
        inner.closed = True  # so that close() asks nobody
        raise ConnectionError(
            f"the process of environment {', '.join(ended)} has ended: it crashed, or was killed; all are ended now"
        ) from error
