"""Trainings on the machines of a Ray cluster, over a folder that all of them see."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from memagents.experiments.jobs import Job, Pool, Process, launch

LOCAL = "local"
_PASSED_ON = ("PYTHONPATH", "OMP_WAIT_POLICY", "NUMBA_CACHE_DIR")  # of the environment of whoever asks
_LOST = "the machine or the process of Ray that it ran in was lost"
_STOPPED = -signal.SIGINT


def pool_of(processes: int | None, ray: str | None) -> Pool:
    """Return a pool on this machine, or on a cluster.

    :param processes: at a time; by default one for each processor
    :param ray: address of a cluster of Ray, ``"auto"`` or ``"local"``; None for this machine without Ray
    :raises ValueError: if there is no Ray, or no cluster at the address
    """
    return Pool(processes or os.cpu_count() or 1) if ray is None else RayPool(processes, ray)


class RayPool(Pool):
    """Jobs on a cluster, each a process on a machine that Ray chooses, with one of its processors.

    Everything that the jobs leave is in their folders, as on one machine: who calls the same command again, with Ray or
    without, goes on. With whoever began it ends the cluster's part, too.

    :param processes: at a time; by default as many as the cluster has processors
    :param address: of the cluster, ``"auto"`` or ``"local"``; a program that is connected already stays so
    :raises ValueError: if there is no Ray, or no cluster at the address
    """

    def __init__(self, processes: int | None, address: str):
        self._ray, self._connected = connect(address)
        self._runner = self._ray.remote(num_cpus=1, max_restarts=0)(_Runner)
        super().__init__(processes or max(1, int(self._ray.cluster_resources().get("CPU", 1))))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            if self._connected:
                self._ray.shutdown()

    def launch(self, job: Job) -> Process:
        """Start the process of a job where the cluster has room, or as soon as it has."""
        place, passed = str(Path.cwd()), {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        # A process of Ray may be anywhere: what is named by its place here is found from there.
        log = str(job.log.absolute())
        return RemoteProcess(self._ray, self._runner.remote(job.command()[1:], log, place, passed), job.log)


def connect(address: str) -> tuple[Any, bool]:
    """Return the module of Ray, connected to a cluster, and whether it was not before.

    :raises ValueError: if there is none
    """
    try:
        import ray
    except ImportError as error:
        raise ValueError("ray: Ray is not installed; pip install 'memagents[ray]'") from error
    if ray.is_initialized():  # by whoever calls this from a program of theirs
        return ray, False
    try:
        ray.init(None if address == LOCAL else address, log_to_driver=False, include_dashboard=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ValueError(f"ray: there is no cluster at {address!r}: {str(error).splitlines()[0]}") from error
    return ray, True


class _Runner:
    """A job's process, beside which an actor of Ray waits on whatever machine it was put."""

    def __init__(self, words: Sequence[str], log: str, place: str, passed: dict[str, str]):
        os.environ.update(passed)
        # What a machine of Ray starts does not hear SIGINT, nor does what that starts.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        self.process = launch([sys.executable, *words], Path(log), cwd=place)

    def poll(self) -> int | None:
        return self.process.poll()

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(OSError):
            self.process.send_signal(number)


class RemoteProcess:
    """A process on some machine of a cluster; waiting until there is room for it counts as running.

    :param ray: the module
    :param runner: handle of its actor
    :param log: of the job, where it is noted if the machine is lost
    """

    def __init__(self, ray: Any, runner: Any, log: Path):
        self._ray, self._runner, self._log = ray, runner, log
        self._asked: Any = runner.poll.remote()
        self._begun = False
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code; None while it runs; 1 if it is lost, of which the log tells."""
        if self._code is not None or not self._ray.wait([self._asked], timeout=0)[0]:
            return self._code
        try:
            self._code = self._ray.get(self._asked)
        except self._ray.exceptions.RayError:
            with open(self._log, "a") as file:
                file.write(f"\n{_LOST}\n")
            self._code = 1
        self._begun = True
        if self._code is None:
            self._asked = self._runner.poll.remote()
        else:
            self._ray.kill(self._runner)
        return self._code

    def wait(self) -> int:
        """Wait until it has ended, and return the exit code."""
        while (code := self.poll()) is None:
            time.sleep(0.1)
        return code

    def send_signal(self, sig: int, /) -> None:
        """Send it a signal; if it has not begun, it never will."""
        self.poll()
        if self._begun:
            self._runner.send_signal.remote(sig)
        else:
            self._code = _STOPPED
            self._ray.kill(self._runner)
