"""Saving and loading without pickle: trees of arrays and plain values, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes

FORMAT_VERSION = 1


class CheckpointError(ValueError):
    """A run folder or one of its files cannot be used; the message says which and why."""


# --- files written whole or not at all ------------------------------------------------------------------------------


def write_bytes(path: Path, data: bytes) -> None:
    """Write beside, flush to the disk, rename: a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_json(path: Path, data: Any) -> None:
    """A readable JSON file, written whole or not at all."""
    write_bytes(path, (json.dumps(data, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """:raises CheckpointError: if the file is missing, truncated or no JSON"""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no readable JSON file: {error}") from error


# --- trees ----------------------------------------------------------------------------------------------------------


def write_tree(path: Path, tree: Any) -> None:
    """A tree of dicts and lists whose leaves are tensors, NumPy arrays and plain JSON values, in one safetensors file.

    :raises TypeError: for a leaf of another type; nothing is written then
    """
    arrays: dict[str, torch.Tensor] = {}
    structure = _flatten(tree, "", arrays)
    header = {"memagents": json.dumps({"format": FORMAT_VERSION, "tree": structure}, allow_nan=True)}
    write_bytes(path, safetensors_bytes(arrays, metadata=header))


def read_tree(path: Path) -> Any:
    """What :func:`write_tree` wrote: tensors on the CPU, arrays as they were.

    :raises CheckpointError: if the file is missing, truncated, foreign, or of a newer version
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["memagents"])
            check_version(path, header)
            return _restore(header["tree"], {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except CheckpointError:
        raise
    except (SafetensorError, LookupError, TypeError, AttributeError, ValueError, RuntimeError, OSError) as error:
        raise CheckpointError(f"{path} is truncated, or not a file of memagents: {error!r}") from error


def check_version(path: Path, header: dict[str, Any]) -> None:
    """Refuse what a newer memagents wrote."""
    version = header.get("format") if isinstance(header, dict) else None
    if not isinstance(version, int) or version < 1:
        raise CheckpointError(f"{path} is not a file of memagents: it names no format")
    if version > FORMAT_VERSION:
        raise CheckpointError(f"{path} has format {version}, this memagents reads up to {FORMAT_VERSION}: update it")


def _flatten(node: Any, name: str, arrays: dict[str, torch.Tensor]) -> Any:
    if isinstance(node, torch.Tensor | np.ndarray):
        # A copy: safetensors refuses tensors that share memory.
        tensor = node.detach().cpu() if isinstance(node, torch.Tensor) else torch.from_numpy(np.array(node, order="C"))
        arrays[name or "leaf"] = tensor.contiguous().clone()
        return {"array": name or "leaf", "numpy": isinstance(node, np.ndarray)}
    if isinstance(node, dict):
        if not all(isinstance(key, str | int) and not isinstance(key, bool) for key in node):
            raise TypeError(f"cannot save {name or 'the tree'}: keys must be strings or integers")
        keys = [[key, _flatten(value, f"{name}/{key}", arrays)] for key, value in node.items()]
        return {"dict": keys}
    if isinstance(node, list | tuple):
        items = [_flatten(value, f"{name}/{i}", arrays) for i, value in enumerate(node)]
        return {"list": items, "tuple": isinstance(node, tuple)}
    if isinstance(node, np.generic):
        node = node.item()
    if node is None or isinstance(node, bool | int | float | str):
        return {"value": node}
    raise TypeError(f"cannot save {name or 'the tree'}: {type(node).__name__} is neither an array nor a plain value")


def _restore(node: Any, arrays: dict[str, torch.Tensor]) -> Any:
    if "array" in node:
        tensor = arrays[node["array"]]
        return tensor.numpy() if node["numpy"] else tensor
    if "dict" in node:
        return {key: _restore(value, arrays) for key, value in node["dict"]}
    if "list" in node:
        items = [_restore(value, arrays) for value in node["list"]]
        return tuple(items) if node["tuple"] else items
    return node["value"]


# --- random states --------------------------------------------------------------------------------------------------


def random_states() -> dict[str, Any]:
    """The states of the global generators: Python's, NumPy's, torch's and every CUDA device's."""
    import random

    kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 — SB3 seeds and uses this one
    version, python_keys, gauss = random.getstate()
    return {
        "python": [version, list(python_keys), gauss],
        "numpy": [kind, keys, position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Go on from :func:`random_states`."""
    import random

    version, python_keys, gauss = states["python"]
    random.setstate((version, tuple(python_keys), gauss))
    np.random.set_state(tuple(states["numpy"]))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])


@contextlib.contextmanager
def preserved_random_states() -> Iterator[None]:
    """Whatever is drawn inside leaves the global generators as they were."""
    states = random_states()
    try:
        yield
    finally:
        set_random_states(states)
