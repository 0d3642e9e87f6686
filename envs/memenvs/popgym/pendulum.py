"""The pendulums of POPGym: swing a pole up and hold it by what is seen of its angle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import flag, number, positive
from memenvs.compilation import njit
from memenvs.pcg64 import double, ends, normal, seeded
from memenvs.popgym.scalars import squared, squared_32, within_turn
from memenvs.random import fold

TORQUE, FASTEST, STEP = 2.0, 8.0, 0.05
WORST = 16.2736044  # POPGym's greatest cost of a step: hanging, at the greatest speed and torque
UPRIGHT, HELD = math.cos(math.pi / 6), 20  # success is to be so near to upright in so many last steps
MOST_SIGMA = 10.0
_CHEAP, _PUSH, _LIMIT = np.float32(0.001), np.float32(3.0), np.float32(TORQUE)

PARAMS = np.dtype([("max_steps", np.int32), ("sigma", np.float64)])
RANDOM = ("random", np.uint64, (6,))  # NumPy's generator, as it stands
LEVEL = np.dtype(
    [("seed", np.uint64), RANDOM, ("max_steps", np.int32), ("sigma", np.float64), ("begin", np.float64, (2,))]
)
STATE = np.dtype(
    [
        ("key", np.uint64),
        ("angle", np.float64),  # in radians from upright, counterclockwise, not wrapped
        ("speed", np.float64),
        ("cosine", np.float64),  # of the angle: they cost too much to be calculated twice
        ("sine", np.float64),
        ("torque", np.float32),  # the last one
        ("steps", np.int32),
        ("upright", np.int32),  # steps near to upright
        ("held", np.int32),  # those since it was not
    ]
)
# It begins otherwise, since Numba takes a record that goes on after the same fields for the same.
NOISY_STATE = np.dtype([("noise", np.float32, (2,)), RANDOM, *STATE.descr])


@njit
def generate(params, key, level):
    level.seed, level.max_steps, level.sigma = key, params.max_steps, params.sigma
    seeded(level.random, level.seed)
    level.begin[0] = -math.pi + 2 * math.pi * double(level.random)
    level.begin[1] = -1.0 + 2.0 * double(level.random)
    return True


@njit
def reset(state, level):
    state.angle, state.speed = level.begin[0], level.begin[1]
    state.cosine, state.sine = math.cos(state.angle), math.sin(state.angle)
    state.torque = 0.0
    state.steps = state.upright = state.held = 0


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
    # The order and the precision of these operations are those of Gymnasium, and so is every last bit.
    torque = min(max(np.float32(action[0]), -_LIMIT), _LIMIT)
    cost = squared(wrapped(state.angle)) + 0.1 * squared(state.speed)
    cost += np.float64(_CHEAP * squared_32(torque))
    pull = 15.0 * state.sine + np.float64(_PUSH * torque)
    state.speed = min(max(state.speed + pull * STEP, -FASTEST), FASTEST)
    state.angle += state.speed * STEP
    state.cosine, state.sine = math.cos(state.angle), math.sin(state.angle)
    state.torque = torque
    state.steps += 1
    near = state.cosine > UPRIGHT
    state.upright += near
    state.held = (state.held + 1) * near
    reward = (-cost + WORST / 2) / (WORST / 2) / level.max_steps
    return reward, False, state.steps >= level.max_steps


@njit
def step_noisy(state, level, action):
    reward, terminated, truncated = step(state, level, action)
    blur(state, level)
    return reward, terminated, truncated


@njit
def wrapped(angle):
    """The same angle from -π to below π."""
    return within_turn(angle + math.pi) - math.pi


@njit
def observe(state, level, out):
    out.observation[0], out.observation[1] = state.cosine, state.sine


@njit
def observe_noisy(state, level, out):
    observe(state, level, out)
    for entry in range(2):
        blurred = np.float32(out.observation[entry]) + np.float32(state.noise[entry])
        out.observation[entry] = min(max(blurred, np.float32(-1.0)), np.float32(1.0))


@njit
def observe_all(state, level, out):
    observe(state, level, out)
    out.observation[2] = state.speed


@njit
def measure(state, level, out):
    out[0] = state.held >= HELD
    out[1] = state.upright / max(state.steps, 1)


@njit
def digest(level):
    return fold(np.uint64(0), level.seed)


@njit
def sound(params, state, level):
    if not (abs(level.begin[0]) <= math.pi and abs(level.begin[1]) <= 1.0 and abs(state.torque) <= TORQUE):
        return False
    if not (abs(state.angle) < math.inf and abs(state.speed) <= FASTEST and level.max_steps == params.max_steps):
        return False
    if level.sigma != params.sigma:
        return False
    if not (abs(state.cosine) <= 1.0 and abs(state.sine) <= 1.0):
        return False
    return 0 <= state.held <= state.upright <= state.steps <= params.max_steps


@njit
def sound_noisy(params, state, level):
    noise = abs(state.noise[0]) < math.inf and abs(state.noise[1]) < math.inf
    endless = not (ends(level.random) and ends(state.random))
    return sound(params, state, level) and noise and not endless


def define(name: str, max_steps: int, observable: bool, **functions: Any) -> Definition:
    """Return the definition of a pendulum.

    :param name: of its class
    :param functions: and records that its noise changes, and ``observe``
    """
    max_steps = positive("max_steps", max_steps)
    observable = flag("observable", observable)
    sigma = functions.pop("sigma", None)
    noise = "" if sigma is None else f"sigma={sigma}, "
    bounds = np.array([1, 1, FASTEST] if observable else [1, 1], np.float32)
    entries = {
        "state": STATE,
        "reset": reset,
        "step": step,
        "observe": observe,
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
        action_space=Box(-TORQUE, TORQUE, (1,), np.float32),
        metrics=("success", "upright"),
        measure=measure,
        digest=digest,
        draw=draw,
        text=text,
        frames_per_second=20,
        **entries,
    )


def define_positions(max_steps: int = 200, observable: bool = False) -> Definition:
    """The definition without noise; the parameters are those of :class:`PositionOnlyPendulum`."""
    return define("PositionOnlyPendulum", max_steps, observable)


def define_noisy(sigma: float = 0.1, max_steps: int = 200, observable: bool = False) -> Definition:
    """The definition with noise; the parameters are those of :class:`NoisyPositionOnlyPendulum`."""
    return define(
        "NoisyPositionOnlyPendulum",
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
    """Draw the pendulum and the last torque, (H, W, 3) uint8."""
    from memenvs.popgym.draw_poles import draw_pendulum

    return draw_pendulum(*scene(state, level))


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.popgym.draw_poles import ansi_pendulum

    return ansi_pendulum(*scene(state, level))


def scene(state: np.void, level: np.void) -> tuple[float, float, str]:
    """Return the angle, the last torque as a share of the greatest, and a line of words."""
    return state["angle"], state["torque"] / TORQUE, f"step {state['steps']} of {level['max_steps']}"


class PositionOnlyPendulum(SingleEnv):
    """``memenvs/popgym-PositionOnlyPendulumEasy-v0``: swing a pole up and hold it, without seeing how fast it moves.

    POPGym's PositionOnlyPendulum (Morad et al. 2023, arXiv:2303.01859), bit for bit: Gymnasium's Pendulum without the
    angular velocity. The torque is too small to lift the pole at once.

    - Observation: ``Box(-1, 1)`` of float32 (2,): cosine and sine of the angle from upright, counterclockwise.
    - Action: ``Box(-2, 2, (1,))`` of float32, the torque in N m; what is beyond is clipped, and a float64 is rounded to
      float32 first.
    - Reward: from -1 / ``max_steps`` (hanging, at the greatest speed) to 1 / ``max_steps`` (upright, at rest):
      1 - cost / 8.1368022 over ``max_steps``, the cost being the square of the angle, a tenth of that of the velocity
      and a thousandth of that of the torque.
    - End: truncated after ``max_steps``.
    - ``info``: ``success``, 1 if the pole was within 30° of upright in the last 20 steps, and ``upright``, the share of
      all steps in which it was.

    Mean returns at Easy, Medium and Hard, which differ in their length alone: random play 0.25; the best play with the
    velocity known 0.915, 0.887, 0.830, to which remembering comes close. There is no oracle.

    :param max_steps: 200, 150 and 100 at Easy, Medium and Hard
    :param observable: show the angular velocity too, as Gymnasium's Pendulum does
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define_positions)


