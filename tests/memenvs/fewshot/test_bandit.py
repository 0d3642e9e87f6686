"""Bandits: what arms pay, the oracle, regret, and that known algorithms do on it what they are known for."""

import math

import gymnasium as gym
import numpy as np
import pytest

from memenvs.fewshot.bandit import arms_of

TWO = {"easy": 0.9, "medium": 0.75, "hard": 0.6}
INFORMATIVE = {"kind": "informative", "arms": 11, "trials": 5}
EACH = [
    {},
    {"arms": 5, "trials": 12, "volatility": 0.3},
    {"kind": "dependent"},
    {"kind": "hard", "volatility": 0.1},
    {"kind": "gaussian", "arms": 5},
    {"kind": "gaussian", "arms": 5, "volatility": 0.5},
    {"arms": 50, "trials": 10},
    INFORMATIVE,
]


def make(n=64, seed=0, **parameters):
    envs = gym.make_vec("memenvs/Bandit-v0", num_envs=n, **parameters)
    envs.reset(seed=seed)
    return envs


def means_of(envs):
    """What each arm pays on average now, (B, arms), by the definition: arm a has the mean number a + shift."""
    rows, n = envs.batch.rows, envs.batch.definition.action_space.n
    shifted = (np.arange(n) + rows["state"]["shift"][:, None]) % n
    return np.take_along_axis(rows["level"]["means"], shifted, axis=1)


def pull(envs, arm):
    return envs.step(np.full(envs.num_envs, arm))


# --- an episode -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", EACH, ids=str)
def test_what_the_agent_sees_and_what_is_measured(parameters):
    env = gym.make("memenvs/Bandit-v0", **parameters).unwrapped
    arms, trials = parameters.get("arms", 2), parameters.get("trials", 100)
    assert env.observation_space.shape == (arms + 2,)
    rng, seen = np.random.default_rng(0), set()
    for seed in range(8):
        observation, info = env.reset(seed=seed)
        assert observation.tolist() == [0.0] * (arms + 2)
        first = env.batch.rows["level"][0].copy()
        regret, best = 0.0, []
        pulls, earned = np.zeros(arms, int), np.zeros(arms)
        for trial in range(1, trials + 1):
            assert info["decision"]
            means = means_of(env)[0]
            assert means[env.oracle()] == means.max()
            arm = env.oracle() if rng.random() < seed / 8 else int(rng.integers(arms))
            observation, reward, end, cut, info = env.step(arm)
            assert env.observation_space.contains(observation)
            assert observation[:arms].tolist() == [float(a == arm) for a in range(arms)]
            assert observation[arms:] == pytest.approx([reward, trial / trials])
            assert (end, cut) == (trial == trials, False)
            regret += means.max() - means[arm]
            best.append(means[arm] == means.max())
            pulls[arm] += 1
            earned[arm] += reward
        shown = arms_of(*(env.batch.rows[name][0] for name in ("state", "level")))[0]
        assert np.array_equal(shown["mean"], means_of(env)[0])
        assert shown["pulls"].tolist() == pulls.tolist()
        assert shown["earned"] == pytest.approx(earned)
        late = best[-math.ceil(trials / 4) :]
        assert info["regret"] == pytest.approx(regret)
        assert info["best_arm"] == pytest.approx(np.mean(best))
        assert info["success"] == (np.mean(late) >= 0.9)
        seen.add(info["success"])
        assert (env.oracle(), info["decision"]) == (-1, False)
        assert env.batch.rows["level"][0] == first
    assert seen == {0.0, 1.0}


def test_success_counts_the_last_quarter():
    env = gym.make("memenvs/Bandit-v0", trials=40).unwrapped

    def success(wrong):
        env.reset(seed=0)
        for trial in range(40):
            best = env.oracle()
            info = env.step(1 - best if trial in wrong else best)[4]
        return info["success"]

    assert [success(wrong) for wrong in (range(30), {30}, {39}, {29, 30}, {30, 39}, range(40))] == [1, 1, 1, 1, 0, 0]
    cut = make(8, trials=40, max_episode_steps=29)
    later = make(8, trials=40, max_episode_steps=31)
    for _ in range(29):
        infos, _ = cut.step(cut.oracle())[4], later.step(later.oracle())
    assert infos["success"].tolist() == [0.0] * 8
    assert infos["best_arm"].tolist() == [1.0] * 8
    later.step(later.oracle())
    assert later.step(later.oracle())[4]["success"].tolist() == [1.0] * 8


