"""The pools of MiniGrid's levels, the parameters and the snapshots of environments in them."""

import os
import subprocess
import sys

import gymnasium as gym
import minigrid  # noqa: F401 — registers its environments
import numpy as np
import pytest

from memenvs.grid import pools as module
from memenvs.grid.cells import CONTENT_AT, colour_of, kind_of, state_of
from memenvs.grid.ids import NAMES, SUMMARIES
from memenvs.grid.minigrid import BatchedMiniGrid, MiniGrid, define
from memenvs.grid.missions import MissionWords, text
from memenvs.grid.pools import NO_LEVEL, draw_pool, pool
from memenvs.grid.records import LEVEL

pytestmark = pytest.mark.filterwarnings("ignore:.*out of date")

FEW = ["MiniGrid-MemoryS13-v0", "MiniGrid-MultiRoom-N6-v0", "MiniGrid-ObstructedMaze-Full-v1", "MiniGrid-LockedRoom-v0"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "cache_directory", lambda: tmp_path)
    return tmp_path / "levels"


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def contents(level):
    cells = level["cells"][: level["width"] * level["height"]]
    return (cells >> CONTENT_AT)[cells >> CONTENT_AT > 0]


@pytest.mark.parametrize("name", FEW)
def test_level_number_k_is_what_minigrid_draws_for_seed_k(name):
    env = gym.make(name, disable_env_checker=True).unwrapped
    drawn, boxed = pool(name, 100), 0
    for number in range(0, 100, 7):
        env.reset(seed=number)
        level = drawn.records[drawn.which[number]]
        cells = level["cells"][: env.width * env.height].astype(int)
        shown = np.stack([kind_of.py_func(cells), colour_of.py_func(cells), state_of.py_func(cells)], axis=1)
        assert (level["width"], level["height"]) == (env.width, env.height)
        assert np.array_equal(shown.reshape(env.height, env.width, 3).transpose(1, 0, 2), env.grid.encode())
        assert (level["x"], level["y"], level["direction"]) == (*env.agent_pos, env.agent_dir)
        assert text(level["words"]) == env.mission
        assert level["max_steps"] == env.max_steps
        inside = [thing.contains.encode() for thing in env.grid.grid if thing is not None and thing.contains]
        assert [(kind_of.py_func(c), colour_of.py_func(c), 0) for c in contents(level).tolist()] == inside
        boxed += len(inside)
    assert (boxed > 0) == ("Obstructed" in name)


def test_equal_levels_are_kept_once_and_drawn_as_often_as_minigrid_draws_them():
    drawn = pool("MiniGrid-MemoryS7-v0", 4096)
    assert len({record.tobytes() for record in drawn.records}) == drawn.records.size == 16
    envs = BatchedMiniGrid(num_envs=4096, level="MiniGrid-MemoryS13Random-v0")
    envs.reset(seed=0)
    numbers = envs.batch.rows["level"]["number"]
    assert (numbers.min() < 20) & (numbers.max() > 4075)
    seen = np.unique(numbers).size / 4096
    assert 0.61 < seen < 0.655  # 1 - 1 / e of all numbers
    drawn = pool("MiniGrid-MemoryS13Random-v0", 4096)
    for level in envs.batch.rows["level"][:50]:
        assert np.array_equal(level["cells"][:169], drawn.records[drawn.which[level["number"]]]["cells"][:169])


def test_a_pool_is_drawn_once(folder, monkeypatch):
    first = pool("MiniGrid-Fetch-5x5-N2-v0", 50)
    assert first.with_mission
    assert first.actions == 7
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setattr(module, "draw_pool", None)
    assert same(pool("MiniGrid-Fetch-5x5-N2-v0", 50), first)
    with pytest.raises(TypeError):
        pool("MiniGrid-Fetch-5x5-N2-v0", 51)
    with pytest.raises(TypeError):
        pool("MiniGrid-Fetch-6x6-N2-v0", 50)
    monkeypatch.setattr(module, "stamp", lambda: "another version")
    with pytest.raises(TypeError):
        pool("MiniGrid-Fetch-5x5-N2-v0", 50)


