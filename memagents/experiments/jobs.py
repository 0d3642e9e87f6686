"""Trainings side by side, each in a process of its own: started, watched, gone on with after a kill."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from memagents.runs.layout import EVALUATION_FILE, PROGRESS_FILE, STATE_FILE
from memagents.runs.lock import held

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
_LOOK_EVERY = 0.5  # seconds


@dataclass(eq=False)
class Job:
    """One training with its evaluation: ``memagents train …`` into a run folder.

    :param folder: run folder; what the process prints is beside it, in a file of the same name ending in ``.log``
    :param words: of the command line after ``memagents train``, without the folder
    :param imports: packages that a resumed run has to import
    :param status: one of the words above; a run that is evaluated is done
    :param reason: why it failed, the last line that it printed
    """

    folder: Path
    words: Sequence[str]
    imports: Sequence[str] = ()
    status: str = field(init=False, default=WAITING)
    reason: str = field(init=False, default="")

    def __post_init__(self) -> None:
        if (self.folder / EVALUATION_FILE).is_file():
            self.status = DONE

    @property
    def log(self) -> Path:
        """File of what the process prints."""
        return self.folder.parent / f"{self.folder.name}.log"

    def steps(self) -> int:
        """Return how many steps have been made, by the log of the run."""
        from memagents.runs.progress import STEPS, read_progress  # which loads Stable-Baselines3

        try:
            return int(float(read_progress(self.folder / PROGRESS_FILE)[-1][STEPS]))
        except (OSError, IndexError):
            return 0

    def command(self) -> list[str]:
        """Return the command: to begin, or to go on from the last checkpoint where there is one."""
        start = [sys.executable, "-m", "memagents", "train"]
        if (self.folder / STATE_FILE).is_file():
            imports = ["--imports", *self.imports] if self.imports else []
            return [*start, self.words[0], "--resume", str(self.folder), *imports]
        return [*start, *self.words, "--run-dir", str(self.folder), "--overwrite"]


class Pool:
    """Jobs that run at the same time.

    :param processes: at a time
    """

    def __init__(self, processes: int):
        self.processes = processes
        self._running: list[tuple[Job, subprocess.Popen]] = []

    @property
    def running(self) -> list[Job]:
        """The jobs that run now."""
        return [job for job, _ in self._running]

    @property
    def has_room(self) -> bool:
        """Whether one more may be started."""
        return len(self._running) < self.processes

    def start(self, job: Job) -> None:
        """Start a job, or go on with it."""
        self._running.append((job, _start(job)))

    def wait(self) -> list[Job]:
        """Wait for half a second, and return the jobs that have ended meanwhile, done or failed."""
        time.sleep(_LOOK_EVERY)
        ended = [(job, process) for job, process in self._running if process.poll() is not None]
        for job, process in ended:
            self._running.remove((job, process))
            _finish(job, process.returncode)
        return [job for job, _ in ended]

    def stop(self, *jobs: Job) -> None:
        """Let jobs save and end, as by Ctrl-C; by default all of them."""
        stopped = [(job, process) for job, process in self._running if not jobs or job in jobs]
        for _, process in stopped:
            with contextlib.suppress(OSError):
                process.send_signal(signal.SIGINT)
        for job, process in stopped:
            process.wait()
            job.status = WAITING
            self._running.remove((job, process))


def run_jobs(jobs: Sequence[Job], processes: int, watch: Callable[[], None] | None = None) -> None:
    """Run all jobs that are not done, so many at a time; one that fails leaves the others alone.

    :param jobs: their status changes as they run
    :param processes: at a time
    :param watch: called about twice a second
    :raises KeyboardInterrupt: after Ctrl-C, when the running ones have saved and ended
    """
    waiting, pool = [job for job in jobs if job.status != DONE], Pool(processes)
    try:
        while waiting or pool.running:
            while waiting and pool.has_room:
                pool.start(waiting.pop(0))
            pool.wait()
            if watch is not None:
                watch()
    except BaseException:
        pool.stop()
        raise


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[int | None]:
    """Hold a folder: nobody else may run jobs in it until this process and the trainings that it began have ended.

    :return: descriptor of the lock, which processes that are begun inherit; None where the system has no such locks
    :raises ValueError: if somebody holds it
    """
    with held(folder, f"trainings are still running in {folder}; end them or wait until they have") as lock:
        if lock is not None:
            os.set_inheritable(lock, True)
        yield lock


def _start(job: Job) -> subprocess.Popen:
    job.status, job.reason = RUNNING, ""
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    output: IO[str]
    with open(job.log, "w") as output:
        return subprocess.Popen(  # in a group of its own: Ctrl-C reaches it through us alone
            job.command(), stdout=output, stderr=output, close_fds=False, env=environment, start_new_session=True
        )


def _finish(job: Job, code: int) -> None:
    if code == 0 and (job.folder / EVALUATION_FILE).is_file():
        job.status = DONE
        return
    lines = [line.strip() for line in job.log.read_text(errors="replace").splitlines() if line.strip()]
    job.status = FAILED
    job.reason = lines[-1] if lines else f"ended with exit code {code} and without a word"
