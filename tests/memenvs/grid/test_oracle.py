"""The oracle of MiniGrid's environments against a search through everything that can happen, and in MiniGrid itself."""

from collections import deque

import minigrid  # noqa: F401 — registers its environments
import numpy as np
import pytest

from memenvs.engine.defaults import no_oracle
from memenvs.grid import dynamics
from memenvs.grid.cells import BOX, CELL, CLOSED, DOOR, EMPTY, GOAL, GREY, KEY, LOCKED, PURPLE, RED, WALL, YELLOW, cell
from memenvs.grid.ids import FAMILIES, NAMES
from memenvs.grid.oracle import PLANNED, SEARCHED, oracle, oracle_of
from memenvs.grid.pools import convert, draw_pool, make_minigrid, survey_all
from memenvs.grid.records import GO_TO_RULE, GOAL_RULE, LEVEL, PICK_UP_RULE, STATE
from memenvs.grid.search import search

pytestmark = pytest.mark.filterwarnings("ignore:.*out of date")


def begun(level):
    state = np.zeros(1, STATE)[0]
    dynamics.reset(state, level)
    return state


def named(state):
    """What tells a state from others: all but padding, time and what follows from the cells."""
    return int(state["x"]), int(state["y"]), int(state["direction"]), int(state["carried"]), state["cells"].tobytes()


def explored(level, most):
    """All that can happen in a level: its states, their numbers by name, their distances from success.

    Every action is tried in every state, by the rules alone.
    """
    level["max_steps"] = 2**30
    first = begun(level)
    found, states, before, wins = {named(first): 0}, [first], [[]], []
    for number, state in enumerate(states):  # which grow on the way
        for action in range(7):
            after = state.copy()
            reward, terminated, _ = dynamics.step(after, level, action)
            if terminated:
                if reward > 0:
                    wins.append(number)
                continue
            after["steps"] = 0
            key = named(after)
            if key not in found:
                found[key] = len(found)
                before.append([])
                states.append(after)
                assert len(found) <= most
            before[found[key]].append(number)
    distances, waiting = np.full(len(found), -1), deque(dict.fromkeys(wins))
    distances[wins] = 1
    while waiting:
        number = waiting.popleft()
        for earlier in before[number]:
            if distances[earlier] < 0:
                distances[earlier] = distances[number] + 1
                waiting.append(earlier)
    return states, found, distances


def check_everywhere(level, oracle, every=1, most=40_000):
    """In each state the oracle's action comes one step nearer to success, as far as there is one."""
    states, found, distances = explored(level, most)
    assert distances[0] > 0
    for number in range(0, len(states), every):
        state = states[number]
        action = oracle(state, level)
        if distances[number] < 0:
            assert action == -1
            continue
        assert action >= 0
        reward, terminated, _ = dynamics.step(state, level, action)
        state["steps"] = 0
        if distances[number] == 1:
            assert terminated and reward > 0
        else:
            assert not terminated
            assert distances[found[named(state)]] == distances[number] - 1
    return len(found)


SMALL = {  # levels, and one of how many states is looked at
    "MemoryS7-v0": (3, 1),
    "Empty-Random-5x5-v0": (2, 1),
    "DoorKey-5x5-v0": (3, 1),
    "MultiRoom-N2-S4-v0": (4, 1),
    "SimpleCrossingS9N3-v0": (3, 1),
    "LavaCrossingS9N3-v0": (3, 1),
    "LavaGapS6-v0": (2, 1),
    "DistShift1-v0": (1, 1),
    "RedBlueDoors-6x6-v0": (2, 1),
    "GoToDoor-6x6-v0": (3, 1),
    "Fetch-6x6-N2-v0": (3, 1),
    "KeyCorridorS3R1-v0": (1, 1),
    "PutNear-6x6-N2-v0": (2, 2),
}
LARGE = {"KeyCorridorS3R1-v0", "PutNear-6x6-N2-v0"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in SMALL]
)
def test_no_plan_is_shorter_from_anywhere(name):
    levels, every = SMALL[name]
    for level in draw_pool(f"MiniGrid-{name}", levels).records:
        check_everywhere(level, oracle_of(name), every)


LOCKED_ROOMS = """
########
#k#.####
#.|A.LG#
###.####
#.|.####
########
"""


def written(plan, rule=GOAL_RULE):
    """A level from a plan of letters: ``A`` the agent, ``T`` a target, ``b`` what is wanted."""
    rows = plan.split()
    codes = {"#": cell(WALL, GREY), ".": EMPTY, "A": EMPTY, "T": EMPTY, "G": cell(GOAL, 1), "k": cell(KEY, PURPLE)}
    codes |= {
        "|": cell(DOOR, RED, CLOSED),
        "L": cell(DOOR, PURPLE, LOCKED),
        "b": cell(BOX, YELLOW),
        "x": cell(KEY, YELLOW),
    }
    level = np.zeros(1, LEVEL)
    level["height"], level["width"], level["rule"] = len(rows), len(rows[0]), rule
    level["cells"][0, : len(rows) * len(rows[0])] = np.array([codes[letter] for row in rows for letter in row], CELL)
    level["y"], level["x"] = next((y, row.index("A")) for y, row in enumerate(rows) if "A" in row)
    for y, row in enumerate(rows):
        if "T" in row:
            level["target"] = row.index("T"), y
    level["wanted"] = codes["b"]
    survey_all(level)
    return level[0]


