"""The best action in a grid world with things to move, by a search through all that can happen.

Breadth first, over the agent's place, direction and load, and over what it has changed in the grid. Changes are kept as
chains: the cell that was changed last, what is there now, and the chain before. It is fast enough where few things can
be moved in little space.
"""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.grid.cells import DOOR, EMPTY, LAVA, OPEN, ahead, kind_of, lets_pass, state_of
from memenvs.grid.dynamics import DONE, DROP, FORWARD, PICK_UP, TOGGLE, TURN_LEFT, TURN_RIGHT, acts, toggled
from memenvs.grid.records import GO_TO_RULE, PICK_UP_RULE, PUT_NEAR_RULE
from memenvs.random import bits

KEY, PARENT, ACTION, PLACE, DIRECTION, CARRIED, CHAIN = range(7)  # of a node
BEFORE, CHANGED, NOW, HASH = range(4)  # of a chain; number 0 is the grid as it was

FIRST_ROOM, MOST_NODES = 1 << 9, 1 << 20
AT_ONCE = 8  # more than the nodes that one leads to


@njit
def search(state, level):
    """The first action of a plan with the fewest steps to success, -1 where none is found."""
    nodes, chains = np.empty((FIRST_ROOM, 7), np.int64), np.empty((FIRST_ROOM, 4), np.int64)
    table = np.zeros(4 * FIRST_ROOM, np.int32)
    chains[0] = 0
    width = level.width
    place, direction = np.int64(state.y * width + state.x), np.int64(state.direction)
    carried = np.int64(state.carried)
    many = add(nodes, 0, table, 0, -1, place, direction, carried, 0, 0)
    changes = 1
    head = 0
    while head < many:
        if many + AT_ONCE > len(nodes):
            if many > MOST_NODES:
                return -1
            nodes, chains = doubled(nodes), doubled(chains)
            table = table_of(nodes, many)
        here = head
        head += 1
        place, direction, carried, chain = (
            nodes[here, PLACE],
            nodes[here, DIRECTION],
            nodes[here, CARRIED],
            nodes[here, CHAIN],
        )
        x, y = place % width, place // width
        dx, dy = ahead(direction)
        to_x, to_y = x + dx, y + dy
        front = to_y * width + to_x
        there = cell_of(state.cells, chains, chain, front)
        last = ending(level, x, y, to_x, to_y, there, carried)
        if last >= 0:
            return first_of_plan(nodes, here, last)
        mark = chains[chain, HASH]
        inside = (to_x > 0) & (to_x < width - 1) & (to_y > 0) & (to_y < level.height - 1)
        if inside and lets_pass(there) and kind_of(there) != LAVA:
            many = add(nodes, many, table, here, FORWARD, front, direction, carried, chain, mark)
        many = add(nodes, many, table, here, TURN_LEFT, place, (direction - 1) & 3, carried, chain, mark)
        many = add(nodes, many, table, here, TURN_RIGHT, place, (direction + 1) & 3, carried, chain, mark)
        for action in (PICK_UP, DROP, TOGGLE):
            if acts(action, there, carried) and may_help(level, action, there):
                load, now = carried, np.int64(EMPTY)
                if action == PICK_UP:
                    load = there
                elif action == DROP:
                    load, now = np.int64(0), carried
                else:
                    now = np.int64(toggled(there))
                chains[changes, BEFORE] = chain
                chains[changes, CHANGED] = front
                chains[changes, NOW] = now
                chains[changes, HASH] = mark ^ trait(front, there) ^ trait(front, now)
                before = many
                many = add(nodes, many, table, here, action, place, direction, load, changes, chains[changes, HASH])
                changes += many - before
    return -1


@njit
def ending(level, x, y, to_x, to_y, there, carried):
    """The action that brings success at once, or -1."""
    target = level.target
    if level.rule == PICK_UP_RULE and carried == 0 and there == level.wanted:
        return PICK_UP
    if level.rule == GO_TO_RULE and abs(x - target[0]) + abs(y - target[1]) == 1:
        return DONE
    if level.rule == PUT_NEAR_RULE and carried == level.wanted and there == EMPTY:
        return DROP if abs(to_x - target[0]) <= 1 and abs(to_y - target[1]) <= 1 else -1
    return -1


@njit
def may_help(level, action, there):
    """Return whether a change is any good: it does not end the episode, close a door, or destroy what is wanted."""
    if action == TOGGLE:
        closes = (kind_of(there) == DOOR) & (state_of(there) == OPEN)
        return (level.rule != GO_TO_RULE) & ~closes & (there != level.wanted)
    if level.rule == PUT_NEAR_RULE:
        return action == PICK_UP and there == level.wanted
    return True


@njit
def cell_of(cells, chains, chain, place):
    """Return the contents of a cell after the changes of a chain."""
    while chain:
        if chains[chain, CHANGED] == place:
            return chains[chain, NOW]
        chain = chains[chain, BEFORE]
    return np.int64(cells[place])


@njit
def trait(place, code):
    """Return a random number for the contents of a cell; those of a grid, combined, stand for the grid (Zobrist)."""
    return np.int64(bits(np.uint64(place) << np.uint64(16) | np.uint64(code)))


@njit
def add(nodes, many, table, parent, action, place, direction, carried, chain, mark):
    """Write a node behind the others if it is new.

    :return: their number now
    """
    key = np.int64(bits(np.uint64(mark) ^ bits(np.uint64((carried << 16 | place) << 2 | direction))))
    at = slot(nodes, table, key)
    if table[at]:
        return many
    table[at] = many + 1
    nodes[many, KEY] = key
    nodes[many, PARENT] = parent
    nodes[many, ACTION] = action
    nodes[many, PLACE] = place
    nodes[many, DIRECTION] = direction
    nodes[many, CARRIED] = carried
    nodes[many, CHAIN] = chain
    return many + 1


@njit
def slot(nodes, table, key):
    """Return the place of a key in the table, or where it would be: numbers of nodes from 1, 0 for a free place."""
    last = len(table) - 1
    at = key & last
    while table[at] and nodes[table[at] - 1, KEY] != key:
        at = (at + 1) & last
    return at


@njit
def doubled(rows):
    """The same rows with as much room again behind them."""
    larger = np.empty((2 * rows.shape[0], rows.shape[1]), np.int64)
    larger[: rows.shape[0]] = rows
    return larger


@njit
def table_of(nodes, many):
    """A table of the nodes."""
    table = np.zeros(4 * len(nodes), np.int32)
    for i in range(many):
        table[slot(nodes, table, nodes[i, KEY])] = i + 1
    return table


@njit
def first_of_plan(nodes, here, last):
    """The action at the start of the way to a node, where the last action is done."""
    while here:
        last = nodes[here, ACTION]
        here = nodes[here, PARENT]
    return last
