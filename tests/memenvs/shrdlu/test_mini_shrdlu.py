"""MiniShrdlu against a plain breadth-first search over boards: levels, what is seen, rewards, the oracle."""

from collections import Counter, deque
from functools import cache
from itertools import combinations, pairwise, product

import gymnasium as gym
import numpy as np
import pytest

from memenvs.shrdlu.lessons import LESSONS
from memenvs.shrdlu.planning import FARTHEST_GOAL

MOVES = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
PASS = 6
DESCRIPTION, CUE, PLAY = range(3)
SMALL = {"goals": 2, "blocks": (3, 4), "constraints": (1, 2), "moves": (1, 3)}
CASES = [
    {"lesson": 1},
    {"lesson": 5, "slack": 0},
    {"lesson": 10},
    {"lesson": 26},
    {"lesson": 26, "constraints": 1},
    {"lesson": 26, "blocks": (3, 6), "goals": (1, 10)},
    {"lesson": 1, "blocks": 2, "moves": (1, 2)},
    {"lesson": 25, "goals": 1, "moves": (8, 9)},
]


# --- the plain reference: a board is three tuples of blocks, from the bottom ------------------------------------------


def board_of(cells):
    columns = [[int(block) for block in cells[3 * c : 3 * c + 3]] for c in range(3)]
    assert all(0 not in column[: 3 - column.count(0)] for column in columns)  # nothing hangs in the air
    return tuple(tuple(block for block in column if block) for column in columns)


def moved(board, action):
    """The board after an action, or ``None`` where it is invalid."""
    if action == PASS:
        return board
    source, destination = MOVES[action]
    if not board[source] or len(board[destination]) == 3:
        return None
    columns = list(board)
    columns[destination] += columns[source][-1:]
    columns[source] = columns[source][:-1]
    return tuple(columns)


def true(board, constraint):
    first, relation, second = constraint
    place = {block: (c, h) for c, column in enumerate(board) for h, block in enumerate(column)}
    (x, y), (u, v) = place[first], place[second]
    return (x, y) == {1: (u - 1, v), 2: (u + 1, v), 3: (u, v + 1), 4: (u, v - 1)}[relation]


def count(board, goal):
    return sum(true(board, constraint) for constraint in goal)


@cache
def around(board, farthest=99):
    """All boards up to so many moves away, with their distances, the nearest first."""
    distance, waiting = {board: 0}, deque([board])
    while waiting:
        here = waiting.popleft()
        for action in range(6 if distance[here] < farthest else 0):
            there = moved(here, action)
            if there is not None and there not in distance:
                distance[there] = distance[here] + 1
                waiting.append(there)
    return distance


def nearest(board, goal, farthest=99):
    """The fewest moves to a board that satisfies the goal; more than ``farthest`` if there is none so near."""
    there = (d for board, d in around(board, farthest).items() if count(board, goal) == len(goal))
    return next(there, farthest + 1)


def all_boards(blocks):
    start = tuple(tuple(range(1, blocks + 1))[3 * c : 3 * c + 3] for c in range(3))
    return list(around(start))


def goals_of(level):
    return [[tuple(c) for c in level["constraints"][g, : level["counts"][g]].tolist()] for g in range(level["goals"])]


def asked_of(level):
    return goals_of(level)[level["asked"]]


# --- environments -----------------------------------------------------------------------------------------------------


def make(n=64, seed=0, **parameters):
    envs = gym.make_vec("memenvs/MiniShrdlu-v0", num_envs=n, **parameters)
    envs.reset(seed=seed)
    return envs


def single(seed=0, **parameters):
    env = gym.make("memenvs/MiniShrdlu-v0", **parameters).unwrapped
    return env, env.reset(seed=seed)[0]


def levels_of(parameters, n=64, seed=0):
    return make(n, seed, **parameters).batch.rows["level"].copy()


def level_of(env):
    return env.batch.rows["level"][0]


def to_play(env, seed):
    """Begin an episode and go through description and cue, with actions that must not matter."""
    observation, _ = env.reset(seed=seed)
    for t in range(int(level_of(env)["description"]) + 1):
        assert env.oracle() == -1
        observation, reward, end, _, info = env.step(t % 7)
        assert (reward, end) == (0, False)
    assert info["decision"]
    return observation


