"""The endless T-maze against the rules of its authors' environment, written out step by step."""

import gymnasium as gym
import numpy as np
import pytest

FORWARD, LEFT, RIGHT = range(3)


class Slowly:
    """The rules in plain Python, of corridors with given lengths and cues."""

    def __init__(self, lengths, cues, longest):
        self.lengths, self.cues, self.longest = lengths, cues, longest
        self.corridor = self.x = self.steps = 0

    def observation(self):
        seen = self.x == 0 and self.corridor < len(self.lengths)
        cue = self.cues[self.corridor] if seen else None
        return [self.x / self.longest, float(cue == LEFT), float(cue == RIGHT)]

    def step(self, action):
        self.steps += 1
        reward, ended = 0.0, False
        if self.x < self.lengths[self.corridor]:
            if action == FORWARD:
                self.x += 1
            else:
                reward = -0.01
        elif action == self.cues[self.corridor]:
            reward, self.x = 1.0, 0
            self.corridor += 1
            ended = self.corridor == len(self.lengths)
        else:
            reward, ended = -0.01, True
        return reward, ended, self.steps >= 6 * (self.longest + 1) * len(self.lengths)


@pytest.mark.parametrize(("corridors", "length", "kind"), [(3, 4, "fixed"), (4, 5, "uniform"), (1, 1, "fixed")])
def test_every_step_is_that_of_the_rules(corridors, length, kind):
    env = gym.make("memenvs/EndlessTMaze-v0", corridors=corridors, length=length, kind=kind).unwrapped
    drawn, ends = np.random.default_rng(0), set()
    for seed in range(300):
        observation, _ = env.reset(seed=seed)
        level = env.batch.rows["level"][0]
        rules = Slowly(level["length"].tolist(), level["cue"].tolist(), length)
        assert observation.dtype == np.float32
        assert set(rules.lengths) <= set(range(1, length + 1)) if kind == "uniform" else {length}
        careless = seed % 5 * 0.1 if seed % 7 else 1.0  # now and then nothing but mistakes, until time is up
        ended = cut = False
        while not (ended or cut):
            np.testing.assert_array_equal(observation, np.float32(rules.observation()))
            action = env.oracle()
            if drawn.random() < careless:  # where it does not end the episode at once, more often
                action = int(drawn.integers(3)) if seed % 7 else RIGHT if rules.x < rules.lengths[rules.corridor] else 0
            observation, reward, ended, cut, info = env.step(action)
            assert (reward, ended, cut) == rules.step(action)
        assert (info["success"], info["turns"]) == (rules.corridor == corridors, rules.corridor)
        ends.add((ended, cut, info["success"]))
    assert {(True, False, 1.0), (True, False, 0.0), (False, True, 0.0)} <= ends


def test_the_safe_way_through_corridors_of_unknown_length_loses_little():
    env = gym.make("memenvs/EndlessTMaze-v0", corridors=5, length=6, kind="uniform").unwrapped
    for seed in range(50):
        observation, _ = env.reset(seed=seed)
        total, ended, cue = 0.0, False, None
        while not ended:
            if observation[0] == 0:
                cue = LEFT if observation[1] else RIGHT
            tried = observation[0] > 0
            observation, reward, ended, cut, info = env.step(cue if tried else FORWARD)
            total += reward
            if tried and not ended and reward < 0:  # no junction here
                observation, reward, ended, cut, info = env.step(FORWARD)
            assert not cut
        assert info["success"] == 1
        assert 5 - 0.01 * 5 * 5 <= total <= 5


def test_guesses_are_right_half_the_time_each():
    envs = gym.make_vec("memenvs/EndlessTMaze-v0", num_envs=256, corridors=3, length=2)
    envs.reset(seed=0)
    rng, success = np.random.default_rng(0), []
    while len(success) < 4000:
        _, _, terminated, _, infos = envs.step(envs.random_walk(rng))
        success += infos["success"][terminated].tolist() if "success" in infos else []
    assert abs(np.mean(success) - 1 / 8) < 0.03


def test_the_twin_shows_cue_and_junction_always():
    env = gym.make("memenvs/EndlessTMaze-v0", corridors=3, length=9, kind="uniform", observable=True).unwrapped
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        ended = False
        while not ended:
            junction = observation[0] == 1
            observation, _, ended, _, info = env.step((LEFT if observation[1] else RIGHT) if junction else FORWARD)
        assert info["success"] == 1


@pytest.mark.parametrize(
    "wrong", [{"corridors": 0}, {"corridors": 1001}, {"length": 0}, {"length": 2.5}, {"kind": "random"}]
)
def test_a_wrong_parameter_is_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        gym.make("memenvs/EndlessTMaze-v0", **wrong)
