"""A curriculum: environments that change when the agent succeeds often enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import safe_mean
from stable_baselines3.common.vec_env import VecEnv

from memagents.algorithm import MemoryAlgorithm


@dataclass(frozen=True)
class Lesson:
    """A step of a curriculum.

    :param env_kwargs: parameters of the environment, on top of those of the run
    :param success: the rate of success that ends it; None only for the last, which then lasts as long as the run
    """

    env_kwargs: dict[str, Any]
    success: float | None = None


class Curriculum(BaseCallback):
    """Moves the agent to the next lesson between two windows, and stops it when the last one is learned.

    What counts is the rate of success over the agent's ``stats_window_size`` last episodes, all of the present lesson.
    The number of the lesson is the agent's, and saved with it.

    :param lessons: one or more
    :param make_env: makes the environments of a lesson; all lessons have the same spaces
    :raises ValueError: while learning, if a lesson waits for success and the environment tells of none
    """

    def __init__(self, lessons: Sequence[Lesson], make_env: Callable[[Lesson], VecEnv]):
        super().__init__()
        self.lessons, self.make_env = lessons, make_env

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        agent = self.model
        assert isinstance(agent, MemoryAlgorithm)
        if len(self.lessons) > 1:
            agent.logger.record("curriculum/lesson", agent.lesson)
        wanted, recent = self.lessons[agent.lesson].success, agent.ep_success_buffer
        if wanted is None or recent is None:
            return
        if agent.ep_info_buffer and not recent:
            raise ValueError("lessons wait for success, but the infos of the environment have no entry 'success'")
        rate = safe_mean(recent)
        if len(recent) < agent.stats_window_size or rate < wanted:
            return
        if agent.lesson == len(self.lessons) - 1:
            agent.stop()
            return
        agent.logger.record("rollout/success_rate", rate)  # or the row of this window, written later, would lack it
        recent.clear()
        agent.lesson += 1
        agent.set_env(self.make_env(self.lessons[agent.lesson]))
        agent.begin_episodes()
