"""Several tasks one after another, and what is left of the earlier ones."""

import json

import numpy as np
import pytest
import yaml

from memagents import CheckpointError
from memagents.environments.make import make_env
from memagents.experiments.configuration import command_line
from memagents.experiments.evaluation import evaluate
from memagents.experiments.evaluation_settings import EVALUATION_SEED
from memagents.experiments.lessons import make_curriculum
from memagents.experiments.retention import Scores
from memagents.experiments.run import Run
from memagents.experiments.settings import DistillSettings, ImitationSettings, Lesson, PPOSettings
from memagents.experiments.training import learn, make_agent
from tests.support.callbacks import StopAfter
from tests.support.trainings import SMALL

TASKS = (
    Lesson({"length": 2}, until=128),
    Lesson({"items": [2, 3]}, env="memenvs/AssociativeRecall-v0", until=256),
    Lesson({"length": 3}),
)
LENGTHS = (Lesson({"length": 1}, until=100), Lesson({"length": 2}, until=200), Lesson({"length": 3}))


def trained(folder, lessons=LENGTHS, **kwargs):
    settings = PPOSettings(
        **SMALL | {"lessons": lessons, "lesson_episodes": 10, "total_timesteps": 384, "run_dir": str(folder), **kwargs}
    )
    curriculum = make_curriculum(settings)
    agent = make_agent(settings, curriculum)
    learn(agent, settings, curriculum)
    return agent


def test_a_lesson_lasts_until_its_steps_are_made(tmp_path, capsys):
    """Windows are of 64 steps: the first that ends at 100 or later is the second."""
    agent = trained(tmp_path / "run")
    scores = Scores.read(tmp_path / "run")
    assert scores.timesteps == [128, 256, 384] and agent.lesson == 2
    assert not np.isnan(scores.values).any() and scores.metric == "success"
    told = capsys.readouterr().out
    assert all(line in told for line in scores.table())
    assert "after lesson 1 (256)" in told and "backward transfer" in told


def test_the_last_row_is_that_of_the_agent_that_was_saved(tmp_path):
    trained(tmp_path / "run")
    agent = Run.open(tmp_path / "run").load_agent()
    for number, found in enumerate(Scores.read(tmp_path / "run").values[-1]):
        env = make_env("memenvs/TMaze-v0", 10, length=number + 1)
        assert np.mean(evaluate(agent, env, 10, seed=EVALUATION_SEED).success) == found


def test_to_look_at_what_is_left_changes_nothing(tmp_path):
    seen, unseen = (trained(tmp_path / str(count), lesson_episodes=count) for count in (10, 0))
    for own, other in zip(seen.policy.state_dict().values(), unseen.policy.state_dict().values(), strict=True):
        np.testing.assert_array_equal(own.numpy(), other.numpy())
    assert not (tmp_path / "0" / "lessons.json").exists()


def test_tasks_may_be_of_other_environments_of_the_same_spaces(tmp_path):
    lessons = (Lesson({"length": 2}, until=128), Lesson({"length": 2}, env="memenvs/TMaze-v0"))
    trained(tmp_path / "run", lessons, env_kwargs={"length": 9}, condition_on=("action",))
    run = Run.open(tmp_path / "run")
    assert run.evaluation_env() == ("memenvs/TMaze-v0", {"length": 2})
    with pytest.raises(ValueError, match=r"lesson 1 has the observation_space .*, the first one"):
        make_curriculum(PPOSettings(**SMALL | {"lessons": TASKS}))
    assert command_line(DistillSettings, ["--teacher", str(tmp_path / "run")]).env_kwargs == {"length": 2}


def test_normalised_observations_are_those_of_the_training(tmp_path):
    lessons = (Lesson({}, until=128), Lesson({}))
    own = {"env": "CartPole-v1", "env_kwargs": {}, "normalize_observations": True}
    trained(tmp_path / "run", lessons, **own)
    scores = Scores.read(tmp_path / "run")
    assert scores.metric == "return"
    made = make_env("CartPole-v1", 10)
    agent = Run.open(tmp_path / "run").load_agent(made)
    assert np.mean(evaluate(agent, agent.env, 10, seed=EVALUATION_SEED).returns) == scores.values[-1, 0]


def test_the_measures_are_those_of_the_papers():
    """Worked by hand."""
    values = np.array([[0.9, 0.1, 0.2], [0.5, 0.8, 0.2], [0.6, 0.3, 0.7]])
    scores = Scores("success", [1, 2, 3], values)
    assert scores.average == pytest.approx(1.6 / 3)
    assert scores.backward_transfer == pytest.approx((-0.3 - 0.5) / 2)
    np.testing.assert_allclose(scores.forgetting, [0.3, 0.5])
    begun = Scores("success", [1, 0, 0], np.where(np.arange(3)[:, None] > 0, np.nan, values))
    assert len(begun.table()) == 2 and "average" not in "".join(begun.table())


def test_a_damaged_file_is_named(tmp_path):
    trained(tmp_path / "run")
    file = tmp_path / "run" / "lessons.json"
    data = json.loads(file.read_text())
    for wrong in ({**data, "rows": [{"lesson": 7}]}, {**data, "tasks": 3}, [1]):
        file.write_text(json.dumps(wrong))
        with pytest.raises(CheckpointError, match=r"lessons\.json is damaged"):
            Scores.read(tmp_path / "run")


def test_a_recipe_of_tasks(tmp_path):
    recipe = {"lessons": [{"env_kwargs": {"length": 2}, "until": 1e6}, {"env": "memenvs/TMaze-v0"}]}
    (tmp_path / "tasks.yaml").write_text(yaml.safe_dump(recipe))
    settings = command_line(ImitationSettings, ["--recipe", str(tmp_path / "tasks.yaml"), "--lesson-episodes", "5"])
    assert settings.lessons == (Lesson({"length": 2}, until=1_000_000), Lesson({}, env="memenvs/TMaze-v0"))
    assert settings.lesson_episodes == 5


def test_interrupted_between_two_tasks_it_goes_on_exactly(tmp_path):
    straight = trained(tmp_path / "straight", lesson_episodes=5)
    settings = PPOSettings(
        **SMALL | {"lessons": LENGTHS, "lesson_episodes": 5, "total_timesteps": 384, "run_dir": str(tmp_path / "cut")}
    )
    curriculum = make_curriculum(settings)
    agent = make_agent(settings, curriculum)
    agent.learn(384, [curriculum, StopAfter(3)])
    settings = command_line(PPOSettings, ["--resume", str(tmp_path / "cut")])
    curriculum = make_curriculum(settings)
    agent = make_agent(settings, curriculum)
    assert agent.lesson == 1
    learn(agent, settings, curriculum)
    for own, other in zip(agent.policy.state_dict().values(), straight.policy.state_dict().values(), strict=True):
        np.testing.assert_array_equal(own.numpy(), other.numpy())
    ours, theirs = (Scores.read(tmp_path / name) for name in ("cut", "straight"))
    np.testing.assert_array_equal(ours.values, theirs.values)
    assert ours.timesteps == theirs.timesteps
