"""Bandits that are new in every episode, as in Wang et al. (2016, "Learning to reinforcement learn") and RL²."""

from __future__ import annotations

import math

import numpy as np
from gymnasium.spaces import Box, Discrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import number, within
from memenvs.compilation import njit
from memenvs.random import advance, fold, integer, uniform

MOST_ARMS = 64
MOST_TRIALS = 100_000

KINDS = ("uniform", "dependent", "easy", "medium", "hard", "informative", "gaussian")
UNIFORM, DEPENDENT, EASY, MEDIUM, HARD, INFORMATIVE, GAUSSIAN = range(len(KINDS))
TWO_ARMED = ("dependent", "easy", "medium", "hard")
HIGHER = {"easy": 0.9, "medium": 0.75, "hard": 0.6}  # the probability of the better arm; the other's is 1 less this
TARGET, OTHERS = 5.0, 1.1  # rewards beside an informative arm
MOST_NORMAL = 6.0  # beyond all draws: with 24 bits they end at ±5.77

RULES = [("kind", np.int32), ("arms", np.int32), ("trials", np.int32), ("volatility", np.float32)]
PARAMS = np.dtype([*RULES, ("higher", np.float64)])


def level_dtype(capacity: int) -> np.dtype:
    """The layout of a level for up to so many arms."""
    return np.dtype(
        [
            *RULES,
            ("best", np.int32),  # the place of the greatest mean
            ("means", np.float64, (capacity,)),  # expected rewards; what arms have them says the state
        ]
    )


def state_dtype(capacity: int) -> np.dtype:
    """The layout of a state for up to so many arms."""
    return np.dtype(
        [
            ("key", np.uint64),
            ("time", np.int32),
            ("shift", np.int32),  # arm a has the mean number a + shift
            ("last", np.int32),  # the arm pulled last, or -1
            ("best_pulls", np.int32),  # how often an arm was pulled that none was better than
            ("late_best_pulls", np.int32),  # in the last quarter of the trials
            ("reward", np.float32),  # the last one
            ("regret", np.float64),
            ("pulls", np.int32, (capacity,)),
            ("earned", np.float64, (capacity,)),  # the rewards of each arm, added up
        ]
    )


@njit
def generate(params, key, level):
    level.kind, level.arms, level.trials = params.kind, params.arms, params.trials
    level.volatility = params.volatility
    n, means = params.arms, level.means
    if params.kind == UNIFORM or params.kind == GAUSSIAN:
        for place in range(n):
            key = advance(key)
            means[place] = uniform(key) if params.kind == UNIFORM else normal(key)
    elif params.kind == INFORMATIVE:
        target = integer(advance(key), n - 1)
        means[: n - 1] = OTHERS
        means[target] = TARGET
        means[n - 1] = (target + 1) / (n - 1)
    else:
        first = np.float64(uniform(advance(key)))
        if params.kind != DEPENDENT:
            first = params.higher if first < 0.5 else 1.0 - params.higher
        means[0], means[1] = first, 1.0 - first
    level.best = means[:n].argmax()
    return True


@njit
def normal(key):
    """A draw from the standard normal distribution, by the method of Box and Muller."""
    radius = math.sqrt(-2.0 * math.log(1.0 - np.float64(uniform(key))))
    return radius * math.cos(2.0 * math.pi * np.float64(uniform(fold(key, 0))))


@njit
def reset(state, level):
    state.time = state.shift = 0
    state.last = -1
    state.best_pulls = state.late_best_pulls = 0
    state.reward = 0.0
    state.regret = 0.0
    state.pulls[: level.arms] = 0
    state.earned[: level.arms] = 0.0


@njit
def step(state, level, action):
    if state.time >= level.trials:
        return 0.0, True, False
    mean = level.means[place_of_mean(state.shift + action, level.arms)]
    lost = level.means[level.best] - mean
    # What is drawn does not depend on the arm, so that in no trial another arm would have paid more than the best one.
    key = fold(state.key, state.time)
    if level.kind == GAUSSIAN:
        reward = mean + normal(key)
    elif level.kind == INFORMATIVE:
        reward = mean
    else:
        reward = 1.0 * (uniform(key) < mean)
    state.last = action
    state.reward = reward
    state.regret += lost
    state.best_pulls += lost == 0
    state.late_best_pulls += (lost == 0) & (state.time >= level.trials - late_trials(level.trials))
    state.pulls[action] += 1
    state.earned[action] += reward
    state.time += 1
    if level.volatility > 0:
        key = advance(key)
        if uniform(key) < level.volatility:
            state.shift = place_of_mean(state.shift + 1 + integer(advance(key), level.arms - 1), level.arms)
    return reward, state.time == level.trials, False


