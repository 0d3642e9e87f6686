"""Environments by their ids, batched and wrapped as the agents take them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from memagents.checks import positive_int
from memagents.environments.adapted import adapted
from memagents.environments.spaces import check_observation_space
from memagents.environments.vector import as_vec_env


def make_env(
    env_id: str, n_envs: int = 1, condition_on: Sequence[str] = (), seed: int | None = None, **kwargs: Any
) -> VecEnv:
    """Environments by their id, as one VecEnv.

    Batched ones (those with a ``vector_entry_point`` that resets finished rows within the step) stay batched; any other
    is made ``n_envs`` times, each in a ``Monitor``. Where they have a parameter ``copy``, as those of memenvs do, the
    arrays of a step are overwritten by the next one (``copy=False``), which the agents take into account; pass
    ``copy=True`` to keep observations yourself.

    :param env_id: a registered id, or ``"package:Id"`` to import first the package that registers it
    :param n_envs: how many
    :param condition_on: ``"action"`` and/or ``"reward"``: what of the previous step the agent also sees
    :param seed: of the first reset
    :param kwargs: parameters of the environment
    :raises ValueError: if there is no such id or parameter, or a value is not allowed
    """
    spec = find_spec(env_id)
    positive_int("n_envs", n_envs)
    if _is_batched(spec):
        batched = _creator(spec.vector_entry_point)
        _check_parameters(spec, env_id, batched, kwargs)
        if "copy" in (_parameters(batched) or ()):
            kwargs = {"copy": False, **kwargs}
        env: Any = _made(env_id, gym.make_vec, spec, num_envs=n_envs, **kwargs)
    else:
        env = make_vec_env(lambda: make_single_env(env_id, **kwargs), n_envs)
    vec_env = as_vec_env(env, condition_on)
    vec_env.seed(seed)
    return vec_env


def make_single_env(env_id: str, **kwargs: Any) -> gym.Env:
    """One environment by its id; missions of MiniGrid become numbers of words, or are left out where they never change.

    :param env_id: as for :func:`make_env`
    :param kwargs: parameters of the environment, ``render_mode`` among them
    :raises ValueError: as :func:`make_env`, and for observations of a space that the agents do not know
    """
    spec = find_spec(env_id)
    _check_parameters(spec, env_id, _creator(spec.entry_point), kwargs)
    made = _made(env_id, gym.make, spec, **kwargs)
    _check_render_mode(env_id, made.unwrapped)
    env = adapted(made)
    check_observation_space(env.observation_space)
    return env


def has_split(env_id: str, **kwargs: Any) -> bool:
    """Return whether the levels of an environment with these parameters are divided into ``train`` and ``test``.

    :raises ValueError: if it cannot be made at all
    """
    if "split" not in (_parameters(_creator(find_spec(env_id).entry_point)) or ()):
        return False
    kwargs = {name: value for name, value in kwargs.items() if name != "split"}
    make_single_env(env_id, **kwargs).close()
    try:
        make_single_env(env_id, split="test", **kwargs).close()
    except ValueError:
        return False
    return True


# --- what is registered ---------------------------------------------------------------------------------------------


def find_spec(env_id: str) -> EnvSpec:
    """Look an id up in Gymnasium's registry.

    :raises ValueError: if there is none; the message lists what memenvs has, and what is spelled alike
    """
    if isinstance(env_id, str) and env_id in gym.registry:
        return gym.registry[env_id]
    # The agents know nothing of the environments but that these may be meant.
    from memenvs.catalogue import registered_name, unknown

    name = registered_name(env_id)
    if name not in gym.registry:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        import minigrid  # noqa: F401 — half a second, so only where it may be needed
    if name not in gym.registry:
        raise ValueError(unknown(env_id, name))
    return gym.registry[name]


def _check_parameters(spec: EnvSpec, env_id: str, creator: Any, kwargs: dict[str, Any]) -> None:
    """:raises ValueError: for a parameter that the environment does not have, or one that it needs and is not given"""
    allowed = _parameters(creator)
    unknown = sorted(kwargs.keys() - set(kwargs if allowed is None else allowed))
    if "render_mode" in unknown:
        raise ValueError(f"env {env_id!r} cannot be filmed or shown: it has no parameter render_mode")
    if unknown:
        raise ValueError(f"env {env_id!r} has no parameter {unknown[0]!r}; it has: {', '.join(allowed or ())}")
    needed = [name for name in _needed(creator) if name not in {**spec.kwargs, **kwargs}]
    if needed:
        raise ValueError(f"env {env_id!r} has no default of its parameter {needed[0]!r}: it must be given")


def _check_render_mode(env_id: str, env: gym.Env) -> None:
    """:raises ValueError: for a mode that its metadata does not name, as Gymnasium does at a first picture"""
    mode, modes = getattr(env, "render_mode", None), (env.metadata or {}).get("render_modes")
    if mode is not None and modes is not None and mode not in modes:
        env.close()
        named = ", ".join(map(str, modes)) or "none"
        raise ValueError(
            f"env {env_id!r} cannot be filmed or shown: it has no render_mode {mode!r}; its metadata names {named}"
        )


def _parameters(creator: Any) -> list[str] | None:
    """The names of the parameters of what makes an environment; None where its signature does not tell."""
    if creator is None:  # of an id that is registered for batches only
        return None
    own = inspect.signature(creator).parameters.values()
    defined = inspect.signature(creator.define).parameters.values() if hasattr(creator, "define") else ()
    if not defined and any(p.kind == p.VAR_KEYWORD for p in own):
        return None
    everywhere = inspect.signature(gym.make).parameters.values()
    names = [p.name for p in (*defined, *own, *everywhere) if p.kind != p.VAR_KEYWORD]
    return [name for name in dict.fromkeys(names) if name not in ("num_envs", "id")]


def _needed(creator: Any) -> list[str]:
    """The names of the parameters without a default, but for those that Gymnasium gives."""
    own = () if creator is None else inspect.signature(creator).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = [p.name for p in own if p.default is p.empty and p.kind in kinds]
    return [name for name in needed if name not in ("num_envs", "max_episode_steps", "render_mode")]


def _is_batched(spec: EnvSpec) -> bool:
    """Return whether an id has a batched implementation that resets within the step, as SB3 does."""
    if spec.vector_entry_point is None or spec.additional_wrappers:
        return False
    metadata = getattr(_creator(spec.vector_entry_point), "metadata", {})
    return spec.entry_point is None or metadata.get("autoreset_mode") == AutoresetMode.SAME_STEP


def _creator(entry_point: Any) -> Any:
    """Return the class or function that an entry point stands for."""
    return load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point


def _made(env_id: str, make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Gymnasium's own errors as a ValueError that names the id, those of environments as they raise them."""
    try:
        return make(*args, **kwargs)
    except gym.error.Error as error:
        raise ValueError(f"env {env_id!r} cannot be made: {error}") from error
    except TypeError as error:
        if error.__cause__ is not None and "was raised from the environment creator" in str(error):
            raise error.__cause__ from None
        raise
