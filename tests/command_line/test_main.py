"""The command memagents: its doors, their help, what they list."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from memagents import __version__
from memagents.__main__ import DOORS, main
from memagents.command_line.help import descriptions, short_help
from memagents.cores import core_class
from memagents.environments import make_env
from memagents.experiments.catalogue import ALGORITHMS
from memagents.experiments.configuration import RECIPES, recipe_names
from memagents.inspection.recording import DESCRIPTION_FILE
from memagents.nec.nec import NEC
from memagents.runs import layout
from memenvs.grid.ids import FAMILIES
from tests.support.worlds import World


@pytest.fixture
def said(capsys, tmp_path, monkeypatch):
    """Runs the command in an empty folder; what it wrote on the standard output and as errors, and its exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        try:
            main(words)
        except SystemExit as stop:
            return *capsys.readouterr(), stop.code or 0
        return *capsys.readouterr(), 0

    return run


def test_what_the_library_logs_is_shown(said, capsys, monkeypatch):
    said("--version")
    said("--version")  # twice, and shown once still
    logging.getLogger("memagents.anything").info("seen twice, were it not shown by the handlers of pytest")
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    logging.getLogger("memagents.anything").info("seen")
    assert capsys.readouterr().err == "seen\n"


def test_help_names_every_door(said):
    for words in ((), ("--help",), ("-h",)):
        out, _, code = said(*words)
        assert code == 0 and all(f"  {name}" in out for name in DOORS)
    assert said("--version")[0] == f"memagents {__version__}\n"


@pytest.mark.parametrize("name", DOORS)
def test_every_door_explains_itself(said, name):
    out, errors, code = said(name, "--help")
    assert code == 0 and f"memagents {name}" in out and errors == ""


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_help_of_a_training_fits_a_screen(name):
    text = short_help(ALGORITHMS[name].settings, f"memagents train {name}")
    lines = text.splitlines()
    assert len(lines) <= 36 and max(map(len, lines)) <= 100
    assert lines.index("common settings:") < 6
    options = {word for word in text.replace("[", " ").split() if word.startswith("--")}
    described = descriptions(ALGORITHMS[name].settings)
    assert {f"--{setting.replace('_', '-')}" for setting in described} - options == {"--lessons"}
    assert all(described.values())


def test_all_settings_are_described_at_length(said):
    out, _, code = said("train", "ppo", "--help-all")
    assert code == 0 and "--clip-range" in out and "ε of the clipped surrogate objective" in out