@njit
def place_of_mean(place, arms):
    """A place of the means below twice their number, counted round; a remainder costs more than all else of a step."""
    return place - arms if place >= arms else place


@njit
def late_trials(trials):
    """Return the number of trials in which ``success`` is measured: the last quarter."""
    return (trials + 3) // 4


@njit
def observe(state, level, out):
    n = level.arms
    for arm in range(n):
        out.observation[arm] = arm == state.last
    out.observation[n] = state.reward
    out.observation[n + 1] = state.time / level.trials


@njit
def oracle(state, level):
    if state.time >= level.trials:
        return np.int64(-1)
    return np.int64(place_of_mean(level.best - state.shift + level.arms, level.arms))


@njit
def measure(state, level, out):
    late = state.time - level.trials + late_trials(level.trials)
    out[0] = late > 0 and state.late_best_pulls >= 0.9 * late
    out[1] = state.regret
    out[2] = state.best_pulls / max(state.time, 1)


@njit
def digest(level):
    total = np.uint64(0)
    for place in range(level.arms):
        total = fold(total, np.int64(level.means[place] * 2.0**24))
    return total


@njit
def sound(params, state, level):
    n = params.arms
    if level.kind != params.kind or level.arms != n or level.trials != params.trials:
        return False
    if level.volatility != params.volatility or not (0 <= level.best < n and 0 <= state.shift < n):
        return False
    pulls = 0
    for arm in range(n):
        if not (level.means[arm] <= level.means[level.best] and abs(level.means[arm]) < math.inf):
            return False
        if state.pulls[arm] < 0 or not abs(state.earned[arm]) < math.inf:
            return False
        pulls += state.pulls[arm]
    return (
        pulls == state.time <= params.trials
        and -1 <= state.last < n
        and (state.last == -1) == (pulls == 0)
        and 0 <= state.late_best_pulls <= state.best_pulls <= pulls
        and abs(state.reward) < math.inf
        and 0 <= state.regret < math.inf
    )


def define(kind: str = "uniform", arms: int = 2, trials: int = 100, *, volatility: float = 0.0) -> Definition:
    """The definition of a bandit; the parameters are those of :class:`Bandit`."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {list(KINDS)}, not {kind!r}")
    arms = within("arms", arms, 2, MOST_ARMS)
    trials = within("trials", trials, 1, MOST_TRIALS)
    volatility = number("volatility", volatility, 0, 1)
    if kind in TWO_ARMED and arms != 2:
        raise ValueError(f"arms must be 2 with kind {kind!r}, not {arms}")
    informative = kind == "informative"
    if informative and arms < 3:
        raise ValueError(f"arms must be from 3 to {MOST_ARMS} with kind 'informative' (11 in the paper), not {arms}")
    if informative and volatility:
        raise ValueError(f"volatility must be 0 with kind 'informative', not {volatility}")
    capacity = 16 if arms <= 16 else MOST_ARMS
    low, high = np.zeros(arms + 2, np.float32), np.ones(arms + 2, np.float32)
    if informative:
        high[arms] = TARGET
    if kind == "gaussian":
        low[arms], high[arms] = -2 * MOST_NORMAL, 2 * MOST_NORMAL
    return Definition(
        name=f"Bandit(kind={kind!r}, arms={arms}, trials={trials}, volatility={volatility})",
        params=np.array([(KINDS.index(kind), arms, trials, volatility, HIGHER.get(kind, 0))], PARAMS),
        level=level_dtype(capacity),
        state=state_dtype(capacity),
        out=np.dtype([("observation", np.float32, (arms + 2,))]),
        observation_space=Box(low, high, dtype=np.float32),
        action_space=Discrete(arms),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe,
        oracle=oracle,
        metrics=("success", "regret", "best_arm"),
        measure=measure,
        digest=digest,
        distinct_levels=arms - 1 if informative else 2 if kind in HIGHER else math.inf,
        sound=sound,
        draw=draw,
        text=text,
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the arms, their payouts and the numbers of their pulls, (H, W, 3) uint8."""
    from memenvs.fewshot.draw_bandit import draw_arms

    return draw_arms(*arms_of(state, level))


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.fewshot.draw_bandit import ansi_arms

    return ansi_arms(*arms_of(state, level))


