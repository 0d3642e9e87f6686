"""The effects of actions in MiniGrid's environments: the rules common to all, and the goal of each."""

from __future__ import annotations

from memenvs.compilation import njit
from memenvs.grid.cells import (
    BOX,
    CLOSED,
    COLOUR_AT,
    DOOR,
    EMPTY,
    GOAL,
    KEY,
    LAVA,
    OPEN,
    STATE_AT,
    ahead,
    colour_of,
    content_of,
    kind_of,
    lets_pass,
    may_be_carried,
    state_of,
)
from memenvs.grid.records import (
    FETCH_RULE,
    GO_TO_RULE,
    GOAL_RULE,
    MEMORY_RULE,
    OBSTACLES_RULE,
    OPEN_RULE,
    PICK_UP_RULE,
    PUT_NEAR_RULE,
    RED_BLUE_RULE,
    copy_start,
)
from memenvs.grid.view import look, put, show_all
from memenvs.pcg64 import integers

ACTIONS = ("left", "right", "forward", "pick up", "drop", "toggle", "done")
TURN_LEFT, TURN_RIGHT, FORWARD, PICK_UP, DROP, TOGGLE, DONE = range(len(ACTIONS))

LOOKS = (1 << STATE_AT) - 1  # the bits of a cell that are its type and colour
MOST_TRIES = 101  # of a place for an obstacle


@njit
def reset(state, level):
    copy_start(level, state)
    state.carried = 0
    state.steps = 0
    state.success = 0


@njit
def step(state, level, action):
    rule = level.rule
    if rule == MEMORY_RULE and action == PICK_UP:
        action = TOGGLE
    state.steps += 1
    # Of what is seldom, only whether it happens is asked; the rest is without branches on the action, which no
    # processor can predict.
    dx, dy = ahead(state.direction)
    x, y = state.x + dx, state.y + dy
    here = y * level.width + x
    there = before = state.cells[here]
    if rule == OBSTACLES_RULE:
        move_obstacles(state, level)
        there = state.cells[here]
    state.direction = (state.direction + (action == TURN_RIGHT) - (action == TURN_LEFT)) & 3
    # No level lets an agent onto the border of its grid, where it could look out of it; a damaged snapshot might.
    inside = (x > 0) & (x < level.width - 1) & (y > 0) & (y < level.height - 1)
    goes = (action == FORWARD) & lets_pass(there) & inside
    state.x += dx * goes
    state.y += dy * goes
    success = goes & (kind_of(there) == GOAL)
    terminated = success | (goes & (kind_of(there) == LAVA))
    carried = state.carried
    if acts(action, there, carried):
        act(state, level.width, x, y, action, there)
    reward = 0.0
    if rule != GOAL_RULE:
        ends, wins = judge(state, level, action, before, carried, x, y)
        terminated |= ends
        success |= wins
        if rule == OBSTACLES_RULE and ends:
            reward = -1.0
    if success:
        state.success = 1
        reward = 1 - 0.9 * (state.steps / level.max_steps)
    return reward, terminated, state.steps >= level.max_steps


@njit
def acts(action, there, carried):
    """Return whether an action changes the cell before the agent."""
    kind = kind_of(there)
    picks_up = (action == PICK_UP) & (carried == 0) & may_be_carried(there)
    drops = (action == DROP) & (carried != 0) & (kind == EMPTY)
    key = KEY | colour_of(there) << COLOUR_AT
    opens = (kind == DOOR) & ((state_of(there) <= CLOSED) | ((carried & LOOKS) == key))
    return picks_up | drops | ((action == TOGGLE) & ((kind == BOX) | opens))


@njit
def act(state, width, x, y, action, there):
    """Pick up, drop or toggle, where that does something."""
    if action == PICK_UP:
        after = EMPTY
        state.carried = there
    elif action == DROP:
        after = int(state.carried)
        state.carried = 0
    else:
        after = toggled(there)
    put(state.cells, width, state.rows, state.columns, x, y, after)


@njit
def toggled(there):
    """Return the cell that a box or a door becomes when an agent toggles it."""
    if kind_of(there) == BOX:
        return int(content_of(there))
    return (there & LOOKS) | (CLOSED if state_of(there) == OPEN else OPEN) << STATE_AT


