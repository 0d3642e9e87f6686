"""Harlow's task: which of two new objects is rewarded, as in Wang et al. (2016, 2018), with objects of bits."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box, Discrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import flag, within
from memenvs.compilation import njit
from memenvs.engine.loops import TEST_SHARE
from memenvs.random import advance, fold, integer
from memenvs.random import bits as random_bits

LEFT, RIGHT, FIXATE = range(3)

MOST_TRIALS = 50
MOST_BITS = 32
PATIENCE = 4  # steps that an episode has for each of its trials

FIXATION_REWARD = 0.2

RULES = [("trials", np.int32), ("bits", np.int32), ("fixation", np.bool_)]
PARAMS = np.dtype(RULES)
LEVEL = np.dtype(
    [
        *RULES,
        ("rewarded", np.uint32),  # an object is its bits
        ("other", np.uint32),
        ("sides", np.uint64),  # where the rewarded object is in each trial, the first one's the lowest bit: 1 is right
    ]
)
STATE = np.dtype(
    [
        ("key", np.uint64),
        ("time", np.int32),
        ("trial", np.int32),  # trials that are over
        ("fixated", np.bool_),  # the objects are shown
        ("action", np.int32),  # the last one, or -1
        ("reward", np.float32),  # the last one
        ("choices", np.uint64),  # as sides
    ]
)

_OBJECTS = np.uint64(0x3C6EF372FE94F82B)  # no key that an environment has


@njit
def generate(params, key, level):
    level.trials, level.bits, level.fixation = params.trials, params.bits, params.fixation
    key = advance(key)
    level.sides = random_bits(key)
    key = advance(key)
    test = integer(key, TEST_SHARE) == 0
    key, level.rewarded = draw_object(key, params.bits, test)
    key, level.other = draw_object(key, params.bits, test)
    return level.rewarded != level.other


@njit
def draw_object(key, size, test):
    """An object of one split, and the next key."""
    while True:
        key = advance(key)
        drawn = np.uint32(random_bits(key) >> np.uint64(64 - size))
        if for_tests(drawn) == test:
            return key, drawn


@njit
def for_tests(drawn):
    """Return whether an object is for tests, which its bits do not show."""
    return integer(fold(_OBJECTS, drawn), TEST_SHARE) == 0


@njit
def reset(state, level):
    state.time = state.trial = 0
    state.fixated = not level.fixation
    state.action = -1
    state.reward = 0.0
    state.choices = 0


@njit
def out_of_time(state, level):
    return state.time >= PATIENCE * level.trials


@njit
def over(state, level):
    return (state.trial >= level.trials) | out_of_time(state, level)


@njit
def rewarded_side(state, level):
    return np.int64((level.sides >> np.uint64(state.trial)) & np.uint64(1))


@njit
def step(state, level, action):
    if over(state, level):
        return 0.0, True, False
    reward = 0.0
    if not state.fixated:
        state.fixated = action == FIXATE
        reward = FIXATION_REWARD * state.fixated
    elif action != FIXATE:
        reward = 1.0 if action == rewarded_side(state, level) else -1.0
        state.choices |= np.uint64(action) << np.uint64(state.trial)
        state.trial += 1
        state.fixated = not level.fixation
    state.action = action
    state.reward = reward
    state.time += 1
    return reward, state.trial >= level.trials, out_of_time(state, level)


@njit
def observe(state, level, out):
    observation, size = out.observation, level.bits
    going_on = state.trial < level.trials
    objects = going_on & state.fixated
    right = rewarded_side(state, level) == RIGHT
    for bit in range(size):
        first = objects & ((level.rewarded >> np.uint32(bit)) & np.uint32(1) == 1)
        second = objects & ((level.other >> np.uint32(bit)) & np.uint32(1) == 1)
        observation[bit] = second if right else first
        observation[size + bit] = first if right else second
    place = 2 * size
    observation[place] = state.action == LEFT
    observation[place + 1] = state.action == RIGHT
    observation[place + 2] = state.reward == 1
    observation[place + 3] = state.reward == -1
    if level.fixation:
        observation[place + 4] = state.action == FIXATE
        observation[place + 5] = going_on & (not state.fixated)


@njit
def oracle(state, level):
    if over(state, level):
        return np.int64(-1)
    return rewarded_side(state, level) if state.fixated else np.int64(FIXATE)


@njit
def legal(state, level, mask):
    mask[:FIXATE] = state.fixated
    if level.fixation:
        mask[FIXATE] = not state.fixated


@njit
def measure(state, level, out):
    right = ~(level.sides ^ state.choices)
    later = 0
    for trial in range(level.trials):
        out[2 + trial] = (trial < state.trial) & ((right >> np.uint64(trial)) & np.uint64(1) == 1)
        later += trial > 0 and out[2 + trial] == 1
    out[0] = later == level.trials - 1
    out[1] = later / (level.trials - 1)


@njit
def digest(level):
    """Return a hash of a level; its remainder, by which the engine splits, says whether the objects are for tests."""
    total = fold(fold(fold(np.uint64(0), level.rewarded), level.other), level.sides)
    return total - total % np.uint64(TEST_SHARE) + np.uint64(not for_tests(level.rewarded))


@njit
def sound(params, state, level):
    return (
        level.trials == params.trials
        and level.bits == params.bits
        and level.fixation == params.fixation
        and (np.uint64(level.rewarded) | np.uint64(level.other)) >> np.uint64(params.bits) == 0
        and level.rewarded != level.other
        and 0 <= state.trial <= params.trials
        and state.trial <= state.time <= PATIENCE * params.trials
        and -1 <= state.action <= FIXATE
        and state.choices >> np.uint64(state.trial) == 0
        and (state.fixated or params.fixation)
    )


def define(trials: int = 6, bits: int = 16, *, fixation: bool = True) -> Definition:
    """The definition of a task; the parameters are those of :class:`Harlow`."""
    trials = within("trials", trials, 2, MOST_TRIALS)
    bits = within("bits", bits, 8, MOST_BITS)
    fixation = flag("fixation", fixation)
    size = 2 * bits + (6 if fixation else 4)
    return Definition(
        name=f"Harlow(trials={trials}, bits={bits}, fixation={fixation})",
        params=np.array([(trials, bits, fixation)], PARAMS),
        level=LEVEL,
        state=STATE,
        out=np.dtype([("observation", np.uint8, (size,))]),
        observation_space=Box(0, 1, (size,), np.uint8),
        action_space=Discrete(3 if fixation else 2),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe,
        oracle=oracle,
        legal=legal,
        metrics=("success", "accuracy", *(f"trial_{trial}" for trial in range(1, trials + 1))),
        measure=measure,
        digest=digest,
        sound=sound,
        draw=draw,
        text=text,
        frames_per_second=2,
        action_names=("left", "right", "fixate")[: 3 if fixation else 2],
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the observation and the trials so far, (H, W, 3) uint8."""
    from memenvs.fewshot.draw_harlow import draw_trials

    return draw_trials(*trials_of(state, level))


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.fewshot.draw_harlow import ansi_trials

    return ansi_trials(*trials_of(state, level))


