"""Trainings side by side, each in a process of its own: started, watched, gone on with after a kill."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Protocol, Self

from memagents.runs import files
from memagents.runs.checkpoint import holds
from memagents.runs.layout import EVALUATION_FILE, PROGRESS_FILE, STATE_FILE, make
from memagents.runs.lock import held

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
_LOOK_EVERY = 0.5  # seconds

SET_FOR_ALL = {
    "env": "--env",
    "env_kwargs": "--env-kwargs",
    "total_timesteps": "--total-timesteps",
    "eval_episodes": "--episodes",
    "imports": "--imports",
    "run_dir": "--folder",
    **dict.fromkeys(("overwrite", "resume", "threads"), ""),
}
"""Settings of trainings that the command which runs them sets, each with the option for it."""


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
        if holds(self.folder, STATE_FILE):
            imports = ["--imports", *self.imports] if self.imports else []
            return [*start, self.words[0], "--resume", str(self.folder), *imports]
        return [*start, *self.words, "--run-dir", str(self.folder), "--overwrite"]


class Process(Protocol):
    """What a pool asks of a process, as of a :class:`subprocess.Popen`."""

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""

    def wait(self) -> int:
        """Wait until it has ended, and return the exit code."""

    def send_signal(self, sig: int, /) -> None:
        """Send it a signal."""


class Pool:
    """Jobs that run at the same time; left by an error or a signal, it lets them save and end.

    Within it a request to end (``kill``, a terminal that is closed) does what Ctrl-C does: the jobs, which are no
    children of the terminal, would else go on alone.

    :param processes: at a time
    """

    def __init__(self, processes: int):
        self.processes = processes
        self._running: list[tuple[Job, Process]] = []
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # where signals arrive
            for name in ("SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                    self._handlers[number] = signal.signal(number, _interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                self.stop()
        finally:
            for number, before in self._handlers.items():
                signal.signal(number, before)
        if kind is KeyboardInterrupt:
            raise KeyboardInterrupt("stopped, with what was done kept; the same command goes on") from None

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
        job.status, job.reason = RUNNING, ""
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        self._running.append((job, self.launch(job)))

    def launch(self, job: Job) -> Process:
        """Start the process of a job on this machine."""
        return launch(job.command(), job.log, close_fds=False)

    def wait(self) -> list[Job]:
        """Wait for half a second, and return the jobs that have ended meanwhile, done or failed."""
        time.sleep(_LOOK_EVERY)
        looked = [(job, process, process.poll()) for job, process in self._running]
        ended = [(job, process, code) for job, process, code in looked if code is not None]
        for job, process, code in ended:
            self._running.remove((job, process))
            _finish(job, code)
        return [job for job, _, _ in ended]

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


def run_jobs(jobs: Sequence[Job], pool: Pool, watch: Callable[[], None] | None = None) -> None:
    """Run all jobs that are not done; one that fails leaves the others alone.

    :param jobs: their status changes as they run
    :param pool: to run them in
    :param watch: called about twice a second
    :raises KeyboardInterrupt: after Ctrl-C, when the running ones have saved and ended
    """
    waiting = [job for job in jobs if job.status != DONE]
    with pool:
        while waiting or pool.running:
            while waiting and pool.has_room:
                pool.start(waiting.pop(0))
            pool.wait()
            if watch is not None:
                watch()


def claim(folder: Path, name: str, wanted: dict[str, Any], kind: str) -> None:
    """Make the folder of jobs that belong together, or find it as the same command has left it.

    :param folder: of the jobs
    :param name: of the file in it that says what they are
    :param wanted: what decides their results, as plain values
    :param kind: what the jobs are together, for messages
    :raises ValueError: if the folder holds such jobs by other settings, or something else, or cannot be made
    """
    file, wanted = folder / name, json.loads(json.dumps(wanted))
    if file.is_file():
        there = files.read_json(file)
        if not isinstance(there, dict):
            raise files.CheckpointError(f"{file} does not hold the settings of a {kind}")
        other = sorted(setting for setting in wanted if there.get(setting) != wanted[setting])
        if other:
            raise ValueError(
                f"folder {folder} holds a {kind} with other settings ({other[0]}: {there.get(other[0])}, not "
                f"{wanted[other[0]]}); choose another --folder"
            )
        return
    if any(make(folder, "folder").iterdir()):
        raise ValueError(f"folder {folder} is not empty and holds no {kind}; choose another --folder")
    files.write_json(file, wanted)


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


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def launch(command: Sequence[str], log: Path, **how: Any) -> subprocess.Popen:
    """Start a process with one thread, whose output goes to a file.

    :param how: for :class:`subprocess.Popen`
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    output: IO[str]
    with open(log, "w") as output, _heard():
        return subprocess.Popen(  # in a group of its own: Ctrl-C reaches it through us alone
            command, stdout=output, stderr=output, env=environment, start_new_session=True, **how
        )


@contextlib.contextmanager
def _heard() -> Iterator[None]:
    """Let a process that is started be ended by SIGINT, which a shell's ``&`` has its commands and theirs ignore."""
    ignored = threading.current_thread() is threading.main_thread()
    ignored = ignored and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _finish(job: Job, code: int) -> None:
    if code == 0 and (job.folder / EVALUATION_FILE).is_file():
        job.status = DONE
        return
    lines = [line.strip() for line in job.log.read_text(errors="replace").splitlines() if line.strip()]
    job.status = FAILED
    if code < 0:  # the last line is of its progress
        job.reason = f"killed by {_signal_name(-code)}" + (" (by the system, for want of memory?)" * (code == -9))
    else:
        job.reason = lines[-1] if lines else f"ended with exit code {code} and without a word"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
