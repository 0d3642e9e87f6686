"""Settings from recipes, command lines and runs; curricula; run folders."""

import inspect
import json
import sys
from collections import deque
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from stable_baselines3.common.callbacks import BaseCallback

from memagents import MFEC, NEC, CheckpointError, Imitation, RecurrentPPO, checkpoint, run_folder
from memagents.algorithm import MemoryAlgorithm
from memagents.configuration import command_line, of_recipe, of_run, write_config
from memagents.curriculum import Curriculum, Lesson
from memagents.environments import make_env
from memagents.evaluation import ORACLE, RANDOM, WALK, evaluate
from memagents.progress import read_progress
from memagents.settings import ImitationSettings, MFECSettings, NECSettings, PPOSettings, parse_pairs
from memagents.training import (
    env_kwargs,
    evaluate_run,
    evaluation_env,
    lesson_env,
    load_agent,
    make_agent,
    make_curriculum,
    new_run_folder,
    plain_errors,
    prepare,
    saved_lesson,
    scenes,
    take_weights,
)
from tests.test_checkpoint import assert_equal

RECIPES = Path(__file__).parent.parent / "train" / "recipes"
SMALL = {"env": "memenvs/TMaze-v0", "env_kwargs": {"length": 1}, "core": "gru", "core_kwargs": {"hidden_size": 8}}
SMALL |= {"n_envs": 8, "n_steps": 8, "total_timesteps": 64, "device": "cpu"}


