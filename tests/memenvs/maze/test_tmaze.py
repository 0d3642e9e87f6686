"""The T-maze: what is seen, what is rewarded, when it ends."""

import gymnasium as gym
import numpy as np
import pytest

UP, RIGHT, DOWN, LEFT = range(4)


@pytest.mark.parametrize("length", [1, 4, 30])
def test_the_oracle_turns_as_the_cue_said(length):
    env = gym.make("memenvs/TMaze-v0", length=length)
    cues = set()
    for seed in range(12):
        observation, info = env.reset(seed=seed)
        assert observation.dtype == np.uint8
        cue = int(observation[0])
        cues.add(cue)
        assert cue in (1, 2)
        assert observation[1] == 0
        for place in range(1, length + 1):
            assert info["decision"]
            assert env.unwrapped.oracle() == RIGHT
            observation, reward, end, cut, info = env.step(RIGHT)
            assert observation.tolist() == [0, int(place == length)]
            assert (reward, end, cut) == (0.0, False, False)
        assert env.unwrapped.oracle() == (UP if cue == 1 else DOWN)
        _, reward, end, cut, info = env.step(env.unwrapped.oracle())
        assert (reward, end, cut, info["success"]) == (1.0, True, False, 1.0)
    assert cues == {1, 2}


def test_a_wrong_turn_brings_nothing():
    env = gym.make("memenvs/TMaze-v0", length=2).unwrapped
    env.reset(seed=0)
    env.step(RIGHT)
    env.step(RIGHT)
    _, reward, end, cut, info = env.step(UP if env.oracle() == DOWN else DOWN)
    assert (reward, end, cut, info["success"]) == (0.0, True, False, 0.0)


def test_walls_stop_and_time_runs_out():
    env = gym.make("memenvs/TMaze-v0", length=2).unwrapped
    env.reset(seed=0)
    for action in (LEFT, UP, DOWN, RIGHT, RIGHT):
        observation, _, end, cut, _ = env.step(action)
        assert not end and not cut
    assert observation[1] == 1
    _, reward, end, cut, info = env.step(RIGHT)  # against the wall of the junction, in the sixth and last step
    assert (reward, end, cut, info["success"]) == (0.0, False, True, 0.0)


def test_a_random_walk_takes_open_ways_and_is_right_half_the_time():
    envs = gym.make_vec("memenvs/TMaze-v0", num_envs=512, length=2)
    observations, _ = envs.reset(seed=0)
    rng = np.random.default_rng(0)
    assert (envs.random_walk(rng) == RIGHT).all()
    success = []
    for _ in range(60):
        actions = envs.random_walk(rng)
        assert not np.isin(actions[observations[:, 1] == 0], [UP, DOWN]).any()
        assert not np.any(actions[observations[:, 1] == 1] == RIGHT)
        observations, _, terminated, _, infos = envs.step(actions)
        if "success" in infos:
            success += infos["success"][terminated].tolist()
    assert 0.45 < np.mean(success) < 0.55


def test_corridors_of_drawn_lengths():
    envs = gym.make_vec("memenvs/TMaze-v0", num_envs=400, length=(2, 5))
    observations, _ = envs.reset(seed=0)
    junction, cues = np.zeros(400, dtype=int), observations[:, 0]
    for step in range(1, 6):
        observations, *_ = envs.step(np.full(400, RIGHT))
        junction[(observations[:, 1] == 1) & (junction == 0)] = step
    counts = [np.bincount(junction[cues == cue], minlength=6)[2:] for cue in (1, 2)]
    assert np.sum(counts) == 400
    assert np.min(counts) > 30  # of fifty: every length with either cue
    with pytest.raises(ValueError, match="split"):
        gym.make("memenvs/TMaze-v0", length=(2, 5), split="test")


@pytest.mark.parametrize("length", [(3, 2), (0, 4), [1, 2, 3], 0, -1, 2.5, "long", True])
def test_a_wrong_length_is_named(length):
    with pytest.raises(ValueError, match="length"):
        gym.make("memenvs/TMaze-v0", length=length)


NOISES = [{"noise": "bits"}, {"noise": "bits", "noise_bits": 64}, {"noise": "integer"}]