@njit
def judge(state, level, action, before, carried, x, y):
    """Return whether a step ends an episode, and whether with success, by the rule of its level.

    :param before: the contents of the cell at (x, y), in front of the agent, before the step
    :param carried: the object carried before the step
    """
    rule, target, other = level.rule, level.target, level.other
    if rule == MEMORY_RULE:
        wins = (state.x == target[0]) & (state.y == target[1])
        return wins | ((state.x == other[0]) & (state.y == other[1])), wins
    if rule == PICK_UP_RULE:
        wins = (action == PICK_UP) & (state.carried == level.wanted)
        return wins, wins
    if rule == OPEN_RULE:
        wins = (action == TOGGLE) & is_open(state, level, target)
        return wins, wins
    if rule == RED_BLUE_RULE:
        ends = is_open(state, level, other)
        return ends, ends & is_open(state, level, target)
    if rule == GO_TO_RULE:
        beside = abs(state.x - target[0]) + abs(state.y - target[1]) == 1
        return (action == TOGGLE) | (action == DONE), (action == DONE) & beside
    if rule == FETCH_RULE:
        return state.carried != 0, state.carried == level.wanted
    if rule == PUT_NEAR_RULE:
        wrong = (action == PICK_UP) & (state.carried != 0) & (state.carried != level.wanted)
        drops = (action == DROP) & (carried != 0)
        near = (abs(x - target[0]) <= 1) & (abs(y - target[1]) <= 1)
        return wrong | drops, drops & (state.carried == 0) & near
    hits = (action == FORWARD) & (kind_of(before) != EMPTY) & (kind_of(before) != GOAL)
    return hits, False


@njit
def is_open(state, level, place):
    """Return whether the door at a place is open."""
    return state_of(state.cells[place[1] * level.width + place[0]]) == OPEN


@njit
def move_obstacles(state, level):
    """Move each obstacle to a free cell next to it, drawn as MiniGrid draws it."""
    width, height = level.width, level.height
    for i in range(level.moving):
        old_x, old_y = state.obstacles[i, 0], state.obstacles[i, 1]
        left, top = max(old_x - 1, 0), max(old_y - 1, 0)
        for _ in range(MOST_TRIES):
            x = integers(state.random, left, min(left + 3, width))
            y = integers(state.random, top, min(top + 3, height))
            if state.cells[y * width + x] == EMPTY and not (x == state.x and y == state.y):
                put(state.cells, width, state.rows, state.columns, x, y, state.cells[old_y * width + old_x])
                put(state.cells, width, state.rows, state.columns, old_x, old_y, EMPTY)
                state.obstacles[i, 0] = x
                state.obstacles[i, 1] = y
                break


@njit
def observe(state, level, out):
    look(
        state.cells,
        state.rows,
        state.columns,
        level.width,
        level.height,
        state.x,
        state.y,
        state.direction,
        state.carried,
        level.through_walls,
        out.image,
    )
    out.direction = state.direction


@njit
def observe_with_mission(state, level, out):
    observe(state, level, out)
    tell_mission(level, out)


@njit
def observe_all(state, level, out):
    grid = (state.cells, level.width, level.height)
    show_all(*grid, state.x, state.y, state.direction, out.image)
    out.direction = state.direction


@njit
def observe_all_with_mission(state, level, out):
    observe_all(state, level, out)
    tell_mission(level, out)


@njit
def observe_beside_world(state, level, out):
    observe(state, level, out)
    grid = (state.cells, level.width, level.height)
    show_all(*grid, state.x, state.y, state.direction, out.world)


@njit
def observe_beside_world_with_mission(state, level, out):
    observe_beside_world(state, level, out)
    tell_mission(level, out)


@njit
def tell_mission(level, out):
    for i in range(level.words.size):
        out.mission[i] = level.words[i]


@njit
def legal(state, level, mask):
    dx, dy = ahead(state.direction)
    there = state.cells[(state.y + dy) * level.width + state.x + dx]
    mask[TURN_LEFT] = mask[TURN_RIGHT] = True
    if level.rule == OBSTACLES_RULE:  # time goes on
        mask[FORWARD] = True
        return
    mask[FORWARD] = lets_pass(there)
    for action in range(PICK_UP, DONE):
        mask[action] = acts(action, there, state.carried)
    if level.rule == GO_TO_RULE:
        mask[TOGGLE] = mask[DONE] = True
    if level.rule == PUT_NEAR_RULE:
        mask[DROP] = state.carried != 0
    if level.rule == MEMORY_RULE:
        mask[PICK_UP] = False


@njit
def measure(state, level, out):
    out[0] = state.success != 0
