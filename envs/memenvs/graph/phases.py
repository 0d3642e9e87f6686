"""Phases before the agent answers or travels: description, query and planning."""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.graph.level import DESTINATION, LABEL, SOURCE, mark_exits

DESCRIPTION, QUERY, PLANNING, TRAVEL = range(4)
BLANK = -1

_ONE, _TEN, _HUNDRED = np.uint32(1), np.uint32(10), np.uint32(100)


@njit
def preparing(level):
    """The steps before the agent's answers count."""
    return level.told + level.asked + level.planning


@njit
def acting(state, level):
    """Return whether the agent chooses exits or answers now, and no longer reads or plans."""
    return state.time >= preparing(level)


@njit
def legal_exits(state, level, mask):
    """The exits, where an agent travels; before that no action does anything, so that none is worse than another."""
    if acting(state, level):
        mark_exits(level, state.position, mask)
    else:
        mask[:] = True


@njit
def observe_description(state, level, observation):
    """Write one edge of the graph."""
    edge = level.order[state.time]
    source, destination = level.codes[level.links[edge, SOURCE]], level.codes[level.links[edge, DESTINATION]]
    write_triple(observation, source, level.links[edge, LABEL], destination, DESCRIPTION)


@njit
def write_triple(observation, source, label, destination, phase):
    """Write the codes of two stations, a label between them, and the phase; each may be ``BLANK``.

    A digit d is written as d + 1, a label l too if it has one place only, what is blank as 0.
    """
    write_code(observation, 0, source)
    if observation.size == 10:
        write_code(observation, 3, label)
    else:
        observation[3] = label + 1
    write_code(observation, observation.size - 4, destination)
    observation[observation.size - 1] = phase


@njit
def write_code(observation, place, code):
    """Write the three digits of a code."""
    if code < 0:
        observation[place] = 0
        observation[place + 1] = 0
        observation[place + 2] = 0
        return
    code = np.uint32(code)
    observation[place] = code // _HUNDRED + _ONE
    observation[place + 1] = code // _TEN % _TEN + _ONE
    observation[place + 2] = code % _TEN + _ONE
