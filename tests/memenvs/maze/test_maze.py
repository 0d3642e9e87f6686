"""Maze-v0 step by step: what is seen, trials, rewards, ends, metrics, the oracle, snapshots, pictures."""

import gymnasium as gym
import numpy as np
import pytest
from minigrid.core.grid import Grid

from memenvs.grid.cells import COLOURS, EMPTY, WALL, cell, colour_of, kind_of, state_of
from memenvs.maze.maze import plan_of

LEFT, RIGHT, FORWARD = range(3)
WAYS = [(1, 0), (0, 1), (-1, 0), (0, -1)]  # right, down, left, up
SEVERAL = {"goals": 4, "size": 11}


def single(**parameters):
    return gym.make("memenvs/Maze-v0", **parameters).unwrapped


def make(n=64, seed=0, **parameters):
    envs = gym.make_vec("memenvs/Maze-v0", num_envs=n, **parameters)
    envs.reset(seed=seed)
    return envs


def cells_of(env, row=0):
    level = env.batch.rows["level"][row]
    size = int(level["size"])
    return level["cells"][: size * size].reshape(size, size)


def pose_of(env, row=0):
    state = env.batch.rows["state"][row]
    return int(state["x"]), int(state["y"]), int(state["direction"])


def wanted_of(env, row=0):
    """The cell of the wanted goal."""
    rows = env.batch.rows
    return tuple(rows["level"]["places"][row, rows["state"]["wanted"][row]].tolist())


def steps_of(env, row=0):
    """The fewest steps from where the agent is, by search from it, in plain Python."""
    cells, goal = cells_of(env, row), wanted_of(env, row)
    steps, front, seen = 0, {pose_of(env, row)}, set()
    while not any(pose[:2] == goal for pose in front):
        seen |= front
        turned = {(x, y, (d + turn) % 4) for x, y, d in front for turn in (1, 3)}
        ahead = {(x + WAYS[d][0], y + WAYS[d][1], d) for x, y, d in front}
        front = (turned | {pose for pose in ahead if kind_of(cells[pose[1], pose[0]]) != WALL}) - seen
        steps += 1
    return steps