@pytest.mark.parametrize("parameters", EACH, ids=str)
def test_no_arm_pays_more_than_the_oracle_s(parameters):
    envs, rng = make(256, **parameters), np.random.default_rng(0)
    arms = int(envs.single_action_space.n)
    differences = 0
    for _ in range(min(parameters.get("trials", 100), 30) - 1):
        before, oracle, means = envs.snapshot(), envs.oracle(), means_of(envs)
        assert np.array_equal(means[np.arange(256), oracle], means.max(axis=1))
        best = envs.step(oracle)[1]
        for arm in range(min(arms, 12)):
            envs.restore(before)
            rewards = pull(envs, arm)[1]
            assert (rewards <= best).all()
            differences += (rewards < best).sum()
        envs.restore(before)
        envs.step(envs.random_walk(rng))
    assert differences > 50


def test_rewards_come_from_the_seed():
    actions = np.random.default_rng(0).integers(0, 2, (40, 64))
    rewards = [[envs.step(action)[1] for action in actions] for envs in (make(seed=1), make(seed=1), make(seed=2))]
    assert np.array_equal(rewards[0], rewards[1])
    assert not np.array_equal(rewards[0], rewards[2])


# --- what arms pay ----------------------------------------------------------------------------------------------------


def test_arms_pay_as_often_as_they_should():
    envs = make(4000, arms=5, trials=50)
    means, history = means_of(envs), []
    for _ in range(50):
        history.append(pull(envs, 1)[1])
    rewards = np.array(history)  # (trials, environments)
    assert set(np.unique(rewards)) == {0.0, 1.0}
    for low in np.arange(0, 1, 0.1):
        inside = (means[:, 1] >= low) & (means[:, 1] < low + 0.1)
        assert rewards[:, inside].mean() == pytest.approx(means[inside, 1].mean(), abs=0.015)
    noise = rewards - means[:, 1]
    for lag in (1, 2, 7):  # trials are independent of each other
        assert np.mean(noise[:-lag] * noise[lag:]) == pytest.approx(0, abs=0.002)


def test_gaussian_rewards():
    envs = make(4000, kind="gaussian", arms=5, trials=60)
    means = means_of(envs)
    assert means.mean() == pytest.approx(0, abs=0.03)
    assert means.std() == pytest.approx(1, abs=0.03)
    assert np.corrcoef(means.T)[np.triu_indices(5, 1)] == pytest.approx(0, abs=0.06)
    noise = np.array([pull(envs, 2)[1] for _ in range(60)]) - means[:, 2]
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert noise.var() == pytest.approx(1, abs=0.02)
    assert (noise**3).mean() == pytest.approx(0, abs=0.05)
    assert (noise**4).mean() == pytest.approx(3, abs=0.15)
    assert np.mean(noise[:-1] * noise[1:]) == pytest.approx(0, abs=0.01)
    shares = [(noise < limit).mean() for limit in (-2, -1, 0, 1, 2)]
    assert shares == pytest.approx([0.0228, 0.1587, 0.5, 0.8413, 0.9772], abs=0.005)


def test_arms_are_drawn_as_the_kind_says():
    means = means_of(make(8000, arms=5))
    assert means.min() >= 0
    assert means.max() < 1
    assert means.mean(axis=0) == pytest.approx(0.5, abs=0.015)
    assert means.var(axis=0) == pytest.approx(1 / 12, abs=0.004)
    assert np.corrcoef(means.T)[np.triu_indices(5, 1)] == pytest.approx(0, abs=0.05)
    means = means_of(make(8000, kind="dependent"))
    assert means.sum(axis=1) == pytest.approx(1)
    assert np.histogram(means[:, 0], 10, (0, 1))[0] == pytest.approx(800, abs=120)
    for kind, higher in TWO.items():
        means = means_of(make(4000, kind=kind))
        assert means.max(axis=1) == pytest.approx(higher)
        assert means.min(axis=1) == pytest.approx(1 - higher)
        assert (means[:, 0] > 0.5).mean() == pytest.approx(0.5, abs=0.03)


def test_the_informative_arm_tells_the_best_one():
    envs = make(2000, **INFORMATIVE)
    observations, rewards, *_ = pull(envs, 10)
    assert rewards.min() == pytest.approx(0.1)
    assert rewards.max() == pytest.approx(1.0)
    target = np.rint(10 * observations[:, 11]).astype(int) - 1
    assert np.all(np.abs(np.bincount(target, minlength=10) / 200 - 1) < 0.25)
    other = (target + 1) % 10
    assert np.array_equal(envs.oracle(), target)
    assert envs.step(other)[1] == pytest.approx(1.1)
    for _ in range(3):
        observations, rewards, terminated, _, infos = envs.step(target)
        assert rewards.tolist() == [5.0] * 2000
    assert terminated.all()
    assert infos["regret"] == pytest.approx(5 - 0.1 * (target + 1) + 3.9)
    assert infos["best_arm"] == pytest.approx(0.6)
    small = make(500, kind="informative", arms=5)
    assert set(pull(small, 4)[1]) == {0.25, 0.5, 0.75, 1.0}


