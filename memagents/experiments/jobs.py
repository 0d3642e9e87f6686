"""Trainings side by side, each in a process of its own: started, watched, gone on with after a kill."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from memagents.runs.layout import EVALUATION_FILE, PROGRESS_FILE, STATE_FILE

LOCK_FILE = "lock"
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
_LOOK_EVERY = 0.5  # seconds


@dataclass
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


def run_jobs(jobs: Sequence[Job], processes: int, watch: Callable[[], None] | None = None) -> None:
    """Run all jobs that are not done, so many at a time; one that fails leaves the others alone.

    :param jobs: their status changes as they run
    :param processes: at a time
    :param watch: called about twice a second
    :raises KeyboardInterrupt: after Ctrl-C, when the running ones have saved and ended
    """
    waiting = [job for job in jobs if job.status != DONE]
    running: list[tuple[Job, subprocess.Popen]] = []
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                job = waiting.pop(0)
                running.append((job, _start(job)))
            time.sleep(_LOOK_EVERY)
            for job, process in list(running):
                if process.poll() is not None:
                    running.remove((job, process))
                    _finish(job, process.returncode)
            if watch is not None:
                watch()
    except BaseException:
        for _, process in running:
            with contextlib.suppress(OSError):
                process.send_signal(2)  # as Ctrl-C, on which a training saves
        for job, process in running:
            process.wait()
            job.status = WAITING
        raise


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[int | None]:
    """Hold a folder: nobody else may run jobs in it until this process and the trainings that it began have ended.

    :return: descriptor of the lock, which processes that are begun inherit; None where the system has no such locks
    :raises ValueError: if somebody holds it
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield None
        return
    with open(folder / LOCK_FILE, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"trainings are still running in {folder}; end them or wait until they have") from None
        os.set_inheritable(file.fileno(), True)
        yield file.fileno()


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