@pytest.mark.parametrize("observable", [False, True])
@pytest.mark.parametrize("noise", NOISES, ids=str)
def test_noise_changes_nothing_but_adds_to_what_is_seen(noise, observable):
    """All is as without noise, but for more entries, which are random and the same again from the same seed."""
    plain, noisy, again = (
        gym.make_vec("memenvs/TMaze-v0", num_envs=256, length=(2, 5), observable=observable, **more)
        for more in ({}, noise, noise)
    )
    values = 2 if noise["noise"] == "bits" else 3
    extra = noise.get("noise_bits", 6) if values == 2 else 1
    assert noisy.single_observation_space.nvec.tolist() == [3, 2] + [values] * extra
    expected, (seen, _), (same, _) = plain.reset(seed=0)[0], noisy.reset(seed=0), again.reset(seed=0)
    rng, drawn, starts = np.random.default_rng(0), [], np.ones(256, bool)
    for _ in range(40):
        assert np.array_equal(seen[:, :2], expected)
        assert np.array_equal(seen, same)
        assert noisy.observation_space.contains(seen)
        assert values == 3 or not seen[starts, 2:].any()
        drawn.append(np.where(starts[:, None], -1, seen[:, 2:].astype(int)))
        actions = plain.random_walk(rng)
        expected, *outcome = plain.step(actions)
        seen, *others, _ = noisy.step(actions)
        same = again.step(actions)[0]
        assert all(np.array_equal(a, b) for a, b in zip(outcome, others, strict=False))
        starts = noisy.unwrapped.batch.rows["state"]["steps"] == 0
    drawn = np.stack(drawn)  # (steps, environments, entries)
    known = drawn >= 0
    for entry in range(extra):
        counts = np.bincount(drawn[..., entry][known[..., entry]], minlength=values)
        assert np.all(np.abs(counts / counts.mean() - 1) < 0.06)
    # Neither from step to step, nor between environments or entries, nor with the cue does it hang together.
    inner = (drawn - drawn[known].mean()) * known
    neighbours = [(inner[1:], inner[:-1]), (inner[:, 1:], inner[:, :-1]), (inner[..., 1:], inner[..., :-1])]
    for first, second in neighbours[: 2 + (extra > 1)]:
        assert abs(np.mean(first * second)) < 0.02


def test_noise_tells_nothing_of_the_cue():
    for noise in NOISES:
        envs = gym.make_vec("memenvs/TMaze-v0", num_envs=20_000, **noise)
        first, _ = envs.reset(seed=1)
        seen = envs.step(np.full(20_000, RIGHT))[0]
        correlation = np.corrcoef(np.column_stack([first[:, 0], seen[:, 2:]]).T)
        assert np.all(np.abs(correlation - np.eye(len(correlation))) < 0.04)


def test_a_corridor_of_a_million_steps():
    envs = gym.make_vec("memenvs/TMaze-v0", num_envs=4, length=10**6, noise="integer", copy=False)
    short = gym.make_vec("memenvs/TMaze-v0", num_envs=4, noise="integer")
    assert envs.unwrapped.batch.rows.dtype == short.unwrapped.batch.rows.dtype
    cues = envs.reset(seed=0)[0][:, 0].copy()
    onward = np.full(4, RIGHT)
    for _ in range(100):
        observations, *_ = envs.step(onward)
    envs.unwrapped.batch.rows["state"]["position"] += 10**6 - 101
    assert not observations[:, 1].any()
    observations, *_ = envs.step(onward)
    assert observations[:, 1].all()
    _, rewards, terminated, _, infos = envs.step(np.where(cues == 1, UP, DOWN))
    assert terminated.all()
    assert rewards.tolist() == infos["success"].tolist() == [1.0] * 4


@pytest.mark.parametrize(
    "wrong",
    [{"noise": "rate"}, {"noise": 6}, {"noise": ["bits"]}, {"noise_bits": 0}, {"noise_bits": 65}, {"noise_bits": 2.0}],
    ids=str,
)
def test_wrong_noise_is_named(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        gym.make("memenvs/TMaze-v0", **({"noise": "bits"} | wrong))
