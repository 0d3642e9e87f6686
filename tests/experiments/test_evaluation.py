"""Episodes without a bias, baselines, intervals that cover."""

import io
import json
import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from rich.console import Console
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from memagents import RecurrentPPO, as_vec_env
from memagents.environments.make import make_env
from memagents.experiments.evaluation import (
    ORACLE,
    RANDOM,
    WALK,
    Episodes,
    Interval,
    RandomAgent,
    Scores,
    baselines,
    compare,
    evaluate,
    mean_interval,
    normalized_score,
    over_seeds,
    scores_json,
    scores_table,
)
from tests.support.toys import Counter


class Recorder:
    """Always acts 0; writes down what it is given."""

    def __init__(self):
        self.states, self.starts = [], []

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.states.append(state)
        self.starts.append(episode_start.tolist())
        return np.zeros(len(observation), np.int64), (state or 0) + 1


def counters(*steps, monitor=True):
    return DummyVecEnv([lambda n=n: Monitor(Counter(n)) if monitor else Counter(n) for n in steps])


@pytest.fixture(scope="module")
def tmaze():
    return make_env("memenvs/TMaze-v0", 6, length=2)


# --- episodes ---------------------------------------------------------------------------------------------------------


def test_what_an_agent_sees_again_is_not_encoded_again():
    env = make_env("memenvs/TMaze-v0", 20, length=30)
    agent = RecurrentPPO("MlpPolicy", env, n_steps=4)
    encode, encoded = agent.policy._projection.function, []
    agent.policy._projection.function = lambda seen: encoded.append(seen) or encode(seen)
    evaluate(agent, env, 40, seed=0)
    seen = np.concatenate(encoded)
    assert 1 < len(seen) == len(np.unique(seen, axis=0)) < 20


def test_every_environment_contributes_its_share_however_long_its_episodes_are():
    done = evaluate(Recorder(), counters(1, 5), 4)
    assert done.lengths.tolist() == [1, 1, 5, 5]  # whichever end first would be 1, 1, 1, 1
    assert done.returns.tolist() == [1, 1, 15, 15]
    assert done.success is None and done.spl is None
    assert sorted(evaluate(Recorder(), counters(1, 2, 5), 4).lengths) in ([1, 1, 2, 5], [1, 2, 2, 5], [1, 2, 5, 5])
    assert len(evaluate(Recorder(), counters(1, 2, 5), 2).lengths) == 2
    with pytest.raises(ValueError, match="episodes must be a positive integer, not 0"):
        evaluate(Recorder(), counters(1), 0)


def test_what_the_environment_measures_is_told():
    env = make_env("memenvs/Copy-v0", 4, width=3, length=2)
    scores = compare(baselines(env), env, 12)
    assert list(scores[ORACLE].metrics) == ["wrong_bits", "bits"]
    assert scores[ORACLE].metrics["wrong_bits"].mean == 0 < scores[RANDOM].metrics["wrong_bits"].mean
    assert scores[RANDOM].metrics["bits"].mean == 6
    assert [column.header for column in scores_table("", scores).columns][-2:] == ["wrong bits", "bits"]
    assert evaluate(Recorder(), counters(2), 2).metrics == {}


def cartpoles(kind):
    """Two of them, in processes of their own."""
    if kind == "SubprocVecEnv":
        return SubprocVecEnv([lambda: gym.make("CartPole-v1")] * 2, start_method="fork")
    return as_vec_env(gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="async"))


@pytest.mark.parametrize("kind", ["SubprocVecEnv", "AsyncVectorEnv"])
def test_processes_survive_being_asked_for_what_they_have_not(kind):
    env = cartpoles(kind)
    assert list(baselines(env)) == [RANDOM]
    for _ in range(2):
        assert evaluate(Recorder(), env, 2).metrics == {}
    env.close()


def test_metrics_are_told_by_processes_too_and_not_where_a_wrapper_cut_the_episode():
    single = DummyVecEnv([lambda: gym.make("memenvs/Copy-v0", length=2)])
    assert list(evaluate(RandomAgent(single.action_space), single, 2).metrics) == ["wrong_bits", "bits"]
    vector = as_vec_env(gym.make_vec("memenvs/Copy-v0", num_envs=2, length=2, vectorization_mode="sync"))
    assert evaluate(RandomAgent(vector.action_space), vector, 2).metrics["bits"].tolist() == [16, 16]
    cut = DummyVecEnv([lambda: gym.make("memenvs/Copy-v0", length=2, max_episode_steps=3)])
    done = evaluate(RandomAgent(cut.action_space), cut, 2)
    assert done.metrics == {} and done.lengths.tolist() == [3, 3]


def test_environments_without_a_monitor_are_counted_too():
    assert evaluate(Recorder(), counters(3, monitor=False), 2).returns.tolist() == [6, 6]


def test_the_agent_gets_its_state_and_the_starts_of_episodes():
    agent = Recorder()
    evaluate(agent, counters(2, 3), 2)
    assert agent.states == [None, 1, 2]
    assert agent.starts == [[True, True], [False, False], [True, False]]


