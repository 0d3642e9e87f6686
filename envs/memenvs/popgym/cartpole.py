"""The cart-poles of POPGym: hold a pole upright by what is seen of it, positions or velocities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import flag, number, positive
from memenvs.compilation import njit
from memenvs.engine.defaults import always_decides
from memenvs.pcg64 import double, ends, normal, seeded
from memenvs.random import fold

RIGHT = 1
TRACK, TILT = 2.4, 12 * 2 * math.pi / 360  # how far the cart and the pole may go
SHOWN = np.array([2 * TRACK, np.inf, 2 * TILT, np.inf], np.float32)  # bounds of the whole state
FORCE, GRAVITY, STEP = 10.0, 9.8, 0.02
POLE, HALF_LENGTH = 0.1, 0.5  # mass in kg, half of its length in m
MASS, MOMENT = POLE + 1.0, POLE * HALF_LENGTH  # with the cart; mass times half of the length
MOST_SIGMA = 10.0
BOUNDS = SHOWN[::2].copy()

PARAMS = np.dtype([("max_steps", np.int32), ("sigma", np.float64)])
RANDOM = ("random", np.uint64, (6,))  # NumPy's generator, as it stands
LEVEL = np.dtype(
    [("seed", np.uint64), RANDOM, ("max_steps", np.int32), ("sigma", np.float64), ("begin", np.float64, (4,))]
)
STATE = np.dtype(
    [
        ("key", np.uint64),
        ("x", np.float64),  # of the cart, in m
        ("speed", np.float64),
        ("angle", np.float64),  # of the pole, in radians to the right of upright
        ("spin", np.float64),
        ("steps", np.int32),
    ]
)
# It begins otherwise, since Numba takes a record that goes on after the same fields for the same.
NOISY_STATE = np.dtype([("noise", np.float32, (2,)), RANDOM, *STATE.descr])


@njit
def generate(params, key, level):
    level.seed, level.max_steps, level.sigma = key, params.max_steps, params.sigma
    seeded(level.random, level.seed)
    for place in range(4):
        level.begin[place] = -0.05 + 0.1 * double(level.random)
    return True


@njit
def reset(state, level):
    state.x, state.speed, state.angle, state.spin = level.begin[0], level.begin[1], level.begin[2], level.begin[3]
    state.steps = 0


@njit
def reset_noisy(state, level):
    reset(state, level)
    state.random[:] = level.random
    blur(state, level)


@njit
def blur(state, level):
    """Draw the noise of the next observation."""
    for entry in range(2):
        state.noise[entry] = 0.0 + level.sigma * normal(state.random)


@njit
def step(state, level, action):
    # The order of these operations is that of Gymnasium, and so is every last bit.
    force = FORCE if action == RIGHT else -FORCE
    cosine, sine = math.cos(state.angle), math.sin(state.angle)
    pull = (force + MOMENT * (state.spin * state.spin) * sine) / MASS
    turn = (GRAVITY * sine - cosine * pull) / (HALF_LENGTH * (4.0 / 3.0 - POLE * (cosine * cosine) / MASS))
    push = pull - MOMENT * turn * cosine / MASS
    state.x += STEP * state.speed
    state.speed += STEP * push
    state.angle += STEP * state.spin
    state.spin += STEP * turn
    state.steps += 1
    return 1.0 / level.max_steps, fallen(state), state.steps >= level.max_steps


@njit
def step_noisy(state, level, action):
    reward, terminated, truncated = step(state, level, action)
    blur(state, level)
    return reward, terminated, truncated


@njit
def fallen(state):
    """Return whether the cart has left its track, or the pole leans too far."""
    return (abs(state.x) > TRACK) | (abs(state.angle) > TILT)


@njit
def observe_positions(state, level, out):
    out.observation[0], out.observation[1] = state.x, state.angle


@njit
def observe_velocities(state, level, out):
    if state.steps == 0:  # as in POPGym
        out.observation[0], out.observation[1] = state.x, state.angle
    else:
        out.observation[0], out.observation[1] = state.speed, state.spin


@njit
def observe_noisy(state, level, out):
    blurred = np.float32(state.x) + state.noise[0], np.float32(state.angle) + state.noise[1]
    for entry in range(2):
        out.observation[entry] = min(max(np.float32(blurred[entry]), -BOUNDS[entry]), BOUNDS[entry])


@njit
def observe_all(state, level, out):
    out.observation[0], out.observation[1] = state.x, state.speed
    out.observation[2], out.observation[3] = state.angle, state.spin


@njit
def oracle(state, level):
    return np.int64(0.5 * state.x + state.speed + 15.0 * state.angle + 3.0 * state.spin > 0)


@njit
def measure(state, level, out):
    out[0] = state.steps >= level.max_steps and not fallen(state)


@njit
def digest(level):
    return fold(np.uint64(0), level.seed)


@njit
def sound(params, state, level):
    for place in range(4):
        if not abs(level.begin[place]) <= 0.05:
            return False
    near = abs(state.x) <= 2 * TRACK and abs(state.angle) <= 2 * TILT
    whole = near and abs(state.speed) < math.inf and abs(state.spin) < math.inf
    same = level.max_steps == params.max_steps and level.sigma == params.sigma
    return whole and same and 0 <= state.steps <= params.max_steps


@njit
def sound_noisy(params, state, level):
    noise = abs(state.noise[0]) < math.inf and abs(state.noise[1]) < math.inf
    endless = not (ends(level.random) and ends(state.random))
    return sound(params, state, level) and noise and not endless


def define(name: str, max_steps: int, observable: bool, **functions: Any) -> Definition:
    """Return the definition of a cart-pole.

    :param name: of its class
    :param functions: and records that its noise changes, and ``observe``
    """
    max_steps = positive("max_steps", max_steps)
    observable = flag("observable", observable)
    sigma = functions.pop("sigma", None)
    noise = "" if sigma is None else f"sigma={sigma}, "
    own = functions.pop("bounds", BOUNDS)
    bounds = SHOWN if observable else own
    entries = {
        "state": STATE,
        "reset": reset,
        "step": step,
        "sound": sound,
    } | functions
    if observable:
        entries["observe"] = observe_all
    return Definition(
        name=f"{name}({noise}max_steps={max_steps}{', observable=True' if observable else ''})",
        params=np.array([(max_steps, sigma or 0.0)], PARAMS),
        level=LEVEL,
        out=np.dtype([("observation", np.float32, bounds.shape)]),
        observation_space=Box(-bounds, bounds, dtype=np.float32),
        generate=generate,
        action_space=Discrete(2),
        oracle=oracle,
        decides=always_decides,
        metrics=("success",),
        measure=measure,
        digest=digest,
        draw=draw,
        text=text,
        frames_per_second=50,
        action_names=("left", "right"),
        both_ends=True,
        **entries,
    )


def define_positions(max_steps: int = 200, observable: bool = False) -> Definition:
    """The definition without velocities; the parameters are those of :class:`PositionOnlyCartPole`."""
    return define("PositionOnlyCartPole", max_steps, observable, observe=observe_positions)


def define_velocities(max_steps: int = 200, observable: bool = False) -> Definition:
    """The definition without positions; the parameters are those of :class:`VelocityOnlyCartPole`."""
    bounds = np.full(2, np.inf, np.float32)
    return define("VelocityOnlyCartPole", max_steps, observable, observe=observe_velocities, bounds=bounds)


def define_noisy(sigma: float = 0.1, max_steps: int = 200, observable: bool = False) -> Definition:
    """The definition with noise; the parameters are those of :class:`NoisyPositionOnlyCartPole`."""
    return define(
        "NoisyPositionOnlyCartPole",
        max_steps,
        observable,
        sigma=number("sigma", sigma, 0, MOST_SIGMA),
        state=NOISY_STATE,
        reset=reset_noisy,
        step=step_noisy,
        observe=observe_noisy,
        sound=sound_noisy,
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the cart and the pole, (H, W, 3) uint8."""
    from memenvs.popgym.draw_poles import draw_cartpole

    return draw_cartpole(*scene(state, level))


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.popgym.draw_poles import ansi_cartpole

    return ansi_cartpole(*scene(state, level))