# --- levels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lesson", LESSONS)
def test_lessons_draw_from_their_ranges(lesson):
    levels, ranges = levels_of({"lesson": lesson}), LESSONS[lesson]
    assert all(low <= high for low, high in ranges)
    if lesson > 1:
        assert lesson == 26 or all(a <= b for a, b in zip(LESSONS[lesson - 1], ranges, strict=True))
    constraints = [len(goal) for level in levels for goal in goals_of(level)]
    for drawn, (low, high) in zip(
        (levels["goals"], levels["blocks"], constraints, levels["distance"]), ranges, strict=True
    ):
        assert (min(drawn), max(drawn)) == (low, high)
    assert np.array_equal(levels["moves"], levels["distance"] + 6)


def test_the_last_lesson_is_the_whole_task():
    assert LESSONS[26] == ((10, 10), (6, 6), (1, 6), (1, 7))
    assert levels_of({}).tobytes() == levels_of({"lesson": 26}).tobytes()


@pytest.mark.parametrize("parameters", CASES, ids=str)
def test_goals_are_as_far_as_they_should_be(parameters):
    ranges = LESSONS[parameters["lesson"]]
    low, high = np.broadcast_to(parameters.get("moves", ranges.moves), 2)
    away, others = set(), set()
    for level in levels_of(parameters, n=12):
        board, blocks = board_of(level["start"]), int(level["blocks"])
        assert sorted(sum(board, ())) == list(range(1, blocks + 1))
        goals = goals_of(level)
        assert len(set(level["letters"][: len(goals)].tolist())) == len(goals)
        assert all(1 <= letter <= 26 for letter in level["letters"][: len(goals)])
        for number, goal in enumerate(goals):
            assert len({frozenset((a, b)) for a, _, b in goal}) == len(goal)  # no pair of blocks twice
            distance = nearest(board, goal, high)
            assert low <= distance <= high
            (away if number == level["asked"] else others).add(distance)
            assert number != level["asked"] or distance == level["distance"]
        assert sorted(level["order"][: level["description"]].tolist()) == [
            6 * g + i for g, goal in enumerate(goals) for i in range(len(goal))
        ]
    assert len(away | others) > (high > low)


def test_what_is_drawn_is_uniform():
    levels = levels_of({"lesson": 1, "goals": 3}, n=30_000)
    boards = Counter(level["start"].tobytes() for level in levels)
    assert len(boards) == 60
    counts = np.array(list(boards.values()))
    assert ((counts - 500) ** 2 / 500).sum() < 59 + 5 * np.sqrt(2 * 59)
    first, last = levels["order"][:, 0] // 6, levels["order"][:, 2] // 6
    for drawn, n in ((levels["asked"], 3), (first, 3), (last, 3), (levels["letters"][:, 0] - 1, 26)):
        assert np.all(np.abs(np.bincount(drawn, minlength=n) * n / drawn.size - 1) < 0.2)
    relations = np.bincount(levels["constraints"][:, 0, 0, 1], minlength=5)
    assert abs(relations[1] / relations[2] - 1) < 0.1  # both ways of saying the same
    assert abs(relations[3] / relations[4] - 1) < 0.1
    ranges = levels_of({"lesson": 3}, n=8000)
    for drawn in (ranges["distance"], ranges["counts"][:, 1]):
        assert np.all(np.abs(np.bincount(drawn)[1:] / 4000 - 1) < 0.1)


