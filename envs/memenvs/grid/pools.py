"""Pools of levels drawn by MiniGrid's own generators: level number k is MiniGrid's for ``reset(seed=k)``.

A pool is drawn once and kept on disk beside the compiled code, so that MiniGrid is not even imported afterwards.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from memenvs import pcg64
from memenvs.compilation import cache_directory, njit
from memenvs.grid import cells, missions, records, view
from memenvs.grid.cells import COLOUR_AT, COLOURS, CONTENT_AT, EMPTY, STATE_AT, TYPES
from memenvs.grid.records import (
    FETCH_RULE,
    GO_TO_RULE,
    GOAL_RULE,
    LEVEL,
    MEMORY_RULE,
    MOST_CELLS,
    MOST_LINES,
    OBSTACLES_RULE,
    OPEN_RULE,
    PICK_UP_RULE,
    PUT_NEAR_RULE,
    RED_BLUE_RULE,
    copy_start,
)
from memenvs.grid.view import survey
from memenvs.random import fold, integer

MOST_LEVELS = 65536
NO_LEVEL = -1


class Pool(NamedTuple):
    """Levels of one of MiniGrid's environments, and facts about it.

    :param which: (n,) int32: which of the records level number k is, ``NO_LEVEL`` where MiniGrid draws none
    :param records: (m,) LEVEL, all different
    :param actions: number of actions
    :param with_mission: whether missions differ
    """

    which: np.ndarray
    records: np.ndarray
    actions: int
    with_mission: bool


def pool(name: str, levels: int) -> Pool:
    """The levels number 0 to ``levels`` - 1 of an environment of MiniGrid."""
    path = cache_directory() / "levels" / f"{name}-{levels}-{stamp()}.npz"
    known = load(path, levels)
    if known is None:
        known = draw_pool(name, levels)
        with contextlib.suppress(OSError):
            save(path, known)
    return known


@functools.cache
def stamp() -> str:
    """Return a hash of everything besides their numbers that the levels depend on."""
    digest = hashlib.sha256()
    for package in ("minigrid", "gymnasium", "numpy"):
        digest.update(f"{package} {version(package)}\n".encode())
    for module in (__file__, cells.__file__, missions.__file__, pcg64.__file__, records.__file__, view.__file__):
        digest.update(Path(module).read_bytes())
    return digest.hexdigest()[:16]


def load(path: Path, levels: int) -> Pool | None:
    """The pool that lies in a file, or nothing where there is none or a damaged one."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if file.zip.testzip() is not None:  # np.load itself may stop before the check sum
                return None
            which, records, about = file["which"], file["records"].view(LEVEL)[:, 0], file["about"]
    except Exception:  # what a wrong bit may raise is no short list; whatever it is, levels can be drawn again
        return None
    # Zip files have a check sum: what is left to notice is another file in the place of this one.
    if which.shape != (levels,) or which.dtype != np.int32 or about.shape != (2,) or which.max() >= records.size:
        return None
    return Pool(which, records, int(about[0]), bool(about[1]))


def save(path: Path, pool: Pool) -> None:
    """Write a pool to a file, which another process sees as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, suffix=".npz")
    try:
        with open(handle, "wb") as file:
            np.savez_compressed(
                file,
                which=pool.which,
                records=pool.records.view(np.uint8).reshape(pool.records.size, LEVEL.itemsize),
                about=np.array([pool.actions, pool.with_mission], np.int64),
            )
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


# --- from MiniGrid's objects ------------------------------------------------------------------------------------------


def draw_pool(name: str, levels: int) -> Pool:
    """Have MiniGrid draw levels."""
    env = make_minigrid(name)
    env.gen_obs = dict  # reset() would look around, which takes longer than to draw a level
    places: dict[bytes, int] = {}
    which, records = np.full(levels, NO_LEVEL, np.int32), np.zeros(levels, LEVEL)
    for number in range(levels):
        record = records[len(places) : len(places) + 1]
        try:
            env.reset(seed=number)
        except RecursionError:  # MiniGrid has not found a place for something
            continue
        record[:] = 0
        convert(env, record[0])
        which[number] = places.setdefault(record.tobytes(), len(places))
    records = records[: len(places)].copy()
    survey_all(records)
    return Pool(which, records, int(env.action_space.n), missions.varies(env.observation_space["mission"]))


def make_minigrid(name: str) -> Any:
    """One of MiniGrid's environments."""
    import gymnasium
    import minigrid  # noqa: F401 — registers its environments

    with warnings.catch_warnings():  # of there being a later version, and of what MiniGrid itself imports
        warnings.simplefilter("ignore")
        return gymnasium.make(name, disable_env_checker=True).unwrapped