def trials_of(state: np.void, level: np.void) -> tuple[list[np.ndarray], list[int], list[int], bool, str]:
    """Return the contents of a picture: objects, the rewarded side in each trial so far, choices, observation."""
    objects = [(int(level[name]) >> np.arange(level["bits"])) & 1 for name in ("rewarded", "other")]
    trial, trials = int(state["trial"]), int(level["trials"])
    shown = min(trial + 1, trials)
    sides, choices = (
        [int(word) >> i & 1 for i in range(n)] for word, n in ((level["sides"], shown), (state["choices"], trial))
    )
    words = f"trial {trial + 1} of {trials}" if trial < trials else f"all {trials} trials are over"
    if state["action"] >= 0:
        words += f", last reward {state['reward']:+.1f}"
    return objects, sides, choices, bool(state["fixated"]), words


class Harlow(SingleEnv):
    """``memenvs/Harlow-v0``: find out by one trial which of two new objects is rewarded.

    The experiment of Harlow (1949, "The formation of learning sets") as Wang et al. (2016, arXiv:1611.05763; 2018,
    "Prefrontal cortex as a meta-reinforcement learning system") gave it to a network, with bits in place of images. In
    each episode two objects are drawn that the agent has not seen, and one of them is the rewarded one. In every trial
    they stand left and right at random. In the first trial the agent can only guess. From then on it can be right
    always, by what the first one brought, whichever object it chose there and wherever that stands now.

    With ``fixation`` a trial begins with a cross, and the objects appear when the agent has looked at it. Looking to a
    side at the cross, or at the middle when the objects are shown, does nothing but take a step.

    - Observation: ``Box`` of bytes 0 and 1 (2 · bits + 4, with ``fixation`` + 6): the object on the left, the object on
      the right, 0 while they are not shown; of the last step, whether the action was left, whether it was right,
      whether the object was the rewarded one, whether it was the other one; with ``fixation`` also whether the last
      action was to fixate, and whether the cross is seen now.
    - Action: 0 left, 1 right; with ``fixation`` also 2 fixate.
    - Reward: 1 for the rewarded object, −1 for the other one, 0.2 for looking at the cross.
    - End: terminated after the last trial, truncated after ``4 * trials`` steps.
    - ``info``: ``success``, 1 if all trials after the first were right; ``accuracy``, the share of these that were;
      ``trial_1``, ``trial_2``, …, whether each one was. A trial that was not reached counts as wrong.

    The oracle knows the rewarded object. Without that knowledge the best expected ``trial_1`` is 0.5.

    An object is any pattern of bits. A hash of it says whether it is one for tests, which one of eight is. Both objects
    of an episode are of one split; without ``split``, each eighth episode is one of objects for tests.

    :param trials: in an episode, from 2 to 50
    :param bits: of an object, from 8 to 32
    :param fixation: whether a trial begins with a cross to look at
    :param split: ``"train"`` or ``"test"`` for objects that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedHarlow(BatchedEnv):
    """The batched :class:`Harlow`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
