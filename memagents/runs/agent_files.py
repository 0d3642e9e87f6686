"""Files of an agent in its run folder, written and read: what they hold is the agent's own concern.

``policy.json`` (algorithm, core, spaces, hyperparameters, versions) and ``policy.safetensors`` (weights) are the agent;
``checkpoint/state.safetensors`` is what an interrupted training needs to go on exactly. Nothing is ever unpickled, and
the files are written as one: see :mod:`memagents.runs.checkpoint`.
"""

from __future__ import annotations

import functools
import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from memagents.runs import checkpoint, files, layout, trees
from memagents.runs.checkpoint import CheckpointWriter
from memagents.runs.files import CheckpointError
from memagents.runs.foreign import OTHERS, origin
from memagents.runs.layout import MEMORY_FILE, NORMALIZATION_FILE, POLICY_FILE, STATE_FILE, WEIGHTS_FILE, folder_of
from memagents.runs.lock import is_held
from memagents.runs.pretrained import is_pretrained

# What can go wrong in using a file that ``write`` has not written.
BROKEN = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError),
    *(MemoryError, RuntimeError, TypeError, ValueError),
)
_PACKAGES = ("memagents", "torch", "stable-baselines3", "gymnasium", "numpy")
_DESCRIBED = {
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


def write(
    path: str | Path,
    description: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    memory: dict[str, Any] | None,
    training_state: Mapping[str, Any],
    normalization: dict[str, Any] | None = None,
) -> None:
    """Write an agent to a run folder.

    :param path: the folder
    :param description: for ``policy.json``; the format and the versions of the packages are added
    :param weights: of the policy
    :param memory: what the policy remembers beyond episodes, or None
    :param training_state: what an interrupted training needs to go on, a tree of arrays and plain values
    :param normalization: statistics of the observations, or None
    :raises TypeError: if something in it is neither an array nor a plain value
    :raises ValueError: if the path is the name of a policy of the library
    """
    if is_pretrained(path):
        raise ValueError(f"{path} is the name of a policy of the library; save to a folder of your own")
    folder = folder_of(path)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    described = {"format": files.FORMAT_VERSION, **description, "versions": _versions()}
    with CheckpointWriter(folder) as writer:
        writer.add(POLICY_FILE, files.json_bytes(described))
        writer.add(WEIGHTS_FILE, safetensors_bytes(weights))
        if memory is not None:
            writer.add(MEMORY_FILE, trees.tree_bytes(memory))
        if normalization is not None:
            writer.add(NORMALIZATION_FILE, trees.tree_bytes(normalization))
        writer.add(STATE_FILE, trees.tree_bytes({**training_state, "weights": weights, "memory": memory}))
        writer.commit()


@functools.cache  # metadata keeps something of each look where a folder of sys.path changes
def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in _PACKAGES}}


def read_description(path: str | Path) -> dict[str, Any]:
    """Read ``policy.json`` and check it.

    :raises CheckpointError: if it is missing, truncated, foreign or of a newer version
    """
    folder = folder_of(path)
    if not folder.is_dir():
        for file in (Path(path), Path(f"{path}.zip")):
            foreign = origin(file)
            if foreign is not None:
                raise CheckpointError(f"{file} is {foreign}; {OTHERS}")
        raise CheckpointError(layout.unknown(folder))
    _check_saved(folder, POLICY_FILE)
    file = folder / POLICY_FILE
    description = files.json_of(checkpoint.read(folder, POLICY_FILE), file)
    files.check_version(file, description)
    description.setdefault("progress_remaining", 1.0)  # which the first runs did not record
    for part, kind in _DESCRIBED.items():
        if type(description.get(part)) is not kind:
            raise CheckpointError(f"{file} lacks {part!r}, or it is no {kind.__name__}")
    return description


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the weights of a run folder.

    :raises CheckpointError: if the file is missing or truncated
    """
    folder = folder_of(path)
    file, data = folder / WEIGHTS_FILE, checkpoint.read(folder, WEIGHTS_FILE)
    try:
        return load_safetensors(data)
    except (SafetensorError, *BROKEN) as error:
        foreign = origin(file)
        if foreign is not None:
            raise CheckpointError(f"{file} is {foreign}; {OTHERS}") from error
        raise CheckpointError(f"{file} is truncated, or no safetensors file: {error}") from error


def check_weights(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], file: Path) -> None:
    """Hold the weights of a file against those of a policy.

    :raises CheckpointError: if a weight is missing, of another shape than wanted, unknown, or not finite
    """
    for name in sorted(wanted.keys() | weights.keys()):
        ours, theirs = (tuple(source[name].shape) if name in source else None for source in (wanted, weights))
        if ours != theirs:
            there, here = (shape if shape is not None else "missing" for shape in (theirs, ours))
            raise CheckpointError(f"{file}: the weight {name} is {there}, in the policy it is {here}")
        if not weights[name].isfinite().all():
            raise CheckpointError(f"{file}: the weight {name} is not finite: nothing sensible can come of it")


def read_training_state(path: str | Path) -> dict[str, Any]:
    """Read what an interrupted training needs to go on.

    :raises CheckpointError: if the file is missing, truncated, foreign or of a newer version
    """
    folder = folder_of(path)
    _check_saved(folder, STATE_FILE)
    return _tree(folder, STATE_FILE)


def read_memory(path: str | Path) -> Any:
    """Read what a policy remembers beyond episodes, a tree.

    :raises CheckpointError: if the file is missing, truncated, foreign or of a newer version
    """
    return _tree(folder_of(path), MEMORY_FILE)


def _check_saved(folder: Path, file: str | Path) -> None:
    """Refuse a folder that lacks a file because its training has not come to a checkpoint.

    :raises CheckpointError: saying whether the training still runs
    """
    message = None if checkpoint.holds(folder, file) else layout.without_checkpoint(folder)
    if message is not None:
        running = f"{folder} has no checkpoint yet: its training is in its first window"
        raise CheckpointError(running if is_held(folder) else message)
    if not any((folder / name).exists() for name in layout.FILES):
        raise CheckpointError(f"{folder} is no run folder: {file} does not exist in it")


def read_normalization(path: str | Path) -> dict[str, Any] | None:
    """Read the statistics by which a training normalised observations; None if it did not.

    :raises CheckpointError: if the file is truncated, foreign or of a newer version
    """
    folder = folder_of(path)
    return _tree(folder, NORMALIZATION_FILE) if checkpoint.holds(folder, NORMALIZATION_FILE) else None


def _tree(folder: Path, name: str | Path) -> Any:
    return trees.tree_of(checkpoint.read(folder, name), folder / name)
