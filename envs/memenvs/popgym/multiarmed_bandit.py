"""POPGym's MultiarmedBandit: find the arm that pays most often, and pull it."""

from __future__ import annotations

import math

import numpy as np
from gymnasium.spaces import Box, Discrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import flag, within
from memenvs.compilation import njit
from memenvs.fewshot.bandit import late_trials
from memenvs.pcg64 import double, float32, seeded
from memenvs.random import fold

MOST_ARMS, MOST_TRIALS = 64, 100_000

PARAMS = np.dtype([("arms", np.int32), ("trials", np.int32)])
LEVEL = np.dtype(
    [
        ("seed", np.uint64),
        ("random", np.uint64, (6,)),  # the generator after the arms have been drawn
        ("arms", np.int32),
        ("trials", np.int32),
        ("best", np.int32),
        ("highest", np.float32),  # its chance
        ("chances", np.float32, (MOST_ARMS,)),
    ]
)
STATE = np.dtype(
    [
        ("key", np.uint64),
        ("random", np.uint64, (6,)),
        ("time", np.int32),
        ("paid", np.int32),  # whether the last pull was
        ("last", np.int32),  # the arm pulled last, or -1
        ("best_pulls", np.int32),
        ("late_best_pulls", np.int32),  # in the last quarter of the trials
        ("pulls", np.int32, (MOST_ARMS, 2)),  # of each arm those that paid nothing, and those that paid
    ]
)
OUT = np.dtype([("observation", np.int64)])


@njit
def generate(params, key, level):
    level.seed = key
    level.arms, level.trials = params.arms, params.trials
    seeded(level.random, key)
    level.best = 0
    for arm in range(params.arms):
        level.chances[arm] = float32(level.random)
        if level.chances[arm] > level.chances[level.best]:
            level.best = arm
    level.highest = level.chances[level.best]
    return True


@njit
def reset(state, level):
    state.random[:] = level.random
    state.time = 0
    state.paid = 0
    state.last = -1
    state.best_pulls = state.late_best_pulls = 0
    state.pulls[: level.arms] = 0


@njit
def step(state, level, action):
    # NumPy compares a Python float with a float32 as float32s.
    paid = np.float32(double(state.random)) < level.chances[action]
    best = level.chances[action] == level.highest
    state.best_pulls += best
    state.late_best_pulls += best & (state.time >= level.trials - late_trials(level.trials))
    state.time += 1
    state.paid = paid
    state.last = action
    state.pulls[action, np.int64(paid)] += 1
    scale = 1.0 / level.trials
    return scale if paid else -scale, False, state.time >= level.trials


@njit
def observe(state, level, out):
    out.observation = state.paid


@njit
def observe_all(state, level, out):
    out.observation[: level.arms] = level.chances[: level.arms]
    out.observation[level.arms] = state.paid


@njit
def oracle(state, level):
    return np.int64(level.best) if decides(state, level) else np.int64(-1)


@njit
def decides(state, level):
    return state.time < level.trials


@njit
def measure(state, level, out):
    late = state.time - level.trials + late_trials(level.trials)
    out[0] = late > 0 and state.late_best_pulls >= 0.9 * late
    out[1] = state.best_pulls / max(state.time, 1)


@njit
def digest(level):
    total = np.uint64(0)
    for arm in range(level.arms):
        total = fold(total, np.int64(level.chances[arm] * np.float32(2.0**24)))
    return total


@njit
def sound(params, state, level):
    if level.arms != params.arms or level.trials != params.trials or not 0 <= level.best < level.arms:
        return False
    pulls = 0
    for arm in range(level.arms):
        if not 0 <= level.chances[arm] <= level.highest or state.pulls[arm, 0] < 0 or state.pulls[arm, 1] < 0:
            return False
        pulls += state.pulls[arm, 0] + state.pulls[arm, 1]
    if pulls != state.time or state.time > level.trials:
        return False
    best_pulls = 0 <= state.late_best_pulls <= state.best_pulls <= state.time
    return (
        best_pulls
        and level.chances[level.best] == level.highest < 1
        and -1 <= state.last < level.arms
        and 0 <= state.paid <= 1
    )