def test_doors_of_the_way_to_the_key_are_open_on_the_way_back():
    assert check_everywhere(written(LOCKED_ROOMS), oracle) > 3_000


def test_a_way_between_things_is_cleared():
    """One thing after the other is picked up and dropped behind."""
    corridor = written("########\n#A.kx.T#\n########", GO_TO_RULE)
    assert check_everywhere(corridor, search) > 300
    assert fewest(corridor, search) == 12  # forward, pick up, 2 turns, drop, 2 turns, forward, pick up, ...


def test_a_key_is_dropped_before_another_thing_is_picked_up():
    rooms = written("#######\n#k.#..#\n#..L.b#\n#A.#..#\n#######", PICK_UP_RULE)
    assert check_everywhere(rooms, search, 5) > 2_000


def test_a_key_in_the_way_is_picked_up():
    for plan in ("######\n#Ak.G#\n######", "#######\n#Ak.LG#\n#######", "#######\n#Ak|.G#\n#######"):
        check_everywhere(written(plan), oracle)


def test_where_nothing_leads_to_success_there_is_no_action():
    for plan in ("#####\n#A#G#\n#####", "#######\n#Ax.LG#\n#######", "######\n#A.LG#\n######"):
        level = written(plan)
        assert oracle(begun(level), level) == -1
        assert search(begun(level), level) == -1


def fewest(level, oracle):
    """The oracle's steps to success by our rules, without a limit."""
    level = level.copy()
    level["max_steps"] = 2**30
    state = begun(level)
    for steps in range(1, 1000):
        reward, terminated, _ = dynamics.step(state, level, oracle(state, level))
        if terminated:
            assert reward > 0
            return steps
    raise AssertionError("the oracle does not arrive")


@pytest.mark.parametrize("family", [*PLANNED, *SEARCHED])
def test_its_plans_succeed_in_minigrid(family):
    """From the start and after some random steps, in as many steps as our rules say."""
    rng = np.random.default_rng(0)
    for variant in FAMILIES.get(family, "").split() or [""]:
        name = f"MiniGrid-{family}{variant}"
        env, level, oracle = make_minigrid(name), np.zeros(1, LEVEL), oracle_of(name)
        env.gen_obs = dict
        for seed in range(6):
            env.reset(seed=seed)
            level[:] = 0
            convert(env, level[0])
            survey_all(level)
            state = begun(level[0])
            if seed % 2:
                for action in rng.choice(7, 12, p=[0.2, 0.2, 0.35, 0.1, 0.05, 0.1, 0]).tolist():
                    before = state.copy()
                    if dynamics.step(state, level[0], action)[1] or oracle(state, level[0]) < 0:
                        state = before
                        continue
                    env.step(action)
            begins = env.step_count
            terminated = truncated = False
            while not (terminated or truncated):
                action = oracle(state, level[0])
                _, reward, terminated, truncated, _ = env.step(action)
                dynamics.step(state, level[0], action)
            assert reward == 1 - 0.9 * (env.step_count / env.max_steps) > 0
            if begins == 0:
                assert env.step_count == fewest(level[0], oracle)


def returns(env, choose, seed):
    env.reset(seed=seed)
    for _ in range(env.max_steps):
        _, reward, terminated, truncated, _ = env.step(choose())
        if terminated or truncated:
            break
    return reward


@pytest.mark.parametrize(
    "name", ["MiniGrid-Empty-Random-5x5-v0", "MiniGrid-GoToDoor-5x5-v0", "MiniGrid-Fetch-5x5-N2-v0"]
)
def test_it_is_never_beaten_by_chance(name):
    env, level, rng = make_minigrid(name), np.zeros(1, LEVEL), np.random.default_rng(1)
    env.gen_obs = dict
    for seed in range(8):
        env.reset(seed=seed)
        level[:] = 0
        convert(env, level[0])
        best = 1 - 0.9 * fewest(level[0], oracle_of(name)) / env.max_steps
        several = [returns(env, lambda: int(rng.choice([0, 1, 2, 2, 3, 6])), seed) for _ in range(25)]
        assert max(several) <= best + 1e-12


def test_which_have_one():
    assert oracle_of("MiniGrid-LockedRoom-v0") is oracle
    assert oracle_of("MiniGrid-PutNear-8x8-N3-v0") is search
    for name in ("Playground-v0", "Dynamic-Obstacles-5x5-v0", "ObstructedMaze-Full-v1", "KeyCorridorS6R3-v0"):
        assert oracle_of(f"MiniGrid-{name}") is no_oracle
    assert {f"MiniGrid-{name}" for name in SEARCHED} < set(NAMES)