class BatchedPositionOnlyPendulum(BatchedEnv):
    """The batched :class:`PositionOnlyPendulum`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define_positions)


class NoisyPositionOnlyPendulum(SingleEnv):
    """``memenvs/popgym-NoisyPositionOnlyPendulumEasy-v0``: swing a pole up and hold it, seeing its angle through noise.

    POPGym's NoisyPositionOnlyPendulum (Morad et al. 2023, arXiv:2303.01859), bit for bit: it is
    :class:`PositionOnlyPendulum` with normal noise on both numbers of an observation, from NumPy's generator as in
    POPGym.

    - Observation: ``Box(-1, 1)`` of float32 (2,): cosine and sine of the angle from upright, counterclockwise, clipped
      with the noise on them.
    - Action: ``Box(-2, 2, (1,))`` of float32, the torque in N m; what is beyond is clipped, and a float64 is rounded to
      float32 first.
    - Reward: from -1 / ``max_steps`` (hanging, at the greatest speed) to 1 / ``max_steps`` (upright, at rest).
    - End: truncated after ``max_steps``.
    - ``info``: ``success``, 1 if the pole was within 30° of upright in the last 20 steps, and ``upright``, the share of
      all steps in which it was.

    Mean returns at Easy, Medium and Hard: random play 0.24; the best play with the state known 0.915, which the noise
    keeps out of reach. There is no oracle.

    :param sigma: the standard deviation of the noise, from 0 to 10; 0.1, 0.2 and 0.3 at Easy, Medium and Hard
    :param max_steps: 200 at all levels
    :param observable: show cosine, sine and angular velocity without noise, as Gymnasium's Pendulum does
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define_noisy)


class BatchedNoisyPositionOnlyPendulum(BatchedEnv):
    """The batched :class:`NoisyPositionOnlyPendulum`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define_noisy)