def test_restless_arms_change_places():
    envs, changes = make(4000, arms=5, trials=30, volatility=0.3), []
    rewarded = []
    for _ in range(29):
        before = means_of(envs)
        rewarded.append(pull(envs, 0)[1] == 1)
        after = means_of(envs)
        turned = np.array([(np.roll(before, -k, axis=1) == after).all(axis=1) for k in range(5)])
        assert (turned.sum(axis=0) == 1).all()
        changes.append(turned)
    changes = np.array(changes)
    assert changes.mean(axis=(0, 2)) == pytest.approx([0.7, 0.075, 0.075, 0.075, 0.075], abs=0.01)
    moved = ~changes[:, 0]
    assert (moved[1:] & moved[:-1]).mean() == pytest.approx(0.09, abs=0.01)
    assert moved[np.array(rewarded)].mean() == pytest.approx(0.3, abs=0.01)  # whatever was drawn before
    always = make(64, volatility=1.0)
    before = means_of(always)
    for trial in range(1, 5):
        pull(always, 0)
        assert np.array_equal(means_of(always), before if trial % 2 == 0 else before[:, ::-1])


# --- known algorithms -------------------------------------------------------------------------------------------------


class Thompson:
    """Thompson sampling of Bernoulli arms with a uniform prior (Thompson 1933)."""

    def __init__(self, arms, rng):
        self.wins, self.losses, self.rng = [1] * arms, [1] * arms, rng

    def choose(self):
        drawn = [self.rng.beta(a, b) for a, b in zip(self.wins, self.losses, strict=True)]
        return drawn.index(max(drawn))

    def learn(self, arm, reward):
        (self.wins if reward else self.losses)[arm] += 1


class UCB:
    """UCB1 (Auer et al. 2002)."""

    def __init__(self, arms, rng):
        self.sums, self.pulls = [0.0] * arms, [0] * arms

    def choose(self):
        if 0 in self.pulls:
            return self.pulls.index(0)
        time = sum(self.pulls)
        bounds = [s / n + math.sqrt(2 * math.log(time) / n) for s, n in zip(self.sums, self.pulls, strict=True)]
        return bounds.index(max(bounds))

    def learn(self, arm, reward):
        self.sums[arm] += reward
        self.pulls[arm] += 1


class Random:
    """Pulls any arm."""

    def __init__(self, arms, rng):
        self.arms, self.rng = arms, rng

    def choose(self):
        return int(self.rng.integers(self.arms))

    def learn(self, arm, reward):
        pass


def mean_regret(algorithm, episodes=150, **parameters):
    """The regret of an algorithm that knows of the bandit what it sees, and nothing else."""
    env, rng = gym.make("memenvs/Bandit-v0", **parameters).unwrapped, np.random.default_rng(0)
    arms, regrets = int(env.action_space.n), []
    for episode in range(episodes):
        env.reset(seed=episode)
        agent, end = algorithm(arms, rng), False
        while not end:
            observation, _, end, _, info = env.step(agent.choose())
            agent.learn(int(observation[:arms].argmax()), float(observation[arms]))
        regrets.append(info["regret"])
    return np.mean(regrets)


def test_known_algorithms_have_their_regret():
    chance = mean_regret(Random, arms=5)
    assert chance == pytest.approx(100 * (5 / 6 - 1 / 2), rel=0.1)  # the expected greatest of five, less the mean
    assert mean_regret(Thompson, arms=5) < 0.4 * chance
    assert mean_regret(UCB, arms=5) < 0.8 * chance
    assert mean_regret(Random) == pytest.approx(100 / 6, rel=0.15)
    assert mean_regret(Thompson) < 0.35 * 100 / 6
    assert mean_regret(Thompson, kind="easy") < 0.15 * mean_regret(Random, kind="easy")


def test_chance_and_the_oracle():
    for name, expected, regret in (("oracle", 2 / 3, 0.0), ("walk", 1 / 2, 1 / 6)):
        envs, rng = make(2000, trials=20), np.random.default_rng(0)
        for _ in range(20):
            infos = envs.step(envs.oracle() if name == "oracle" else envs.random_walk(rng))[4]
        assert infos["episode"]["r"].mean() / 20 == pytest.approx(expected, abs=0.02)
        assert infos["regret"].mean() / 20 == pytest.approx(regret, abs=0.015)
        assert infos["best_arm"].mean() == pytest.approx(1 if name == "oracle" else 0.5, abs=0.02)


