"""The folder a run lives in: what is written there, and how an agent comes back from it.

``policy.json`` (algorithm, core, spaces, hyperparameters, versions) and ``policy.safetensors`` (weights) are the agent;
``checkpoint/state.safetensors`` is what an interrupted training needs to go on exactly. Nothing is ever unpickled, and
each file is written whole or not at all.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import math
import platform
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as safetensors_bytes
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule
from torch import Tensor, nn

from memagents import checkpoint
from memagents.checkpoint import CheckpointError
from memagents.checks import positive_int
from memagents.cores import core_class
from memagents.cores.core import State, state_leaves
from memagents.snapshot import restore_env, snapshot_env
from memagents.spaces import space_from_json, space_to_json

if TYPE_CHECKING:
    from memagents.algorithm import MemoryAlgorithm

POLICY_FILE, WEIGHTS_FILE, STATE_FILE = "policy.json", "policy.safetensors", Path("checkpoint/state.safetensors")
MEMORY_FILE = "memory.safetensors"  # what a policy remembers beyond episodes, where it does
# What can go wrong in using a file that ``save`` has not written.
BROKEN = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError),
    *(MemoryError, RuntimeError, TypeError, ValueError),
)
PACKAGES = ("memagents", "torch", "stable-baselines3", "gymnasium", "numpy")


# --- writing --------------------------------------------------------------------------------------------------------


def save(agent: MemoryAlgorithm, path: str | Path) -> None:
    """Write ``agent`` to the folder ``path``; see :meth:`MemoryAlgorithm.save`."""
    folder = folder_of(path)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in agent.policy.state_dict().items()}
    state, memory = training_state(agent), agent.policy.lasting_memory()
    checkpoint.write_json(folder / POLICY_FILE, describe(agent))
    checkpoint.write_bytes(folder / WEIGHTS_FILE, safetensors_bytes(weights))
    if memory is not None:
        checkpoint.write_tree(folder / MEMORY_FILE, memory)
    checkpoint.write_tree(folder / STATE_FILE, {**state, "weights": weights, "memory": memory})


def describe(agent: MemoryAlgorithm) -> dict[str, Any]:
    """What ``policy.json`` says of an agent."""
    return {
        "format": checkpoint.FORMAT_VERSION,
        "algorithm": type(agent).__name__,
        "num_timesteps": agent.num_timesteps,
        "progress_remaining": agent._current_progress_remaining,
        "n_envs": agent.n_envs,
        "policy_class": _encode(agent.policy_class, "policy"),
        "policy_kwargs": _encode(agent.policy_kwargs, "policy_kwargs"),
        "hyperparameters": {name: _encode(getattr(agent, name), name) for name in agent.hyperparameters},
        "observation_space": space_to_json(agent.observation_space),
        "action_space": space_to_json(agent.action_space),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
    }


def training_state(agent: MemoryAlgorithm) -> dict[str, Any]:
    """All that an interrupted training needs beside the weights."""
    env = agent.env
    return {
        "optimizer": agent.policy.optimizer.state_dict(),
        "counters": {name: getattr(agent, name) for name in _COUNTERS},
        "random": checkpoint.random_states(),
        "threads": torch.get_num_threads(),
        "env": None if env is None else snapshot_env(env),
        "last_obs": agent._last_obs,
        "last_episode_starts": agent._last_episode_starts,
        "decisions": agent._decisions,
        "core_state": None if agent._state is None else state_leaves(agent._state),
        "episodes": list(agent.ep_info_buffer or []),
        "successes": list(agent.ep_success_buffer or []),
        "accuracies": list(agent.recent_accuracies),
        "own": agent.own_state(),
    }


_COUNTERS = (
    "num_timesteps",
    "_total_timesteps",
    "_episode_num",
    "_n_updates",
    "iteration",
    "lesson",
    "_current_progress_remaining",
)


# --- reading --------------------------------------------------------------------------------------------------------


def load(
    cls: type[MemoryAlgorithm], path: str | Path, env: Any, device: Any, slots: int | None = None, **kwargs: Any
) -> Any:
    """See :meth:`MemoryAlgorithm.load`."""
    folder = folder_of(path)
    description = read_description(folder)
    if slots is not None:
        _change_slots(description["policy_kwargs"], slots, folder)
    agent = _build(cls, folder, description, env, device, kwargs)
    agent.policy.load_state_dict(read_weights(agent, folder, resized=slots is not None))
    if agent.policy.remembers:
        read_memory(agent, folder)
    agent.num_timesteps = description["num_timesteps"]
    agent._current_progress_remaining = description["progress_remaining"]  # how much it still explores
    return agent


def resume(cls: type[MemoryAlgorithm], path: str | Path, env: Any, device: Any, **kwargs: Any) -> Any:
    """See :meth:`MemoryAlgorithm.resume`."""
    if env is None:
        raise ValueError("env: a run goes on in an environment like the one it was trained in, not None")
    folder = folder_of(path)
    file = folder / STATE_FILE
    description = read_description(folder)
    if description["algorithm"] != cls.__name__:
        raise CheckpointError(f"{folder} is a run of {description['algorithm']}, not of {cls.__name__}")
    state = checkpoint.read_tree(file)
    agent = _build(cls, folder, description, env, device, {"run_dir": folder, **kwargs})
    try:
        check_weights(agent, state["weights"], file)
        agent.policy.load_state_dict(state["weights"])
        if state["memory"] is not None:
            agent.policy.restore_lasting_memory(state["memory"])
        _restore_training(agent, state)
    except CheckpointError:
        raise
    except BROKEN as error:
        raise CheckpointError(f"{file} does not fit the run's {POLICY_FILE} or its environment: {error}") from error
    return agent


def read_description(folder: Path) -> dict[str, Any]:
    """``policy.json``, checked.

    :raises CheckpointError: if it is missing, truncated, foreign or of a newer version
    """
    if not folder.is_dir():
        raise CheckpointError(f"there is no run folder {folder}")
    path = folder / POLICY_FILE
    description = checkpoint.read_json(path)
    checkpoint.check_version(path, description)
    description.setdefault("progress_remaining", 1.0)  # which the first runs did not tell
    for part, kind in _PARTS.items():
        if type(description.get(part)) is not kind:
            raise CheckpointError(f"{path} lacks {part!r}, or it is no {kind.__name__}")
    return description


_PARTS = {
    "algorithm": str,
    "num_timesteps": int,
    "progress_remaining": float,
    "n_envs": int,
    "policy_class": dict,
    "policy_kwargs": dict,
    "hyperparameters": dict,
    "observation_space": dict,
    "action_space": dict,
}


def _change_slots(policy_kwargs: dict[str, Any], slots: int, folder: Path) -> None:
    """Another number of slots in what a file says of a policy."""
    core = policy_kwargs.get("core", "lstm")
    _check_core(core, folder / POLICY_FILE)
    if "slots" not in inspect.signature(core_class(core)).parameters:
        raise ValueError(f"slots: the core {core!r} of {folder} has none")
    policy_kwargs["core_kwargs"] = {**(policy_kwargs.get("core_kwargs") or {}), "slots": positive_int("slots", slots)}


def read_weights(agent: MemoryAlgorithm, path: str | Path, resized: bool = False) -> dict[str, Tensor]:
    """The weights of a run folder, checked against the agent's.

    :param resized: the agent's memory may have more slots than the one that was saved
    :raises CheckpointError: if the file is missing or truncated, or a weight is missing, of another shape or unknown
    """
    file = folder_of(path) / WEIGHTS_FILE
    try:
        weights = load_safetensors(file.read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} does not exist") from error
    except (OSError, SafetensorError, *BROKEN) as error:
        raise CheckpointError(f"{file} is truncated, or no safetensors file: {error}") from error
    if resized:
        own = {name.removeprefix("core."): tensor for name, tensor in weights.items() if name.startswith("core.")}
        weights |= {f"core.{name}": tensor for name, tensor in agent.policy.core.with_more_slots(own).items()}
    check_weights(agent, weights, file)
    return weights


def read_memory(agent: MemoryAlgorithm, path: str | Path) -> None:
    """Let an agent's policy remember what that of a run folder does beyond episodes.

    :raises CheckpointError: if the file is missing or damaged, or is of another kind of policy
    """
    file = folder_of(path) / MEMORY_FILE
    tree = checkpoint.read_tree(file)
    try:
        agent.policy.restore_lasting_memory(tree)
    except BROKEN as error:
        raise CheckpointError(f"{file} does not fit the policy: {error}") from error


def check_weights(agent: MemoryAlgorithm, weights: dict[str, Tensor], file: Path) -> None:
    """:raises CheckpointError: if a weight is missing, of another shape than the agent's, or unknown to it"""
    wanted = agent.policy.state_dict()
    for name in sorted(wanted.keys() | weights.keys()):
        ours, theirs = (tuple(source[name].shape) if name in source else None for source in (wanted, weights))
        if ours != theirs:
            there, here = (shape if shape is not None else "missing" for shape in (theirs, ours))
            raise CheckpointError(f"{file}: the weight {name} is {there}, in the policy it is {here}")