def test_goals_are_drawn_as_described():
    """One move away: a random move, a random pair of blocks that then stand side by side, unless it did before."""
    levels = levels_of({"lesson": 1}, n=6000)
    drawn, chances = Counter(), {}
    for level in levels:
        board = board_of(level["start"])
        if board not in chances:
            nexts = [there for a in range(6) if (there := moved(board, a)) is not None]
            pairs = [[c for c in product((1, 2, 3), (1, 3), (1, 2, 3)) if c[0] != c[2] and true(b, c)] for b in nexts]
            weights = Counter()
            for facts in pairs:
                for fact in facts:
                    weights[fact] += (not true(board, fact)) / len(facts)
            chances[board] = {fact: weight / sum(weights.values()) for fact, weight in weights.items() if weight}
        for ((first, relation, second),) in goals_of(level):
            drawn[board, (first, relation, second) if relation % 2 else (second, relation - 1, first)] += 1
    starts = Counter(board_of(level["start"]) for level in levels)
    expected = {(b, f): 2 * starts[b] * chance for b, facts in chances.items() for f, chance in facts.items()}
    assert drawn.keys() == expected.keys()
    chi = sum((drawn[case] - mean) ** 2 / mean for case, mean in expected.items())
    freedom = len(expected) - len(starts)
    assert chi < freedom + 5 * np.sqrt(2 * freedom)


def test_descriptions_are_interleaved():
    level = levels_of({"lesson": 25}, n=1)[0]
    letters = level["order"][:60] // 6
    assert np.sum(letters[1:] != letters[:-1]) > 40


@pytest.mark.parametrize("blocks", [2, 3, 4])
def test_the_farthest_goals(blocks):
    farthest = Counter()
    for board in all_boards(blocks):
        if [block for column in board for block in column] != sorted(sum(board, ())):
            continue  # the same, but for the names of the blocks
        seen, names = set(), range(1, blocks + 1)
        for there, distance in around(board).items():
            holding = [c for c in product(names, (1, 3), names) if c[0] != c[2] and true(there, c)]
            for k in range(1, 7):
                for goal in combinations(holding, k):
                    if goal not in seen:  # the boards come in the order of their distance
                        seen.add(goal)
                        farthest[k] = max(farthest[k], distance)
    assert FARTHEST_GOAL[blocks].tolist() == [farthest[k] for k in range(7)]


def test_there_are_as_many_levels_of_one_constraint_as_counted():
    envs = make(1, lesson=1)
    seen = {
        (board, goal)
        for board in all_boards(3)
        for goal in product((1, 2, 3), (1, 3), (1, 2, 3))
        if goal[0] != goal[2] and nearest(board, [goal]) == 1
    }
    assert envs.definition.distinct_levels == len(seen)
    assert make(1, lesson=1, moves=(1, 4)).definition.distinct_levels > len(seen)


def test_a_digest_is_of_the_board_and_what_is_asked():
    digest = make(1).definition.digest
    for level in levels_of({"constraints": (2, 3)}, n=20):
        asked, same, original = int(level["asked"]), level.copy(), digest(level)
        same["letters"][asked] = level["letters"][asked] % 26 + 1
        goal = same["constraints"][asked]
        goal[[0, 1]] = goal[[1, 0]]
        first, relation, second = goal[0].tolist()
        goal[0] = second, {1: 2, 2: 1, 3: 4, 4: 3}[relation], first
        same["order"][: level["description"]] = np.roll(level["order"][: level["description"]], 1)
        same["constraints"][(asked + 1) % 10, 0] = 1, 1, 2
        assert digest(same) == original
        other = level.copy()
        other["constraints"][asked, 0, 1] = 5 - level["constraints"][asked, 0, 1]
        assert digest(other) != original
        other = level.copy()
        other["start"] = np.roll(level["start"], 3)
        assert digest(other) != original


# --- episodes, from nothing but observations --------------------------------------------------------------------------


class Planner:
    """What an agent with a perfect memory does: writes the constraints down, then plans by breadth-first search."""

    def __init__(self):
        self.goals, self.asked, self.plan, self.phases = {}, None, None, []

    def act(self, observation):
        assert observation.dtype == np.uint8
        letter, first, relation, second, phase = observation[:5].tolist()
        self.phases.append(phase)
        if phase == DESCRIPTION:
            assert letter > 0
            self.goals.setdefault(letter, []).append((first, relation, second))
            return PASS
        assert (first, relation, second) == (0, 0, 0)
        if phase == CUE:
            self.asked = self.goals[letter]
            return PASS
        assert letter == 0
        board = board_of(observation[5:])
        if self.plan is None:
            self.plan = [board]
            while count(self.plan[-1], self.asked) < len(self.asked):
                nexts = [there for a in range(6) if (there := moved(self.plan[-1], a)) is not None]
                self.plan.append(min(nexts, key=lambda there: nearest(there, self.asked, 9)))
        assert board == self.plan[0]
        if len(self.plan) == 1:
            return PASS
        self.plan.pop(0)
        return next(a for a in range(6) if moved(board, a) == self.plan[0])