def scene(state: np.void, level: np.void) -> tuple[float, float, str]:
    """Return the place of the cart as a share of the way to the end of its track, the angle, and a line of words."""
    return state["x"] / TRACK, state["angle"], f"step {state['steps']} of {level['max_steps']}"


class PositionOnlyCartPole(SingleEnv):
    """``memenvs/popgym-PositionOnlyCartPoleEasy-v0``: hold a pole upright on a cart without seeing how fast they move.

    POPGym's PositionOnlyCartPole (Morad et al. 2023, arXiv:2303.01859), bit for bit: Gymnasium's CartPole without the
    velocities, which follow from what was seen before.

    - Observation: ``Box`` of float32 (2,): the place of the cart in m, within ±4.8, and the angle of the pole in
      radians, within ±0.419.
    - Action: 0 pushes the cart to the left, 1 to the right, with 10 N.
    - Reward: 1 / ``max_steps`` in every step, also in that in which the pole falls.
    - End: terminated when the cart is beyond ±2.4 m or the pole beyond ±12°, truncated after ``max_steps``; in that
      step it can be both.
    - ``info``: ``success``, 1 if the pole was held to the end.

    Mean returns at Easy, Medium and Hard, which differ in their length alone: random play 0.11, 0.054, 0.036; a policy
    that remembers can hold the pole (1), as the oracle does by linear feedback on the whole state.

    :param max_steps: 200, 400 and 600 at Easy, Medium and Hard
    :param observable: show place, speed, angle and angular velocity, as Gymnasium's CartPole does
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define_positions)


class BatchedPositionOnlyCartPole(BatchedEnv):
    """The batched :class:`PositionOnlyCartPole`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define_positions)