@pytest.mark.parametrize("name", ["grid.cells", "grid.missions", "grid.records", "grid.view", "pcg64"])
def test_pools_of_other_code_are_not_taken(name, tmp_path, monkeypatch):
    before = module.stamp()
    (tmp_path / "edited.py").write_text("other")
    monkeypatch.setattr(f"memenvs.{name}.__file__", str(tmp_path / "edited.py"))
    assert module.stamp.__wrapped__() != before


def damages(data):
    middle = len(data) // 2
    yield b""
    yield data[:middle]
    yield data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :]
    yield b"something else"


def test_a_damaged_pool_is_drawn_again(folder, monkeypatch):
    first = pool("MiniGrid-DoorKey-5x5-v0", 50)
    (file,) = folder.iterdir()
    data, draws = file.read_bytes(), []
    monkeypatch.setattr(module, "draw_pool", lambda *given: draws.append(given) or draw_pool(*given))
    pool("MiniGrid-DoorKey-6x6-v0", 60)
    (other,) = set(folder.iterdir()) - {file}
    wrong = [*damages(data), other.read_bytes()]
    for number, damaged in enumerate(wrong):
        file.write_bytes(damaged)
        assert same(pool("MiniGrid-DoorKey-5x5-v0", 50), first)
        assert len(draws) == number + 2
        assert same(pool("MiniGrid-DoorKey-5x5-v0", 50), first)
        assert len(draws) == number + 2
    assert set(folder.iterdir()) == {file, other}


def test_a_wrong_bit_anywhere_is_noticed_or_harmless(folder):
    first = pool("MiniGrid-DoorKey-5x5-v0", 50)
    (file,) = folder.iterdir()
    data, noticed = file.read_bytes(), 0
    for place in range(0, len(data), 3):
        file.write_bytes(data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :])
        loaded = module.load(file, 50)
        noticed += loaded is None
        assert loaded is None or same(loaded, first)
    assert noticed > len(data) / 6


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(module, "cache_directory", lambda: tmp_path / "file")
    assert pool("MiniGrid-DoorKey-5x5-v0", 20).which.size == 20


def test_levels_that_minigrid_fails_to_draw(folder, monkeypatch):
    make = module.make_minigrid

    def failing(name):
        env = make(name)
        reset = env.reset

        def sometimes(seed):
            if seed % 3 == 1:
                raise RecursionError
            return reset(seed=seed)

        env.reset = sometimes
        return env

    monkeypatch.setattr(module, "make_minigrid", failing)
    drawn = pool("MiniGrid-FourRooms-v0", 30)
    assert np.array_equal(drawn.which == NO_LEVEL, np.arange(30) % 3 == 1)
    assert drawn.records.size == 20
    assert same(pool("MiniGrid-FourRooms-v0", 30), drawn)
    monkeypatch.undo()
    monkeypatch.setattr("memenvs.grid.minigrid.pool", lambda *given: drawn)
    envs = BatchedMiniGrid(num_envs=500, level="MiniGrid-FourRooms-v0", levels=30)
    envs.reset(seed=0)
    assert set(envs.batch.rows["level"]["number"]) == {k for k in range(30) if k % 3 != 1}


PROCESS = """
import sys
import gymnasium as gym
import numpy as np
import memenvs
assert "minigrid" not in sys.modules and "memenvs.grid.minigrid" not in sys.modules
envs = gym.make_vec("memenvs/MiniGrid-Unlock-v0", num_envs=3, levels=25)
envs.reset(seed=0)
envs.step(np.zeros(3, int))
print("minigrid" in sys.modules)
"""


