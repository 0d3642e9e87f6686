"""The records of a MiniGrid world: one layout for all of its environments, so that all are compiled once."""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.grid.cells import CELL
from memenvs.grid.missions import MOST_WORDS

MOST_CELLS = 640  # MultiRoom has 25 by 25
MOST_LINES = 32
MOST_OBSTACLES = 8

# What besides MiniGrid's common rules decides on reward and end, as the classes of minigrid.envs have it.
RULES = (
    "goal",  # Empty, FourRooms, DoorKey, MultiRoom, the crossings, LavaGap, DistShift, LockedRoom, Playground
    "memory",  # at target: right; at other: wrong; to pick up is to toggle
    "pick up",  # KeyCorridor, UnlockPickup, BlockedUnlockPickup, ObstructedMaze: carry what is wanted
    "open",  # Unlock: the door at target
    "red then blue",  # RedBlueDoors: the door at target before that at other
    "go to",  # GoToDoor, GoToObject: done beside target
    "fetch",  # Fetch
    "put near",  # PutNear: what is wanted beside target
    "obstacles",  # Dynamic-Obstacles
)
(
    GOAL_RULE,
    MEMORY_RULE,
    PICK_UP_RULE,
    OPEN_RULE,
    RED_BLUE_RULE,
    GO_TO_RULE,
    FETCH_RULE,
    PUT_NEAR_RULE,
    OBSTACLES_RULE,
) = range(len(RULES))

# What every step reads stands together, and before what is long: to fetch it from memory is a good part of a step.
_PLACE = [("x", np.int16), ("y", np.int16), ("direction", np.int16)]
_GRID = [
    ("rows", np.uint32, (MOST_LINES,)),  # which cells of a row hide nothing
    ("columns", np.uint32, (MOST_LINES,)),
    ("cells", CELL, (MOST_CELLS,)),
    ("obstacles", np.int16, (MOST_OBSTACLES, 2)),  # x and y of what moves by itself
    ("random", np.uint64, (6,)),  # MiniGrid's generator of random numbers, where its dynamics draw from it
]
STATE = np.dtype(  # without gaps: equal states have equal bytes
    [
        ("key", np.uint64),
        *_PLACE,
        ("carried", CELL),  # 0 for nothing
        ("steps", np.int32),
        ("success", np.int32),  # 1 for success
        *_GRID,
    ]
)
LEVEL = np.dtype(
    [
        ("rule", np.int16),
        ("width", np.int16),
        ("height", np.int16),
        ("through_walls", np.bool_),
        ("max_steps", np.int32),
        ("target", np.int16, (2,)),  # x and y of what the rule asks for
        ("other", np.int16, (2,)),
        ("wanted", CELL),  # the object that the rule asks for
        ("moving", np.int16),  # how many obstacles
        ("words", np.uint8, (MOST_WORDS,)),  # the mission
        *_PLACE,
        ("number", np.int32),  # the seed that makes MiniGrid draw this level
        *_GRID,
    ],
    align=True,
)


@njit
def copy_start(source, target):
    """Write the start of an episode into a state or another level: grid, agent's place, moving obstacles.

    :param source: a level
    """
    for i in range(source.width * source.height):
        target.cells[i] = source.cells[i]
    for y in range(source.height):
        target.rows[y] = source.rows[y]
    for x in range(source.width):
        target.columns[x] = source.columns[x]
    target.x = source.x
    target.y = source.y
    target.direction = source.direction
    if source.rule == OBSTACLES_RULE:
        target.obstacles[:] = source.obstacles
        target.random[:] = source.random