class VelocityOnlyCartPole(SingleEnv):
    """``memenvs/popgym-VelocityOnlyCartpoleEasy-v0``: hold a pole upright on a cart by seeing how fast they move.

    POPGym's VelocityOnlyCartPole (Morad et al. 2023, arXiv:2303.01859), bit for bit: Gymnasium's CartPole without the
    positions. Only the first observation of an episode is of them, so that they can be integrated from there on.

    - Observation: ``Box`` of float32 (2,): the speed of the cart in m/s and the angular velocity of the pole in 1/s; at
      first the place of the cart in m and the angle of the pole in radians.
    - Action: 0 pushes the cart to the left, 1 to the right, with 10 N.
    - Reward: 1 / ``max_steps`` in every step, also in that in which the pole falls.
    - End: terminated when the cart is beyond ±2.4 m or the pole beyond ±12°, truncated after ``max_steps``; in that
      step it can be both.
    - ``info``: ``success``, 1 if the pole was held to the end.

    Mean returns at Easy, Medium and Hard, which differ in their length alone: random play 0.11, 0.054, 0.036; a policy
    that integrates holds the pole (1), as the oracle does by linear feedback on the whole state.

    :param max_steps: 200, 400 and 600 at Easy, Medium and Hard
    :param observable: show place, speed, angle and angular velocity, as Gymnasium's CartPole does
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define_velocities)


class BatchedVelocityOnlyCartPole(BatchedEnv):
    """The batched :class:`VelocityOnlyCartPole`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define_velocities)


class NoisyPositionOnlyCartPole(SingleEnv):
    """``memenvs/popgym-NoisyPositionOnlyCartPoleEasy-v0``: hold a pole upright on a cart that is seen through noise.

    POPGym's NoisyPositionOnlyCartPole (Morad et al. 2023, arXiv:2303.01859), bit for bit: it is
    :class:`PositionOnlyCartPole` with normal noise on both numbers of an observation, from NumPy's generator as in
    POPGym. The noise is as great as the angle at which the pole falls, 0.21, so many observations have to be weighed.

    - Observation: ``Box`` of float32 (2,): the place of the cart in m and the angle of the pole in radians, with noise,
      cut off at ±4.8 and ±0.419.
    - Action: 0 pushes the cart to the left, 1 to the right, with 10 N.
    - Reward: 1 / ``max_steps`` in every step, also in that in which the pole falls.
    - End: terminated when the cart is beyond ±2.4 m or the pole beyond ±12°, truncated after ``max_steps``; in that
      step it can be both.
    - ``info``: ``success``, 1 if the pole was held to the end.

    Mean returns at Easy, Medium and Hard: random play 0.104; a Kalman filter 0.994, 0.637, 0.344; the paper's GRU
    0.995, 0.642, 0.390. The oracle, linear feedback on the state without noise, holds the pole (1).

    :param sigma: the standard deviation of the noise, from 0 to 10; 0.1, 0.2 and 0.3 at Easy, Medium and Hard
    :param max_steps: 200 at all levels
    :param observable: show place, speed, angle and angular velocity without noise, as Gymnasium's CartPole does
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define_noisy)


class BatchedNoisyPositionOnlyCartPole(BatchedEnv):
    """The batched :class:`NoisyPositionOnlyCartPole`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define_noisy)
