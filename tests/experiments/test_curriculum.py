"""Curricula: when a lesson ends, and what happens then."""

import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback

from memagents import Imitation, RecurrentPPO
from memagents.environments.make import make_env
from memagents.experiments.curriculum import Curriculum
from memagents.experiments.lessons import make_curriculum
from memagents.experiments.settings import ImitationSettings, Lesson
from memagents.experiments.training import make_agent
from memagents.runs.progress import read_progress
from tests.support.trainings import SMALL


class Oracle(Imitation):
    """Learns nothing and does what the oracle says, so that every episode succeeds."""

    def train(self):
        pass


class Diary(BaseCallback):
    """In which lesson each window begins, whether with new episodes, and the lengths of those that end in it."""

    def __init__(self):
        super().__init__()
        self.lessons, self.new, self.lengths = [], [], []

    def _on_rollout_start(self):
        self.lessons.append(self.model.lesson)
        self.new.append(self.model._last_episode_starts.all())
        self.lengths.append(set())

    def _on_step(self):
        self.lengths[-1] |= {info["episode"]["l"] for info in self.locals["infos"] if "episode" in info}
        return True


def follow(algorithm, *lessons):
    """Return the course of a curriculum of T-mazes, in windows of 8 steps of 8 environments."""

    def make(number):
        return make_env("memenvs/TMaze-v0", 8, seed=0, **lessons[number].env_kwargs)

    diary = Diary()
    policy = {"core": "none", "core_kwargs": {"hidden_size": 2}}
    agent = algorithm("MlpPolicy", make(0), n_steps=8, policy_kwargs=policy, stats_window_size=40, seed=0)
    agent.learn(640, [Curriculum(lessons, make), diary])
    return agent, diary


def test_lessons_of_imitation_wait_for_accuracy():
    """A policy that cannot learn the turn knows the corridor: it is right in half of the last steps only."""

    def accuracy_of(*lessons, **kwargs):
        def make(number):
            return make_env("memenvs/TMaze-v0", 32, seed=0, **lessons[number].env_kwargs)

        agent = Imitation("MlpPolicy", make(0), n_steps=8, learning_rate=3e-2, n_minibatches=1, seed=0, **kwargs)
        agent.learn(32 * 8 * 60, Curriculum(lessons, make))
        return agent

    nothing = {"policy_kwargs": {"core": "none", "core_kwargs": {"hidden_size": 4}}}
    easy = accuracy_of(Lesson({"length": 7}, accuracy=0.85), Lesson({"length": 8}), **nothing)
    assert easy.lesson == 1  # 7 of 8 steps go ahead, and the turn is guessed
    hard = accuracy_of(Lesson({"length": 7}, accuracy=0.97), Lesson({"length": 8}), **nothing)
    assert hard.lesson == 0
    assert 0.85 < np.mean(hard.recent_accuracies) < 0.97
    both = accuracy_of(Lesson({"length": 7}, success=0.9, accuracy=0.85), Lesson({"length": 8}), **nothing)
    assert both.lesson == 1  # the success is the oracle's own
    with pytest.raises(ValueError, match="known in imitation only"):
        follow(RecurrentPPO, Lesson({"length": 1}, accuracy=0.5), Lesson({"length": 2}))


def test_accuracy_is_of_the_lesson_alone():
    """The window that ends a lesson is learned from when the next lesson has begun."""
    counts = []

    class Counts(Imitation):
        def train(self):
            super().train()
            counts.append((self.lesson, len(self.recent_accuracies)))

    lessons = (Lesson({"length": 2}, accuracy=0.1), Lesson({"length": 3}))

    def make(number):
        return make_env("memenvs/TMaze-v0", 8, seed=0, **lessons[number].env_kwargs)

    Counts("MlpPolicy", make(0), n_steps=8, seed=0, device="cpu").learn(64 * 13, Curriculum(lessons, make))
    assert counts == [*((0, n) for n in range(1, 11)), (1, 0), (1, 1), (1, 2)]  # ten windows, and one that ends it


def test_no_episode_need_end_in_the_first_window_of_a_lesson():
    _, diary = follow(Oracle, Lesson({"length": 1}, 1.0), Lesson({"length": 10}, 1.0))
    assert diary.lessons[-1] == 1 and diary.lengths[2] == set()


def test_lessons_follow_one_another_when_forty_episodes_in_a_row_succeed():
    agent, diary = follow(Oracle, *(Lesson({"length": n}, 1.0) for n in (1, 2, 3)))
    # Episodes of 2, 3 and 4 steps: forty of them are there after 10, 15 and 20 steps, or 2, 2 and 3 windows.
    assert diary.lessons == [0, 0, 1, 1, 2, 2, 2]
    assert diary.new == [True, True, True, False, True, True, True]  # the fifth because the lesson is
    assert diary.lengths == [{2}, {2}, {3}, {3}, {4}, {4}, {4}]
    assert agent.num_timesteps == 7 * 64 and len(agent.ep_success_buffer) == 40


def test_a_last_lesson_without_a_goal_lasts_as_long_as_the_training():
    agent, diary = follow(Oracle, Lesson({"length": 1}, 1.0), Lesson({"length": 2}))
    assert diary.lessons == [0, 0] + 8 * [1] and agent.num_timesteps == 640


def test_a_lesson_that_is_not_learned_goes_on():
    _, diary = follow(RecurrentPPO, Lesson({"length": 3}, 1.0), Lesson({"length": 2}))
    assert diary.lessons == 10 * [0]


def test_the_log_keeps_the_success_that_ended_a_lesson(tmp_path):
    settings = ImitationSettings(
        **SMALL | {"n_envs": 64, "oracle_share": 1 - 1e-9},  # 1 would have lessons wait for accuracy
        run_dir=str(tmp_path / "run"),
        lessons=(Lesson({}, 0.9), Lesson({})),
    )
    curriculum = make_curriculum(settings)
    agent = make_agent(settings, curriculum)
    assert agent.stats_window_size == 200
    agent.learn(3 * 512, curriculum)
    rows = read_progress(tmp_path / "run" / "progress.csv")
    assert [float(row["curriculum/lesson"]) for row in rows] == [0, 1, 1]
    assert [float(row["rollout/success_rate"]) for row in rows] == [1, 1, 1]
