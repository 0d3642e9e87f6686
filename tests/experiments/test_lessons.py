"""Environments of lessons, their splits, and going on in the right lesson."""

from collections import deque
from dataclasses import replace

import pytest
import torch

from memagents import CheckpointError, Imitation, RecurrentPPO
from memagents.experiments.catalogue import Algorithm
from memagents.experiments.configuration import command_line, of_run, write_config
from memagents.experiments.lessons import lesson_env, make_curriculum, saved_lesson, task_of
from memagents.experiments.run import Run
from memagents.experiments.settings import ImitationSettings, Lesson, PPOSettings
from memagents.experiments.training import make_agent
from memagents.runs import trees
from tests.support.callbacks import StopAfter
from tests.support.trainings import SMALL
from tests.support.trees import assert_equal


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("stop", [1, 3, 9])
def test_lessons_with_review_go_on_exactly(stop, whole, tmp_path, monkeypatch):
    """Stopped in the first, the second or the third lesson, as by Ctrl-C."""
    lessons = (*(Lesson({"length": n}, accuracy=0.05) for n in (2, 3)), Lesson({"length": 4}))
    own = {"core": "shm", "core_kwargs": {"width": 3, "thetas": 4, "encoding_size": 4, "dropout": 0.2}}
    own |= {"review": 0.5, "n_minibatches": 3, "oracle_share": 0.5, "whole_episodes": whole, "lessons": lessons}
    own |= {"total_timesteps": 12 * 64, "schedule": "linear", "learning_rate": 1e-2}

    class Hasty(Imitation):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.recent_accuracies = deque(maxlen=2)

    Hasty.__name__ = "Imitation"
    monkeypatch.setattr(Algorithm, "load", lambda entry: Hasty)
    reached, resumed = [], False
    for name in ("straight", "stopped"):
        settings = ImitationSettings(**SMALL | own, run_dir=str(tmp_path / name))
        curriculum = make_curriculum(settings)
        agent = make_agent(settings, curriculum)
        if name == "stopped":
            agent.learn(12 * 64, [curriculum, StopAfter(stop)])
            assert agent.lesson == {1: 0, 3: 1, 9: 2}[stop] and agent.num_timesteps == stop * 64
            agent.save(agent.run_dir)
            torch.manual_seed(99)
            settings = command_line(ImitationSettings, ["--resume", str(agent.run_dir)])
            curriculum = make_curriculum(settings)
            agent, resumed = make_agent(settings, curriculum), True
        steps = agent.remaining_timesteps if resumed else 12 * 64
        agent.learn(steps, curriculum, reset_num_timesteps=not resumed)
        reached.append((agent.training_state(), agent.policy.state_dict()))
    assert agent.lesson == 2 and agent.env.reviewing.sum() == 4
    assert_equal(*reached)


def test_a_share_of_the_environments_reviews_earlier_lessons():
    lessons = tuple(Lesson({"length": n}, 0.9) for n in (1, 2, 3))
    settings = PPOSettings(n_envs=16, review=0.25, lessons=lessons)
    assert lesson_env(settings, 0).num_envs == 16
    assert not hasattr(lesson_env(settings, 0), "reviewing")
    for number, earlier in ((1, [0] * 4), (2, [1, 1, 0, 0])):
        env = lesson_env(settings, number)
        names = [definition.name for definition in env.get_attr("definition")]
        assert names == [f"TMaze(length={n + 1})" for n in [number] * 12 + earlier]
    assert lesson_env(replace(settings, review=0.99), 1).num_envs == 16
    with pytest.raises(ValueError, match=r"review must be a share in \[0, 1\), not 1"):
        replace(settings, review=1)


def test_lessons_need_success_and_equal_spaces(tmp_path):
    lessons = (Lesson({"labels": 3, "exits": 1}, 0.9), Lesson({"labels": 4, "exits": 1}))
    with pytest.raises(ValueError, match="lesson 1 has the observation_space MultiDiscrete"):
        make_curriculum(PPOSettings(env="memenvs/Underground-v0", lessons=lessons))
    settings = PPOSettings(
        env="CartPole-v1", n_envs=2, n_steps=64, run_dir=str(tmp_path / "r"), lessons=(Lesson({}, 1.0),)
    )
    curriculum = make_curriculum(settings)
    with pytest.raises(ValueError, match=r"lessons wait for success, but the infos .* have no 'success'"):
        make_agent(settings, curriculum).learn(1000, curriculum)


def test_lessons_that_wait_for_accuracy_are_of_imitation():
    """Known before there is a run folder."""
    lessons = (Lesson({"length": 1}, accuracy=0.9), Lesson({"length": 2}))
    make_curriculum(ImitationSettings(**SMALL, lessons=lessons))
    with pytest.raises(ValueError, match="lessons wait for accuracy, which is known in imitation only"):
        make_curriculum(PPOSettings(**SMALL, lessons=lessons))


def test_training_is_on_the_train_split_and_evaluation_on_the_other(tmp_path):
    settings = PPOSettings(env="memenvs/Underground-v0", env_kwargs={"stations": 3}, lessons=(Lesson({"exits": 2}),))
    assert task_of(settings, settings.lessons[0]).env_kwargs == {"split": "train", "stations": 3, "exits": 2}
    assert task_of(replace(settings, env_kwargs={"split": None}), Lesson({})).env_kwargs == {"split": None}
    assert "split" not in task_of(PPOSettings(env="memenvs/TMaze-v0"), Lesson({})).env_kwargs

    write_config(replace(settings, env_kwargs={"stations": 3, "split": "train"}), tmp_path)
    own = {"stations": 3, "exits": 2}
    run = Run(tmp_path, of_run(tmp_path), {}, RecurrentPPO)
    assert run.evaluation_env() == ("memenvs/Underground-v0", {**own, "split": "test"})
    assert run.evaluation_env(None, {"exits": 1}, "train")[1] == {"stations": 3, "exits": 1, "split": "train"}
    assert run.evaluation_env("memenvs/Underground-v0")[1] == {**own, "split": "test"}
    assert run.evaluation_env("memenvs/TMaze-v0", {"length": 2}) == ("memenvs/TMaze-v0", {"length": 2})
    with pytest.raises(CheckpointError, match="there is no run folder"):
        Run.open(tmp_path / "no")


def test_a_checkpoint_without_a_lesson_is_damaged(trained):
    assert saved_lesson(trained, 1) == 0
    path = trained / "checkpoint" / "state.safetensors"
    state = trees.read_tree(path)
    (trained / "manifest.json").unlink()
    for counters in ({"lesson": 1}, {"lesson": -1}, {"lesson": "first"}, {}):
        trees.write_tree(path, {**state, "counters": counters})
        with pytest.raises(CheckpointError, match="is damaged: it names no lesson of the run"):
            saved_lesson(trained, 1)


def test_success_that_is_the_oracles_own_is_no_goal():
    """Such lessons would pass at once, and the training end after a fraction of its steps."""
    lessons = (Lesson({"length": 1}, accuracy=0.9), Lesson({"length": 2}, success=0.9))
    settings = ImitationSettings(**SMALL, lessons=lessons)
    with pytest.raises(ValueError, match=r"lessons: lesson 1 waits for success, .* use accuracy"):
        make_curriculum(settings)
    make_curriculum(replace(settings, oracle_share=0.5))
    make_curriculum(replace(settings, lessons=(lessons[0], replace(lessons[1], accuracy=0.5))))
