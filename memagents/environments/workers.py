"""Processes that environments run in: a cause with a name where one of them ends, and an end for the others."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from multiprocessing import connection

from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecEnvWrapper


@contextlib.contextmanager
def named_ends(present: Callable[[], VecEnv | None]) -> Iterator[None]:
    """Say which process of a SubprocVecEnv has ended, where Stable-Baselines3 sees a broken pipe; end the others.

    A process that was forked holds its younger siblings' ends of their pipes as well, so that the pipe of one that
    ended does not break and whoever reads from it waits for ever. It is broken here, then.

    :param present: the environments that there are when it is asked, wrapped or not, of any kind
    :raises ConnectionError: naming the environment and the exit code; the environments are closed then
    """
    try:
        with _broken_pipes(_in_processes(present())):
            yield
    except (EOFError, ConnectionError) as error:
        inner = _in_processes(present())
        if inner is None or inner.closed:  # the latter by a call within this one, which has said why
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


def _in_processes(env: VecEnv | None) -> SubprocVecEnv | None:
    """Return the SubprocVecEnv within wrappers, if it is one."""
    while isinstance(env, VecEnvWrapper):
        env = env.venv
    return env if isinstance(env, SubprocVecEnv) else None


@contextlib.contextmanager
def _broken_pipes(env: SubprocVecEnv | None) -> Iterator[None]:
    """Break the pipe of each process that ends meanwhile, by a thread that waits for such ends."""
    if env is None or env.closed or not hasattr(socket, "AF_UNIX"):  # elsewhere no process is forked
        yield
        return
    stopped, stop = connection.Pipe(duplex=False)
    thread = threading.Thread(target=_break_pipes, args=(env, stopped), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.send(None)  # to close it would not do, where a process forked meanwhile holds it as well
        thread.join()
        stop.close()
        stopped.close()


def _break_pipes(env: SubprocVecEnv, stopped: connection.Connection) -> None:
    """Wait until ``stopped`` says something, and shut down the pipes of processes that end before."""
    remotes = {process.sentinel: remote for process, remote in zip(env.processes, env.remotes, strict=True)}
    while True:
        ended = connection.wait([stopped, *remotes])
        if stopped in ended:
            return
        for sentinel in ended:
            remote = remotes.pop(sentinel)
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(remote.fileno())) as pipe:  # or it is closed
                pipe.shutdown(socket.SHUT_RDWR)
