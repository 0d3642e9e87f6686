"""Trainings that run for long: memory and speed stay where they are.

    python -m tests.robustness.soak --minutes 60          # or: make soak

Learns, saves, loads and evaluates in turn, a quarter of the time each kind of agent; in the last quarter two memories
are compared again and again. Prints slopes over the time after the first third: of the resident memory, which also
rises while the C library's and Python's stores of freed memory find their size; of what is in use in them, which only a
leak can raise; and of the speed.
"""

import argparse
import contextlib
import ctypes
import gc
import io
import itertools
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from memagents import NEC, Imitation
from memagents.command_line import compare
from memagents.experiments.evaluation import evaluate
from tests.support.agents import make
from tests.support.toys import tmaze

AGENTS = {
    "PPO, DNC": lambda folder: make(core="dnc", run_dir=folder, checkpoint_interval=20),
    "Imitation, GTrXL": lambda folder: make(cls=Imitation, core="gtrxl", run_dir=folder, checkpoint_interval=20),
    "NEC": lambda folder: NEC(
        *("MlpPolicy", tmaze()),
        device="cpu",
        seed=0,
        run_dir=folder,
        learning_starts=64,
        buffer_size=500,
        policy_kwargs={"capacity": 200},  # soon full, so that what grows then is a leak
    ),
}
COMPARE = "compare"
COMPARED = [
    *("--env", "memenvs/TMaze-v0", "--env-kwargs", "length=3", "--cores", "lstm", "none", "--seeds", "1"),
    *("--total-timesteps", "640", "--episodes", "8", "--learning-rates", "0.001"),
    *("--", "--n-envs", "4", "--n-steps", "8"),
]
GROWING = 8.0  # MiB in use an hour that count as growth
BLOCK = 94 / 2**20  # MiB of one of Python's blocks, in the mean over such a training


class Malloc(ctypes.Structure):
    """What glibc's ``mallinfo2`` returns, in bytes."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")),
        *((name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")),
    ]


def resident():
    """Return the resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def in_use():
    """Return MiB in use: Python's blocks and, where the C library is glibc, its own."""
    library = ctypes.CDLL(None)
    used = sys.getallocatedblocks() * BLOCK
    if hasattr(library, "mallinfo2"):
        library.mallinfo2.restype = Malloc
        found = library.mallinfo2()
        used += (found.uordblks + found.hblkhd) / 2**20
    return used


def slope(seconds, values):
    """Return how much a straight line through the values rises in an hour."""
    return 3600 * np.polyfit(seconds, values, 1)[0]


def rounds_of(name, folder):
    """Return a function that lets an agent live for a while, or compares two, and returns the steps/s of learning."""
    if name == COMPARE:
        places = (folder / f"{number}" for number in itertools.count())
        return lambda: compared(next(places))
    agent = AGENTS[name](folder)

    def live():
        before = time.monotonic()
        agent.learn(640, reset_num_timesteps=False)
        speed = 640 / (time.monotonic() - before)
        loaded = type(agent).load(folder, tmaze(), device="cpu")
        evaluate(loaded, loaded.env, 8)
        return speed

    return live


def compared(folder):
    """Compare two memories, in processes of their own; return the steps/s."""
    before = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()):
        compare.main(["--folder", str(folder), *COMPARED])
    return 2 * 640 / (time.monotonic() - before)


def soak(name, minutes, folder):
    """Let one kind of work go on for some minutes.

    :return: seconds, resident MiB, MiB in use and steps/s of each round
    """
    turn, begin, rounds = rounds_of(name, folder), time.monotonic(), []
    while time.monotonic() - begin < 60 * minutes:
        speed = turn()
        gc.collect()
        rounds.append((time.monotonic() - begin, resident(), in_use(), speed))
    return np.array(rounds).T


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", nargs="*", choices=[*AGENTS, COMPARE], default=[*AGENTS, COMPARE])
    given = parser.parse_args()
    torch.set_num_threads(1)
    grown = False
    for name in given.only:
        with tempfile.TemporaryDirectory() as place:
            seconds, mebibytes, used, speeds = soak(name, given.minutes / len(given.only), Path(place) / "run")
        late = seconds > seconds[-1] / 3
        memory, growth = slope(seconds[late], mebibytes[late]), slope(seconds[late], used[late])
        speed = 100 * slope(seconds[late], speeds[late]) / speeds[late].mean()
        grown |= growth > GROWING
        print(
            f"{name}: {len(seconds)} rounds in {seconds[-1] / 60:.1f} minutes, {mebibytes[-1]:.0f} MiB "
            f"({memory:+.1f} an hour; in use {growth:+.2f}), "
            f"{speeds[late].mean():,.0f} steps/s ({speed:+.1f}% an hour)",
            flush=True,
        )
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
