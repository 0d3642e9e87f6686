"""Processes that learn together, as torchrun begins them, beside one process with all the environments.

python benchmarks/ranks.py                                # one and two processes, a thread each
python benchmarks/ranks.py --processes 1 2 4 8

Steps a second of RecurrentPPO, where a window's time goes (collecting, learning, and of both the messages between the
processes), how many messages a window takes, and how many bytes. All processes together have as many environments as
one has alone.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from report import show
from scipy.optimize import nnls
from torch import distributed

from memagents import RecurrentPPO, ranks
from memagents.environments.make import make_env
from memagents.experiments.options import parse_options

TASKS = {
    "T-maze, LSTM 128": ("memenvs/TMaze-v0", "lstm", {"hidden_size": 128}),
    "T-maze, DNC 32 × 24": ("memenvs/TMaze-v0", "dnc", {"slots": 32, "width": 24, "controller_size": 128}),
    "MiniGrid-MemoryS13, GRU 256": ("memenvs/MiniGrid-MemoryS13-v0", "gru", {"hidden_size": 256}),
}


MANY = (1, 2, 8, 64, 512)  # processes, for the model


class Place(NamedTuple):
    """Where processes may run; what is None is as measured.

    :param speed: of a process, in units of a core here
    :param latency: of a message, seconds
    :param bandwidth: bytes a second
    """

    speed: float
    latency: float | None
    bandwidth: float | None


PLACES = {
    "cores as here": Place(1, None, None),
    "cores, 10 Gbit/s network": Place(1, 50e-6, 1.25e9),
    "GPUs as fast as 20 cores, 200 Gbit/s": Place(20, 20e-6, 25e9),
}


@dataclass
class RanksBenchmark:
    """Settings of the benchmark.

    :param processes: numbers of processes to compare; the first is what the others are held against
    :param envs: environments of all processes together
    :param steps: of a window
    :param windows: that are timed, after two that are not
    :param turns: times that each number of processes has its turn; the best one counts
    """

    processes: tuple[int, ...] = (1, 2)
    envs: int = 128
    steps: int = 64
    windows: int = 12
    turns: int = 3


def measure(settings: RanksBenchmark, task: str) -> dict[str, float]:
    """Train in this process, with those that were begun beside it.

    :return: steps/s of all, and of a window: seconds in which it is collected, learned from, and messages are sent;
        messages, and their bytes
    """
    env_id, core, kwargs = TASKS[task]
    torch.set_num_threads(1)
    count = ranks.share("envs", settings.envs)
    env = make_env(env_id, count, seed=ranks.rank() * count)
    chosen: dict[str, Any] = {"core": core, "core_kwargs": kwargs}
    agent = RecurrentPPO("MlpPolicy", env, n_steps=settings.steps, policy_kwargs=chosen, device="cpu", seed=0)
    spent = {"collect": 0.0, "learn": 0.0, "messages": 0.0, "sent": 0.0, "bytes": 0.0}

    def timed(name: str, function: Any, weigh: bool = False) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            result = function(*args, **kwargs)
            spent[name] += time.perf_counter() - begin
            if weigh:
                spent["sent"] += 1
                spent["bytes"] += args[0].nbytes
            return result

        return wrapped

    agent.collect = timed("collect", agent.collect)  # type: ignore[method-assign]
    agent.train = timed("learn", agent.train)  # type: ignore[method-assign]
    distributed.all_reduce = timed("messages", distributed.all_reduce, weigh=True)
    window = settings.envs * settings.steps
    agent.learn(2 * window)
    spent.update(dict.fromkeys(spent, 0.0))
    begin = time.perf_counter()
    agent.learn(settings.windows * window, reset_num_timesteps=False)
    speed = settings.windows * window / (time.perf_counter() - begin)
    weights = sum(parameter.numel() for parameter in agent.policy.parameters())
    return {"speed": speed, "weights": weights, **{name: value / settings.windows for name, value in spent.items()}}


def begun(settings: RanksBenchmark, task: str, processes: int) -> dict[str, float]:
    """Begin some processes, and return what the first of them measured."""
    words = [f"--{name}={getattr(settings, name)}" for name in ("envs", "steps", "windows")]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    threads = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [*command, str(Path(__file__)), *words],
        env={**os.environ, **threads, "MEMAGENTS_TASK": task},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(settings: RanksBenchmark) -> None:
    """Print the table."""
    rows, all_found = [], {}
    for task in TASKS:
        best: dict[int, dict[str, float]] = {}
        for _ in range(settings.turns):
            for count in settings.processes:
                found = begun(settings, task, count)
                if count not in best or found["speed"] > best[count]["speed"]:
                    best[count] = found
        first = best[settings.processes[0]]
        all_found[task] = best
        for count, found in best.items():
            rows.append(
                [
                    f"{task}, {count} process{'es' * (count > 1)}",
                    f"{found['weights']:,.0f}",
                    f"{found['speed']:,.0f}",
                    f"{found['speed'] / first['speed']:.2f}",
                    *(f"{1e3 * found[name]:.1f}" for name in ("collect", "learn", "messages")),
                    f"{found['sent']:.0f}",
                    f"{found['bytes'] / 2**20:.2f}",
                ]
            )
    title = f"RecurrentPPO in {settings.envs} environments of all processes together, windows of {settings.steps} steps"
    heads = ["", "weights", "steps/s", "times", "collect ms", "learn ms", "messages ms", "messages", "MiB"]
    show(title, heads, rows)
    if {1, 2} <= set(settings.processes):
        extrapolate(settings, all_found)


class Model(NamedTuple):
    """Seconds of a window by the number of environments of a process, and of its messages by that of processes.

    :param once: seconds that a window takes whatever its environments
    :param each: seconds of each environment of a process
    :param latency: seconds of a message between two
    :param bandwidth: bytes a second
    :param sent: messages of a window
    :param volume: bytes of these
    """

    once: float
    each: float
    latency: float
    bandwidth: float
    sent: float
    volume: float

    def window(self, envs: int, processes: int) -> float:
        """Seconds of a window of so many environments in each process, messages by a ring, their starts by a tree."""
        messages = self.sent * self.latency * math.log2(processes)
        return self.once + self.each * envs + messages + 2 * (1 - 1 / processes) * self.volume / self.bandwidth


def fitted(settings: RanksBenchmark, found: dict[str, dict[int, dict[str, float]]]) -> dict[str, Model]:
    """Fit the model to one and two processes: to each task, and its messages to all tasks at once."""
    pairs = [(one[1], one[2]) for one in found.values()]
    # Two processes send each byte once; what a message costs beside its bytes is what remains.
    design = np.array([[two["sent"], two["bytes"]] for _, two in pairs])
    latency, inverse = nnls(design, np.array([two["messages"] for _, two in pairs]))[0]
    models = {}
    for (task, _), (one, two) in zip(found.items(), pairs, strict=True):
        alone, half = one["collect"] + one["learn"], two["collect"] + two["learn"] - two["messages"]
        each = min(max((alone - half) / (settings.envs / 2), 0.0), alone / settings.envs)
        models[task] = Model(alone - each * settings.envs, each, latency, 1 / inverse, two["sent"], two["bytes"])
    return models


def extrapolate(settings: RanksBenchmark, found: dict[str, dict[int, dict[str, float]]]) -> None:
    """Print the steps/s of more processes, by the model: the same environments dealt out, and as many in each."""
    rows = []
    for task, model in fitted(settings, found).items():
        for title, place in PLACES.items():
            there = model._replace(
                once=model.once / place.speed,
                each=model.each / place.speed,
                latency=place.latency or model.latency,
                bandwidth=place.bandwidth or model.bandwidth,
            )
            steps = settings.envs * settings.steps
            dealt = [steps / there.window(settings.envs // n, n) for n in MANY if n <= settings.envs]
            grown = [n * steps / there.window(settings.envs, n) for n in MANY]
            for name, speeds in (("dealt out", dealt), (f"{settings.envs} in each", grown)):
                cells = [f"{speed / speeds[0]:.3g}" for speed in speeds]
                rows.append(
                    [f"{task}, {title}, {name}", f"{speeds[0]:,.0f}", *cells[1:], *[""] * (len(MANY) - len(cells))]
                )
    show("By the model: steps/s of one process, and times as many", ["", "steps/s", *map(str, MANY[1:])], rows)


def main() -> None:
    """Compare numbers of processes, or be one of them."""
    settings = parse_options(RanksBenchmark, sys.argv[1:], "benchmarks/ranks.py")
    task = os.environ.get("MEMAGENTS_TASK")
    if task is None:
        compare(settings)
        return
    with ranks.joined("cpu"):
        found = measure(settings, task)
        if ranks.rank() == 0:
            print(json.dumps(found))


if __name__ == "__main__":
    main()
