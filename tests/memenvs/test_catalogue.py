"""Environments found by their ids, and what is said where there is none."""

import importlib
import sys

import gymnasium as gym
import pytest

from memenvs import ENVIRONMENTS
from memenvs.catalogue import environment_class, environments, find, parameters
from memenvs.maze.tmaze import TMaze


def test_all_of_memenvs_and_nothing_else_is_listed():
    assert {f"memenvs/{name}" for name in ENVIRONMENTS} <= environments().keys()
    assert all(name.startswith("memenvs/") for name in environments())


def test_the_namespace_may_be_left_out():
    assert find("TMaze-v0") is find("memenvs/TMaze-v0") is gym.registry["memenvs/TMaze-v0"]
    assert environment_class(find("TMaze-v0")) is TMaze
    assert parameters(find("TMaze-v0"))["length"].default == 10


def test_minigrids_own_environments_do_not_hide_those_of_memenvs():
    import minigrid  # noqa: F401 — registers its environments

    assert find("MiniGrid-MemoryS7-v0").id == "memenvs/MiniGrid-MemoryS7-v0"
    assert find("minigrid:MiniGrid-MemoryS7-v0").id == "MiniGrid-MemoryS7-v0"
    assert find("BabyAI-GoToRedBall-v0").id == "BabyAI-GoToRedBall-v0"


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        (
            "TMase-v0",
            "no environment 'TMase-v0'; spelled alike: memenvs/TMaze-v0, .*; one that a package of yours registers is "
            "'package:Id'; memenvs has: memenvs/Associat.*, .. of POPGym such as memenvs/popgym-.*, and 7. of MiniGrid "
            "such as memenvs",
        ),
        ("memenvs/TMase-v0", "spelled alike: memenvs/TMaze-v0, "),
        ("memenvs/MiniGrid-MemoryS8-v0", "memenvs has: memenvs/MiniGrid-Block.*, memenvs/MiniGrid-MemoryS7-v0, "),
        (
            "memenvs/popgym-Autoencode-v0",
            "memenvs has: memenvs/popgym-AutoencodeEasy-v0, memenvs/popgym-AutoencodeHard",
        ),
        ("MiniGrid-Memory-S13-v0", "spelled alike: .*memenvs/MiniGrid-MemoryS13-v0, "),
        ("xyz", "no environment 'xyz'; one that a package of yours.*MiniGrid-UnlockPickup-v0$"),
        ("no_such_package:Maze-v0", "env 'no_such_package:Maze-v0': there is no module 'no_such_package' to import it"),
        ("memenvs.no_such_module:Maze-v0", "there is no module 'memenvs.no_such_module' to import it from"),
        ("./memenvs:Maze-v0", "there is no module './memenvs' to import it from"),
        (3, "env must be the id of an environment, not 3"),
    ],
)
def test_what_is_not_there_is_named(env_id, message):
    with pytest.raises(ValueError, match=message):
        find(env_id)


def test_ids_of_a_package_are_named_as_they_can_be_given_again(tmp_path, monkeypatch):
    (tmp_path / "mazes_elsewhere.py").write_text("from gymnasium import Env\nclass Odd(Env): pass\n")
    (tmp_path / "odd_mazes.py").write_text(
        "import gymnasium, minigrid, mazes_elsewhere\n"
        "gymnasium.register('OddMulti-v0', entry_point=mazes_elsewhere.Odd)\n"
        "gymnasium.register('OddTMaze-v0', entry_point='memenvs.maze.tmaze:TMaze')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    has = "odd_mazes has: odd_mazes:OddMulti-v0, odd_mazes:OddTMaze-v0$"
    try:
        for wrong, alike in (
            ("OddMult-v0", "spelled alike: odd_mazes:OddMulti-v0.*"),
            ("OddTMase-v0", "spelled alike: odd_mazes:OddTMaze-v0, memenvs/TMaze-v0.*"),
            ("CartPol-v1", "spelled alike: CartPole-v1, .*"),
        ):
            with pytest.raises(ValueError, match=f"^there is no environment 'odd_mazes:{wrong}'; {alike}; {has}"):
                find(f"odd_mazes:{wrong}")
        with pytest.raises(ValueError, match=f"^there is no environment 'odd_mazes:xyz'; {has}"):
            find("odd_mazes:xyz")
    finally:
        for name in ("OddMulti-v0", "OddTMaze-v0"):
            gym.registry.pop(name, None)
        for module in ("odd_mazes", "mazes_elsewhere"):
            sys.modules.pop(module, None)


def test_what_a_package_registers_is_suggested_with_it(tmp_path, monkeypatch):
    (tmp_path / "pitfalls.py").write_text(
        "import gymnasium as gym\n"
        "gym.register('Pitfall-v7', entry_point='pitfalls:Pitfall')\n"
        "gym.register('own/Pitfall-v8', entry_point=lambda: None)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        with pytest.raises(ValueError, match=r"spelled alike: .*pitfalls:Pitfall-v7") as found:
            find("pitfalls:Pitfal-v7")
        assert "pitfalls:own/Pitfall-v8" in str(found.value) and "pitfalls:memenvs" not in str(found.value)
    finally:
        for name in ("Pitfall-v7", "own/Pitfall-v8"):
            gym.registry.pop(name, None)
        sys.modules.pop("pitfalls", None)


def test_what_a_package_itself_does_not_find_is_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "mazes_of_mine.py").write_text("import mazes\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="'mazes'"):
        find("mazes_of_mine:Maze-v0")
    assert "mazes_of_mine" not in sys.modules


def test_others_environments_have_no_description_here():
    with pytest.raises(ValueError, match=r"CartPole-v1 is not built on memenvs\.batched"):
        environment_class(find("CartPole-v1"))


def test_an_id_for_batches_only_is_no_single_environment():
    from memagents.environments.make import make_env, make_single_env

    gym.register("tests/Batches-v0", vector_entry_point="memenvs.maze.tmaze:BatchedTMaze")
    try:
        assert make_env("tests/Batches-v0", 2).num_envs == 2
        with pytest.raises(ValueError, match=r"env 'tests/Batches-v0' cannot be made: .*entry_point"):
            make_single_env("tests/Batches-v0")
    finally:
        gym.registry.pop("tests/Batches-v0")


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("memenvs.batched", ("BatchedEnv", "Definition", "SingleEnv")),
        ("memenvs.catalogue", ("describe", "environments", "find", "registered_name", "unknown")),
        ("memenvs.checks", ("bounds", "flag", "positive", "within")),
        ("memenvs.compilation", ("njit",)),
        ("memenvs.engine.definition", ("Definition", "Goals")),
        ("memenvs.goals", ("GoalView",)),
        ("memenvs.graph.family", ("BatchedFamilyTree", "FamilyTree")),
        ("memenvs.grid.missions", ("MissionWords",)),
        ("memenvs.random", ("advance", "fold", "integer", "permute", "uniform")),
        ("memenvs.render", ("blank_canvas", "draw_box", "draw_text", "to_array")),
    ],
)
def test_public_names_stay_where_users_import_them_from(module, names):
    assert all(hasattr(importlib.import_module(module), name) for name in names)
