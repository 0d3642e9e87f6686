"""The best action in MiniGrid's environments, where it is quickly found.

Where nothing has to be moved but one key, the search goes breadth first over the agent's place and direction and over
one thing more that changes: whether it carries the key, or whether the red door is open. That these are all that
matters follows from the levels: they hold at most one thing that can be moved, a key; only what has to be passed is
opened, right before it is passed; and since their doors lead to rooms of one door or stand in a row, every way to the
key opens the same doors. Elsewhere :mod:`memenvs.grid.search` goes through all that can happen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from memenvs.compilation import njit
from memenvs.engine.defaults import no_oracle
from memenvs.grid.cells import (
    CLOSED,
    DOOR,
    GOAL,
    LAVA,
    LOCKED,
    ahead,
    colour_of,
    kind_of,
    lets_pass,
    may_be_carried,
    state_of,
)
from memenvs.grid.dynamics import DONE, FORWARD, PICK_UP, TOGGLE, TURN_LEFT, TURN_RIGHT, is_open
from memenvs.grid.ids import FAMILIES
from memenvs.grid.records import (
    FETCH_RULE,
    GO_TO_RULE,
    GOAL_RULE,
    MEMORY_RULE,
    MOST_LINES,
    OPEN_RULE,
    RED_BLUE_RULE,
)
from memenvs.grid.search import search

PLANNED = (
    "Memory",
    "Empty",
    "FourRooms",
    "DoorKey",
    "MultiRoom",
    "LavaCrossing",
    "SimpleCrossing",
    "LavaGap",
    "DistShift",
    "Unlock",
    "RedBlueDoors",
    "GoToDoor",
    "Fetch",
    "LockedRoom",
)
SEARCHED = (  # those in which a search takes about a millisecond or less
    "GoToObject-6x6-N2-v0",
    "GoToObject-8x8-N2-v0",
    "KeyCorridorS3R1-v0",
    "KeyCorridorS3R2-v0",
    "KeyCorridorS3R3-v0",
    "ObstructedMaze-1Dl-v0",
    "ObstructedMaze-1Dlh-v0",
    "PutNear-6x6-N2-v0",
    "PutNear-8x8-N3-v0",
    "UnlockPickup-v0",
)

# A node is (y, x, direction, phase, opened), from the highest bits. In phase 1 the agent has picked up the key, or has
# opened the red door; ``opened`` says that the door before it, which was not open, now is.
_LINE = 32
_NODES = MOST_LINES * _LINE * 16


def oracle_of(name: str) -> Callable[..., int]:
    """The oracle of one of MiniGrid's environments, compiled; ``no_oracle`` where none is known."""
    names = {f"{family}{variant}" for family in PLANNED for variant in FAMILIES[family].split()}
    name = name.removeprefix("MiniGrid-")
    return oracle if name in names else search if name in SEARCHED else no_oracle