@pytest.mark.slow
def test_another_process_draws_nothing(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    run = [sys.executable, "-c", PROCESS]
    said = [subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert said == ["True\n", "False\n"]


@pytest.mark.parametrize("name", NAMES)
def test_spaces_are_those_of_wrapped_minigrid(name):
    peer = MissionWords(gym.make(name, disable_env_checker=True))
    for make in (gym.make, gym.make_vec):
        env = make(f"memenvs/{name}", levels=64)
        single = env.unwrapped if make is gym.make else env
        observation, action = (
            (single.observation_space, single.action_space)
            if make is gym.make
            else (single.single_observation_space, single.single_action_space)
        )
        assert observation == peer.observation_space
        assert action == peer.action_space
        assert len(single.definition.action_names) == action.n


def test_names_are_all_of_minigrids_own():
    known = {name for name in gym.registry if name.startswith("MiniGrid-") and "WFC" not in name}
    assert set(NAMES) == SUMMARIES.keys() == known
    assert {f"memenvs/{name}" for name in NAMES} <= set(gym.registry)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("level", "MiniGrid-MemoryS15-v0", "level must be one of .*MiniGrid-MemoryS13-v0"),
        ("level", "BabyAI-GoToObj-v0", "level must be one of"),
        ("agent_view_size", 6, "agent_view_size must be an odd integer from 3 to 15, not 6"),
        ("agent_view_size", 17, "agent_view_size"),
        ("agent_view_size", 7.0, "agent_view_size"),
        ("max_steps", 0, "max_steps must be an integer of at least 1"),
        ("max_steps", 2**31, "max_steps must be at most 2147483647"),
        ("levels", 0, "levels must be an integer from 1 to 65536"),
        ("levels", 65537, "levels"),
    ],
)
def test_wrong_parameters_are_named(argument, value, message):
    with pytest.raises(ValueError, match=message):
        define(**{argument: value})


@pytest.mark.parametrize(("name", "distinct"), [("Empty-8x8", 1), ("MemoryS7", 16), ("MemoryS13", 40)])
def test_too_few_levels_for_a_split(name, distinct):
    with pytest.raises(ValueError, match=f"has {distinct} distinct level"):
        gym.make(f"memenvs/MiniGrid-{name}-v0", split="train")
    gym.make(f"memenvs/MiniGrid-{name}-v0").reset(seed=0)


def test_many_levels_may_be_asked_for():
    assert define("MiniGrid-Empty-5x5-v0", levels=5000).distinct_levels == 1
    assert define("MiniGrid-DoorKey-5x5-v0", levels=5000).distinct_levels == 48


# --- actions that do something, and snapshots -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ObstructedMaze-1Dlh-v0", "PutNear-6x6-N2-v0", "GoToDoor-5x5-v0", "MemoryS7-v0"])
def test_actions_that_count_as_legal_are_those_that_do_something(name):
    env = MiniGrid(level=f"MiniGrid-{name}", levels=64)
    legal, rng = env.definition.legal, np.random.default_rng(0)
    env.reset(seed=0)
    counts = np.zeros((2, 7), int)
    for _ in range(600):
        kept, mask = env.snapshot(), np.zeros(7, bool)
        row = env.batch.rows[0]
        legal(row["state"], row["level"], mask)
        before = {field: np.copy(row["state"][field]) for field in row["state"].dtype.names if field != "steps"}
        for action in range(7):
            _, _, terminated, _, _ = env.step(action)
            changed = any(not np.array_equal(value, row["state"][field]) for field, value in before.items())
            assert (changed or terminated) == mask[action]
            counts[int(mask[action]), action] += 1
            env.restore(kept)
        if any(env.step(env.random_walk(rng))[2:4]):
            env.reset()
    assert counts[1, :3].min() > 0
    assert counts[0, 2:6].min() > 0 or name.startswith("GoToDoor")


def set_field(part, field, value):
    def damage(row):
        row[part][field] = value

    return damage


def set_cell(part, index, value):
    def damage(row):
        row[part]["cells"][index] = value

    return damage


