"""Files written whole or not at all, and JSON among them; nothing is ever pickled."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import Any

FORMAT_VERSION = 1
LARGEST_JSON = 256 << 20  # bytes; a recording's description has some thousands


class CheckpointError(ValueError):
    """Error of a run folder or one of its files that cannot be used; the message says which and why."""


def write_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Write a file beside its place, flush it to the disk and rename it: a reader never sees a part of it.

    :param durable: wait until it is on the disk, so that it outlasts a failure of the power
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system has a way to ask for it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: Path, data: Any) -> None:
    """Write a readable JSON file, whole or not at all."""
    write_bytes(path, json_bytes(data))


def json_bytes(data: Any) -> bytes:
    """Return what :func:`write_json` writes."""
    return (json.dumps(data, indent=2, allow_nan=False) + "\n").encode()


def check_regular(path: Path) -> None:
    """Refuse what is no regular file: a pipe would be waited for, a device read for ever.

    :raises CheckpointError: naming it; also if there is nothing, or it may not be looked at
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise CheckpointError(f"{path} is no regular file")


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """Read a file.

    :param most: bytes that it may have
    :raises CheckpointError: if it is missing, no regular file, larger, or cannot be read
    """
    check_regular(path)
    if most is not None and path.stat().st_size > most:
        raise CheckpointError(f"{path} has more than {most:,} bytes")
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    :raises CheckpointError: if the file is missing, no regular file, truncated or no JSON
    """
    return json_of(read_bytes(path, LARGEST_JSON), path)


def json_of(data: bytes, path: Path) -> Any:
    """Return what the bytes of a JSON file hold.

    :param path: of the file, for the message
    :raises CheckpointError: if it is truncated or no JSON
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no readable JSON file: {error}") from error


def check_version(path: Path, header: dict[str, Any]) -> None:
    """Refuse a file that a newer memagents wrote.

    :param header: of the file, with its ``format``
    :raises CheckpointError: if the format is newer, or there is none
    """
    version = header.get("format") if isinstance(header, dict) else None
    if not isinstance(version, int) or version < 1:
        raise CheckpointError(f"{path} is not a file of memagents: it names no format")
    if version > FORMAT_VERSION:
        raise CheckpointError(f"{path} has format {version}, this memagents reads up to {FORMAT_VERSION}: update it")
