"""Checks of the interface: what Gymnasium asks of a ``VectorEnv`` and of an ``Env``."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from memenvs.testing.comparison import (
    ConformanceError,
    Step,
    copied,
    layout,
    leaves,
    want,
    want_inside,
    want_leaves,
    want_same,
)
from memenvs.testing.subject import LONGEST, ROWS, SEED, STEPS, Subject, inner


def check_spaces(subject: Subject) -> None:
    """Observations have the dtype and shape of their space and lie inside it."""
    envs, env = subject.many(ROWS), subject.one()
    for kind in ("observation", "action"):
        single = getattr(envs, f"single_{kind}_space")
        want("spaces", f"the {kind} space of a batch", batch_space(single, ROWS), getattr(envs, f"{kind}_space"))
        want("spaces", f"the {kind} space of the single environment", single, getattr(env, f"{kind}_space"))
    for number, (observations, *_, infos) in enumerate(subject.rollout(envs)):
        want_inside(envs.observation_space, observations, f"the observation of step {number}")
        if "final_obs" in infos:
            want_inside(envs.observation_space, infos["final_obs"], f"final_obs of step {number}")
    observation, _ = env.reset(seed=SEED)
    for number, action in enumerate(subject.actions[:, 0]):
        want_inside(env.observation_space, observation, f"the observation of step {number} of the single environment")
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            observation, _ = env.reset()


def check_rewards(subject: Subject) -> None:
    """Rewards are finite float64."""
    for number, (_, rewards, *_) in enumerate(subject.rollout(subject.many(ROWS))):
        want("rewards", f"the rewards of step {number}", f"float64 {(ROWS,)}", layout(rewards))
        if not np.isfinite(rewards).all():
            raise ConformanceError("rewards", f"the rewards of step {number}", "finite", rewards)


def check_copies(subject: Subject) -> None:
    """Nothing that was returned is overwritten by a later step."""
    pairs = [(step, copied(step)) for step in subject.rollout(subject.many(ROWS))]
    names = ("observations", "rewards", "terminated", "truncated", "infos")
    for number, (step, kept) in enumerate(pairs):
        for path, leaf in leaves(step).items():
            place, _, rest = path[1:].partition("]")
            said = f"{names[int(place)]}{rest} of step {number}, looked at again after the last step,"
            want_same("copies", said, kept[path], leaf)
    env = subject.one()
    observation, _ = env.reset(seed=SEED)
    then = copied(observation)
    for action in subject.actions[:, 0]:
        *_, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break
    now = leaves(observation)
    want_leaves(
        "copies", "the first observation of the single environment, looked at again after its episode,", then, now
    )


def check_ends(subject: Subject) -> None:
    """A step that ends episodes says so, and no other does."""
    envs = subject.many(ROWS)
    want("ends", "metadata['autoreset_mode']", AutoresetMode.SAME_STEP, envs.metadata.get("autoreset_mode"))
    envs.reset(seed=SEED)
    counted = {"r": np.zeros(ROWS), "l": np.zeros(ROWS, np.int64)}
    rng, ended = np.random.default_rng(SEED), np.zeros(ROWS, bool)
    for number in range(1, LONGEST + 1):
        step = envs.step(inner(envs).random_walk(rng))
        _, rewards, terminated, truncated, infos = step
        _check_flags(step, number, inner(envs).definition.both_ends)
        counted["r"] += rewards
        counted["l"] += 1
        done = terminated | truncated
        _check_final_infos(infos, done, counted, inner(envs).definition.metrics, number)
        for count in counted.values():
            count[done] = 0
        ended |= done
        if number >= STEPS and ended.all():
            break
    else:
        raise ConformanceError("ends", "the steps of an episode", f"at most {LONGEST}", "more")
    _check_after_the_end(subject.one())


def _check_flags(step: Step, number: int, both_ends: bool) -> None:
    _, _, terminated, truncated, _ = step
    for name, flags in (("terminated", terminated), ("truncated", truncated)):
        want("ends", f"{name} of step {number}", f"bool {(ROWS,)}", layout(flags))
    if (terminated & truncated).any() and not both_ends:
        raise ConformanceError("ends", f"the end of an episode in step {number}", "terminated or truncated", "both")


def _check_final_infos(
    infos: dict[str, Any], done: np.ndarray, counted: dict[str, np.ndarray], metrics: tuple[str, ...], number: int
) -> None:
    """Compare the reports on episodes that ended with what was counted."""
    needed = ("final_obs", "episode", *metrics) if done.any() else ()
    missing = [name for name in needed if name not in infos]
    if missing:
        raise ConformanceError(
            "ends", f"infos[{missing[0]!r}] of step {number}, which ends episodes,", "there", "absent"
        )
    for name in ("final_obs", "final_info", "episode", *metrics):
        if name in infos:
            want_same("ends", f"infos['_{name}'] of step {number}", done, infos.get(f"_{name}"))
    for name, count in counted.items() if done.any() else ():
        reported = np.asarray(infos["episode"][name])
        if not np.allclose(reported[done], count[done]):
            said = f"infos['episode'][{name!r}] of step {number} in the rows that ended"
            raise ConformanceError("ends", said, count[done], reported[done])


def _check_after_the_end(env: gymnasium.Env) -> None:
    env.reset(seed=SEED)
    rng, ended = np.random.default_rng(SEED), False
    while not ended:
        *_, terminated, truncated, _ = env.step(env.unwrapped.random_walk(rng))  # type: ignore[attr-defined]
        ended = bool(terminated or truncated)
    try:
        env.step(env.action_space.sample())
    except RuntimeError:
        return
    raise ConformanceError("ends", "a step of the single environment after the end", "a RuntimeError", "accepted")


def check_resets(subject: Subject) -> None:
    """Row 0 of a batch is the single environment, and begins its next episode in the step that ends the last one."""
    envs, env = subject.many(ROWS), subject.one()
    observations, _ = envs.reset(seed=SEED)
    observation, _ = env.reset(seed=SEED)
    _want_row_zero("the observation of reset", observation, observations)
    rng, steps, ended = np.random.default_rng(SEED), 0, False
    while steps < STEPS or not ended:
        steps += 1
        actions = inner(envs).random_walk(rng)
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        observation, reward, end, cut, _ = env.step(actions[0])
        over = bool(end or cut)
        alone = {"reward": reward, "terminated": end, "terminated or truncated": over}
        said = {"reward": rewards[0], "terminated": terminated[0]}
        said["terminated or truncated"] = terminated[0] or truncated[0]
        want_same("resets", f"row 0 of step {steps}", alone, said)
        if over:
            ended = True
            _want_row_zero(f"final_obs of step {steps}", observation, infos["final_obs"])
            observation, _ = env.reset()
        which = "first of the next episode, in" if over else "observation of"
        _want_row_zero(f"the {which} step {steps}", observation, observations)


def _want_row_zero(subject: str, alone: Any, batch: Any) -> None:
    """Raise an error unless row 0 of a batch's observations is the single environment's observation."""
    first = {path: leaf[0] for path, leaf in leaves(batch).items()}
    want_leaves("resets", f"{subject}, in row 0 as in the single environment,", leaves(alone), first)


def check_gymnasium(subject: Subject) -> None:
    """Gymnasium finds no fault with the single environment."""
    try:
        check_env(subject.one().unwrapped, skip_render_check=True)
    except AssertionError as error:
        raise ConformanceError("gymnasium", "the verdict of check_env", "no fault", error) from error


def check_pictures(subject: Subject) -> str | None:
    """Pictures are images (H, W, 3) of bytes, or texts."""
    drawn = {"rgb_array": subject.definition.draw, "ansi": subject.definition.text}
    modes = [mode for mode, function in drawn.items() if function is not None]
    for mode in modes:
        envs, env = subject.many(3, render_mode=mode), subject.one(render_mode=mode)
        envs.reset(seed=SEED)
        env.reset(seed=SEED)
        for _ in range(2):
            pictures = _pictures(envs)
            want("pictures", "the number of pictures of 3 environments", 3, len(pictures))
            for picture in (*pictures, env.render()):
                _check_picture(mode, picture)
            envs.step(inner(envs).random_walk(np.random.default_rng(SEED)))
    return None if modes else "the definition has neither draw nor text"


def _pictures(envs: VectorEnv) -> tuple[Any, ...]:
    pictures = envs.render()
    return pictures if isinstance(pictures, tuple) else ()


def _check_picture(mode: str, picture: Any) -> None:
    if mode == "ansi":
        want("pictures", "the type of render() for 'ansi'", "str", type(picture).__name__)
        return
    shape = np.shape(picture)
    if layout(picture).split()[0] != "uint8" or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise ConformanceError("pictures", "render() for 'rgb_array'", "uint8 (H, W, 3)", layout(picture))