def convert(env: Any, record: np.void) -> None:
    """Write the level that an environment of MiniGrid has just drawn."""
    if env.width > MOST_LINES or env.height > MOST_LINES or env.width * env.height > MOST_CELLS:
        raise ValueError(f"a grid must have at most {MOST_CELLS} cells, not {env.width} * {env.height}")
    record["cells"][: len(env.grid.grid)] = [code(thing) for thing in env.grid.grid]
    record["x"], record["y"] = env.agent_pos
    record["direction"] = env.agent_dir
    record["width"], record["height"] = env.width, env.height
    record["max_steps"] = env.max_steps
    record["through_walls"] = env.see_through_walls
    record["words"] = missions.numbers(env.mission)
    for field, value in task(env).items():
        record[field] = value


def task(env: Any) -> dict[str, Any]:
    """Return the goal of one of MiniGrid's environments."""
    from minigrid import envs

    match env:
        case envs.MemoryEnv():
            return {"rule": MEMORY_RULE, "target": env.success_pos, "other": env.failure_pos}
        case envs.KeyCorridorEnv() | envs.UnlockPickupEnv() | envs.BlockedUnlockPickupEnv():
            return {"rule": PICK_UP_RULE, "wanted": code(env.obj)}
        case envs.ObstructedMaze_1Dlhb() | envs.ObstructedMaze_Full() | envs.obstructedmaze_v1.ObstructedMaze_Full_V1():
            return {"rule": PICK_UP_RULE, "wanted": code(env.obj)}
        case envs.UnlockEnv():
            return {"rule": OPEN_RULE, "target": env.door.cur_pos}
        case envs.RedBlueDoorEnv():
            return {"rule": RED_BLUE_RULE, "target": place(env, env.red_door), "other": place(env, env.blue_door)}
        case envs.GoToDoorEnv() | envs.GoToObjectEnv():
            return {"rule": GO_TO_RULE, "target": env.target_pos}
        case envs.FetchEnv():
            return {"rule": FETCH_RULE, "wanted": named(env.targetType, env.targetColor)}
        case envs.PutNearEnv():
            wanted = named(env.move_type, env.moveColor)
            return {"rule": PUT_NEAR_RULE, "wanted": wanted, "target": env.target_pos}
        case envs.DynamicObstaclesEnv():
            balls: Any = env.obstacles
            obstacles = np.zeros(LEVEL["obstacles"].shape, np.int16)
            obstacles[: len(balls)] = [ball.cur_pos for ball in balls]
            random = pcg64.from_numpy(env.np_random)
            return {"rule": OBSTACLES_RULE, "moving": len(balls), "obstacles": obstacles, "random": random}
    return {"rule": GOAL_RULE}


def code(thing: Any) -> int:
    """The cell that an object of MiniGrid makes."""
    if thing is None:
        return EMPTY
    kind, colour, state = thing.encode()
    content = 0 if thing.contains is None else code(thing.contains)
    return kind | colour << COLOUR_AT | state << STATE_AT | content << CONTENT_AT


def named(kind: str, colour: str) -> int:
    """The cell of an object that MiniGrid names by two words."""
    return TYPES.index(kind) | COLOURS.index(colour) << COLOUR_AT


def place(env: Any, thing: Any) -> tuple[int, int]:
    """Return the place of an object."""
    y, x = divmod(next(i for i, other in enumerate(env.grid.grid) if other is thing), env.width)
    return x, y


@njit
def survey_all(records):
    """Write into levels which cells hide nothing."""
    for record in records:
        survey(record.cells, record.width, record.height, record.rows, record.columns)


# --- the levels of an environment -------------------------------------------------------------------------------------


def params_dtype(levels: int) -> np.dtype:
    """The parameters of ``generate``: a pool, in one of a few sizes, since each is compiled for."""
    size = 4096 if levels <= 4096 else MOST_LEVELS
    return np.dtype(
        [
            ("max_steps", np.int32),
            ("levels", np.int32),
            ("which", np.int32, (size,)),
            ("records", LEVEL, (size,)),
        ]
    )


@njit
def generate(params, key, level):
    number = integer(key, params.levels)
    which = params.which[number]
    if which < 0:
        return False
    source = params.records[which]
    copy_start(source, level)
    level.width = source.width
    level.height = source.height
    level.rule = source.rule
    level.max_steps = params.max_steps
    level.through_walls = source.through_walls
    level.target[:] = source.target
    level.other[:] = source.other
    level.wanted = source.wanted
    level.moving = source.moving
    level.words[:] = source.words
    level.number = number
    return True


@njit
def digest(level):
    """A hash of the grid, the agent's place in it and its mission."""
    total = fold(fold(fold(np.uint64(level.width), level.x), level.y), level.direction)
    for i in range(level.width * level.height):
        total = fold(total, level.cells[i])
    for word in level.words:
        total = fold(total, word)
    return total


@njit
def digests(records):
    """The digests (n,) of levels."""
    out = np.empty(records.size, np.uint64)
    for i in range(records.size):
        out[i] = digest(records[i])
    return out