DAMAGES = {
    "another level's number": set_field("level", "number", 7),
    "no level's number": set_field("level", "number", 64),
    "a negative number": set_field("level", "number", -1),
    "steps without end": set_field("level", "max_steps", 10**6),
    "another rule": set_field("level", "rule", 3),
    "a wider grid": set_field("level", "width", 25),
    "a wall away in the level": set_cell("level", 0, 1),
    "a target outside": set_field("level", "target", (99, 0)),
    "too many obstacles": set_field("level", "moving", 30),
    "an agent on the border": set_field("state", "x", 0),
    "an agent outside": set_field("state", "y", 30),
    "no direction": set_field("state", "direction", 4),
    "too many steps": set_field("state", "steps", 10**5),
    "a carried wall": set_field("state", "carried", 2),
    "a cell of no type": set_cell("state", 20, 15),
    "a cell of no colour": set_cell("state", 20, 5 | 7 << 4),
    "a box in a box": set_cell("state", 20, 6 | 7 << 9),
    "a wall that lets see": set_cell("state", 0, 1),
    "an obstacle outside": set_field("state", "obstacles", 90),
    "numbers that never end": set_field("state", "random", 0),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_snapshot_is_refused(damage):
    env = MiniGrid(level="MiniGrid-Dynamic-Obstacles-6x6-v0", levels=64)
    env.reset(seed=3)
    env.step(0)
    kept = env.snapshot()
    rows = kept["rows"].copy()
    DAMAGES[damage](rows.view(env.batch.rows.dtype)[0, 0])
    assert not np.array_equal(rows, kept["rows"])
    with pytest.raises(ValueError, match="damaged"):
        env.restore(kept | {"rows": rows})
    assert np.array_equal(env.snapshot()["rows"], kept["rows"])
    env.restore(kept)


@pytest.mark.parametrize("name", ["ObstructedMaze-1Dlhb-v0", "Dynamic-Obstacles-5x5-v0", "GoToDoor-8x8-v0"])
def test_what_is_not_refused_can_be_stepped(name):
    envs = BatchedMiniGrid(num_envs=4, level=f"MiniGrid-{name}", levels=64)
    rng, taken = np.random.default_rng(0), 0
    envs.reset(seed=0)
    kept = envs.snapshot()
    size = kept["rows"].shape[1]
    start = envs.batch.rows.dtype.fields["state"][1]
    for _ in range(400):
        rows = kept["rows"].copy()
        where = start + rng.integers(24) if rng.random() < 0.5 else rng.integers(size)
        rows[rng.integers(4), where] ^= 1 << rng.integers(8)
        try:
            envs.restore(kept | {"rows": rows})
        except ValueError:
            continue
        taken += 1
        for _ in range(30):
            observations, *_ = envs.step(rng.integers(0, envs.single_action_space.n, 4))
            assert envs.observation_space.contains(observations)
            assert observations["image"][..., 0].max() <= 9
    assert 0 < taken < 400


@pytest.mark.parametrize("name", ["MemoryS13-v0", "LockedRoom-v0", "Playground-v0"])
def test_pictures(name):
    pictures, texts = (
        gym.make(f"memenvs/MiniGrid-{name}", levels=64, render_mode=mode) for mode in ("rgb_array", "ansi")
    )
    shown, told = [], []
    for env, seen in ((pictures, shown), (texts, told)):
        env.reset(seed=0)
        for action in (0, 1, 1, 1):
            seen.append(env.render())
            env.step(action)
    assert len({picture.tobytes() for picture in shown}) == len(set(told)) == 3
    assert np.array_equal(shown[0], shown[2])
    level = texts.unwrapped.batch.rows["level"][0]
    assert told[0].splitlines()[level["height"] :] == [text(level["words"])] * bool(level["words"][0])
    wide = gym.make(f"memenvs/MiniGrid-{name}", levels=64, render_mode="rgb_array", agent_view_size=3)
    wide.reset(seed=0)
    assert not np.array_equal(wide.render(), shown[0])


def test_only_some_have_an_oracle():
    env, other = (MiniGrid(level=f"MiniGrid-{name}", levels=64) for name in ("MemoryS13-v0", "KeyCorridorS6R3-v0"))
    env.reset(seed=0)
    other.reset(seed=0)
    rewards = []
    for _ in range(30):
        _, reward, terminated, _, _ = env.step(env.oracle())
        if terminated:
            rewards.append(reward)
            env.reset()
    assert rewards and min(rewards) > 0.95
    with pytest.raises(NotImplementedError, match="no oracle"):
        other.oracle()


def test_records_are_of_one_layout():
    assert define("MiniGrid-MemoryS7-v0").level == define("MiniGrid-PutNear-6x6-N2-v0").level == LEVEL
    assert define("MiniGrid-MemoryS7-v0").params.dtype == define("MiniGrid-PutNear-6x6-N2-v0", levels=9).params.dtype
