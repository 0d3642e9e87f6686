"""Trees of arrays and plain values in safetensors files, saved and loaded without pickle."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as safetensors_bytes

from memagents.runs.arrays import native
from memagents.runs.files import FORMAT_VERSION, CheckpointError, check_regular, check_version, write_bytes
from memagents.runs.foreign import OTHERS, origin


def write_tree(path: Path, tree: Any, durable: bool = True) -> None:
    """Write a tree of dicts and lists whose leaves are tensors, NumPy arrays and plain JSON values to one file.

    :param durable: as for :func:`memagents.runs.files.write_bytes`
    :raises TypeError: for a leaf of another type; nothing is written then
    """
    write_bytes(path, tree_bytes(tree), durable)


def tree_bytes(tree: Any) -> bytes:
    """Return what :func:`write_tree` writes.

    :raises TypeError: for a leaf of another type
    """
    arrays: dict[str, torch.Tensor] = {}
    structure = _flatten(tree, "", arrays)
    header = {"memagents": json.dumps({"format": FORMAT_VERSION, "tree": structure}, allow_nan=True)}
    return safetensors_bytes(arrays, metadata=header)


Rows = Callable[[tuple[str, ...]], slice | None]
"""By the keys on the way to an array, which of its rows are wanted: None for nothing of it."""


def read_tree(path: Path, rows: Rows | None = None) -> Any:
    """Read what :func:`write_tree` wrote: tensors on the CPU, arrays as they were.

    :param rows: what to read of each array, by default all; what is not wanted is None in the tree, and stays on disk
    :raises CheckpointError: if the file is missing, truncated, foreign, or of a newer version
    """
    check_regular(path)
    with _readable(path), safe_open(path, framework="pt") as file:
        tree = _structure((file.metadata() or {})["memagents"], path)
        return _restore(tree, {name: _read(file, name, rows) for name in file.keys()})  # noqa: SIM118


def tree_of(data: bytes, path: Path) -> Any:
    """Return the tree in the bytes of a file that :func:`write_tree` wrote.

    :param path: of the file, for the messages
    :raises CheckpointError: as :func:`read_tree`
    """
    with _readable(path):
        arrays = load_safetensors(data)
        end = 8 + int.from_bytes(data[:8], "little")  # the format's header: its length, then as much JSON
        tree = _structure(json.loads(data[8:end])["__metadata__"]["memagents"], path)
        return _restore(tree, dict(arrays))


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say of a file that cannot be read what it is."""
    try:
        yield
    except CheckpointError:
        raise
    except (SafetensorError, LookupError, TypeError, AttributeError, ValueError, RuntimeError, OSError) as error:
        foreign = origin(path)
        if foreign is not None:
            raise CheckpointError(f"{path} is {foreign}; {OTHERS}") from error
        raise CheckpointError(f"{path} is truncated, or not a file of memagents: {error!r}") from error


def _structure(header: str, path: Path) -> Any:
    """Return the structure of a tree, of which a file's header tells.

    :raises CheckpointError: if it is of a newer version
    """
    found = json.loads(header)
    check_version(path, found)
    return found["tree"]


def _read(file: Any, name: str, rows: Rows | None) -> torch.Tensor | None:
    """Read the wanted rows of an array of an open file."""
    if rows is None:
        return file.get_tensor(name)
    wanted = rows(tuple(name.split("/")[1:]))
    return None if wanted is None else file.get_slice(name)[wanted]


def _flatten(node: Any, name: str, arrays: dict[str, torch.Tensor]) -> Any:
    if isinstance(node, torch.Tensor | np.ndarray):
        tensor = node.detach().cpu() if isinstance(node, torch.Tensor) else _tensor(node, name)
        # A copy: safetensors refuses tensors that share memory.
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


def _tensor(array: np.ndarray, name: str) -> torch.Tensor:
    try:
        return torch.from_numpy(np.array(native(array), order="C"))
    except TypeError as error:
        kind = array.dtype
        raise TypeError(
            f"cannot save {name or 'the tree'}: an array of {kind} holds no numbers that a file can"
        ) from error


def _restore(node: Any, arrays: dict[str, torch.Tensor | None]) -> Any:
    if "array" in node:
        tensor = arrays[node["array"]]
        return tensor.numpy() if node["numpy"] and tensor is not None else tensor
    if "dict" in node:
        return {key: _restore(value, arrays) for key, value in node["dict"]}
    if "list" in node:
        items = [_restore(value, arrays) for value in node["list"]]
        return tuple(items) if node["tuple"] else items
    return node["value"]