@pytest.fixture
def recipe(tmp_path):
    """Writes a recipe; the function returns the folder."""

    def write(text, name="mine"):
        (tmp_path / f"{name}.yaml").write_text(text)
        return tmp_path

    return write


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The folder of a run of 64 steps, in the current folder."""
    monkeypatch.chdir(tmp_path)
    settings = PPOSettings(**SMALL, run_dir="trained")
    agent = make_agent(RecurrentPPO, settings, make_curriculum(settings))
    agent.learn(64)
    agent.save(agent.run_dir)
    return Path("trained")


# --- settings ---------------------------------------------------------------------------------------------------------


KINDS = {
    PPOSettings: (RecurrentPPO, "ppo.py"),
    ImitationSettings: (Imitation, "imitate.py"),
    NECSettings: (NEC, "/nec.py"),
    MFECSettings: (MFEC, "/mfec.py"),
}


@pytest.mark.parametrize("settings", KINDS)
def test_settings_are_the_algorithms_own_arguments_and_defaults(settings):
    defaults, algorithm = {}, KINDS[settings][0]
    for cls in algorithm.__mro__[::-1]:
        if issubclass(cls, MemoryAlgorithm):
            defaults |= {p.name: p.default for p in inspect.signature(cls.__init__).parameters.values()}
    given = settings(seed=3).hyperparameters()
    assert set(algorithm.hyperparameters) <= given.keys() <= defaults.keys()
    plain = given.keys() - {"seed", "policy_kwargs"}
    assert {name: given[name] for name in plain} == {name: defaults[name] for name in plain}
    core = {"core": settings().core, "core_kwargs": {}} if hasattr(settings(), "core") else {}
    assert given["policy_kwargs"] == core


def test_every_setting_is_documented(capsys):
    for cls in KINDS:
        with pytest.raises(SystemExit) as stop:
            command_line(cls, RECIPES, ["--help"])
        assert stop.value.code == 0
        text = capsys.readouterr().out
        documented = "".join(kind.__doc__ or "" for kind in cls.__mro__)
        for one in fields(cls):
            assert f":param {one.name}:" in documented
            assert one.name == "lessons" or f"--{one.name.replace('_', '-')}" in text


def test_rates_fall_linearly_if_asked():
    given = PPOSettings(learning_rate=0.5, memory_learning_rate=0.25, schedule="linear").hyperparameters()
    assert [given["learning_rate"](p) for p in (1, 0.5, 0)] == [0.5, 0.25, 0]
    assert given["memory_learning_rate"](0.5) == 0.125
    assert PPOSettings(schedule="linear").hyperparameters()["memory_learning_rate"] is None


def test_the_entropy_bonus_falls_linearly_if_asked():
    told = PPOSettings(**SMALL, ent_coef=0.5, final_ent_coef=0.1, run_dir=None)
    bonus = told.hyperparameters()["ent_coef"]
    assert [bonus(p) for p in (1, 0.5, 0)] == pytest.approx([0.5, 0.3, 0.1])
    assert PPOSettings(ent_coef=0.5).hyperparameters()["ent_coef"] == 0.5
    agent = RecurrentPPO("MlpPolicy", make_env(told.env, 8, **told.env_kwargs), **told.hyperparameters())
    weights = []
    for progress in (1, 0.25):
        agent._current_progress_remaining = progress
        weights.append(agent.loss_weights()["entropy_loss"])
    assert weights == pytest.approx([0.5, 0.2])


def test_pairs_are_yaml():
    assert parse_pairs(["length=5", "stations=[4, 6]", "map=random", "rate=3e-4"]) == {
        "length": 5,
        "stations": [4, 6],
        "map": "random",
        "rate": 3e-4,
    }
    assert parse_pairs(["{length: 5, map: a=b}", "two_way=true"]) == {"length": 5, "map": "a=b", "two_way": True}
    for wrong in ("length", "=3", "[1, 2]", "a: [", "length=[1"):
        with pytest.raises(ValueError, match=r"key=value|no YAML"):
            parse_pairs([wrong])


def test_the_command_line_overrides_the_recipe(recipe):
    folder = recipe(
        "env: memenvs/Underground-v0\nenv_kwargs: {stations: 4, exits: 2}\ncore: dnc\ncore_kwargs: {slots: 8}\n"
        "learning_rate: 3e-4\ncondition_on: [action]\nlessons: [{env_kwargs: {distance: 1}, success: 0.9}]\n"
    )
    same = command_line(
        PPOSettings, folder, ["--recipe", "mine", "--env-kwargs", "exits=3", "--core-kwargs", "width=9"]
    )
    assert same.env_kwargs == {"stations": 4, "exits": 3} and same.core_kwargs == {"slots": 8, "width": 9}
    assert same.learning_rate == 3e-4 and same.condition_on == ("action",) and same.lessons[0].success == 0.9
    other = command_line(PPOSettings, folder, ["--recipe=mine", "--core", "lstm", "--n-envs", "3"])
    assert other.core_kwargs == {} and other.n_envs == 3 and other.env_kwargs == same.env_kwargs | {"exits": 2}
    elsewhere = command_line(PPOSettings, folder, ["--recipe", "mine", "--env", "CartPole-v1"])
    assert elsewhere.env_kwargs == {} and elsewhere.lessons == ()
    by_path = command_line(PPOSettings, RECIPES, ["--recipe", str(folder / "mine.yaml")])
    assert by_path.core == "dnc"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate: 3", "there is no setting 'lerning_rate'; there are: .*learning_rate"),
        ("n_envs: many", "n_envs must be an integer, not 'many'"),
        ("n_envs: true", "n_envs must be an integer, not True"),
        ("memory_learning_rate: fast", "memory_learning_rate must be a number or null, not 'fast'"),
        ("env_kwargs: 3", "env_kwargs must be a mapping, not 3"),
        ("condition_on: [sight]", r"condition_on must be a list of action or reward, not \['sight'\]"),
        ("schedule: cosine", "schedule must be constant or linear, not 'cosine'"),
        ("total_timesteps: 0", "total_timesteps must be at least 1, not 0"),
        ("lessons: 3", "lessons must be a list of mappings"),
        ("lessons: [{env_kwargs: {}, sucess: 1}]", "lessons must be a list of mappings with env_kwargs and success"),
        ("lessons: [{env_kwargs: {}}, {env_kwargs: {}}]", "lesson 0 needs env_kwargs, a mapping, and success"),
        ("lessons: [{env_kwargs: {}, success: 90}]", "lesson 0 needs .* up to 1"),
        ("- 3", "must hold a mapping of settings"),
        ("env: [", "is no readable YAML file"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named(recipe, text, message):
    with pytest.raises(ValueError, match=message):
        command_line(PPOSettings, recipe(text), ["--recipe", "mine"])


def test_an_unknown_recipe_lists_those_there_are(recipe):
    folder = recipe("n_envs: 3")
    with pytest.raises(ValueError, match="there is no recipe 'yours'; there are: mine;"):
        command_line(PPOSettings, folder, ["--recipe", "yours"])


def test_the_recipes_that_come_along_can_begin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in RECIPES.glob("*.yaml"):
        kind, algorithm = next((kind, agent) for kind, (agent, script) in KINDS.items() if script in path.read_text())
        settings = of_recipe(kind, path.stem, RECIPES)
        agent = make_agent(algorithm, settings, make_curriculum(settings))
        assert agent.n_envs == settings.n_envs and agent.run_dir.is_dir()


def test_a_run_remembers_all_that_was_asked(tmp_path):
    asked = ImitationSettings(
        **SMALL, oracle_share=0.5, condition_on=("reward",), lessons=(Lesson({"length": 2}, 0.5),)
    )
    write_config(asked, tmp_path)
    assert of_run(tmp_path) == asked
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["algorithm"] == "Imitation"


def test_what_is_wrong_with_a_resumed_run_is_named(tmp_path):
    write_config(PPOSettings(), tmp_path)
    resume = ["--resume", str(tmp_path)]
    assert command_line(PPOSettings, RECIPES, resume).resume == str(tmp_path)
    assert command_line(PPOSettings, RECIPES, [*resume, "--device", "cpu"]).device == "cpu"
    for extra in (["--seed", "3"], ["--recipe", "tmaze"], ["--overwrite"]):
        with pytest.raises(ValueError, match=f"beside it only --device is allowed, not {extra[0]}"):
            command_line(PPOSettings, RECIPES, [*resume, *extra])
    with pytest.raises(CheckpointError, match="is a run of RecurrentPPO, and this script trains Imitation"):
        command_line(ImitationSettings, RECIPES, resume)
    with pytest.raises(CheckpointError, match="there is no run folder"):
        command_line(PPOSettings, RECIPES, ["--resume", str(tmp_path / "no")])
    (tmp_path / "config.yaml").write_text("algorithm: Sarsa\n")
    with pytest.raises(
        CheckpointError, match="algorithm must be one of RecurrentPPO, Imitation, NEC, MFEC, not 'Sarsa'"
    ):
        command_line(PPOSettings, RECIPES, resume)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(CheckpointError, match=r"is no run of the training scripts: it has no config\.yaml"):
        command_line(PPOSettings, RECIPES, resume)


# --- curricula --------------------------------------------------------------------------------------------------------


class Oracle(Imitation):
    """Learns nothing and does what the oracle says, so that every episode succeeds."""

    def train(self):
        pass


class Stop(BaseCallback):
    """After so many windows."""

    def __init__(self, windows):
        super().__init__()
        self.windows = windows

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        self.windows -= 1
        if not self.windows:
            self.model.stop()


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
    """What happens in a curriculum of T-mazes, in windows of 8 steps of 8 environments."""

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


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("stop", [1, 3, 9])
def test_lessons_with_review_go_on_exactly(stop, whole, tmp_path):
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
    reached, resumed = [], False
    for name in ("straight", "stopped"):
        settings = ImitationSettings(**SMALL | own, run_dir=str(tmp_path / name))
        curriculum = make_curriculum(settings)
        agent = make_agent(Hasty, settings, curriculum)
        if name == "stopped":
            agent.learn(12 * 64, [curriculum, Stop(stop)])
            assert agent.lesson == {1: 0, 3: 1, 9: 2}[stop] and agent.num_timesteps == stop * 64
            agent.save(agent.run_dir)
            torch.manual_seed(99)
            settings = command_line(ImitationSettings, RECIPES, ["--resume", str(agent.run_dir)])
            curriculum = make_curriculum(settings)
            agent, resumed = make_agent(Hasty, settings, curriculum), True
        steps = agent.remaining_timesteps if resumed else 12 * 64
        agent.learn(steps, curriculum, reset_num_timesteps=not resumed)
        reached.append((run_folder.training_state(agent), agent.policy.state_dict()))
    assert agent.lesson == 2 and agent.env.reviewing.sum() == 4
    assert_equal(*reached)


def test_no_episode_need_end_in_the_first_window_of_a_lesson():
    _, diary = follow(Oracle, Lesson({"length": 1}, 1.0), Lesson({"length": 10}, 1.0))
    assert diary.lessons[-1] == 1 and diary.lengths[2] == set()


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
        **SMALL | {"n_envs": 64}, run_dir=str(tmp_path / "run"), lessons=(Lesson({}, 0.9), Lesson({}))
    )
    curriculum = make_curriculum(settings)
    agent = make_agent(Imitation, settings, curriculum)
    assert agent.stats_window_size == 200
    agent.learn(3 * 512, curriculum)
    rows = read_progress(tmp_path / "run" / "progress.csv")
    assert [float(row["curriculum/lesson"]) for row in rows] == [0, 1, 1]
    assert [float(row["rollout/success_rate"]) for row in rows] == [1, 1, 1]


def test_lessons_need_success_and_equal_spaces(tmp_path):
    lessons = (Lesson({"labels": 3, "exits": 1}, 0.9), Lesson({"labels": 4, "exits": 1}))
    with pytest.raises(ValueError, match="lesson 1 has the observation_space MultiDiscrete"):
        make_curriculum(PPOSettings(env="memenvs/Underground-v0", lessons=lessons))
    settings = PPOSettings(
        env="CartPole-v1", n_envs=2, n_steps=64, run_dir=str(tmp_path / "r"), lessons=(Lesson({}, 1.0),)
    )
    curriculum = make_curriculum(settings)
    with pytest.raises(ValueError, match="lessons wait for success, but the infos of the environment have no entry"):
        make_agent(RecurrentPPO, settings, curriculum).learn(1000, curriculum)


def test_training_is_on_the_train_split_and_evaluation_on_the_other(tmp_path):
    settings = PPOSettings(env="memenvs/Underground-v0", env_kwargs={"stations": 3}, lessons=(Lesson({"exits": 2}),))
    assert env_kwargs(settings, settings.lessons[0]) == {"split": "train", "stations": 3, "exits": 2}
    assert env_kwargs(replace(settings, env_kwargs={"split": None}), Lesson({})) == {"split": None}
    assert "split" not in env_kwargs(PPOSettings(env="memenvs/TMaze-v0"), Lesson({}))

    write_config(replace(settings, env_kwargs={"stations": 3, "split": "train"}), tmp_path)
    own = {"stations": 3, "exits": 2}
    assert evaluation_env(tmp_path) == ("memenvs/Underground-v0", {**own, "split": "test"})
    assert evaluation_env(tmp_path, None, {"exits": 1}, "train")[1] == {"stations": 3, "exits": 1, "split": "train"}
    assert evaluation_env(tmp_path, "memenvs/Underground-v0")[1] == {**own, "split": "test"}
    assert evaluation_env(tmp_path, "memenvs/TMaze-v0", {"length": 2}) == ("memenvs/TMaze-v0", {"length": 2})
    with pytest.raises(CheckpointError, match="there is no run folder"):
        evaluation_env(tmp_path / "no")


# --- run folders ------------------------------------------------------------------------------------------------------


def test_run_folders_are_new(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = PPOSettings(env="memenvs/TMaze-v0", core="my_package:mine", seed=3)
    names = [new_run_folder(settings) for _ in range(3)]
    assert names == [Path("runs") / f"TMaze-v0-my_package-mine-3{end}" for end in ("", "-2", "-3")]
    assert new_run_folder(replace(settings, run_dir="a/b")) == Path("a/b") and Path("a/b").is_dir()


def test_nothing_is_overwritten_unasked(trained):
    settings = PPOSettings(**SMALL, run_dir="trained")
    (trained / "notes.txt").write_text("mine")
    before = {path.name for path in trained.iterdir()}
    with pytest.raises(ValueError, match="run_dir trained exists; add --overwrite"):
        new_run_folder(settings)
    assert {path.name for path in trained.iterdir()} == before
    new_run_folder(replace(settings, overwrite=True))
    assert [path.name for path in trained.iterdir()] == ["notes.txt"]
    with pytest.raises(ValueError, match="is no run, so it is not overwritten"):
        new_run_folder(replace(settings, overwrite=True))


def test_nothing_is_left_behind_by_settings_that_cannot_be(tmp_path):
    settings = PPOSettings(**SMALL | {"core": "lsmt"}, run_dir=str(tmp_path / "run"))
    with pytest.raises(ValueError, match="there is no core 'lsmt'"):
        make_agent(RecurrentPPO, settings, make_curriculum(settings))
    assert not list(tmp_path.iterdir())


def test_weights_of_another_run(trained):
    def begun(**changes):
        settings = PPOSettings(**SMALL | {"seed": 9} | changes, init_from="trained")
        return make_agent(RecurrentPPO, settings, make_curriculum(settings))

    theirs = load_agent(trained, None, "cpu").policy.state_dict()
    agent = begun()
    assert all(torch.equal(theirs[name], weights) for name, weights in agent.policy.state_dict().items())
    assert agent.num_timesteps == 0
    folders = set(Path("runs").iterdir())
    with pytest.raises(CheckpointError, match="init_from trained: its core is gru, this run's is lstm"):
        begun(core="lstm")
    with pytest.raises(CheckpointError, match="init_from trained: its observation_space is MultiDiscrete"):
        begun(condition_on=("action",))
    with pytest.raises(CheckpointError, match=r"the weight .* is \("):
        begun(core_kwargs={"hidden_size": 5})
    with pytest.raises(CheckpointError, match="there is no run folder"):
        take_weights(agent, Path("nowhere"))
    assert set(Path("runs").iterdir()) == folders


def test_a_run_is_evaluated_where_its_agent_can_act(trained):
    evaluation = evaluate_run(trained, episodes=30, device="cpu")
    assert evaluation.env_kwargs == {"length": 1} and list(evaluation.scores) == ["agent", RANDOM, WALK, ORACLE]
    assert evaluation == evaluate_run(trained, episodes=30, device="cpu")
    assert evaluation.title == "memenvs/TMaze-v0 (length=1), 30 episodes"
    json.dumps(evaluation.to_json(), allow_nan=False)
    assert evaluate_run(trained, kwargs={"length": 4}, episodes=2).scores[ORACLE].returns.mean == 1
    with pytest.raises(CheckpointError, match="observation_space was MultiDiscrete"):
        evaluate_run(trained, "memenvs/Underground-v0", episodes=2)
    with pytest.raises(ValueError, match="split must be None"):
        evaluate_run(trained, split="test", episodes=2)
    with pytest.raises(ValueError, match="episodes must be a positive integer"):
        evaluate_run(trained, episodes=0)


def test_more_minibatches_than_environments_do_not_hinder_an_evaluation(trained):
    description = json.loads((trained / "policy.json").read_text())
    description["hyperparameters"]["n_minibatches"] = 8
    (trained / "policy.json").write_text(json.dumps(description))
    assert load_agent(trained, make_env("memenvs/TMaze-v0", 2)).n_envs == 2


def test_scenes_end_with_the_last_observation(trained):
    agent = load_agent(trained, make_env("memenvs/TMaze-v0", 1, length=1))
    with torch.no_grad():
        agent.policy.action_net.bias[1] += 100  # along the corridor, so that there is something to see
    agent.save(trained)
    played = scenes(trained, episodes=2, device="cpu")
    lengths = evaluate(
        load_agent(trained, make_env("memenvs/TMaze-v0", 1, length=1)),
        make_env("memenvs/TMaze-v0", 1, length=1),
        2,
        seed=1_000_000,
    ).lengths
    assert [len(scene) - 1 for scene in played] == lengths.tolist()
    assert all(
        picture.dtype == np.uint8 and picture.shape == played[0][0].shape for scene in played for picture in scene
    )
    assert any((a != b).any() for a, b in pairwise(played[0]))


def test_a_checkpoint_without_a_lesson_is_damaged(trained):
    assert saved_lesson(trained, 1) == 0
    path = trained / "checkpoint" / "state.safetensors"
    state = checkpoint.read_tree(path)
    for counters in ({"lesson": 1}, {"lesson": -1}, {"lesson": "first"}, {}):
        checkpoint.write_tree(path, {**state, "counters": counters})
        with pytest.raises(CheckpointError, match="is damaged: it names no lesson of the run"):
            saved_lesson(trained, 1)


# --- preparations -----------------------------------------------------------------------------------------------------


def test_packages_of_the_current_folder_are_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_own_package.py").write_text("import sys; sys.modules[__name__].answer = 42")
    (tmp_path / "my_broken_package.py").write_text("import no_such_package")
    prepare(["my_own_package"])
    assert sys.modules.pop("my_own_package").answer == 42
    with pytest.raises(ValueError, match="imports: there is no package 'no_such_package'"):
        prepare(["no_such_package"])
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        prepare(["my_broken_package"])


def test_devices_and_threads_are_checked(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    prepare(device="cuda:0")
    with pytest.raises(ValueError, match="device is 'cuda:1', but torch finds 1 CUDA devices here"):
        prepare(device="cuda:1")
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or cuda:N, not 'gpu'"):
        prepare(device="gpu")
    with pytest.raises(ValueError, match="threads must be a positive integer, not 0"):
        prepare(threads=0)


def test_errors_of_the_named_kinds_are_plain(capsys):
    for error, code in ((ValueError("n must be 3"), 2), (CheckpointError("no"), 2), (KeyboardInterrupt("saved"), 130)):
        with pytest.raises(SystemExit) as stop, plain_errors(ValueError, KeyboardInterrupt):
            raise error
        assert stop.value.code == code and str(error) in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError), plain_errors(ValueError):
        raise ZeroDivisionError