def test_help_and_mistakes_need_no_torch():
    """They are shown at once; torch takes seconds to load."""
    loads = "import sys; from memagents.__main__ import main\ntry: main({words})\nexcept SystemExit: pass\n"
    for words in (
        ["--help"],
        ["train", "ppo", "--help"],
        ["inspect", "--help"],
        ["train", "ppo", "--recipe", "no"],
        ["list", "recipes"],
    ):
        code = loads.format(words=words) + "assert not {'torch', 'numba', 'matplotlib'} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=os.environ)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["fly"],
            "memagents has no command 'fly'; it has: train, distill, evaluate, inspect, compare, tune, plot",
        ),
        (["train", "dqn"], "train must be followed by one of ppo, imitate, distill, nec, mfec, not 'dqn'"),
        (["list", "trees"], "list must be followed by one of cores, envs, recipes, runs, pretrained, not 'trees'"),
        (["recipe", "no"], "there is no recipe 'no'; there are: "),
        (["evaluate", "nowhere"], "there is no run folder nowhere"),
        (["evaluate", "nowhere", "--video", "out.gif", "--over", "length=[1,2]"], "--video is of one environment"),
        (
            ["evaluate", "nowhere", "--over"],
            "over must be followed by a value: memagents evaluate RUN --over 'length=[10,100]'",
        ),
        (
            ["evaluate", "--over", "nowhere"],
            "over must be followed by a value: memagents evaluate RUN --over 'length=[10,100]'",
        ),
        (
            ["evaluate", "nowhere", "--over", "--json"],
            "over must be followed by a value: memagents evaluate RUN --over 'length=[10,100]'",
        ),
        (
            ["plot", "nowhere", "--measures"],
            "measures must be followed by a value: memagents plot RUN --measures health/use",
        ),
        (
            ["tune", "--env", "E", "--space"],
            "space must be followed by a value: memagents tune --env ID --space 'gamma=",
        ),
        (["evaluate", "nowhere", "--video-fps", "0"], "video_fps must be a number in [0.01, 100], not 0"),
        (["evaluate", "nowhere", "--video-fps", "nan"], "video_fps must be a number in [0.01, 100], not nan"),
        (["tune", "--env", "E", "--seed", "-1"], "seed must be an integer from 0 to 4294967295, not -1"),
        (["evaluate", "nowhere", "--video", "out.mp4"], "--video must be a path that ends in .gif, not out.mp4"),
        (["train", "ppo", "--recipe", "nope.yaml"], "recipe nope.yaml does not exist; those of memagents go by their "),
        (
            ["train", "ppo", "--recipe", "copy"],
            "recipe copy is not one for ppo; it is used by: memagents train imitate --recipe copy",
        ),
        (
            ["train", "ppo", "--batch-size", "64"],
            "there is no setting --batch-size; instead of batch_size: --n-minibatches: a minibatch is a set of ",
        ),
        (
            ["train", "imitate", "--lstm-hidden-size=64"],
            "there is no setting --lstm-hidden-size; instead of lstm_hidden_size: --core lstm --core-kwargs hidden_",
        ),
        (
            ["train", "ppo", "--core-kwargs", "lstm_hidden_size=64"],
            "core_kwargs: there is no parameter 'lstm_hidden_size'; instead of lstm_hidden_size: --core lstm --core-k",
        ),
        (
            ["train", "ppo", "--policy-kwargs", "shared_lstm=true"],
            "policy_kwargs: there is no parameter 'shared_lstm'; instead of shared_lstm: --critic-core None --pol",
        ),
        (
            ["train", "ppo", "--policy-kwargs", "critic_core=gru"],
            "policy_kwargs: critic_core is a setting of its own, --critic-core",
        ),
        (["train", "nec", "--policy-kwargs", "core=gru"], "policy_kwargs: core is a setting of its own, --core"),
        (["train", "imitate", "--env", "CartPole-v1"], "env CartPole-v1 has no oracle to imitate; train by another "),
        (["train", "imitate", "--env", "memenvs/MiniGrid-Playground-v0"], "env memenvs/MiniGrid-Playground-v0 has no "),
        (["distill", "--core", "gru"], "teacher: there is none to learn from; give an agent or its run folder"),
        (["distill", "--teacher", "nowhere"], "there is no run folder nowhere"),
        (["train", "nec", "--env", "Pendulum-v1"], "episodic control needs Discrete actions, not Box"),
        (["train", "mfec", "--env", "Pendulum-v1"], "episodic control needs Discrete actions, not Box"),
    ],
)
def test_mistakes_are_one_line(said, words, message):
    out, errors, code = said(*words)
    assert code == 2 and out == "" and errors.startswith(f"error: {message}") and errors.count("\n") == 1
    assert not list(Path().iterdir()), "a run folder of a training that cannot be"


@pytest.mark.parametrize(("command", "option", "ending"), [("plot", "--out", "png"), ("evaluate", "--video", "gif")])
def test_a_path_where_no_file_can_be_is_refused_at_once(said, command, option, ending):
    Path(f"folder.{ending}").mkdir()
    Path("file").touch()
    for path, message in (
        (f"folder.{ending}", f"{option} must be a path of a file, and folder.{ending} is a folder"),
        (f"file/a.{ending}", f"{option} must be a path in a folder that can be written, and {Path.cwd()}/file"),
    ):
        _, errors, code = said(command, "nowhere", option, path)
        assert code == 2 and errors.startswith(f"error: {message}") and errors.count("\n") == 1


def test_an_equivalent_is_named_only_where_the_command_has_it(said):
    """MFEC has neither minibatches nor a core."""
    errors = said("train", "mfec", "--batch-size", "64")[1]
    assert "--batch-size" in errors and "n-minibatches" not in errors


def test_what_is_no_option_is_answered_with_the_command(said):
    for words in (("ppo", "--no-such-option"), ("ppo", "--total-timesteps", "1.5"), ("imitate", "--seed", "many")):
        _, errors, code = said("train", *words)
        assert code == 2 and f"memagents train {words[0]} --help" in errors and "__main__" not in errors
    assert "must be an integer" in said("train", "ppo", "--total-timesteps", "1.5")[1]


# --- ends -------------------------------------------------------------------------------------------------------------