# --- levels, parameters, snapshots, pictures --------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [{}, {"kind": "dependent"}, {"kind": "gaussian", "arms": 5}], ids=str)
def test_splits_separate_what_arms_pay(parameters):
    drawn = {}
    for split in ("train", "test"):
        envs, arms = make(2000, split=split, **parameters), parameters.get("arms", 2)
        drawn[split] = {row.tobytes() for row in envs.batch.rows["level"]["means"][:, :arms]}
    assert len(drawn["train"]) > 1990
    assert not drawn["train"] & drawn["test"]


@pytest.mark.parametrize("parameters", [{"kind": "easy"}, {"kind": "medium"}, {"kind": "hard"}, INFORMATIVE], ids=str)
def test_few_levels_have_no_split(parameters):
    levels = 10 if parameters is INFORMATIVE else 2
    with pytest.raises(ValueError, match=f"split must be None.* {levels} distinct"):
        make(split="train", **parameters)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "beta"},
        {"kind": 0},
        {"arms": 1},
        {"arms": 65},
        {"arms": 2.0},
        {"arms": 3, "kind": "easy"},
        {"arms": 3, "kind": "dependent"},
        {"arms": 2, "kind": "informative"},
        {"trials": 0},
        {"trials": 100_001},
        {"volatility": -0.1},
        {"volatility": 1.1},
        {"volatility": 0.1, "kind": "informative", "arms": 11},
    ],
    ids=str,
)
def test_wrong_parameters_are_named(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        gym.make("memenvs/Bandit-v0", **wrong)


@pytest.mark.parametrize(
    ("record", "name", "value"),
    [
        ("level", "kind", 6),
        ("level", "arms", 16),
        ("level", "trials", 99),
        ("level", "volatility", 0.5),
        ("level", "best", 2),
        ("level", "best", -1),
        ("level", "means", np.nan),
        ("state", "time", -1),
        ("state", "time", 4),
        ("state", "shift", 2),
        ("state", "shift", -1),
        ("state", "last", 2),
        ("state", "last", -1),
        ("state", "best_pulls", 4),
        ("state", "late_best_pulls", 3),
        ("state", "reward", np.inf),
        ("state", "regret", np.nan),
        ("state", "regret", -1.0),
        ("state", "pulls", -1),
        ("state", "pulls", 2),
        ("state", "earned", np.nan),
    ],
)
def test_a_damaged_snapshot_is_refused(record, name, value):
    envs = make(4)
    for arm in (0, 1, 0):
        pull(envs, arm)
    make(4).restore(envs.snapshot())
    envs.batch.rows[record][name][2] = value
    with pytest.raises(ValueError, match="damaged"):
        make(4).restore(envs.snapshot())


def test_the_best_of_a_damaged_snapshot_is_the_best():
    envs = make(4)
    envs.batch.rows["level"]["best"] = 1 - envs.batch.rows["level"]["best"]
    with pytest.raises(ValueError, match="damaged"):
        make(4).restore(envs.snapshot())


def test_text():
    env = gym.make("memenvs/Bandit-v0", kind="easy", render_mode="ansi").unwrapped
    env.reset(seed=0)
    best = env.oracle()
    assert env.render().splitlines()[0] == "0 of 100 trials, regret 0.00"
    for _ in range(3):
        reward = env.step(1 - best)[1]
    title, *arms = env.render().splitlines()
    assert title == "3 of 100 trials, regret 2.40"
    assert arms[best] == f"*{best:2d} " + "█" * 18 + "··" + "  0.90  pulls 0"
    assert arms[1 - best].startswith(f" {1 - best:2d} ██" + "·" * 18 + "  0.10  pulls 3, on average ")
    assert arms[1 - best].endswith(f"  < +{reward:.0f}")


def test_pictures():
    for parameters in EACH:
        env = gym.make("memenvs/Bandit-v0", render_mode="rgb_array", **parameters).unwrapped
        env.reset(seed=0)
        first = env.render()
        assert first.shape == (480, 960, 3)
        blue = blues(first)
        env.step(env.oracle())
        second = env.render()
        assert blues(second) > blue == 0
        env.step(1 if env.batch.rows["state"]["last"][0] == 0 else 0)
        assert (env.render() != second).any()


def blues(picture):
    """How many pixels are of what the agent knows."""
    return (picture[..., 2].astype(int) - picture[..., 0] > 120).sum()


def test_pictures_show_what_arms_pay_now():
    env = gym.make("memenvs/Bandit-v0", kind="easy", volatility=1.0, render_mode="rgb_array").unwrapped
    env.reset(seed=0)
    sides = []
    for _ in range(2):
        picture = env.render().astype(int)
        green = picture[..., 1] - picture[..., 0] > 40
        sides.append(green[:, :480].sum() > green[:, 480:].sum())
        assert sides[-1] == (env.oracle() == 0)
        env.step(0)
    assert sides[0] != sides[1]
