"""Retention over a sequence of tasks: how well each is still done as the later ones have been learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from memagents.algorithms.algorithm import MemoryAlgorithm
from memagents.environments.make import make_env
from memagents.environments.normalization import as_trained, statistics_of
from memagents.experiments.evaluation import evaluate
from memagents.experiments.evaluation_settings import EVALUATION_ENVS, EVALUATION_SEED
from memagents.runs.files import CheckpointError, read_json, write_json
from memagents.runs.layout import RETENTION_FILE


class Task(NamedTuple):
    """Environment by its id and its parameters."""

    env: str
    env_kwargs: dict[str, Any]


class Scores(NamedTuple):
    """Scores R[i, j] on task j as lesson i ended; not a number where that has not come yet.

    :param metric: ``"success"`` where all tasks tell it, else ``"return"``
    :param timesteps: environment steps that had been made, (L,)
    :param values: R, (L, L)
    """

    metric: str
    timesteps: list[int]
    values: np.ndarray

    @property
    def average(self) -> float:
        """The mean over all tasks as the last lesson ended (ACC of Lopez-Paz and Ranzato 2017, equation 2)."""
        return float(self.values[-1].mean())

    @property
    def backward_transfer(self) -> float:
        """How much later lessons changed earlier tasks: the mean of R[L, j] − R[j, j] (BWT, equation 3).

        Below 0 they were forgotten; not a number for a single lesson.
        """
        changes = self.values[-1, :-1] - self.values.diagonal()[:-1]
        return float(changes.mean()) if len(changes) else float("nan")

    @property
    def forgetting(self) -> np.ndarray:
        """How far each earlier task is below the best that it ever was (Chaudhry et al. 2018, equation 3), (L − 1,)."""
        return self.values[:-1, :-1].max(0) - self.values[-1, :-1]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what a run's folder holds.

        :raises CheckpointError: if it holds none, or is damaged
        """
        file = folder / RETENTION_FILE
        data = read_json(file)
        try:
            count, rows = len(data["tasks"]), {int(row["lesson"]): row for row in data["rows"]}
            values = np.full((count, count), np.nan)
            for number, row in rows.items():
                values[number] = row["scores"]
            timesteps = [int(rows[number]["timesteps"]) if number in rows else 0 for number in range(count)]
            return cls(str(data["metric"]), timesteps, values)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CheckpointError(f"{file} is damaged: {error}") from error

    def table(self) -> list[str]:
        """Return lines: a row as each lesson ended, with a column for each task."""
        count = len(self.values)
        head = f"{self.metric} on task".ljust(24) + "".join(f"{number:>8}" for number in range(count))
        rows = [
            f"after lesson {i} ({self.timesteps[i]:,})".ljust(24) + "".join(f"{value:8.3f}" for value in self.values[i])
            for i in range(count)
            if not np.isnan(self.values[i]).any()
        ]
        if len(rows) < count or count == 1:
            return [head, *rows]
        forgotten = "".join(f"{value:8.3f}" for value in self.forgetting)
        end = f"average {self.average:.3f}, backward transfer {self.backward_transfer:+.3f}"
        return [head, *rows, "forgotten".ljust(24) + forgotten, end]


class Retention:
    """Scores of an agent on the tasks of all lessons, taken as each lesson ends and kept in its run folder.

    :param tasks: of the lessons
    :param episodes: of each task
    """

    def __init__(self, tasks: Sequence[Task], episodes: int):
        self.tasks, self.episodes = list(tasks), episodes

    def report(self, agent: MemoryAlgorithm) -> None:
        """Play all tasks, by most likely actions, and add a row to the folder of the agent's run.

        One of the same lesson is replaced.
        """
        assert agent.run_dir is not None
        results = [self._play(agent, task) for task in self.tasks]
        known = all(episodes.success is not None for episodes in results)
        scores = [episodes.success if known else episodes.returns for episodes in results]
        file = agent.run_dir / RETENTION_FILE
        rows = read_json(file)["rows"] if file.is_file() else []
        rows = [row for row in rows if row["lesson"] != agent.lesson]
        means = [float(np.mean(score)) for score in scores]
        rows.append({"lesson": agent.lesson, "timesteps": agent.num_timesteps, "scores": means})
        tasks = [task._asdict() for task in self.tasks]
        metric = "success" if known else "return"
        write_json(file, {"metric": metric, "episodes": self.episodes, "tasks": tasks, "rows": rows})

    def _play(self, agent: MemoryAlgorithm, task: Task) -> Any:
        env = make_env(task.env, min(self.episodes, EVALUATION_ENVS), **task.env_kwargs)
        env = agent._wrap_env(as_trained(env, statistics_of(agent.env)))
        try:
            return evaluate(agent, env, self.episodes, seed=EVALUATION_SEED)
        finally:
            env.close()
