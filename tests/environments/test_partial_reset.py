"""Gymnasium's vector wrappers, where single rows are reset through them: against a slow account of what happened."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorObservationWrapper, VectorWrapper
from gymnasium.wrappers.vector import (
    ClipReward,
    FlattenObservation,
    NormalizeObservation,
    NormalizeReward,
    RecordEpisodeStatistics,
    TransformObservation,
    TransformReward,
)

from memagents import RecurrentPPO, as_vec_env

LENGTHS = (2, 5, 3)
NEXT, SAME = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP


class Fixed(gym.Env):
    """Episodes of a fixed length; the observations and rewards are numbers that follow from time alone.

    :param length: of an episode
    :param cut: whether it is a time limit that ends it
    """

    observation_space = spaces.Box(-99, 99, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, length, cut=False):
        self.length, self.cut, self.episode = length, cut, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.episode = 0, self.episode + 1
        return self.look(), {}

    def look(self):
        return np.array([np.sin(7 * self.episode + self.count), self.length + self.count], np.float32)

    def step(self, action):
        self.count += 1
        ended = self.count == self.length
        reward = np.cos(self.episode + 3 * self.count)
        return self.look(), float(reward), ended and not self.cut, ended and self.cut, {}


def envs(mode, cut=False):
    return SyncVectorEnv([lambda n=n: Fixed(n, cut) for n in LENGTHS], autoreset_mode=mode)


def played(env, steps=40):
    """All observations, rewards, ends and infos of an adapted environment."""
    env = as_vec_env(env)
    first = np.array(env.reset())
    given = [env.step(np.zeros(len(LENGTHS), np.int64)) for _ in range(steps)]
    observations = np.array([first, *(np.array(step[0]) for step in given)])
    return (
        observations,
        np.array([step[1] for step in given]),
        np.array([step[2] for step in given]),
        [s[3] for s in given],
    )


@pytest.mark.parametrize("mode", [NEXT, SAME])
@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("around", [lambda env: env, RecordEpisodeStatistics, lambda env: ClipReward(env, -99, 99)])
def test_rewards_are_normalized_by_the_returns_of_each_row(mode, cut, around):
    _, rewards, ends, _ = played(envs(mode, cut))
    wrapped = NormalizeReward(envs(mode, cut), gamma=0.9)
    _, ours, _, _ = played(around(wrapped))
    running, seen, expected = np.zeros(3), [], []
    for given, ended in zip(rewards.astype(np.float64), ends, strict=True):
        # As Gymnasium has it: the last reward of an episode that terminated stands for itself.
        running = running * 0.9 * (1 - (ended & (not cut))) + given
        seen.extend(running)
        expected.append(given / np.sqrt(np.var(np.array([1e-2, *seen])) + 1e-8))
        running[ended] = 0
    # Gymnasium's estimate begins with a variance of 1 that weighs as much as 1e-4 numbers.
    assert wrapped.return_rms.count == pytest.approx(len(seen) + 1e-4)
    assert wrapped.return_rms.mean == pytest.approx(np.mean(seen), abs=1e-4)
    assert wrapped.return_rms.var == pytest.approx(np.var(seen), abs=1e-4)
    np.testing.assert_allclose(ours[20:], np.array(expected)[20:], rtol=0.02)


def test_both_modes_give_the_same_rewards():
    (_, ours, _, _), (_, theirs, _, _) = (played(NormalizeReward(envs(mode), gamma=0.9)) for mode in (NEXT, SAME))
    np.testing.assert_array_equal(ours, theirs)


def test_observations_are_normalized_by_all_that_were_seen():
    """Those that begin episodes count once, the others of that step are not counted again."""
    plain, _, ends, infos = played(envs(NEXT))
    wrapped = NormalizeObservation(envs(NEXT))
    ours, _, _, our_infos = played(wrapped)
    seen, estimate = list(plain[0]), None
    for t, ended in enumerate(ends):
        seen.extend(infos[t][i]["terminal_observation"] if ended[i] else plain[t + 1][i] for i in range(3))
        estimate = np.mean(seen, 0), np.var(seen, 0)
        for i in np.flatnonzero(ended):
            expected = (infos[t][i]["terminal_observation"] - estimate[0]) / np.sqrt(estimate[1] + 1e-8)
            np.testing.assert_allclose(our_infos[t][i]["terminal_observation"], expected, rtol=1e-2, atol=1e-2)
        expected = (plain[t + 1] - estimate[0]) / np.sqrt(estimate[1] + 1e-8)
        if t > 5:
            np.testing.assert_allclose(ours[t + 1], expected, rtol=1e-2, atol=1e-2)
        seen.extend(plain[t + 1][ended])
    assert wrapped.obs_rms.count == pytest.approx(len(seen) + 1e-4)
    np.testing.assert_allclose(wrapped.obs_rms.mean, np.mean(seen, 0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(wrapped.obs_rms.var, np.var(seen, 0), rtol=1e-3, atol=1e-4)


def test_frozen_statistics_stay():
    wrapped = NormalizeObservation(envs(NEXT))
    wrapped.update_running_mean = False
    played(wrapped)
    assert wrapped.obs_rms.count == pytest.approx(1e-4) and not wrapped.update_running_mean


@pytest.mark.parametrize("mode", [NEXT, SAME])
@pytest.mark.parametrize("around", [lambda env: env, lambda env: TransformReward(env, lambda rewards: rewards)])
def test_returns_and_lengths_of_episodes_are_recorded(mode, around):
    _, _, ends, infos = played(envs(mode))
    wrapped = RecordEpisodeStatistics(envs(mode), buffer_length=1000)
    _, _, _, our_infos = played(around(wrapped))
    expected = [(infos[t][i]["episode"]["r"], LENGTHS[i]) for t in range(40) for i in np.flatnonzero(ends[t])]
    assert len(expected) > 30
    np.testing.assert_allclose(wrapped.return_queue, [r for r, _ in expected], rtol=1e-5, atol=1e-6)
    assert list(wrapped.length_queue) == [length for _, length in expected]
    for t in range(40):
        for i in np.flatnonzero(ends[t]):
            assert our_infos[t][i]["episode"]["l"] == LENGTHS[i]


def test_observations_are_transformed_wherever_they_are():
    plain, _, ends, infos = played(envs(NEXT))
    double = TransformObservation(
        envs(NEXT), lambda seen: 2 * seen, single_observation_space=spaces.Box(-198, 198, (2,))
    )
    ours, _, _, our_infos = played(FlattenObservation(double))
    np.testing.assert_array_equal(ours, 2 * plain)
    for t in range(40):
        for i in np.flatnonzero(ends[t]):
            expected = 2 * infos[t][i]["terminal_observation"]
            np.testing.assert_array_equal(our_infos[t][i]["terminal_observation"], expected)


# --- wrappers of a user's own ---------------------------------------------------------------------------------------


class Counts(VectorWrapper):
    """Counts the steps of each row's episode, with a reset that keeps to the mask."""

    def __init__(self, env):
        super().__init__(env)
        self.counts = np.zeros(env.num_envs)

    def reset(self, *, seed=None, options=None):
        given = super().reset(seed=seed, options=options)
        self.counts[(options or {}).get("reset_mask", slice(None))] = 0
        return given

    def step(self, actions):
        self.counts += 1
        return super().step(actions)


