"""Environments of a training: those of each lesson, and those that review earlier lessons."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from stable_baselines3.common.vec_env import VecEnv

from memagents import ranks
from memagents.environments.joined import JoinedVecEnv, part_seed
from memagents.environments.make import has_split, make_env, make_single_env
from memagents.environments.normalization import normalized
from memagents.experiments.catalogue import of_settings
from memagents.experiments.curriculum import Curriculum, check_accuracy
from memagents.experiments.retention import Retention, Task
from memagents.experiments.settings import ImitationSettings, Lesson, TrainSettings
from memagents.runs import agent_files
from memagents.runs.files import CheckpointError
from memagents.runs.layout import STATE_FILE


def make_curriculum(settings: TrainSettings) -> Curriculum:
    """Make the curriculum of a training; without lessons it is a single one that asks for nothing.

    :raises ValueError: if the lessons are not all of the same spaces, wait for a success that is the oracle's own, or
        for an accuracy that only imitation knows
    """
    lessons = lessons_of(settings)
    check_accuracy(lessons, of_settings(settings).load())
    if isinstance(settings, ImitationSettings) and settings.oracle_share == 1:
        for number, lesson in enumerate(lessons):
            if lesson.success is not None and lesson.accuracy is None:
                raise ValueError(
                    f"lessons: lesson {number} waits for success, which is the oracle's own where it alone acts "
                    "(oracle_share 1): use accuracy"
                )
    seen = [make_single_env(task.env, **task.env_kwargs) for task in (task_of(settings, one) for one in lessons)]
    for number, env in enumerate(seen):
        for name in ("observation_space", "action_space"):
            ours, first = getattr(env, name), getattr(seen[0], name)
            if ours != first:
                raise ValueError(f"lessons: lesson {number} has the {name} {ours}, the first one {first}")
        env.close()
    report = None
    if settings.lesson_episodes and ranks.rank() == 0:
        report = Retention([task_of(settings, lesson, "test") for lesson in lessons], settings.lesson_episodes).report
    return Curriculum(lessons, partial(lesson_env, settings), report)


def lessons_of(settings: TrainSettings) -> tuple[Lesson, ...]:
    """Return the lessons of a training, one of which needs no curriculum."""
    return settings.lessons or (Lesson({}),)


def lesson_env(settings: TrainSettings, number: int) -> VecEnv:
    """Make the environments of a lesson, among them those that review earlier ones."""
    lessons, n_envs = lessons_of(settings), ranks.share("n_envs", settings.n_envs)
    review = min(round(settings.review * n_envs), n_envs - 1) if number else 0
    counts = {number: n_envs - review}
    for place in range(review):  # dealt to the earlier lessons in turn, the latest first
        earlier = number - 1 - place % number
        counts[earlier] = counts.get(earlier, 0) + 1
    parts = []
    for part, (lesson, count) in enumerate(counts.items()):
        task = task_of(settings, lessons[lesson])
        seed = part_seed(settings.seed + ranks.rank() * n_envs, part)  # those of a rank are the further ones of a batch
        parts.append(make_env(task.env, count, seed=seed, **task.env_kwargs))
    env = parts[0] if len(parts) == 1 else JoinedVecEnv(parts)
    return normalized(env, settings.normalize_observations, settings.normalize_reward, settings.gamma)


def task_of(settings: TrainSettings, lesson: Lesson, split: str = "train") -> Task:
    """Return the environment of a lesson and its parameters, with a split where there are splits and none is given."""
    env, kwargs = settings.task(lesson)
    return Task(env, {"split": split, **kwargs} if has_split(env, **kwargs) else kwargs)


def saved_lesson(folder: Path, count: int) -> int:
    """Return the number of the lesson in which a run was saved, below ``count``.

    :raises CheckpointError: if its state names no such lesson
    """
    state = agent_files.read_training_state(folder)
    try:
        lesson = state["counters"]["lesson"]
    except (KeyError, TypeError):
        lesson = None
    if not isinstance(lesson, int) or not 0 <= lesson < count:
        raise CheckpointError(f"{folder / STATE_FILE} is damaged: it names no lesson of the run")
    return lesson