@pytest.mark.parametrize("parameters", CASES, ids=str)
def test_a_perfect_memory_is_enough(parameters):
    env, _ = single(**parameters)
    for seed in range(4):
        observation, info = env.reset(seed=seed)
        level, planner, total, end = level_of(env).copy(), Planner(), 0.0, False
        while not end:
            assert board_of(observation[5:]) == board_of(env.batch.rows["state"]["cells"][0])
            assert info["decision"] == (observation[4] == PLAY) == (env.oracle() >= 0)
            observation, reward, end, cut, info = env.step(planner.act(observation))
            assert not cut
            total += reward
        slack = parameters.get("slack", 6)
        read, played = int(level["description"]), int(level["distance"]) + slack
        assert planner.phases == [DESCRIPTION] * read + [CUE] + [PLAY] * played
        letters = level["letters"].tolist()
        told = {letters[g]: sorted(goal) for g, goal in enumerate(goals_of(level))}
        assert {letter: sorted(goal) for letter, goal in planner.goals.items()} == told
        assert planner.asked is planner.goals[letters[level["asked"]]]
        assert total == pytest.approx(1.0)
        assert (info["success"], info["optimality"], info["constraints"]) == (1.0, 1.0, 1.0)
        assert not info["decision"]


def test_before_play_actions_do_nothing():
    env, _ = single(lesson=7)
    for seed in range(10):
        observation = to_play(env, seed)
        level = level_of(env)
        assert observation[:5].tolist() == [0, 0, 0, 0, PLAY]
        assert observation[5:].tolist() == level["start"].tolist()
        assert env.batch.rows["state"]["made"][0] == 0


def test_rewards_are_as_described():
    invalid, undo = 0.0625, 0.25
    env, _ = single(**SMALL, slack=4, invalid_penalty=invalid, undo_penalty=undo)
    rng, seen = np.random.default_rng(0), Counter()
    for seed in range(120):
        board = board_of(to_play(env, seed)[5:])
        level = level_of(env)
        goal, paid, last, made = asked_of(level), 0.0, None, 0
        allowed = int(level["distance"]) + 4
        for t in range(allowed):
            action = int(rng.integers(7)) if rng.random() < 0.6 else env.oracle()
            observation, reward, end, cut, info = env.step(action)
            there, penalty = moved(board, action), 0.0
            made += action != PASS
            if there is None:
                penalty = invalid
            elif action != PASS:
                board = there
                penalty = undo if last == MOVES[action][::-1] else 0.0
                last = MOVES[action]
            share = count(board, goal) / len(goal)
            assert reward == pytest.approx(share - paid - penalty)
            assert board_of(observation[5:]) == board
            assert (end, cut) == (t == allowed - 1, False)
            paid = share
            seen[penalty] += 1
        assert info["constraints"] == share
        assert info["success"] == (share == 1)
        assert info["optimality"] == (share == 1 and made == level["distance"])
        seen["success"] += info["success"]
        seen["lucky"] += info["optimality"]
    assert min(seen[invalid], seen[undo], seen["success"]) > 15
    assert 0 < seen["lucky"] < seen["success"]


def test_passes_keep_the_optimum_and_a_detour_does_not():
    for detour in (False, True):
        env, _ = single(lesson=9, undo_penalty=0.125)
        for seed in range(5):
            board, total, end = board_of(to_play(env, seed)[5:]), 0.0, False
            goal = asked_of(level_of(env))
            away = max(range(6), key=lambda a: (there := moved(board, a)) is not None and nearest(there, goal, 9))
            back = MOVES.index(MOVES[away][::-1])
            for action in (away, PASS, back) if detour else (PASS, PASS, PASS):
                total += env.step(action)[1]
            while not end:
                _, reward, end, _, info = env.step(env.oracle())
                total += reward
            assert total == pytest.approx(0.875 if detour else 1.0)
            assert (info["success"], info["optimality"]) == (1.0, 0.0 if detour else 1.0)