def arms_of(state: np.void, level: np.void) -> tuple[dict[str, np.ndarray], str, tuple[int, float] | None]:
    """Return the contents of a picture: the numbers of each arm, a line of words, and the last arm with its reward."""
    n, time = int(level["arms"]), int(state["time"])
    numbers = {
        "mean": np.roll(level["means"][:n], -state["shift"]),
        "pulls": state["pulls"][:n].copy(),
        "earned": state["earned"][:n].copy(),
    }
    words = f"{time} of {level['trials']} trials, regret {state['regret']:.2f}"
    last = (int(state["last"]), float(state["reward"])) if time else None
    return numbers, words, last


class Bandit(SingleEnv):
    """``memenvs/Bandit-v0``: find out which arm pays most, and pull it.

    The bandits of Wang et al. (2016, arXiv:1611.05763, section 3.1) and of RL² (Duan et al. 2016, arXiv:1611.02779). In
    each episode the arms are drawn anew. The agent pulls one arm a trial, for ``trials`` trials, and must try others
    while it could already earn with the best one that it knows. What it has learned lies in its memory alone.

    - Observation: ``Box`` of float32 (arms + 2): the last arm, one-hot, the last reward, and the share of the trials
      that are over. Before the first trial all is 0. Both papers feed these to the network; here they are part of the
      observation, so that any agent can be used.
    - Action: ``Discrete(arms)``; every step is a decision.
    - Reward: the payout of the arm.
    - End: terminated after ``trials`` trials.
    - ``info``: ``regret``, the expected rewards of the best arm less those of the arms pulled, added up over the
      trials; ``best_arm``, the share of trials with the best arm; ``success``, 1 if at least 0.9 of the last quarter of
      the trials were with the best arm. An episode that is cut short before that has no success.

    The oracle pulls the arm with the greatest expected reward, which nothing without the future can beat. Even in
    single episodes nothing does: the chance of a trial is drawn once for all arms, so that the best arm pays at least
    what another would have paid. Agents cannot notice, since they pull one arm.

    =============== ==================================================================================================
    ``kind``        payout of an arm
    =============== ==================================================================================================
    ``uniform``     1 with probability p, else 0; p independent and uniform in [0, 1]. Wang et al. have 2 arms and 100
                    trials, Duan et al. 5, 10 and 50 arms and 10, 100 and 500 trials
    ``dependent``   the same, two arms with p and 1 − p, p uniform in [0, 1]
    ``easy``        the same, p 0.1 or 0.9
    ``medium``      the same, p 0.25 or 0.75
    ``hard``        the same, p 0.4 or 0.6
    ``informative`` always the same: one arm 5, the others 1.1, but the last arm (k + 1) / (arms − 1), which tells that
                    the 5 are at arm k. The paper has 11 arms and 5 trials: pull the last arm, then arm k
    ``gaussian``    normal around a mean, with variance 1; means normal around 0, with variance 1 (the testbed of Sutton
                    and Barto)
    =============== ==================================================================================================

    With ``volatility`` the bandit is restless: after each trial, with this probability, the payouts of all arms move on
    to other arms, by a random number of places. Two arms change places, which is a reversal. The best arm is then the
    best one in each trial.

    The split of a level follows from the payouts of its arms. The kinds ``easy``, ``medium``, ``hard`` and
    ``informative`` have few levels, so there is no split for them.

    :param kind: of distribution that arms are drawn from
    :param arms: number of arms, from 2 to 64; 2 where the table says so, at least 3 with ``"informative"``
    :param trials: in an episode, from 1 to 100,000
    :param volatility: from 0 to 1; 0 with ``"informative"``
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedBandit(BatchedEnv):
    """The batched :class:`Bandit`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