class Forgetful(Counts):
    def reset(self, *, seed=None, options=None):
        self.counts = np.zeros(self.num_envs)
        return self.env.reset(seed=seed, options=options)


class Careless(Counts):
    def reset(self, *, seed=None, options=None):
        return self.env.reset(seed=seed)


class Stack(VectorObservationWrapper):
    """Shows what it showed before, in a way that counts a reset as a step."""

    def __init__(self, env):
        super().__init__(env)
        self.before = np.zeros((env.num_envs, 2), np.float32)

    def observations(self, observations):
        shown, self.before = self.before, observations
        return shown


class LastTwo(VectorObservationWrapper):
    """The sum of the last two observations, with a reset of its own that keeps to the mask."""

    def reset(self, *, seed=None, options=None):
        seen, infos = self.env.reset(seed=seed, options=options)
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        self.shown = np.where(mask[:, None], seen, getattr(self, "shown", seen))
        self.last = np.where(mask[:, None], seen, getattr(self, "last", seen))
        return self.shown, infos

    def observations(self, observations):
        self.shown, self.last = self.last + observations, np.array(observations)
        return self.shown


def test_a_wrapper_that_keeps_to_the_mask_is_asked():
    wrapped = Counts(NormalizeReward(envs(NEXT), gamma=0.9))
    _, ours, ends, _ = played(RecordEpisodeStatistics(wrapped), steps=31)
    since = [30 - max(t for t in range(31) if ends[t][i]) for i in range(3)]
    assert wrapped.counts.tolist() == since
    np.testing.assert_array_equal(ours, played(NormalizeReward(envs(SAME), gamma=0.9), steps=31)[1])


def test_a_wrapper_of_observations_with_a_reset_of_its_own_is_asked():
    plain, _, ends, infos = played(envs(NEXT))
    ours, _, _, our_infos = played(LastTwo(envs(NEXT)))
    for t, ended in enumerate(ends):
        for i in range(3):
            if ended[i]:
                expected = infos[t][i]["terminal_observation"] + plain[t][i]
                np.testing.assert_allclose(our_infos[t][i]["terminal_observation"], expected)
                np.testing.assert_array_equal(ours[t + 1][i], plain[t + 1][i])
            else:
                np.testing.assert_allclose(ours[t + 1][i], plain[t + 1][i] + plain[t][i])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Forgetful, r"Forgetful.reset changes 'counts' of rows that go on: let it keep to options\['reset_mask'\]"),
        (Careless, r"Careless can not reset single rows \(its reset drops options\['reset_mask'\]\)"),
        (Stack, r"Stack can not reset single rows"),
    ],
)
def test_a_wrapper_that_does_not_is_refused(kind, message):
    """At the first end of an episode, instead of a training on what never happened."""
    for env in (kind(envs(NEXT)), RecordEpisodeStatistics(kind(envs(NEXT)))):
        with pytest.raises(ValueError, match=message):
            RecurrentPPO("MlpPolicy", env, n_steps=8, device="cpu").learn(48)


def test_it_may_be_used_where_rows_reset_themselves():
    RecurrentPPO("MlpPolicy", Forgetful(envs(SAME)), n_steps=8, device="cpu").learn(48)