# --- the oracle -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [{}, {"lesson": 2}, {"lesson": 25, "slack": 0}, SMALL], ids=str)
def test_the_oracle_needs_the_fewest_moves(parameters):
    envs = make(128, **parameters)
    returns, optimal, fewest = [], [], []
    for _ in range(160):
        before = (
            envs.batch.rows["state"]["satisfied"]
            == envs.batch.rows["level"]["counts"][np.arange(128), envs.batch.rows["level"]["asked"]]
        )
        oracle, play = envs.oracle(), envs.batch.decision
        assert np.array_equal(oracle >= 0, play)
        assert np.array_equal(oracle[play] == PASS, before[play])  # passes when it is done, and only then
        _, _, terminated, _, infos = envs.step(np.maximum(oracle, 0))
        if terminated.any():
            returns += infos["episode"]["r"][terminated].tolist()
            optimal += infos["optimality"][terminated].tolist()
            fewest += infos["success"][terminated].tolist()
    assert len(returns) >= 128
    assert np.allclose(returns, 1.0)
    assert np.mean(optimal) == np.mean(fewest) == 1.0


def best_return(board, goal, left, last, paid, invalid, undo):
    """The most that any way to act can still bring, by trying all of them."""

    @cache
    def best(board, left, last):
        if left == 0:
            return count(board, goal) / len(goal)
        values = []
        for action in range(7):
            there = moved(board, action)
            if there is None:
                values.append(best(board, left - 1, last) - invalid)
            elif action == PASS:
                values.append(best(board, left - 1, last))
            else:
                penalty = undo if last == MOVES[action][::-1] else 0.0
                values.append(best(there, left - 1, MOVES[action]) - penalty)
        return max(values)

    return best(board, left, last) - paid


@pytest.mark.parametrize("undo", [0.0, 0.25])
@pytest.mark.parametrize("parameters", [SMALL, {"lesson": 4, "moves": 3}, {"lesson": 1, "moves": 2}], ids=str)
def test_no_way_to_act_beats_the_oracle(parameters, undo):
    """From the first move on; and, where undoing costs nothing, after any others."""
    env, _ = single(**parameters, slack=2, invalid_penalty=0.125, undo_penalty=undo)
    rng, hopeless = np.random.default_rng(0), 0
    for seed in range(24):
        board, last, paid, end, total = board_of(to_play(env, seed)[5:]), None, 0.0, False, 0.0
        level = level_of(env)
        goal, left = asked_of(level), int(level["moves"])
        for _ in range(rng.integers(left) if undo == 0 else 0):
            action = int(env.random_walk(rng))
            board = moved(board, action)
            last = last if action == PASS else MOVES[action]
            env.step(action)
            left, paid = left - 1, count(board, goal) / len(goal)
        hopeless += nearest(board, goal) > left
        best = best_return(board, goal, left, last, paid, 0.125, undo)
        while not end:
            _, reward, end, _, _ = env.step(env.oracle())
            total += reward
        assert total == pytest.approx(best)
    assert (hopeless > 0) == (undo == 0)