def view_by_minigrid(cells, pose, n):
    """What an agent sees, by MiniGrid's own grids."""
    x, y, direction = pose
    grid, _ = Grid.decode(np.stack([kind_of(cells), colour_of(cells), state_of(cells)], axis=-1).swapaxes(0, 1))
    for i, code in enumerate(cells.reshape(-1)):
        if grid.grid[i] is not None:
            grid.grid[i].color = COLOURS[colour_of(code)]  # which decoding forgets for goals
    dx, dy = WAYS[direction]
    left = x - n // 2 if dx == 0 else x if dx > 0 else x - n + 1
    top = y - n // 2 if dy == 0 else y if dy > 0 else y - n + 1
    grid = grid.slice(left, top, n, n)
    for _ in range(direction + 1):
        grid = grid.rotate_left()
    visible = grid.process_vis(agent_pos=(n // 2, n - 1))
    grid.set(n // 2, n - 1, None)
    return grid.encode(visible)


@pytest.mark.parametrize(
    ("parameters", "n"),
    [
        ({}, 7),
        ({"size": (7, 25), "algorithm": "rooms", "loops": 0.2}, 7),
        pytest.param({"size": 41, "algorithm": "kruskal"}, 7, marks=pytest.mark.slow),
        ({"size": 25, "loops": 1}, 15),
        ({**SEVERAL, "algorithm": "rooms"}, 7),
    ],
    ids=str,
)
def test_walking_and_seeing(parameters, n):
    env, rng = single(agent_view_size=n, **parameters), np.random.default_rng(0)
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        cells, goal = cells_of(env).copy(), wanted_of(env)
        for _ in range(80):
            x, y, d = pose_of(env)
            assert observation["direction"] == d
            assert observation["image"].dtype == np.uint8
            assert np.array_equal(observation["image"], view_by_minigrid(cells, (x, y, d), n))
            if "goals" not in parameters:
                assert not np.any(observation["image"][..., 0] == 8)
            action = int(rng.choice([LEFT, RIGHT, FORWARD, FORWARD]))
            dx, dy = WAYS[d] if action == FORWARD else (0, 0)
            if kind_of(cells[y + dy, x + dx]) == WALL:
                dx = dy = 0
            expected = (x + dx, y + dy, (d + {LEFT: 3, RIGHT: 1, FORWARD: 0}[action]) % 4)
            goal = wanted_of(env)
            observation, reward, end, _, _ = env.step(action)
            assert not end
            assert reward == (expected[:2] == goal)
            if reward == 0 or "goals" in parameters:
                assert pose_of(env) == expected


def test_the_hidden_goal_stays_and_the_agent_is_put_elsewhere():
    env = single(size=15, loops=0.1)
    for seed in range(5):
        observation, _ = env.reset(seed=seed)
        goal, starts = wanted_of(env), []
        while True:
            assert wanted_of(env) == goal
            starts.append(pose_of(env))
            steps = steps_of(env)
            assert steps >= 15 // 2
            assert observation["found"] == (len(starts) > 1)
            for step in range(steps):
                assert steps_of(env) == steps - step if step % 8 == 0 else True
                observation, reward, end, cut, info = env.step(env.oracle())
                assert not end
                if cut:
                    break
                assert (reward, observation["found"]) == (float(step == steps - 1), step == steps - 1)
            if cut:
                break
        assert info["goals"] == len(starts) - (reward == 0) > 5
        assert (info["success"], info["first"], info["later"]) == (1, 1, 1)
        assert len(set(starts)) > 0.8 * len(starts)


def fewest_steps(cells, goal):
    """From every free cell, looking the best way, in plain Python: backwards from the goal."""
    steps, front, seen, found = 0, {(*goal, d) for d in range(4)}, set(), {}
    while front:
        for x, y, _ in front:
            found.setdefault((x, y), steps)
        seen |= front
        turned = {(x, y, (d + turn) % 4) for x, y, d in front for turn in (1, 3)}
        behind = {(x - WAYS[d][0], y - WAYS[d][1], d) for x, y, d in front}
        front = (turned | {pose for pose in behind if kind_of(cells[pose[1], pose[0]]) != WALL}) - seen
        steps += 1
    return found


def test_the_agent_is_put_anywhere_far_enough():
    """In the one maze of side 7 without inner walls: first and second starts, for each place of the goal."""
    envs = make(12_000, size=7, loops=1, colours=False)
    first = envs.batch.rows["state"].copy()
    second, found = first.copy(), np.zeros(12_000, bool)
    for _ in range(16):
        observations, *_ = envs.step(envs.oracle())
        new = (observations["found"] == 1) & ~found
        second[new] = envs.batch.rows["state"][new]
        found |= new
    assert found.all()
    cells, goals = cells_of(envs), envs.batch.rows["level"]["places"][:, 0]
    for y, x in np.argwhere(cells == EMPTY).tolist():
        far = {place for place, steps in fewest_steps(cells, (x, y)).items() if steps >= 3}
        chosen = np.all(goals == (x, y), axis=1)
        for states in (first, second):
            places, counts = np.unique(states[["x", "y"]][chosen], return_counts=True)
            assert set(places.tolist()) == far
            expected = chosen.sum() / len(far)
            assert ((counts - expected) ** 2 / expected).sum() < len(far) + 5 * np.sqrt(2 * len(far))
    for states in (first, second):
        assert np.all(np.abs(np.bincount(states["direction"]) / 3000 - 1) < 0.06)
    same = (first["x"] == second["x"]) & (first["y"] == second["y"])
    assert np.mean(same) == pytest.approx(1 / len(far), abs=0.03)


@pytest.mark.parametrize("goals", [2, 4, 6])
def test_of_several_goals_another_is_asked_for(goals):
    env, changes = single(goals=goals, size=13), np.zeros((goals, goals), int)
    for seed in range(4):
        observation, _ = env.reset(seed=seed)
        assert set(observation) == {"image", "direction", "wanted"}
        places, cut = env.batch.rows["level"]["places"][0, :goals].tolist(), False
        assert fewest_steps(cells_of(env), places[observation["wanted"]])[pose_of(env)[:2]] >= 13 // 2
        while not cut:
            wanted, steps = int(observation["wanted"]), steps_of(env)
            for step in range(steps):
                observation, reward, end, cut, info = env.step(env.oracle())
                assert not end
                assert reward == (step == steps - 1)
                assert cut or (observation["wanted"] == wanted) == (reward == 0)
                if cut:
                    break
            if reward:
                assert list(pose_of(env)[:2]) == places[wanted]
                changes[wanted, observation["wanted"]] += 1
        assert info["success"] == 1
        assert info["goals"] > 6
        assert (info["first"], info["later"]) == (1, 1)
    assert not np.diag(changes).any()
    assert changes.sum(axis=1).all()


def test_the_next_goal_is_uniform_among_the_others():
    envs, drawn = make(512, goals=4, size=7), []
    observations, _ = envs.reset(seed=1)
    assert np.all(np.abs(np.bincount(observations["wanted"]) / 128 - 1) < 0.3)
    for _ in range(97):
        before = observations["wanted"]
        observations, rewards, *_ = envs.step(envs.oracle())
        drawn.append((before * 4 + observations["wanted"])[rewards > 0])
    changes = np.bincount(np.concatenate(drawn), minlength=16).reshape(4, 4)
    assert not np.diag(changes).any()
    others = changes[~np.eye(4, dtype=bool)].reshape(4, 3)
    assert np.all(np.abs(others / others.mean(axis=1, keepdims=True) - 1) < 0.15)


@pytest.mark.parametrize("parameters", [{}, {"goals": 3}], ids=str)
@pytest.mark.parametrize("trials", [1, 3])
def test_the_last_trial_ends_the_episode(trials, parameters):
    env = single(trials=trials, **parameters)
    env.reset(seed=0)
    wanted = []
    for trial in range(trials):
        wanted.append(wanted_of(env))
        steps = steps_of(env)
        for step in range(steps):
            observation, reward, end, cut, info = env.step(env.oracle())
            last = step == steps - 1
            assert (reward, end, cut) == (float(last), last and trial == trials - 1, False)
    assert observation.get("found", 1) == 1
    assert pose_of(env)[:2] == wanted[-1]
    known = len(set(wanted)) < trials
    assert info == {"decision": True, "success": 1, "goals": trials, "first": 1, "later": float(known)}


@pytest.mark.parametrize(
    ("parameters", "steps"), [({}, 162), ({"size": 7}, 98), ({"max_steps": 20}, 20), ({"size": 21}, 882)], ids=str
)
def test_steps_run_out(parameters, steps):
    env = single(**parameters)
    env.reset(seed=0)
    for step in range(steps):
        _, reward, end, cut, info = env.step(LEFT)
        assert (reward, end, cut) == (0, False, step == steps - 1)
    assert info["success"] == info["goals"] == info["later"] == 0
    assert info["first"] <= 2 / steps  # for having turned


@pytest.mark.parametrize("parameters", [{"size": 7}, {"size": 7, "goals": 3}], ids=str)
def test_the_metrics_are_recounted(parameters):
    env, rng, seen = single(max_steps=120, **parameters), np.random.default_rng(1), []
    for seed in range(40):
        env.reset(seed=seed)
        gained, spent, known, reached, cut = [0, 0], [0, 0], set(), 0, False
        shortest, steps, goal = steps_of(env), 0, wanted_of(env)
        clever = rng.random()
        while not cut:
            action = env.oracle() if rng.random() < clever else env.random_walk(rng)
            _, reward, _, cut, info = env.step(action)
            steps += 1
            if reward or cut:
                kind = goal in known
                spent[kind] += steps
                gained[kind] += shortest if reward else max(shortest - steps_of(env), 0)
                if reward:
                    known.add(goal)
                    reached += 1
                shortest, steps, goal = steps_of(env), 0, wanted_of(env)
        expected = [float(reached > 0), reached, gained[0] / max(spent[0], 1), gained[1] / max(spent[1], 1)]
        assert [info[name] for name in ("success", "goals", "first", "later")] == pytest.approx(expected)
        seen.append(expected)
    assert all(len({row[i] for row in seen}) > (1 if i else 0) for i in range(4))


def test_a_random_walk_only_does_what_does_something():
    envs, rng = make(64, algorithm="rooms"), np.random.default_rng(0)
    forward = 0
    for _ in range(100):
        before = envs.batch.rows["state"].copy()
        actions = envs.random_walk(rng)
        observations, *_ = envs.step(actions)
        after = envs.batch.rows["state"]
        going = (actions == FORWARD) & (observations["found"] == 0)
        assert np.all((before["x"] != after["x"])[going] | (before["y"] != after["y"])[going])
        forward += going.sum()
    assert 0.1 < forward / 6400 < 0.34


def test_a_walk_finds_less_than_the_oracle():
    goals = {}
    for name in ("oracle", "walk"):
        envs, rng = make(256), np.random.default_rng(0)
        for _ in range(162):
            infos = envs.step(envs.oracle() if name == "oracle" else envs.random_walk(rng))[4]
        goals[name] = infos["goals"].mean()
        if name == "oracle":
            assert (infos["first"] == 1).all()
            assert (infos["later"] == 1).all()
        else:
            assert infos["first"].mean() < 0.4
    assert goals["walk"] < 0.2 * goals["oracle"]


def test_as_a_task_of_getting_somewhere():
    env, rng, reached = single(size=7), np.random.default_rng(0), 0
    goals = env.definition.goals
    for seed in range(20):
        env.reset(seed=seed)
        for _ in range(60):
            wanted, (x, y, d), cells = wanted_of(env), pose_of(env), cells_of(env)
            action = env.random_walk(rng) if rng.random() < 0.3 else env.oracle()
            _, reward, *_ = env.step(action)
            achieved, desired = goals.read(env.batch.rows["state"][0], env.batch.rows["level"][0])
            assert goals.space.contains(achieved)
            assert goals.space.contains(desired)
            assert desired.tolist() == list(wanted)
            dx, dy = WAYS[d] if action == FORWARD else (0, 0)
            assert kind_of(cells[y + dy, x + dx]) != WALL
            assert achieved.tolist() == [x + dx, y + dy]
            assert goals.reward(achieved, desired) == reward
            reached += reward
    assert reached > 10
    assert goals.reward(np.array([[1, 2], [3, 2]]), np.array([[1, 2], [2, 3]])).tolist() == [1, 0]
    assert single(goals=2).definition.goals is None


# --- snapshots, parameters, pictures ----------------------------------------------------------------------------------


def damage(**fields):
    """A change of fields of the first row."""

    def change(rows):
        for name, value in fields.items():
            record = "level" if name in rows["level"].dtype.names else "state"
            rows[record][name][0] = value

    return change


def change_cell(code):
    def change(rows):
        rows["level"]["cells"][0, 10] = code  # at (1, 1), which is free

    return change


def open_border(rows):
    """A hole in the outer wall, as cells and bits have it."""
    rows["level"]["cells"][0, 9] = EMPTY
    rows["level"]["rows"][0, 1] |= np.uint64(1)
    rows["level"]["columns"][0, 0] |= np.uint64(2)


@pytest.mark.parametrize(
    "change",
    [
        *(damage(**{name: value}) for name in ("x", "y") for value in (-1, 0, 8, 9, 30_000)),
        *(damage(direction=value) for value in (-1, 4)),
        *(damage(wanted=value) for value in (-1, 1)),
        *(damage(size=value) for value in (-1, 0, 7, 8, 11, 999)),
        *(damage(goals=value) for value in (0, 2, 7)),
        *(damage(places=value) for value in (0, -1, 99)),
        *(damage(**{name: 3000}) for name in ("far", "free", "to_goal", "goal")),
        damage(far=-1),
        damage(found=2),
        damage(trials=7),
        damage(max_steps=0),
        damage(rows=0),
        damage(columns=0),
        change_cell(cell(WALL)),
        change_cell(cell(4, 0, 1)),  # a closed door
        change_cell(cell(6)),  # a ball
        open_border,
    ],
)
def test_a_damaged_snapshot_is_refused(change):
    envs = make(2, colours=False)
    kept = envs.snapshot()
    rows = kept["rows"].copy().view(envs.batch.rows.dtype)[:, 0]
    change(rows)
    with pytest.raises(ValueError, match="damaged"):
        envs.restore(kept | {"rows": rows.view(np.uint8).reshape(2, -1)})
    envs.restore(kept)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 8}, "size must be odd"),
        ({"size": (7, 10)}, "size must be odd"),
        ({"size": 5}, "size must be within 7 to 41"),
        ({"size": 43}, "size"),
        ({"size": (11, 9)}, "size"),
        ({"size": "big"}, "size"),
        ({"algorithm": "prim"}, "algorithm must be one of"),
        ({"algorithm": None}, "algorithm"),
        ({"loops": 1.1}, "loops"),
        ({"loops": -0.1}, "loops"),
        ({"loops": True}, "loops"),
        ({"goals": 0}, "goals"),
        ({"goals": 7}, "goals"),
        ({"trials": 0}, "trials"),
        ({"trials": 1.0}, "trials"),
        ({"trials": 2**31}, "trials must be at most 2147483647, not 2147483648"),
        ({"max_steps": 0}, "max_steps"),
        ({"max_steps": True}, "max_steps"),
        ({"max_steps": 2**40}, "max_steps must be at most"),
        ({"colours": 2}, "colours"),
        ({"agent_view_size": 6}, "agent_view_size must be an odd integer from 3 to 15, not 6"),
        ({"agent_view_size": 1}, "agent_view_size"),
        ({"agent_view_size": 17}, "agent_view_size"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        gym.make("memenvs/Maze-v0", **wrong)


@pytest.mark.parametrize("parameters", [{}, {"algorithm": "rooms", "goals": 3, "colours": False}], ids=str)
def test_pictures_follow_the_agent(parameters):
    env = single(render_mode="ansi", max_steps=3, **parameters)
    env.reset(seed=0)
    texts = [env.render()]
    for step in range(1, 4):
        env.step(env.oracle())
        texts.append(env.render())
        assert texts[-1].count("◎") == 1
        assert f"step {step}, 0 goals reached" in texts[-1]
        assert ("is wanted" in texts[-1]) == ("goals" in parameters)
    assert len(set(texts)) == 4
    env.render_mode = "rgb_array"
    after = env.render()
    env.reset(seed=0)
    before = env.render()
    assert before.dtype == after.dtype == np.uint8
    assert before.shape == after.shape
    assert np.any(before != after)


def test_a_picture_shows_what_is_seen_and_where_the_agent_has_been():
    for n in (7, 15):  # which other tests have compiled
        env = single(size=9, agent_view_size=n)
        observation, _ = env.reset(seed=2)
        been = {pose_of(env)[:2]}
        for _ in range(5):
            observation, reward, *_ = env.step(env.oracle())
            assert not reward
            been.add(pose_of(env)[:2])
        plan = plan_of(n, env.batch.rows["state"][0], env.batch.rows["level"][0])
        assert plan["agent"] == pose_of(env)
        assert plan["ring"] == wanted_of(env)
        assert set(plan["path"]) == been
        assert set(zip(plan["path"][::2], plan["path"][1::2], strict=True)) == {
            (a, b) for a in been for b in been if (b[0] - a[0], b[1] - a[1]) in ((1, 0), (0, 1))
        }
        in_view = observation["image"][..., 0] > 0
        assert plan["seen"].sum() <= in_view.sum()
        assert plan["seen"][pose_of(env)[1], pose_of(env)[0]]
        while not reward:
            reward = env.step(env.oracle())[1]
        assert plan_of(n, env.batch.rows["state"][0], env.batch.rows["level"][0])["path"] == []  # a new trial