def folder_of(path: str | Path) -> Path:
    """The folder meant by a path; the ending ``.zip``, which SB3's callbacks add, is dropped."""
    path = Path(path)
    return path.with_suffix("") if path.suffix == ".zip" else path


def _build(
    cls: type[MemoryAlgorithm],
    folder: Path,
    description: dict[str, Any],
    env: Any,
    device: Any,
    changes: dict[str, Any],
) -> MemoryAlgorithm:
    """An agent of the described shape, with fresh weights."""
    path = folder / POLICY_FILE
    try:
        spaces = {name: space_from_json(description[name]) for name in ("observation_space", "action_space")}
        saved = {**description["hyperparameters"], "policy_kwargs": description["policy_kwargs"]}
        # An agent of another kind (PPO from imitation's weights) takes the arguments that both have.
        allowed = {*cls.hyperparameters, "policy_kwargs"} - changes.keys()
        arguments = {k: _decode(v, k, path) for k, v in saved.items() if k in allowed}
        _check_core(arguments.get("policy_kwargs", {}).get("core"), path)
        policy = _decode(description["policy_class"], "policy", path)
        _check_policy(cls, policy, path)
        agent = cls(policy, env, device=device, _init_setup_model=False, **{**arguments, **changes})
        for name, space in spaces.items():
            if env is None:
                setattr(agent, name, space)
            elif getattr(agent, name) != space:
                raise CheckpointError(f"{path}: {name} was {space}, but the environment's is {getattr(agent, name)}")
        if env is None:
            agent.n_envs = description["n_envs"]
        agent._setup_model()
    except CheckpointError:
        raise
    except BROKEN as error:
        raise CheckpointError(f"{path}: no agent can be made of it: {error}") from error
    return agent


