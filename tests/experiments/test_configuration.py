"""Settings from recipes, command lines and runs."""

import os
import re
import sys

import pytest
import yaml

from memagents import CheckpointError, RecurrentPPO
from memagents.experiments.catalogue import ALGORITHMS
from memagents.experiments.configuration import RECIPES, by_recipe, command_line, of_recipe, of_run, write_config
from memagents.experiments.lessons import make_curriculum
from memagents.experiments.run import Run
from memagents.experiments.settings import DistillSettings, ImitationSettings, Lesson, PPOSettings
from memagents.experiments.training import make_agent
from memagents.runs.layout import folder_of
from memagents.runs.progress import read_progress
from tests.support.trainings import SMALL


@pytest.fixture
def recipe(tmp_path):
    """Writes a recipe; the function returns its path."""

    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_the_command_line_overrides_the_recipe(recipe):
    mine = recipe(
        "env: memenvs/Underground-v0\nenv_kwargs: {stations: 4, exits: 2}\ncore: dnc\ncore_kwargs: {slots: 8}\n"
        "learning_rate: 3e-4\ncondition_on: [action]\nlessons: [{env_kwargs: {distance: 1}, success: 0.9}]\n"
    )
    same = command_line(PPOSettings, ["--recipe", mine, "--env-kwargs", "exits=3", "--core-kwargs", "width=9"])
    assert same.env_kwargs == {"stations": 4, "exits": 3} and same.core_kwargs == {"slots": 8, "width": 9}
    assert same.learning_rate == 3e-4 and same.condition_on == ("action",) and same.lessons[0].success == 0.9
    other = command_line(PPOSettings, [f"--recipe={mine}", "--core", "lstm", "--n-envs", "3"])
    assert other.core_kwargs == {} and other.n_envs == 3 and other.env_kwargs == same.env_kwargs | {"exits": 2}
    elsewhere = command_line(PPOSettings, ["--recipe", mine, "--env", "CartPole-v1"])
    assert elsewhere.env_kwargs == {} and elsewhere.lessons == ()
    by_name = command_line(PPOSettings, ["--recipe", "tmaze"])
    assert by_name.env_kwargs == {"length": 10} and by_name.recipe == "tmaze"