def test_the_oracle_on_any_board_and_with_any_moves_left():
    """Its action leads to the most constraints that can be satisfied, in the fewest moves, undoing only if it must."""
    envs, rng, undone = make(60, lesson=16, moves=(2, 4), constraints=(2, 5)), np.random.default_rng(0), 0
    rows = envs.batch.rows
    for row in rows:
        state, level = row["state"], row["level"]
        board = board_of(level["start"])
        for _ in range(rng.integers(1, 4)):
            action = rng.choice([a for a in range(6) if moved(board, a) is not None])
            board, state["last"] = moved(board, action), action
        state["cells"] = [block for column in board for block in (*column, 0, 0, 0)[:3]]
        state["time"] = level["description"] + 1 + level["moves"] - rng.integers(1, 7)
    for row, action in zip(rows, envs.oracle(), strict=True):
        state, level = row["state"], row["level"]
        board, goal = board_of(state["cells"]), asked_of(level)
        left = int(level["description"] + level["moves"] - state["time"])

        def value(a, board=board, goal=goal, left=left, last=int(state["last"])):
            there = moved(board, a)
            if there is None:
                return (-1, 0, 0, 0)
            most = max((count(b, goal), -d) for b, d in around(there, left).items())
            return (*most, a == PASS, a == PASS or MOVES[a] != MOVES[last][::-1])

        assert value(action) == max(map(value, range(7)))
        undone += not value(action)[3]
    assert undone > 0


def test_a_random_walk_makes_no_invalid_moves():
    envs, rng, taken = make(64, lesson=7), np.random.default_rng(0), Counter()
    for _ in range(60):
        rows, actions = envs.batch.rows.copy(), envs.random_walk(rng)
        for row, action in zip(rows, actions, strict=True):
            if row["state"]["time"] > row["level"]["description"]:
                assert moved(board_of(row["state"]["cells"]), action) is not None
                taken[int(action)] += 1
        envs.step(actions)
    assert set(taken) == set(range(7))


def test_a_random_walk_seldom_succeeds():
    envs, rng, success = make(128), np.random.default_rng(0), []
    for _ in range(150):
        _, _, terminated, _, infos = envs.step(envs.random_walk(rng))
        success += infos["success"][terminated].tolist() if terminated.any() else []
    assert len(success) > 200
    assert np.mean(success) < 0.2


