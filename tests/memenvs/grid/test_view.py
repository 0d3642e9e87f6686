"""The view of a grid against MiniGrid's own, in many places of many levels and for many sizes of the view."""

from itertools import product

import gymnasium as gym
import numpy as np
import pytest
from minigrid.core.world_object import Wall
from minigrid.envs import EmptyEnv

from memenvs.grid.cells import CELL, EMPTY, cell
from memenvs.grid.view import look, put, spread, survey

LEVELS = [
    "MemoryS13-v0",
    "MultiRoom-N6-v0",
    "ObstructedMaze-Full-v1",
    "GoToDoor-8x8-v0",
    "FourRooms-v0",
    "Playground-v0",
]


def number(thing):
    return EMPTY if thing is None else int(cell(*thing.encode()))


def surveyed(cells, width, height):
    rows, columns = np.zeros((2, 57), np.uint64)
    survey(cells, width, height, rows, columns)
    return rows, columns


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("n", [3, 5, 7, 9, 15])
def test_the_view_is_minigrids(name, n):
    env, rng = gym.make(f"MiniGrid-{name}", agent_view_size=n).unwrapped, np.random.default_rng(n)
    image = np.empty((n, n, 3), np.uint8)
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        for _ in range(60):
            cells = np.array([number(thing) for thing in env.grid.grid], CELL)
            carried = 0 if env.carrying is None else number(env.carrying)
            rows, columns = surveyed(cells, env.width, env.height)
            place = (int(env.agent_pos[0]), int(env.agent_pos[1]), int(env.agent_dir))
            image[:] = 77
            look(cells, rows, columns, env.width, env.height, *place, carried, env.see_through_walls, image)
            assert np.array_equal(image, observation["image"])
            observation, _, terminated, _, _ = env.step(rng.choice(7, p=[0.15, 0.15, 0.4, 0.1, 0.05, 0.15, 0]))
            if terminated:
                observation, _ = env.reset()


def test_a_grid_may_have_57_cells_a_side():
    env, rng, image = EmptyEnv(size=57, agent_view_size=15), np.random.default_rng(0), np.empty((15, 15, 3), np.uint8)
    env.reset(seed=0)
    for place in rng.integers(1, 56, (700, 2)).tolist():
        env.grid.set(*place, Wall())
    cells = np.array([number(thing) for thing in env.grid.grid], CELL)
    env.see_through_walls = False
    for x, y, direction in product((1, 2, 28, 54, 55), (1, 2, 28, 54, 55), range(4)):
        env.agent_pos, env.agent_dir = (x, y), direction
        look(cells, *surveyed(cells, 57, 57), 57, 57, x, y, direction, 0, False, image)
        assert np.array_equal(image, env.gen_obs()["image"])


def walked(arriving, clear, n):
    """MiniGrid's two passes over a row, as it does them: what is seen in the row, and what from it in the next."""
    seen, behind = [bool(arriving >> i & 1) for i in range(n)], [False] * n
    for order, way in ((range(n - 1), 1), (range(n - 1, 0, -1), -1)):
        for i in order:
            if seen[i] and clear >> i & 1:
                seen[i + way] = behind[i] = behind[i + way] = True
    return sum(bit << i for i, bit in enumerate(seen)), sum(bit << i for i, bit in enumerate(behind))


@pytest.mark.parametrize("n", [3, 5, 7])
def test_sight_spreads_in_a_row_as_two_passes_do(n):
    everything = 2**n - 1
    for arriving in range(1, 2**n):
        for clear in range(2**n):
            seen = int(spread(np.uint64(arriving), np.uint64(clear))) & everything
            lit = seen & clear
            assert (seen, (lit | lit << 1 | lit >> 1) & everything) == walked(arriving, clear, n)


def test_what_is_put_somewhere_hides_or_shows():
    cells, rng = np.full(20 * 9, EMPTY, CELL), np.random.default_rng(0)
    rows, columns = surveyed(cells, 20, 9)
    for _ in range(500):
        x, y = rng.integers(20), rng.integers(9)
        put(cells, 20, rows, columns, x, y, cell(rng.integers(1, 10), rng.integers(6), rng.integers(3)))
        expected = surveyed(cells, 20, 9)
        assert np.array_equal(rows, expected[0])
        assert np.array_equal(columns, expected[1])
