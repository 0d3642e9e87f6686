"""Pictures and texts of grid worlds: what stands where, and that every difference shows."""

import gymnasium as gym
import minigrid  # noqa: F401 — registers its environments
import numpy as np
import pytest

from memenvs.grid.cells import (
    BALL,
    BOX,
    CELL,
    CLOSED,
    DOOR,
    DOWN,
    EMPTY,
    FLOOR,
    GOAL,
    GREEN,
    GREY,
    KEY,
    LAVA,
    LEFT,
    LOCKED,
    OPEN,
    RED,
    RIGHT,
    UNSEEN,
    UP,
    WALL,
    YELLOW,
    cell,
)
from memenvs.grid.draw import ansi_grid, draw_grid, seen_cells
from memenvs.grid.tiles import tile

pytestmark = pytest.mark.filterwarnings("ignore:.*out of date")

MISSION = "use the key to open the door and then get to the goal"


def room(height=7, width=9):
    cells = np.full((height, width), cell(WALL, GREY), CELL)
    cells[1:-1, 1:-1] = EMPTY
    return cells


def filled():
    cells = room(5, 7)
    cells[1, 2], cells[1, 3], cells[1, 4] = cell(KEY, YELLOW), cell(BALL, RED), cell(BOX, GREEN)
    cells[2, 2], cells[2, 3], cells[2, 4] = (cell(DOOR, RED, state) for state in (OPEN, CLOSED, LOCKED))
    cells[3, 4], cells[3, 5], cells[2, 5] = cell(LAVA, RED), cell(GOAL, GREEN), cell(FLOOR, YELLOW)
    return cells


@pytest.mark.parametrize("shape", [(7, 7), (13, 13), (25, 25), (41, 41), (7, 9), (16, 8), (3, 7)])
def test_pictures_are_about_640_pixels_wide_or_high(shape):
    picture = draw_grid(room(*shape), (1, 1, RIGHT))
    size = picture.shape[0] // shape[0]
    assert picture.shape == (shape[0] * size, shape[1] * size, 3)
    assert picture.dtype == np.uint8
    assert size % 2 == 0
    assert 600 <= max(picture.shape) <= 680


def test_each_cell_is_where_it_belongs():
    cells = filled()
    seen = np.zeros(cells.shape, bool)
    seen[1:4, 1:3] = True
    picture = draw_grid(cells, (1, 3, UP), seen, ring=(5, 1))
    size = picture.shape[1] // 7
    for (y, x), code in np.ndenumerate(cells):
        part = picture[y * size : (y + 1) * size, x * size : (x + 1) * size]
        expected = tile(size, int(code), bool(seen[y, x]), 0, (x, y) == (5, 1), UP if (x, y) == (1, 3) else -1)
        assert np.array_equal(part, expected)


def test_all_things_look_different():
    looks = [cell(EMPTY), UNSEEN]
    looks += [cell(kind, colour) for kind in (WALL, FLOOR, KEY, BALL, BOX, GOAL) for colour in range(6)]
    looks += [cell(DOOR, colour, state) for colour in range(6) for state in range(3)] + [cell(LAVA)]
    for size in (16, 48):
        pictures = [tile(size, int(code), lit) for code in looks for lit in (False, True) if code != UNSEEN or lit]
        pictures += [tile(size, EMPTY, True, 0, False, direction) for direction in range(4)]
        pictures += [tile(size, EMPTY, True, 0, False, UP, int(cell(KEY, colour))) for colour in range(6)]
        pictures += [tile(size, EMPTY, True, path) for path in range(1, 16)] + [tile(size, EMPTY, True, 0, True)]
        assert len({picture.tobytes() for picture in pictures}) == len(pictures)


def test_the_arrow_points_where_the_agent_looks():
    blue = {}
    for direction in (RIGHT, DOWN, LEFT, UP):
        picture = tile(60, EMPTY, True, 0, False, direction).astype(int)
        ys, xs = np.nonzero((picture[..., 2] - picture[..., 0]) > 150)
        blue[direction] = xs, ys
    xs, ys = blue[RIGHT]
    assert xs.max() - 29.5 > 29.5 - xs.min() > 0  # the tip is further from the middle
    assert np.ptp(ys[xs > 45]) < np.ptp(ys[xs < 20])
    tips = [
        (xs[i], ys[i]) for xs, ys, i in ((*blue[RIGHT], blue[RIGHT][0].argmax()), (*blue[UP], blue[UP][1].argmin()))
    ]
    assert tips[0][0] > 45 and 25 < tips[0][1] < 35
    assert tips[1][1] < 15 and 25 < tips[1][0] < 35
    assert blue[LEFT][0].min() < 15
    assert blue[DOWN][1].max() > 45


