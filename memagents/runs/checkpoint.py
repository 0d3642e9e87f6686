"""Files of a checkpoint: written as one, whatever moment a process or the machine ends at, and read as one.

A manifest names them with their sizes and SHA-256. New files are written beside the old ones, then the manifest is
replaced, which is the one moment at which the new checkpoint begins to count, then the files take their places. Whoever
reads takes each file as the manifest describes it, from its place or from beside it, and no other.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from memagents.runs import files
from memagents.runs.files import CheckpointError
from memagents.runs.layout import CHECKPOINT_FILES, MANIFEST_FILE, beside
from memagents.runs.lock import one_at_a_time

T = TypeVar("T")
_ATTEMPTS = 5  # at reading a checkpoint that a training replaces meanwhile


class Entry(NamedTuple):
    """What a manifest says of a file: its size in bytes and its SHA-256 in hexadecimal."""

    bytes: int
    sha256: str


class CheckpointWriter:
    """Writer of one checkpoint: ``add`` its files, then ``commit``. Left by an error, the one before stays.

    :param folder: of the run
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._entries: dict[str, Entry] = {}
        self._turn = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._turn.enter_context(one_at_a_time(self.folder))
        _settle(self.folder)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        with self._turn:
            for name in self._entries if kind is not None else ():
                with contextlib.suppress(OSError):
                    beside(self.folder / name).unlink(missing_ok=True)

    def add(self, name: str | Path, data: bytes) -> None:
        """Write a file beside its place, and wait until it is on the disk.

        :param name: of the file, relative to the folder
        """
        self._entries[str(name)] = Entry(len(data), hashlib.sha256(data).hexdigest())
        files.write_bytes(beside(self.folder / name), data)

    def commit(self) -> None:
        """Let the files that were added be the checkpoint; what only the one before had is removed."""
        before = set(_manifest(self.folder) or ())
        entries = {name: entry._asdict() for name, entry in self._entries.items()}
        files.write_json(self.folder / MANIFEST_FILE, {"format": files.FORMAT_VERSION, "files": entries})
        self._entries = {}  # nothing that comes can undo them
        files.sync_folder(self.folder)  # before a file of the checkpoint before is lost
        with contextlib.suppress(OSError):  # which readers do without, and the next writer puts right
            for name in entries:
                beside(self.folder / name).replace(self.folder / name)
            for name in before - entries.keys():
                (self.folder / name).unlink(missing_ok=True)


def read(folder: Path, name: str | Path) -> bytes:
    """Read a file of the checkpoint in a folder, and check it. One without a manifest is older, and read as it is.

    :param name: of the file, relative to the folder
    :raises CheckpointError: if it is missing, no regular file, or not the one that the checkpoint was saved with
    """
    for _ in range(_ATTEMPTS):
        manifest = _manifest(folder)
        if manifest is None:
            return files.read_bytes(folder / name)
        entry = manifest.get(str(name))
        if entry is None:
            break
        # It may take its place between two looks.
        for path in (folder / name, beside(folder / name), folder / name):
            data = _read_as(entry, path)
            if data is not None:
                return data
        if _manifest(folder) == manifest:
            break
    files.check_regular(folder / name)
    raise CheckpointError(
        f"{folder / name} is damaged, or was changed by hand: it is not the file that the checkpoint was saved with "
        f"(without {folder / MANIFEST_FILE}, which has its size and SHA-256, it would be read unchecked)"
    )


def of_one_moment(folder: Path, load: Callable[[], T]) -> T:
    """Return what ``load`` makes of several files of the checkpoint in a folder: anew, where it is replaced meanwhile.

    :raises CheckpointError: as ``load``; or if each time that it was called a training saved within it
    """
    for _ in range(_ATTEMPTS):
        before = _manifest(folder)
        try:
            loaded = load()
        except CheckpointError:
            if _manifest(folder) == before:
                raise
        else:
            if _manifest(folder) == before:
                return loaded
    raise CheckpointError(f"{folder} is saved more often than it can be read: wait until its training has ended")


def contents(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return those of some files that the checkpoint in a folder has, all of one moment.

    :raises CheckpointError: if one cannot be read
    """
    return of_one_moment(folder, lambda: {name: read(folder, name) for name in names if holds(folder, name)})


def holds(folder: Path, name: str | Path) -> bool:
    """Return whether the checkpoint in a folder has a file.

    :raises CheckpointError: if the manifest cannot be read
    """
    manifest = _manifest(folder)
    return (folder / name).is_file() if manifest is None else str(name) in manifest


def _settle(folder: Path) -> None:
    """Finish what a process that ended within a commit began, and remove what counts for nothing."""
    for name, entry in (_manifest(folder) or {}).items():
        path, fresh = folder / name, beside(folder / name)
        if fresh.is_file():
            if _read_as(entry, fresh) is not None:
                fresh.replace(path)
            else:
                fresh.unlink()


def _read_as(entry: Entry, path: Path) -> bytes | None:
    """Read a file if it is the one that a manifest describes; None for any other, or none."""
    with contextlib.suppress(OSError, CheckpointError):
        if path.stat().st_size == entry.bytes:
            data = files.read_bytes(path)
            if hashlib.sha256(data).hexdigest() == entry.sha256:
                return data
    return None


def _manifest(folder: Path) -> dict[str, Entry] | None:
    """Read the manifest of a folder; None where there is none.

    :raises CheckpointError: if it is damaged or of a newer version
    """
    file = folder / MANIFEST_FILE
    if not file.exists():
        return None
    found = files.read_json(file)
    files.check_version(file, found)
    try:
        entries = {name: Entry(int(entry["bytes"]), str(entry["sha256"])) for name, entry in found["files"].items()}
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file} is damaged: {error!r}") from error
    unknown = entries.keys() - set(CHECKPOINT_FILES)  # which could be anybody's files, and anywhere
    if unknown:
        raise CheckpointError(f"{file} names what is no file of a checkpoint: {', '.join(sorted(unknown))[:200]}")
    return entries