@njit
def oracle(state, level):
    """The first action of a plan with the fewest steps to success, -1 where there is none."""
    rule, red_blue = level.rule, level.rule == RED_BLUE_RULE
    parents = np.full(_NODES, -1, np.int16)
    queue = np.empty(_NODES, np.int16)
    passed = np.zeros(MOST_LINES, np.uint32)  # doors on the way to the key, row by row
    key = state.carried
    phase = is_open(state, level, level.target) if red_blue else key != 0
    start = node(state.x, state.y, state.direction, phase, 0)
    parents[start] = start
    queue[0] = start
    head, tail = 0, 1
    while head < tail:
        here = queue[head]
        head += 1
        y, x, direction, phase, opened = here >> 9, here >> 4 & 31, here >> 2 & 3, here >> 1 & 1, here & 1
        dx, dy = ahead(direction)
        to_x, to_y = x + dx, y + dy
        there = state.cells[to_y * level.width + to_x]
        last = ending(level, x, y, to_x, to_y, there, phase, key)
        if last >= 0:
            return first_of_plan(parents, start, here, last, red_blue)
        inside = (to_x > 0) & (to_x < level.width - 1) & (to_y > 0) & (to_y < level.height - 1)
        if inside and (
            opened or enters(state, level, to_x, to_y, there, phase) or (phase and passed[to_y] >> np.uint32(to_x) & 1)
        ):
            tail = reach(node(to_x, to_y, direction, phase, 0), here, parents, queue, tail)
        for turn in (-1, 1):
            tail = reach(node(x, y, (direction + turn) & 3, phase, 0), here, parents, queue, tail)
        if (rule == GOAL_RULE) | (rule == OPEN_RULE):
            if opens(there, phase, key):
                tail = reach(here | 1, here, parents, queue, tail)
            if phase == 0 and may_be_carried(there):
                if key == 0:
                    key = there
                    remember_doors(parents, start, here, passed)
                tail = reach(here | 2, here, parents, queue, tail)
        elif red_blue and phase == 0 and to_x == level.target[0] and to_y == level.target[1]:
            tail = reach(here | 2, here, parents, queue, tail)
    return -1


@njit
def node(x, y, direction, phase, opened):
    """The number of a node."""
    return y << 9 | x << 4 | direction << 2 | np.int64(phase) << 1 | opened


@njit
def reach(there, here, parents, queue, tail):
    """Put a node into the queue if it is new.

    :return: the queue's new end
    """
    if parents[there] >= 0:
        return tail
    parents[there] = here
    queue[tail] = there
    return tail + 1


@njit
def ending(level, x, y, to_x, to_y, there, phase, key):
    """The action that brings success at once, or -1."""
    rule, target, other = level.rule, level.target, level.other
    at_target = (to_x == target[0]) & (to_y == target[1])
    if rule == GOAL_RULE and kind_of(there) == GOAL:
        return FORWARD
    if rule == MEMORY_RULE and at_target:
        return FORWARD
    if rule == OPEN_RULE and at_target and opens(there, phase, key):
        return TOGGLE
    if rule == RED_BLUE_RULE and phase == 1 and to_x == other[0] and to_y == other[1]:
        return TOGGLE
    if rule == GO_TO_RULE and abs(x - target[0]) + abs(y - target[1]) == 1:
        return DONE
    if rule == FETCH_RULE and there == level.wanted:
        return PICK_UP
    return -1


@njit
def enters(state, level, x, y, there, phase):
    """Return whether the agent may go forward to a place and should not avoid it."""
    if lets_pass(there):
        return kind_of(there) != LAVA
    if level.rule == RED_BLUE_RULE:
        return phase == 1 and x == level.target[0] and y == level.target[1]
    # Where the key lay that is carried in this phase and was not at the start.
    return phase == 1 and state.carried == 0 and may_be_carried(there)


@njit
def opens(there, phase, key):
    """Return whether what is ahead is a door that can be opened; the key is in the agent's hands in phase 1."""
    locked = state_of(there) == LOCKED
    fits = (phase == 1) & (colour_of(there) == colour_of(key))
    return (kind_of(there) == DOOR) & ((state_of(there) == CLOSED) | (locked & fits))


@njit
def remember_doors(parents, start, here, passed):
    """Record the doors opened on the way to a node."""
    while here != start:
        here = parents[here]
        if here & 1:
            dx, dy = ahead(here >> 2 & 3)
            passed[(here >> 9) + dy] |= np.uint32(1) << np.uint32((here >> 4 & 31) + dx)


@njit
def first_of_plan(parents, start, here, last, red_blue):
    """The action at the start of the way to a node, where the last action is done."""
    if here == start:
        return last
    while parents[here] != start:
        here = parents[here]
    if here >> 4 != start >> 4:
        return FORWARD
    if here >> 2 != start >> 2:
        return TURN_RIGHT if ((here - start) >> 2 & 3) == 1 else TURN_LEFT
    return TOGGLE if here & 1 or red_blue else PICK_UP