def define(arms: int = 10, trials: int = 200, observable: bool = False) -> Definition:
    """The definition of a bandit; the parameters are those of :class:`MultiarmedBandit`."""
    arms = within("arms", arms, 2, MOST_ARMS)
    trials = within("trials", trials, 1, MOST_TRIALS)
    observable = flag("observable", observable)
    return Definition(
        name=f"MultiarmedBandit(arms={arms}, trials={trials}{', observable=True' if observable else ''})",
        params=np.array([(arms, trials)], PARAMS),
        level=LEVEL,
        state=STATE,
        out=np.dtype([("observation", np.float32, (arms + 1,))]) if observable else OUT,
        observation_space=Box(0, 1, (arms + 1,), np.float32) if observable else Discrete(2),
        action_space=Discrete(arms),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe_all if observable else observe,
        oracle=oracle,
        decides=decides,
        metrics=("success", "best_arm"),
        measure=measure,
        digest=digest,
        distinct_levels=math.inf,
        sound=sound,
        draw=draw,
        text=text,
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the arms, their chances and the numbers of their pulls, (H, W, 3) uint8."""
    from memenvs.fewshot.draw_bandit import draw_arms

    return draw_arms(*_scene(state, level))


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.fewshot.draw_bandit import ansi_arms

    return ansi_arms(*_scene(state, level))


def _scene(state: np.void, level: np.void) -> tuple[dict[str, np.ndarray], str, tuple[int, float] | None]:
    """Return the numbers of each arm, a line of words, and the last arm with what it paid."""
    n, time = int(level["arms"]), int(state["time"])
    numbers = {
        "mean": level["chances"][:n].astype(np.float64),
        "pulls": state["pulls"][:n].sum(1),
        "earned": state["pulls"][:n, 1].astype(np.float64),
    }
    words = f"{time} of {level['trials']} trials, {state['pulls'][:n, 1].sum()} paid"
    return numbers, words, (int(state["last"]), float(state["paid"])) if time else None


class MultiarmedBandit(SingleEnv):
    """``memenvs/popgym-MultiarmedBanditEasy-v0``, Medium and Hard: find out which arm pays most often, and pull it.

    POPGym's MultiarmedBandit (Morad et al. 2023, arXiv:2303.01859), bit for bit. In each episode every arm gets another
    chance of paying, uniform in [0, 1]. The observation does not say which arm was pulled. The paper's agents were also
    shown their last action (``condition_on=["action"]`` for the agents of memagents). ``memenvs/Bandit-v0`` has the
    bandits of other papers.

    - Observation: ``Discrete(2)``, whether the last pull paid; 0 at the start.
    - Action: ``Discrete(arms)``.
    - Reward: 1 / ``trials`` if it pays, the negative if not.
    - End: truncated after ``trials`` pulls.
    - ``info``: ``best_arm``, the share of the pulls that were of the best arm, and ``success``, 1 if at least 0.9 of
      the last quarter were. POPGym's own ``info`` has the chances, which are left out here.

    The oracle pulls the best arm and gets 0.818, 0.905 and 0.935 in the mean at the three levels. Without knowing the
    arms, a Bayesian index gets at least 0.727, 0.822 and 0.856, Thompson sampling 0.645, 0.737 and 0.774, the arm with
    the best mean so far 0.592, 0.611 and 0.623; random actions get 0.

    The split of a level follows from the chances of its arms.

    :param arms: how many, from 2 to 64
    :param trials: pulls in an episode, from 1 to 100,000
    :param observable: show the chances of all arms, and behind them whether the last pull paid
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedMultiarmedBandit(BatchedEnv):
    """The batched :class:`MultiarmedBandit`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