def started(code, **kwargs):
    """Python that is running in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, **kwargs)


@pytest.mark.parametrize("words", [["list", "recipes"], ["--help"], ["evaluate", "--help"], ["recipe", "tmaze"]])
def test_nobody_need_read_to_the_end(words):
    """As ``memagents list envs | head`` does not."""
    reader, writer = os.pipe()
    os.close(reader)
    process = started(f"from memagents.__main__ import main; main({words})", stdout=writer)
    os.close(writer)
    errors = process.communicate()[1]
    assert (process.returncode, errors) == (141, "")


def test_the_broken_pipe_of_something_else_is_seen():
    code = "from memagents.command_line.errors import plain_ends\nwith plain_ends(): raise BrokenPipeError('worker')"
    assert "BrokenPipeError: worker" in started(code).communicate()[1]


def test_ctrl_c_before_the_training_is_one_line(tmp_path):
    """A package that presses it while it is imported."""
    press = "signal.signal(signal.SIGINT, signal.default_int_handler)\nos.kill(os.getpid(), signal.SIGINT)\n"
    (tmp_path / "pressing.py").write_text(f"import os, signal\n{press}")  # a shell's background jobs ignore the signal
    words = ["train", "ppo", "--imports", "pressing"]
    process = started(f"from memagents.__main__ import main; main({words})", cwd=tmp_path)
    errors = process.communicate()[1]
    assert (process.returncode, errors) == (130, "interrupted\n")
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["pressing.py"]


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def made(said):
    """A finished run of 48 steps in ``runs/TMaze-v0-gru-0``, from a recipe of one's own, and what was said of it."""
    Path("mine.yaml").write_text(
        "command: ppo\nenv_kwargs: {length: 2}\ncore: gru\ncore_kwargs: {hidden_size: 4}\nn_envs: 2\nn_steps: 16\n"
    )
    _, errors, code = said("train", "ppo", "--recipe", "mine.yaml", "--total-timesteps", "4e1", "--eval-episodes=0")
    assert code == 0 and "first window: compiling what is not compiled yet" in errors
    return Path("runs/TMaze-v0-gru-0")


def test_what_one_process_does_is_refused_where_torchrun_has_begun_several(said, monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit) as end:
        main(["compare", "--env", "memenvs/TMaze-v0"])
    assert end.value.code == 2 and "memagents compare runs in one process" in capsys.readouterr().err


def test_a_finished_run_is_not_gone_on_with(said, made):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    out, _, code = said("train", "ppo", "--resume", str(made))
    assert code == 0 and out.count("\n") == 1
    assert out.startswith(f"{made} is finished: 64 of 40 steps are made; a new run") and f"--init-from {made}\n" in out
    assert before == {path: path.stat().st_mtime_ns for path in made.rglob("*")}


def test_a_finished_run_that_lacks_its_evaluation_gets_it(said, made):
    config = made / "config.yaml"
    config.write_text(config.read_text().replace("eval_episodes: 0", "eval_episodes: 4"))
    for _ in range(2):
        assert f"{made} is finished" in said("train", "ppo", "--resume", str(made))[0]
    assert (made / layout.EVALUATION_FILE).is_file()


def test_a_run_is_resumed_by_its_own_command(said, made):
    errors = said("train", "imitate", "--resume", str(made))[1]
    assert errors == (
        f"error: {made} is a run of RecurrentPPO, which goes on with: memagents train ppo --resume {made}\n"
    )


def test_a_folder_of_runs_names_them(said, made):
    for words in (("evaluate", "runs"), ("train", "ppo", "--resume", "runs")):
        assert said(*words)[1] == f"error: runs is no run, but a folder of runs; give one of them: {made}\n"
    assert said("evaluate", "runs/TMaze-v0-gro-0")[1].endswith(f"; spelled alike: {made}\n")