def _check_core(name: Any, path: Path) -> None:
    """A file imports nothing: the module of a core must be imported already."""
    module = name.rpartition(":")[0] if isinstance(name, str) else ""
    if module and module not in sys.modules:
        raise CheckpointError(f"{path}: the core is {name!r}; import {module} first")


def _check_policy(cls: type[MemoryAlgorithm], policy: Any, path: Path) -> None:
    """Agents that learn alike, such as PPO and imitation, have policies of one kind; others cannot use them."""
    kinds = tuple(dict.fromkeys(cls.policy_aliases.values()))
    if isinstance(policy, type) and not issubclass(policy, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise CheckpointError(f"{path}: the policy is a {policy.__name__}; {cls.__name__} needs a {names}")


def _restore_training(agent: MemoryAlgorithm, state: dict[str, Any]) -> None:
    agent.policy.optimizer.load_state_dict(state["optimizer"])
    for name in _COUNTERS:
        setattr(agent, name, state["counters"][name])
    agent.ep_info_buffer = deque(state["episodes"], maxlen=agent._stats_window_size)
    agent.ep_success_buffer = deque(state["successes"], maxlen=agent._stats_window_size)
    agent.recent_accuracies.extend(state["accuracies"])
    if state["core_state"] is not None:
        before = len(state["last_episode_starts"])
        if before != agent.n_envs:
            raise ValueError(f"the run had {before} environments, now there are {agent.n_envs}")
        core_state = _state_like(agent.policy.initial_state(agent.n_envs), state["core_state"])
        if restore_env(agent.env, state["env"]):
            agent._last_obs, agent._decisions = state["last_obs"], state["decisions"]
            agent._last_episode_starts, agent._state = state["last_episode_starts"], core_state
        elif agent.seed is not None:  # not the same episodes again
            agent.env.seed(agent.seed + agent.num_timesteps)
    agent.restore_own_state(state["own"])
    checkpoint.set_random_states(state["random"])
    torch.set_num_threads(state["threads"])


def _state_like(like: State, leaves: list[Tensor]) -> State:
    """Leaves put back into the structure of ``like``."""
    remaining = list(leaves)

    def build(node: Any) -> Any:
        if isinstance(node, Tensor):
            leaf = remaining.pop(0)
            if leaf.shape != node.shape or leaf.dtype != node.dtype:
                theirs, ours = (f"{tuple(tensor.shape)} of {tensor.dtype}" for tensor in (leaf, node))
                raise ValueError(f"a leaf of the memory's state is {theirs}, not {ours}")
            return leaf.to(node.device)
        return type(node)(*(build(child) for child in node))

    return build(like)


# --- plain values ---------------------------------------------------------------------------------------------------


def _encode(value: Any, name: str) -> Any:
    """A hyperparameter as JSON: schedules by their numbers, classes by their names."""
    if isinstance(value, FloatSchedule):
        return _encode(value.value_schedule, name)
    if isinstance(value, ConstantSchedule):
        return value.val
    if isinstance(value, LinearSchedule):
        return {"linear_schedule": [value.start, value.end, value.end_fraction]}
    if isinstance(value, type):
        return {"class": f"{value.__module__}:{value.__qualname__}"}
    if isinstance(value, dict):
        return {str(k): _encode(v, f"{name}[{k!r}]") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(v, name) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if callable(value):
        return {"not_saved": repr(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name} cannot be saved: {type(value).__name__} is no plain value")


def _decode(value: Any, name: str, path: Path) -> Any:
    """The inverse of :func:`_encode`.

    A file imports nothing and calls nothing of its choice: a class must be imported already, and a module or an
    optimiser of torch's kind.
    """
    if isinstance(value, list):
        return [_decode(v, name, path) for v in value]
    if not isinstance(value, dict):
        return value
    if "not_saved" in value:
        raise CheckpointError(f"{path}: {name} was {value['not_saved']}, which no file can hold; pass {name}= anew")
    if "float" in value:
        return float(value["float"])
    if "linear_schedule" in value:
        return LinearSchedule(*value["linear_schedule"])
    if "class" in value:
        module, _, qualname = value["class"].partition(":")
        found: Any = sys.modules.get(module)
        for part in qualname.split("."):
            found = getattr(found, part, None)
        if found is None:
            raise CheckpointError(f"{path}: {name} is the class {value['class']}; import its module first")
        if not (isinstance(found, type) and issubclass(found, nn.Module | torch.optim.Optimizer)):
            raise CheckpointError(f"{path}: {name} is {value['class']}, no torch module or optimiser")
        return found
    return {k: _decode(v, f"{name}[{k!r}]", path) for k, v in value.items()}