def test_lessons_that_set_what_is_typed_are_left_out(recipe, capsys):
    mine = recipe(
        "env: memenvs/TMaze-v0\nlessons: [{env_kwargs: {length: 3}, success: 0.9}, {env_kwargs: {length: 9}}]\n"
    )
    kept = command_line(PPOSettings, ["--recipe", mine, "--env-kwargs", "observable=true"])
    assert len(kept.lessons) == 2 and capsys.readouterr().err == ""
    typed = command_line(PPOSettings, ["--recipe", mine, "--env-kwargs", "length=20"])
    assert typed.lessons == () and typed.env_kwargs == {"length": 20}
    assert "the recipe's lessons are left out, since they set length as --env-kwargs does" in capsys.readouterr().err


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
        ("seed: -1", "seed must be an integer from 0 to 4294967295, not -1"),
        ("lessons: 3", "lessons must be a list of mappings"),
        ("lessons: [{env_kwargs: {}, sucess: 1}]", "lessons must be a list of mappings with env_kwargs and success"),
        ("lessons: [{env_kwargs: {}}, {env_kwargs: {}}]", "lesson 0 needs env_kwargs, a mapping, and success"),
        ("lessons: [{env_kwargs: {}, success: 90}]", "lesson 0 needs .* up to 1"),
        ("lessons: [{until: 0}]", "lesson 0 needs .* or until, a number of steps"),
        ("lessons: [{until: soon}]", "lesson 0 needs .* or until, a number of steps"),
        ("lessons: [{env: 3}]", "lesson 0 needs env_kwargs"),
        ("total_timesteps: 1.5", "total_timesteps must be an integer, not 1.5"),
        ("threads: 1.5e0", "threads must be an integer or null, not 1.5"),
        ("command: fly", "command must be one of ppo, imitate, distill, nec, mfec, not 'fly'"),
        ("command: nec", "is not one for ppo; it is used by: memagents train nec --recipe .*mine.yaml"),
        ("batch_size: 64", "there is no setting 'batch_size'; instead of batch_size: --n-minibatches: .*; there are: "),
        ("- 3", "must hold a mapping of settings"),
        ("env: [", "is no readable YAML file"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named(recipe, text, message):
    with pytest.raises(ValueError, match=message):
        command_line(PPOSettings, ["--recipe", recipe(text)])


def test_integers_are_written_in_three_ways(recipe):
    for text, number in (("2_000_000", 2_000_000), ("2e6", 2_000_000), ("20e6", 20_000_000), ("2.5e3", 2500)):
        typed = command_line(PPOSettings, ["--total-timesteps", text, "--threads", text]).total_timesteps
        read = command_line(PPOSettings, ["--recipe", recipe(f"total_timesteps: {text}\nthreads: {text}")])
        assert [typed, read.total_timesteps, read.threads] == 3 * [number]
        assert {type(typed), type(read.total_timesteps), type(read.threads)} == {int}
    rates = command_line(PPOSettings, ["--recipe", recipe("target_kl: 1e0"), "--learning-rate", "1e-3"])
    assert (rates.target_kl, rates.learning_rate) == (1.0, 1e-3) and type(rates.target_kl) is float
    for text in ("1.5", "1e-3", "1e999", "many", "nan"):
        with pytest.raises(SystemExit):
            command_line(PPOSettings, ["--total-timesteps", text])


def test_parameters_typed_with_another_environment_are_its_own(recipe):
    """Also where they are those of the recipe."""
    mine = recipe("env: memenvs/TMaze-v0\nenv_kwargs: {length: 3}")
    typed = command_line(PPOSettings, ["--recipe", mine, "--env", "memenvs/Copy-v0", "--env-kwargs", "length=3"])
    assert typed.env_kwargs == {"length": 3}


def test_an_unknown_recipe_lists_those_there_are():
    there = f"there are: {', '.join(sorted(path.stem for path in RECIPES.glob('*.yaml')))};"
    with pytest.raises(ValueError, match=f"there is no recipe 'yours'; {there}"):
        command_line(PPOSettings, ["--recipe", "yours"])


def test_the_recipes_that_come_along_can_begin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in RECIPES.glob("*.yaml"):
        name, recipe = re.findall(r"memagents train (\w+) --recipe (\w+)", path.read_text())[0]
        assert recipe == path.stem and yaml.safe_load(path.read_text())["command"] == name
        settings = of_recipe(ALGORITHMS[name].settings, recipe)
        agent = make_agent(settings, make_curriculum(settings))
        assert agent.n_envs == settings.n_envs and agent.run_dir.is_dir()


def test_a_run_remembers_all_that_was_asked(tmp_path):
    asked = ImitationSettings(
        **SMALL, oracle_share=0.5, condition_on=("reward",), lessons=(Lesson({"length": 2}, 0.5),)
    )
    write_config(asked, tmp_path)
    assert of_run(tmp_path) == asked
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["algorithm"] == "Imitation"


def test_a_students_environment_is_the_teachers(tmp_path):
    lessons = (Lesson({"length": 2}, 0.5), Lesson({"length": 4}))
    theirs = PPOSettings(**SMALL | {"env_kwargs": {"length": 1}}, condition_on=("reward",), gamma=0.9, lessons=lessons)
    write_config(theirs, tmp_path)
    teacher = ["--teacher", str(tmp_path)]
    own = command_line(DistillSettings, [*teacher, "--core", "gru", "--n-steps", "7"])
    assert (own.env, own.env_kwargs, own.condition_on, own.gamma) == (theirs.env, {"length": 4}, ("reward",), 0.9)
    assert (own.n_envs, own.n_steps, own.core, own.lessons) == (theirs.n_envs, 7, "gru", ())
    other = command_line(DistillSettings, [*teacher, "--env-kwargs", "length=9"])
    assert other.env_kwargs == {"length": 9}


def test_a_teacher_that_came_with_the_library_has_an_environment():
    taught = command_line(DistillSettings, ["--teacher", "pretrained:underground-dnc", "--core", "gru"])
    theirs = of_run(folder_of("pretrained:underground-dnc"))
    assert taught.env == "memenvs/Underground-v0" and taught.env_kwargs == theirs.env_kwargs
    assert taught.n_steps == theirs.n_steps


def test_what_came_with_the_library_is_not_gone_on_with():
    with pytest.raises(ValueError, match=r"nothing to go on with; .* --init-from pretrained:underground-dnc"):
        command_line(PPOSettings, ["--resume", "pretrained:underground-dnc"])


def test_a_recipe_says_what_it_is_for(recipe):
    assert type(by_recipe("tmaze", seed=3)) is PPOSettings and type(by_recipe("copy")) is ImitationSettings
    for text in ("core: gru", "command: walk", "command: [ppo]"):
        with pytest.raises(ValueError, match="command must be one of ppo, imitate"):
            by_recipe(recipe(text))


def test_what_is_wrong_with_a_resumed_run_is_named(tmp_path):
    write_config(PPOSettings(), tmp_path)
    resume = ["--resume", str(tmp_path)]
    assert command_line(PPOSettings, resume).resume == str(tmp_path)
    assert command_line(PPOSettings, [*resume, "--device", "cpu"]).device == "cpu"
    for extra in (["--seed", "3"], ["--recipe", "tmaze"], ["--overwrite"]):
        with pytest.raises(ValueError, match=f"beside it only --device and --imports are allowed, not {extra[0]}"):
            command_line(PPOSettings, [*resume, *extra])
    with pytest.raises(CheckpointError, match="is a run of RecurrentPPO, which goes on with: memagents train ppo"):
        command_line(ImitationSettings, resume)
    with pytest.raises(CheckpointError, match="there is no run folder"):
        command_line(PPOSettings, ["--resume", str(tmp_path / "no")])
    (tmp_path / "config.yaml").write_text("algorithm: Sarsa\n")
    with pytest.raises(
        CheckpointError, match="algorithm must be one of RecurrentPPO, Imitation, Distillation, NEC, MFEC, not 'Sarsa'"
    ):
        command_line(PPOSettings, resume)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(CheckpointError, match=r"is no run of the training scripts: it has no config\.yaml"):
        command_line(PPOSettings, resume)


def test_what_a_run_names_is_imported_only_if_it_is_named_again(tmp_path, monkeypatch):
    """A stranger's folder, beside a module of the same name in the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mod.py").write_text("raise AssertionError('it runs')")
    (tmp_path / "run").mkdir()
    named = {
        "imports": ("mod",),
        "env": "mod:Id-v0",
        "core": "mod:core",
        "core_kwargs": {"cores": ["lstm", "mod:core"]},
        "policy_kwargs": {"activation_fn": "mod:fly"},
        "lessons": (Lesson({}, env="mod:Id-v0"),),
    }
    for name, value in named.items():
        settings = PPOSettings(**{name: value})
        assert settings.packages == ("mod",)
        write_config(settings, tmp_path / "run")
        with pytest.raises(CheckpointError, match=r"run names what it has to import: mod\. .* add --imports mod$"):
            command_line(PPOSettings, ["--resume", "run"])
        run = Run(tmp_path / "run", of_run(tmp_path / "run"), {}, RecurrentPPO)
        with pytest.raises(CheckpointError, match="names what it has to import: mod"):
            run.check_imports(["another"])
        run.check_imports(["mod"])
        assert "mod" in command_line(PPOSettings, ["--resume", "run", "--imports", "mod"]).packages
    assert "mod" not in sys.modules


@pytest.mark.parametrize(
    ("text", "message"),
    [("[" * 5000, "is no readable YAML file"), ("a: " + "b" * (5 << 20), "has more than 4,194,304 bytes")],
)
def test_settings_that_are_deep_or_long_are_refused(text, message, tmp_path):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=rf"config\.yaml {message}"):
        of_run(tmp_path)


def test_a_log_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "progress.csv")
    with pytest.raises(CheckpointError, match=r"progress\.csv is no regular file"):
        read_progress(tmp_path / "progress.csv")
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(CheckpointError, match="is no run"):
        of_run(tmp_path)