def test_as_sb3_evaluates(tmaze):
    agent = RecurrentPPO("MlpPolicy", tmaze, n_steps=8, seed=0, policy_kwargs={"core": "gru"}, device="cpu")
    ours = evaluate(agent, tmaze, 20, seed=5)
    tmaze.seed(5)
    returns, lengths = evaluate_policy(agent, tmaze, 20, deterministic=True, return_episode_rewards=True)
    assert sorted(zip(ours.returns, ours.lengths, strict=True)) == sorted(zip(returns, lengths, strict=True))


def test_the_seed_decides_and_nothing_else_is_disturbed(tmaze):
    agent = RecurrentPPO("MlpPolicy", tmaze, n_steps=8, seed=0, policy_kwargs={"core": "gru"}, device="cpu")
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 — what SB3 uses
    first, again, other = (evaluate(agent, tmaze, 30, deterministic=False, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert all((a == b).all() for a, b in zip(first[:3], again[:3], strict=True))
    assert (first.lengths != other.lengths).any()


# --- baselines --------------------------------------------------------------------------------------------------------


def test_baselines_are_those_that_the_environment_offers(tmaze):
    assert list(baselines(tmaze)) == [RANDOM, WALK, ORACLE]
    assert list(baselines(make_env("CartPole-v1", 2))) == [RANDOM]
    assert list(baselines(make_env("memenvs/TMaze-v0", 2, ["action"]))) == [RANDOM, WALK, ORACLE]


def test_a_random_agent_plays_uniformly():
    agent = RandomAgent(spaces.Discrete(3, start=5), seed=0)
    actions = agent.predict(None, None, np.zeros(3000, bool))[0]
    assert np.bincount(actions)[5:] == pytest.approx([1000] * 3, abs=120)
    assert (RandomAgent(spaces.Discrete(3, start=5), 0).predict(None, None, np.zeros(3000, bool))[0] == actions).all()


def test_the_oracle_succeeds_and_a_walk_succeeds_sometimes():
    env = make_env("memenvs/Underground-v0", 16, split="test")
    scores = compare(baselines(env), env, 200, seed=3)
    assert scores[ORACLE].success.mean == scores[ORACLE].spl.mean == 1
    assert 0.4 < scores[WALK].success.mean < 0.8 > scores[RANDOM].success.high
    assert scores[ORACLE].normalized == (1, 1, 1) and scores[RANDOM].normalized == (0, 0, 0)
    low, high = scores[RANDOM].returns.mean, scores[ORACLE].returns.mean
    assert scores[WALK].normalized.mean == pytest.approx((scores[WALK].returns.mean - low) / (high - low))
    assert compare(baselines(env), env, 200, seed=3) == scores
    assert compare({"mine": baselines(env)[WALK]}, env, 10)["mine"].normalized is None


# --- intervals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "low", "high"),  # Newcombe (1998), Statistics in Medicine 17:857, table I, method 3
    [((81, 263), 0.2553, 0.3662), ((15, 148), 0.0624, 0.1605), ((0, 20), 0, 0.1611), ((1, 29), 0.0061, 0.1718)],
)
def test_wilson_intervals_as_published(successes, low, high):
    count, total = successes
    interval = mean_interval(np.arange(total) < count)
    assert interval == pytest.approx((count / total, low, high), abs=6e-5)


@pytest.mark.parametrize(("n", "quantile"), [(3, 4.303), (5, 2.776), (11, 2.228), (31, 2.042), (1001, 1.962)])
def test_student_intervals_as_in_tables(n, quantile):
    values = np.linspace(2, 3, n)
    half = quantile * values.std(ddof=1) / math.sqrt(n)
    assert mean_interval(values) == pytest.approx((2.5, 2.5 - half, 2.5 + half), rel=8e-3)


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = [low <= 1 <= high for _, low, high in (mean_interval(rng.normal(1, 2, 6)) for _ in range(2000))]
    assert 0.935 < np.mean(covered) < 0.965
    assert mean_interval(np.array([3.0])) == (3, -math.inf, math.inf)


@pytest.mark.parametrize(
    ("values", "digits", "bounds", "text"),
    [
        ([0.97], 2, {}, "0.97"),
        ([0.98, 0.98, 0.96], 2, {}, "0.97 (0.98, 0.98, 0.96)"),
        ([4000, 1000], 0, {"low": 0}, "2,500 (4,000, 1,000)"),
        # Standard deviation √2.5 and error √0.5; Student's t of 4 degrees of freedom is 2.776, the half-width 1.963.
        ([1, 2, 3, 4, 5], 2, {}, "3.00 (1.04 to 4.96)"),
        # Error 0.2, half-width 0.555: from -0.355 to 0.755, and mirrored from 0.245 to 1.355.
        ([0, 0, 0, 0, 1], 2, {"low": 0, "high": 1}, "0.20 (0.00 to 0.76)"),
        ([1, 1, 1, 1, 0], 2, {"low": 0, "high": 1}, "0.80 (0.24 to 1.00)"),
        ([0, 0, 0, 0, 1], 2, {}, "0.20 (-0.36 to 0.76)"),
    ],
)
def test_seeds_are_listed_until_there_are_enough_for_an_interval(values, digits, bounds, text):
    assert over_seeds(values, digits, **bounds) == text
    assert over_seeds(np.array(values), digits, **bounds) == text


def test_no_seeds_have_no_mean():
    with pytest.raises(ValueError, match="values must hold a number for each seed"):
        over_seeds([], 2)


def test_normalized_scores_cover_the_truth_too():
    rng = np.random.default_rng(0)
    samples = ((rng.normal(c, 1, 40) for c in (3.0, 1.0, 5.0)) for _ in range(300))
    covered = [low <= 0.5 <= high for _, low, high in (normalized_score(*three) for three in samples)]
    assert 0.91 < np.mean(covered) < 0.98


def test_normalized_scores_at_the_ends():
    zeros, ones = np.zeros(5), np.ones(5)
    assert normalized_score(ones, zeros, ones) == (1, 1, 1)
    assert normalized_score(zeros + 0.25, zeros, ones) == (0.25, 0.25, 0.25)
    assert all(math.isnan(value) for value in normalized_score(ones, ones, zeros))


# --- showing ----------------------------------------------------------------------------------------------------------


def test_tables_and_json_hold_what_there_is(tmaze):
    scores = compare(baselines(tmaze), tmaze, 30)
    console = Console(width=100, file=io.StringIO())
    console.print(scores_table("some title", scores))
    text = console.file.getvalue()
    assert "some title" in text and "SPL" not in text
    mean, low, high = scores[WALK].returns
    assert f"{mean:.3f}" in text and f"[{low:.3f}, {high:.3f}]" in text

    plain = json.loads(json.dumps(scores_json(scores), allow_nan=False))
    assert plain[ORACLE]["success"]["mean"] == 1 and plain[ORACLE]["spl"] is None and plain[WALK]["episodes"] == 30
    odd = scores[WALK]._replace(normalized=Interval(math.nan, -math.inf, 1))
    assert scores_json({"odd": odd})["odd"]["normalized"] == {"mean": None, "low": None, "high": 1}


def test_the_caption_explains_what_is_shown_and_nothing_else():
    interval = Interval(0.5, 0.4, 0.6)
    full = scores_table("", {RANDOM: Scores(4, interval, interval, None, interval, {})}).caption
    assert "(Student's t over the episodes, Wilson's for success, a bootstrap for normalised)" in full
    assert "normalised: 0 the random agent's return" in full
    bare = scores_table("", {RANDOM: Scores(4, interval, None, None, None, {})}).caption
    assert "(Student's t over the episodes)" in bare and "normalised" not in bare and "Wilson" not in bare


def test_nothing_is_cut_from_a_table_in_a_narrow_terminal():
    share, bits = Interval(-0.004, -0.013, 0.021), Interval(478.25, 462.747, 493.753)
    scores = Scores(4, share, share, None, share, {"wrong_bits": bits, "bits": bits})
    console = Console(width=80, file=io.StringIO())
    console.print(scores_table("", {RANDOM: scores}))
    text = console.file.getvalue()
    assert "…" not in text and RANDOM in text
    assert [text.count(figure) for figure in ("[-0.013,", "0.021]", "478.250", "[462.747,", "493.753]")] == [
        3,
        3,
        2,
        2,
        2,
    ]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_nothing_is_cut_from_a_table_of_many_columns(width):
    share = Interval(0.15, -0.021, 0.321)
    scores = Scores(4, share, share, None, share, {"goals": share, "first": share, "later": share})
    console = Console(width=width, file=io.StringIO())
    console.print(scores_table("", {RANDOM: scores}))
    text = console.file.getvalue()
    assert "…" not in text
    if width == 80:  # which is enough for numbers in one piece
        assert text.count("[-0.021,") == text.count("0.321]") == 6


def test_episodes_are_plain_arrays(tmaze):
    done = evaluate(baselines(tmaze)[ORACLE], tmaze, 7)
    assert isinstance(done, Episodes) and done.success.dtype == bool and done.returns.dtype == np.float64
    assert all(len(values) == 7 for values in (done.returns, done.lengths, done.success))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_ends_an_evaluation(value, monkeypatch):
    monkeypatch.setattr(Faulty, "value", value)
    env = as_vec_env(gym.vector.SyncVectorEnv([Faulty] * 3))
    agent = RecurrentPPO("MlpPolicy", env, n_steps=8, device="cpu", policy_kwargs={"core": "gru"})
    with pytest.raises(FloatingPointError, match="at step 4 of the evaluation, the observation of environment 0 "):
        evaluate(agent, env, 3)
    with torch.no_grad():
        for parameter in agent.policy.core.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="at step 0 of the evaluation, what the policy makes of environment 0"):
        evaluate(agent, env, 3)


class Faulty(gym.Env):
    """Its fifth observation is no number."""

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)
    value = np.nan

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        seen = np.full(2, self.value if self.steps == 4 else 0, np.float32)
        return seen, 1.0, False, self.steps == 10, {}