def test_a_film_is_where_it_is_said_to_be(said, made, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")  # taken back afterwards; the command sets it as well
    out, errors, code = said("evaluate", str(made), "--episodes", "2", "--video", "sub/film.GIF")
    assert code == 0 and out.endswith("the film is in sub/film.GIF\n") and Path("sub/film.GIF").is_file()
    out, errors, _ = said("evaluate", str(made), "--episodes", "2", "--video", "film.gif", "--json")
    assert "the film is in film.gif\n" in errors and json.loads(out)["episodes"] == 2


class Blind(World):
    """An environment that says it gives pictures, and gives something else."""

    metadata = {"render_modes": ["rgb_array"]}
    given = None

    def __init__(self, render_mode=None):
        super().__init__()
        self.render_mode = render_mode

    def render(self):
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


@pytest.mark.parametrize(
    ("given", "modes", "message"),
    [
        (None, ["human"], "it has no render_mode 'rgb_array'; its metadata names human"),
        (None, ["rgb_array"], "its pictures must be uint8 (height, width, 3), not NoneType"),
        (np.zeros((4, 4, 3)), ["rgb_array"], "its pictures must be uint8 (height, width, 3), not float64 (4, 4, 3)"),
        (RuntimeError("no\nscreen"), ["rgb_array"], "its picture fails with RuntimeError: no screen"),
    ],
)
def test_what_cannot_be_filmed_is_refused_before_anything_is_played(said, made, monkeypatch, given, modes, message):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setattr(Blind, "given", given)
    monkeypatch.setattr(Blind, "metadata", {"render_modes": modes})
    monkeypatch.setitem(gym.registry, "Blind-v0", EnvSpec("Blind-v0", entry_point=Blind, disable_env_checker=True))
    monkeypatch.setattr(World, "step", lambda *_: pytest.fail("a step was played"))
    out, errors, code = said("evaluate", str(made), "--env", "Blind-v0", "--video", "film.gif")
    assert code == 2 and out == "" and not Path("film.gif").exists()
    note, error = errors.splitlines()
    assert note.startswith("note: the run's env_kwargs") and message in error


def test_pygame_is_silent_where_there_is_no_screen(said):
    """It draws CartPole, and complains of what only a window would need."""
    small = ("--env", "CartPole-v1", "--n-envs", "2", "--n-steps", "8", "--total-timesteps", "16", "--run-dir", "pole")
    assert said("train", "ppo", *small, "--eval-episodes", "0")[2] == 0
    without = ("XDG_RUNTIME_DIR", "DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER", "PYGAME_HIDE_SUPPORT_PROMPT")
    env = {name: value for name, value in os.environ.items() if name not in without}
    words = ["evaluate", "pole", "--episodes", "1", "--video-episodes", "1", "--video", "film.gif"]
    process = started(f"from memagents.__main__ import main; main({words})", env=env, stdout=subprocess.PIPE)
    out, errors = process.communicate()
    assert Path("film.gif").is_file() and "XDG_RUNTIME_DIR" not in errors + out and "pygame" not in errors + out


def test_parameters_of_another_environment_are_said_to_be_left_out(said, made):
    words = ("--env", "CartPole-v1", "--core", "lstm")
    _, errors, code = said("train", "ppo", "--recipe", "mine.yaml", *words, "--n-steps", "0")
    assert code == 2 and errors.splitlines()[:2] == [
        "note: the recipe's env_kwargs (length=2) are left out, since --env CartPole-v1 is another env",
        "note: the recipe's core_kwargs (hidden_size=4) are left out, since --core lstm is another core",
    ]
    Path("own.yaml").write_text("critic_core: same\ncritic_core_kwargs: {hidden_size: 4}\n")
    for option, value in (("--core", "gru"), ("--critic-core", "None")):
        errors = said("train", "ppo", "--recipe", "own.yaml", option, value, "--n-steps", "0")[1]
        assert errors.splitlines()[0] == (
            "note: the recipe's critic_core_kwargs (hidden_size=4) are left out, "
            f"since {option} {value} is another {option[2:].replace('-', '_')}"
        )
    errors = said("evaluate", str(made), "--env", "CartPole-v1")[1]
    assert errors.startswith("note: the run's env_kwargs (length=2) are left out, since --env CartPole-v1 is another")
    assert "note:" not in said("evaluate", str(made), "--env", "memenvs/TMaze-v0", "--episodes", "2")[1]


def test_where_no_training_made_the_run_an_environment_is_asked_for(said, made):
    (made / "config.yaml").unlink()
    assert said("evaluate", str(made))[1].endswith("names no environment: give one by --env ID\n")
    assert said("evaluate", str(made), "--env", "memenvs/TMaze-v0", "--episodes", "2")[2] == 0


# --- lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), [("cores", "dnc"), ("envs", "memenvs/TMaze-v0"), ("recipes", "tmaze")])
def test_lists_name_what_there_is_and_say_what_it_is(said, kind, name):
    out, _, code = said("list", kind)
    rows = [line.split(maxsplit=1) for line in out.splitlines()]
    assert code == 0 and name in [row[0] for row in rows]
    ours = [row for row in rows if kind != "cores" or core_class(row[0]).__module__.startswith("memagents.")]
    assert all(len(row) == 2 for row in ours), "a name without a word about it"  # other tests register cores, too


def test_families_of_minigrid_have_sentences_of_their_own(said):
    abouts = dict(line.split(maxsplit=1) for line in said("list", "envs")[0].splitlines() if "MiniGrid-" in line)
    assert len(abouts) > 70 and len(set(abouts.values())) == len(FAMILIES)


def test_runs_are_listed(said, tmp_path):
    out, errors, code = said("list", "runs")
    assert (out, code) == ("", 0) and "there are no runs in" in errors
    made = said("train", "mfec", *("--total-timesteps", "40", "--eval-episodes", "0", "--policy-kwargs", "key_size=4"))
    assert made[2] == 0, made
    assert said("list", "runs")[0].split(maxsplit=1) == ["runs/TMaze-v0-mfec-0", "MFEC, 40 steps\n"]


def test_an_unfinished_training_is_told_of_by_whatever_looks_at_its_agent(said):
    short = ("--core", "gru", "--total-timesteps", "64", "--n-steps", "16", "--n-envs", "4", "--eval-episodes", "0")
    assert said("train", "ppo", *short, "--run-dir", "run")[2] == 0
    looks = (
        ("evaluate", "run", "--episodes", "1", "--json"),
        ("health", "run", "--episodes", "1", "--ages", "0", "--steps", "4"),
        ("inspect", "run", "--episodes", "1"),
    )
    for words in looks:
        out, errors, code = said(*words)
        assert code == 0 and "the training of" not in out + errors
    config = Path("run") / layout.CONFIG_FILE
    config.write_text(config.read_text().replace("total_timesteps: 64", "total_timesteps: 1000"))
    for words in looks:
        out, errors, code = said(*words)
        assert code == 0 and errors.startswith("note: the training of run has made 64 of 1,000 steps\n"), words
    about = json.loads((Path("run") / layout.INSPECTION_FOLDER / DESCRIPTION_FILE).read_text())["about"]
    assert about["unfinished"] == "64 of 1,000 steps"


def test_episodic_control_is_listed_with_the_core_that_it_has(said):
    for core, named in ("none", "NEC"), ("gru", "NEC, gru"):
        NEC("MlpPolicy", make_env("memenvs/TMaze-v0", 1), policy_kwargs={"core": core}).save(f"runs/{core}")
        assert said("list", "runs")[0].splitlines()[-1].split(maxsplit=1) == [f"runs/{core}", f"{named}, 0 steps"]
        layout.remove(Path("runs") / core)


def test_a_damaged_run_does_not_hide_the_others(said, tmp_path):
    for name, text in (("a", "no JSON"), ("b", "{}")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / layout.POLICY_FILE).write_text(text)
    out, _, code = said("list", "runs")
    assert code == 0 and [line.split()[:4] for line in out.splitlines()] == [
        ["runs/a", "cannot", "be", "read:"],
        ["runs/b", "cannot", "be", "read:"],
    ]


def test_a_recipe_is_printed_and_copied_once(said, tmp_path):
    text = (RECIPES / "tmaze.yaml").read_text()
    assert said("recipe", "tmaze") == (text, "", 0)
    assert said("recipe", "tmaze", "--copy")[0] == "copied to tmaze.yaml\n"
    assert (tmp_path / "tmaze.yaml").read_text() == text
    assert "tmaze.yaml exists already" in said("recipe", "tmaze", "--copy")[1]
    assert said("recipe", "tmaze.yaml")[0] == text
    assert "is a file of yours already" in said("recipe", "tmaze.yaml", "--copy")[1]


def test_a_recipe_is_copied_to_where_it_is_wanted(said, tmp_path):
    text = (RECIPES / "tmaze.yaml").read_text()
    (tmp_path / "sub").mkdir()
    for words, path in (
        (["--copy", "mine.yaml"], "mine.yaml"),
        (["--copy=other.yml"], "other.yml"),
        (["--copy", "sub"], "sub/tmaze.yaml"),
    ):
        assert said("recipe", "tmaze", *words) == (f"copied to {path}\n", "", 0)
        assert (tmp_path / path).read_text() == text
        assert said("recipe", "copy", *words[:1], *(["mine.yaml"] if len(words) == 2 else []))[2] == 2
        assert (tmp_path / path).read_text() == text
    errors = said("recipe", "tmaze", "--copy", "mine.txt")[1]
    assert errors == "error: --copy must be followed by a path that ends in .yaml, not mine.txt\n"
    assert said("recipe", "tmaze", "mine.yaml")[2] == 2  # not a copy, and not silently a print


def test_every_recipe_begins_with_a_sentence_about_it_and_how_it_is_run():
    for name in recipe_names():
        first, second = (RECIPES / f"{name}.yaml").read_text().splitlines()[:2]
        assert first.startswith("# ") and first.endswith(".") and len(first) < 100, name
        assert second.startswith("# memagents train ") and f"--recipe {name}" in second, name


# --- run folders ------------------------------------------------------------------------------------------------------


def test_runs_are_found_below_a_folder(tmp_path):
    for name in ("b/c", "a"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / layout.POLICY_FILE).touch()
    (tmp_path / "empty").mkdir()
    assert layout.runs_in(tmp_path) == [tmp_path / "a", tmp_path / "b" / "c"]
    assert layout.runs_in(Path("nowhere")) == []