# --- parameters, snapshots and pictures -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lesson": 0}, "lesson must be an integer from 1 to 26"),
        ({"lesson": 27}, "lesson"),
        ({"lesson": "all"}, "lesson"),
        ({"goals": 0}, "goals must be within 1 to 10"),
        ({"goals": 11}, "goals"),
        ({"blocks": (1, 3)}, "blocks must be within 2 to 6"),
        ({"blocks": 7}, "blocks"),
        ({"constraints": 0}, "constraints must be within 1 to 6"),
        ({"constraints": (3, 2)}, "constraints"),
        ({"moves": 0}, "moves must be within 1 to 10"),
        ({"moves": 11}, "moves"),
        ({"slack": -1}, "slack"),
        ({"slack": 51}, "slack"),
        ({"invalid_penalty": -0.1}, "invalid_penalty"),
        ({"undo_penalty": 1.5}, "undo_penalty"),
        ({"undo_penalty": "dear"}, "undo_penalty"),
        ({"blocks": 3, "constraints": 3}, "no level of MiniShrdlu"),
        ({"constraints": 1, "moves": 8}, "no level of MiniShrdlu"),
        ({"lesson": 1, "blocks": 2, "split": "test"}, "26 distinct level"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        gym.make("memenvs/MiniShrdlu-v0", **wrong)


DAMAGE = {
    "level": {
        "blocks": (0, 5, 7),
        "goals": (-1, 0, 11),
        "asked": (-1, 10),
        "distance": (0, 8),
        "moves": (0, 300),
        "description": (-1, 0, 61),
        "start": (0, 7, -1),
        "letters": (0, 27),
        "counts": (0, 7),
        "constraints": (0, 7, -1),
        "order": (-1, 60),
        "invalid_penalty": (np.nan, 1e9),
        "undo_penalty": (-1.0,),
    },
    "state": {"time": (-1, 300), "made": (-1, 20), "satisfied": (-1, 7), "last": (-2, 6), "cells": (0, 7, -1)},
}


@pytest.mark.parametrize(("record", "field"), [(r, f) for r, fields in DAMAGE.items() for f in fields])
def test_damaged_snapshots_are_refused(record, field):
    envs = make(3)
    for _ in range(30):
        envs.step([PASS] * 3)
    snapshot = envs.snapshot()
    envs.restore(snapshot)
    for wrong in DAMAGE[record][field]:
        rows = envs.batch.rows.copy()
        value = rows[1][record][field]
        if np.ndim(value):
            value.flat[0] = wrong if value.flat[0] != wrong else 3
        else:
            rows[1][record][field] = wrong
        with pytest.raises(ValueError, match="damaged"):
            envs.restore(snapshot | {"rows": rows.view(np.uint8).reshape(3, -1)})


@pytest.mark.parametrize("damage", ["same block", "no relation", "twice", "missing", "hanging", "two of a block"])
def test_goals_and_boards_that_cannot_be(damage):
    envs = make(2)
    rows = envs.batch.rows.copy()
    level, state = rows[0]["level"], rows[0]["state"]
    goal = int(np.argmin(level["counts"]))  # it has less than 6 constraints
    if damage == "same block":
        level["constraints"][goal, 0, 0] = level["constraints"][goal, 0, 2]
    elif damage == "no relation":
        level["constraints"][goal, 0, 1] = 5
    elif damage == "twice":
        level["order"][0] = level["order"][1]
    elif damage == "missing":
        level["order"][np.flatnonzero(level["order"] == 6 * goal)[0]] = 6 * goal + 5
    else:
        level["start"] = [0, 1, 0, 2, 3, 0, 4, 5, 6] if damage == "hanging" else [1, 1, 0, 2, 3, 0, 4, 5, 6]
    assert level["counts"][goal] < 6
    assert state["time"] == 0
    with pytest.raises(ValueError, match="damaged"):
        envs.restore(envs.snapshot() | {"rows": rows.view(np.uint8).reshape(2, -1)})


def test_text_tells_all():
    env, observation = single(lesson=7, render_mode="ansi")
    level = level_of(env)
    read = {}
    while True:
        letter, first, relation, second, phase = observation[:5].tolist()
        lines = env.render().splitlines()
        told = {line[2]: line for line in lines if line[3:4] == ":"}
        board = board_of(observation[5:])
        assert [line.split() for line in lines[2:5]] == [
            [str(column[h]) if h < len(column) else "·" for column in board] for h in (2, 1, 0)
        ]
        if phase != DESCRIPTION:
            break
        said = f"{first} {('left of', 'right of', 'above', 'below')[relation - 1]} {second}"
        said += " ✓" if true(board, (first, relation, second)) else ""
        read.setdefault(chr(64 + letter), []).append(said)
        assert f"[{said}]" in told[chr(64 + letter)]
        assert ">" not in env.render()
        observation = env.step(0)[0]
    letter = chr(64 + letter)
    assert lines[0] == f"Go for {letter}!"
    assert told.keys() == read.keys()
    assert all(sorted(told[key][5:].split(", ")) == sorted(said) for key, said in read.items())
    assert [key for key, line in told.items() if line[0] == ">"] == [letter]
    env.step(0)
    while not env.step(env.oracle())[2]:
        pass
    assert f"{letter}: move {level['moves']} of {level['moves']}" in env.render()
    assert f"{level['counts'][level['asked']]} of {level['counts'][level['asked']]} satisfied" in env.render()


def test_pictures_change_when_something_happens():
    env, _ = single(lesson=1, slack=1, moves=2, render_mode="rgb_array")
    pictures, end = [env.render()], False
    while not end:
        _, _, end, _, _ = env.step(max(env.oracle(), 0))
        pictures.append(env.render())
    assert all(p.dtype == np.uint8 and p.shape == pictures[0].shape and p.std() > 5 for p in pictures)
    assert all(np.any(a != b) for a, b in pairwise(pictures))
    board = np.s_[100:450, :300]
    read = int(level_of(env)["description"])
    assert all(np.array_equal(p[board], pictures[0][board]) for p in pictures[1:read])
    assert np.any(pictures[read + 1][board] != pictures[read + 2][board])


@pytest.mark.parametrize("parameters", [{"goals": 1, "constraints": 1}, {"lesson": 25}, {"lesson": 1, "blocks": 2}])
def test_pictures_of_all_sizes(parameters):
    env, _ = single(render_mode="rgb_array", **parameters)
    assert np.mean(env.render() == env.render()[0, 0]) > 0.2