def test_pictures_change_with_what_they_show():
    cells, key = filled(), int(cell(KEY, YELLOW))
    seen = np.zeros(cells.shape, bool)
    several = [
        draw_grid(cells, (1, 1, RIGHT), caption=""),
        draw_grid(cells, None, caption=""),
        draw_grid(cells, (1, 1, DOWN), caption=""),
        draw_grid(cells, (1, 2, RIGHT), caption=""),
        draw_grid(cells, (1, 1, RIGHT), seen, caption=""),
        draw_grid(cells, (1, 1, RIGHT), carried=key, caption=""),
        draw_grid(cells, (1, 1, RIGHT), caption=MISSION),
        draw_grid(cells, (1, 1, RIGHT), caption=" ".join([MISSION] * 3)),
        draw_grid(cells, (1, 1, RIGHT), carried=key, caption=MISSION),
        draw_grid(cells, (1, 1, RIGHT), ring=(1, 3), caption=""),
        draw_grid(cells, (1, 1, RIGHT), ring=(1, 1), caption=""),
        draw_grid(cells, (1, 1, RIGHT), path=[(1, 3), (1, 2), (1, 1)], caption=""),
        draw_grid(cells, (1, 1, RIGHT), path=[(1, 3), (1, 2)], caption=""),
    ]
    assert len({picture.shape for picture in several}) == 1
    assert len({picture.tobytes() for picture in several}) == len(several)
    for picture in several[6:9]:
        assert (picture[-64:, :10] == picture[-1, 0]).all()  # text does not run over the margin
    assert not np.array_equal(several[5][-64:], several[0][-64:])  # what is carried stands beside the caption


def test_what_surrounds_rooms_is_left_blank():
    cells = np.full((9, 9), EMPTY, CELL)
    cells[2:7, 2:7] = room(5, 5)
    picture = draw_grid(cells, (3, 3, RIGHT))
    size = picture.shape[0] // 9
    assert np.array_equal(picture[:size, :size], tile(size, UNSEEN, True))
    assert np.array_equal(picture[4 * size : 5 * size, 4 * size : 5 * size], tile(size, EMPTY, True))
    outdoors = draw_grid(cells, (0, 0, RIGHT))
    assert np.array_equal(outdoors[size : 2 * size, :size], tile(size, EMPTY, True))
    assert ansi_grid(cells, (3, 3, RIGHT)).splitlines()[0] == " " * 18


def test_a_path_joins_neighbours_only():
    picture = draw_grid(room(), None, path=[(1, 1), (2, 1), (2, 2), (5, 5)])
    size = picture.shape[1] // 9

    def at(x, y):
        return picture[y * size : (y + 1) * size, x * size : (x + 1) * size]

    assert np.array_equal(at(1, 1), tile(size, EMPTY, True, 1 << RIGHT))
    assert np.array_equal(at(2, 1), tile(size, EMPTY, True, 1 << LEFT | 1 << DOWN))
    assert np.array_equal(at(2, 2), tile(size, EMPTY, True, 1 << UP))
    assert np.array_equal(at(5, 5), tile(size, EMPTY, True))


def test_the_text():
    cells = filled()
    seen = np.zeros(cells.shape, bool)
    seen[1:4, 1] = True
    expected = [
        "██████████████",
        "██· ky●r■g  ██",
        "██◀k/r+r‡r░y██",
        "██·   ◎ ≈≈G ██",
        "██████████████",
        "find it",
        "carries a green key",
    ]
    text = ansi_grid(cells, (1, 2, LEFT), seen, carried=int(cell(KEY, GREEN)), ring=(3, 3), caption="find it")
    assert text.splitlines() == expected
    assert ansi_grid(cells, None).splitlines()[3] == "██· · · ≈≈G ██"
    assert ansi_grid(cells, (3, 3, UP), path=[(1, 3), (2, 3), (3, 3)]).splitlines()[3] == "██• • ▲ ≈≈G ██"


@pytest.mark.parametrize("name", ["MemoryS13-v0", "MultiRoom-N6-v0", "FourRooms-v0", "GoToDoor-8x8-v0"])
@pytest.mark.parametrize("n", [3, 7])
def test_what_is_in_view_is_what_minigrid_shows(name, n):
    env, rng = gym.make(f"MiniGrid-{name}", agent_view_size=n).unwrapped, np.random.default_rng(0)
    for seed in range(4):
        observation, _ = env.reset(seed=seed)
        for _ in range(40):
            _, mask = env.gen_obs_grid()
            expected = np.zeros((env.height, env.width), bool)
            for y, x in np.ndindex(env.height, env.width):
                if env.in_view(x, y):
                    expected[y, x] = mask[env.get_view_coords(x, y)]
            agent = (int(env.agent_pos[0]), int(env.agent_pos[1]), int(env.agent_dir))
            assert np.array_equal(seen_cells(observation["image"], agent, env.height, env.width), expected)
            observation, _, terminated, _, _ = env.step(rng.choice(7, p=[0.15, 0.15, 0.4, 0.1, 0.05, 0.15, 0]))
            if terminated:
                break


@pytest.mark.parametrize("draw", [draw_grid, ansi_grid])
def test_what_cannot_be_drawn_is_refused(draw):
    cells = room()
    with pytest.raises(ValueError, match="cells"):
        draw(cells[0], None)
    with pytest.raises(ValueError, match="cells"):
        draw(cells * 1.0, None)
    with pytest.raises(ValueError, match="seen"):
        draw(cells, None, np.zeros((3, 3)))
    for agent in ((9, 1, UP), (1, 7, UP), (-1, 0, UP), (1, 1, 4)):
        with pytest.raises(ValueError, match="agent"):
            draw(cells, agent)
    with pytest.raises(ValueError, match="ring"):
        draw(cells, None, ring=(1, 9))
    with pytest.raises(ValueError, match="path"):
        draw(cells, None, path=[(1, 1), (1, 7)])
