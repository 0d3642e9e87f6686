"""``memagents inspect`` from a run folder to its page, and what it says where that cannot be."""

import json
import re
import shutil
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import pytest

from memagents.__main__ import main
from memagents.environments import make_env
from memagents.inspection import Recording
from memagents.inspection.played import Played
from memagents.inspection.run_page import action_names, action_sizes, filmed
from memagents.nec.nec import NEC
from memagents.runs import layout
from tests.inspection.support import make_agent

TMAZE = ("--env", "memenvs/TMaze-v0", "--env-kwargs", "length=3", "--episodes", "2")


def index_of(page):
    return json.loads(re.search(r'id="index">(.*?)</script>', page.read_text(), re.DOTALL)[1])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Agents of the same spaces and one of others, saved."""
    folder = tmp_path_factory.mktemp("runs")
    for name, env, core in [
        ("gru", "memenvs/TMaze-v0", "gru"),
        ("lstm", "memenvs/TMaze-v0", "lstm"),
        ("none", "memenvs/TMaze-v0", "none"),
        ("kv", "memenvs/TMaze-v0", "kv"),
        ("copy", "memenvs/Copy-v0", "gru"),
    ]:
        make_agent(env, 1, {"core": core}).save(folder / name)
    NEC("MlpPolicy", make_env("memenvs/TMaze-v0", 1)).save(folder / "nec")
    return folder


@pytest.fixture
def said(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        try:
            main(["inspect", *map(str, words)])
        except SystemExit as stop:
            return *capsys.readouterr(), stop.code or 0
        return *capsys.readouterr(), 0

    return run


def test_a_run_becomes_a_page_and_a_recording_beside_it(said, folders):
    out, _, code = said(folders / "gru", *TMAZE, "--stochastic", "--seed", "3")
    page = folders / "gru" / "inspection.html"
    assert code == 0 and out == f"the page is {page}\n"
    (recording,) = index_of(page)["recordings"]
    assert recording["name"] == "gru" and recording["env"] == "memenvs/TMaze-v0" and not recording["deterministic"]
    assert recording["action_names"] == ["up", "right", "down", "left"] and recording["action_sizes"] == [4]
    assert recording["env_kwargs"]["length"] == "3"
    assert len(recording["episodes"]) == 2 and all(episode["film"] for episode in recording["episodes"])
    assert {"trace.hidden", "values", "decisions"} <= recording["episodes"][0]["arrays"].keys()
    kept = Recording.open(folders / "gru" / "inspection")
    assert kept.description["seed"] == 3 and len(kept.episodes) == 2
    layout.remove(folders / "gru")
    assert not page.exists() and not kept.folder.exists()
    make_agent("memenvs/TMaze-v0", 1, {"core": "gru"}).save(folders / "gru")


def test_another_run_plays_the_same_episodes(said, folders, tmp_path):
    page = tmp_path / "both.html"
    out, _, code = said(folders / "gru", "--against", folders / "lstm", *TMAZE, "--out", page, "--max-steps", "2")
    assert code == 0 and str(page) in out
    index = index_of(page)
    assert [recording["name"] for recording in index["recordings"]] == ["gru", "lstm"]
    assert index["recordings"][1]["episodes"][0]["arrays"]["rewards"]["shape"][0] <= 2
    assert not any("different observations" in note for note in index["notes"])
    assert not (folders / "lstm" / "inspection").exists()


def test_bad_input_is_told_in_one_sentence(said, folders, tmp_path):
    gru = folders / "gru"
    (tmp_path / "folder.png").mkdir()
    shutil.rmtree(gru / layout.INSPECTION_FOLDER, ignore_errors=True)
    (gru / layout.INSPECTION_PAGE).unlink(missing_ok=True)
    for words, message in [
        (["nowhere"], "there is no run folder nowhere"),
        ([gru, "--against", "nowhere", *TMAZE], "there is no run folder nowhere"),
        ([gru], "is no run of a training, so it names no environment: give one by --env ID"),
        ([gru, *TMAZE, "--out", "page.txt"], "--out must be a path that ends in .html, not page.txt"),
        ([gru, *TMAZE, "--out", "no/page.html"], "--out: there is no folder"),
        ([gru, "--episodes", "0"], "episodes must be a positive integer, not 0"),
        ([gru, "--seed", "-1"], "seed must be an integer from 0 to 4294967295, not -1"),
        ([gru, "--max-steps", "0"], "max_steps must be a positive integer, not 0"),
        ([folders / "none", *TMAZE, "--change", "erase"], "change: there is no memory whose places could be changed"),
        (
            [folders / "nec", *TMAZE, "--change", "erase"],
            "--change is for runs of memagents train ppo and imitate, which act by a policy; "
            f"{folders / 'nec'} is one of NEC: leave out --change",
        ),
        ([folders / "kv", *TMAZE, "--change", "freeze"], "--change must be one of erase, noise, swap, not freeze"),
        ([gru, *TMAZE, "--picture", "m.png"], "--picture and --tensors belong together"),
        (
            [gru, *TMAZE, "--picture", "m.jpg", "--tensors", "hidden"],
            "--picture must be a path that ends in .png or .svg",
        ),
        (
            [gru, *TMAZE, "--picture", "folder.png", "--tensors", "hidden"],
            "--picture must be a path of a file, and folder.png ",
        ),
        (
            [gru, *TMAZE, "--picture", "m.png", "--tensors", "hidden", "write_weights"],
            "tensors: there is no 'write_weights' in the trace; it has hidden, reset_gate, update_gate",
        ),
        (
            [folders / "none", *TMAZE, "--picture", "m.png", "--tensors", "x"],
            "there is no 'x' in the trace; it has nothing",
        ),
        ([gru, "--env", "memenvs/Copy-v0"], "space"),
        ([gru, "--against", folders / "copy", *TMAZE], "space"),
        ([gru, "--env", "memenvs/NoSuch-v0"], "NoSuch-v0"),
        ([gru, "--env", "memenvs/TMaze-v0", "--env-kwargs", "depth=3"], "has no parameter 'depth'"),
    ]:
        out, errors, code = said(*words)
        assert code == 2 and out == "" and message in errors, (words, errors)
        assert errors.startswith("error: ") and errors.count("\n") == 1, errors
        if "--picture" in words or "--change" in words:  # found before anything is played
            assert not list(folders.glob("*/inspection*")), words


@pytest.mark.parametrize(("name", "tensor"), [("gru", "hidden"), ("nec", "neighbour_weights")])
def test_a_tensor_becomes_a_picture(said, folders, name, tensor):
    out, _, code = said(folders / name, *TMAZE, "--picture", "memory.svg", "--tensors", tensor)
    assert code == 0 and out.endswith("the picture is memory.svg\n")
    assert "<svg" in Path("memory.svg").read_text()


class Bare(gym.Env):
    """An environment that has no picture of itself."""

    observation_space = gym.spaces.Box(0, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.low, {}

    def step(self, action):
        return self.observation_space.low, 0.0, True, False, {}


class Blurred(Bare):
    """An environment whose pictures need a library that is not installed."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 1}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def render(self):
        raise gym.error.DependencyNotInstalled("pygame is not installed")


class Words(Bare):
    """An environment that shows itself in words only."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"]}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode


@pytest.mark.filterwarnings("error")
def test_an_environment_without_pictures_is_played_without():
    assert filmed(Played("memenvs/TMaze-v0", {"render_mode": "human"}, 2)).render_mode == "rgb_array"
    for kind in Bare, Words, Blurred:
        gym.register(f"{kind.__name__}-v0", kind)
        env = filmed(Played(f"{kind.__name__}-v0", {}, 1))
        assert env.render_mode is None, kind
        assert action_names(f"{kind.__name__}-v0", {}, env.action_space) == []


def test_actions_have_the_names_that_environments_give_them():
    for env, names, sizes in [
        ("MiniGrid-Empty-5x5-v0", ["left", "right", "forward", "pickup", "drop", "toggle", "done"], [7]),
        ("CartPole-v1", [], [2]),
        ("Pendulum-v1", [], []),
        ("memenvs/Copy-v0", [], []),
    ]:
        space = make_env(env).action_space
        assert (action_names(env, {}, space), action_sizes(space)) == (names, sizes)
