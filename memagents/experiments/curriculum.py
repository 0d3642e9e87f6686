"""A curriculum: environments that change when the agent succeeds often enough."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import safe_mean
from stable_baselines3.common.vec_env import VecEnv

from memagents.algorithms.algorithm import MemoryAlgorithm
from memagents.environments.normalization import carry_over
from memagents.experiments.settings import Lesson


class CurriculumError(ValueError):
    """Lessons that wait for something that is never reported."""


class Curriculum(BaseCallback):
    """Callback that moves the agent to the next lesson between two windows, and stops it after the last.

    What counts is the rate of success over the agent's ``stats_window_size`` last episodes, or the mean accuracy over
    its last windows, as many as ``recent_accuracies`` holds; all of the present lesson, without its rows that review
    earlier ones. The number of the lesson is the agent's, and saved with it.

    :param lessons: one or more
    :param make_env: makes the environments of the lesson with a number; all lessons have the same spaces
    :param report: called with the agent as a lesson ends, also the last
    :raises CurriculumError: if a lesson waits for something that is never reported: as learning begins, or when the
        first episodes end
    """

    def __init__(
        self,
        lessons: Sequence[Lesson],
        make_env: Callable[[int], VecEnv],
        report: Callable[[MemoryAlgorithm], None] | None = None,
    ):
        super().__init__()
        self.lessons, self.make_env, self.report = lessons, make_env, report
        self.learned = False  # all of it

    def _on_training_start(self) -> None:
        check_accuracy(self.lessons, self.model)  # type: ignore[arg-type]

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        agent = self.model
        assert isinstance(agent, MemoryAlgorithm)
        if len(self.lessons) > 1:
            agent.logger.record("curriculum/lesson", agent.lesson)
        lesson, recent = self.lessons[agent.lesson], agent.ep_success_buffer
        assert recent is not None
        waiting = any(one.success is not None for one in self.lessons)
        if waiting and agent.lesson == 0 and agent.ep_info_buffer and not recent:  # later on they may be of before
            raise CurriculumError("lessons wait for success, but the infos of the environment have no 'success'")
        if not lesson.asks:
            return
        if not (
            agent.num_timesteps >= (lesson.until or 0)
            and reached(lesson.success, recent, agent.stats_window_size)
            and reached(lesson.accuracy, agent.recent_accuracies, agent.recent_accuracies.maxlen)
        ):
            return
        if agent.lesson == len(self.lessons) - 1:
            self.learned = True
            agent.stop()
            return
        if recent:
            agent.logger.record("rollout/success_rate", safe_mean(recent))  # the row of this window is written later
        if self.report is not None:
            self.report(agent)
        recent.clear()
        agent.recent_accuracies.clear()
        agent.lesson += 1
        env = self.make_env(agent.lesson)
        carry_over(agent.env, env)
        agent.set_env(env)
        agent.begin_episodes()

    def _on_training_end(self) -> None:
        if self.report is not None:
            self.report(self.model)  # type: ignore[arg-type]


def check_accuracy(lessons: Sequence[Lesson], agent: MemoryAlgorithm | type[MemoryAlgorithm]) -> None:
    """Refuse lessons that wait for accuracy where the agent, or its class, does not report it."""
    if any(lesson.accuracy is not None for lesson in lessons) and not agent.reports_accuracy:
        raise CurriculumError("lessons wait for accuracy, which is known in imitation only; let them wait for success")


def reached(wanted: float | None, recent: deque[float], count: int | None) -> bool:
    """Return whether there are enough figures and their mean is what is wanted; true if nothing is wanted."""
    return wanted is None or (len(recent) == count and safe_mean(recent) >= wanted)
