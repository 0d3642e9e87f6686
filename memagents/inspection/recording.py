"""Recordings: episodes of an agent on disk, step by step, with all that its memory did.

A recording is a folder. ``recording.json`` tells of the agent, the environment and the episodes. The steps are in
safetensors files, one for each window in which all rows of the environment played: in it each array holds the pieces of
episodes that were played in the window, one behind the other, and ``recording.json`` tells which belong to an episode.
Nothing is ever pickled. ``recording.json`` is written last, so that a folder with it is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from torch import Tensor

from memagents.runs import files, trees
from memagents.runs.files import CheckpointError

DESCRIPTION_FILE = "recording.json"
# What begins the names of arrays that there may be several of.
OBSERVATION, TRACE, STATE = "observation", "trace", "state"
PICTURES, TEXTS = "pictures", "texts"  # PNG files, and UTF-8, one behind the other, with where each ends
_STEPS = "steps"


class RecordedWindow(NamedTuple):
    """Steps of an episode that follow one another.

    :param first: number of its first step in the episode
    :param steps: arrays (T, ...) by name, see :func:`memagents.inspection.recorder.record`
    :param state: of the core before the first step, leaves (1, ...) in order
    :param pictures: PNG files of what was seen, one for each step; none where they were not asked for
    :param texts: what the environment says of itself at each step, likewise
    """

    first: int
    steps: dict[str, np.ndarray]
    state: list[Tensor]
    pictures: list[bytes]
    texts: list[str]


class Piece(NamedTuple):
    """Steps of one episode in one window of a recording.

    :param window: number of the file
    :param number: of the piece in it
    :param begin: of its steps among those of all pieces of the window
    :param steps: how many
    """

    window: int
    number: int
    begin: int
    steps: int


class RecordedEpisode(NamedTuple):
    """An episode of a recording, whose steps stay on disk until they are read.

    :param folder: of the recording
    :param length: steps
    :param total: sum of its rewards
    :param info: plain values that the environment said at its end, ``success`` among them
    :param pieces: of it, in order
    """

    folder: Path
    length: int
    total: float
    info: dict[str, Any]
    pieces: list[Piece]

    def windows(self, *names: str) -> Iterator[RecordedWindow]:
        """Yield the episode's windows in order, one in memory at a time.

        :param names: as for :meth:`read`
        :raises CheckpointError: if one is missing or damaged
        """
        first = 0
        for piece in self.pieces:
            yield _read_piece(self.folder, piece, first, lambda name: not names or _is_named(name, names))
            first += piece.steps

    def read(self, *names: str) -> dict[str, np.ndarray]:
        """Return arrays of the whole episode.

        :param names: of arrays, or what their names begin with, such as ``"trace"``; by default all
        :return: arrays (length, ...) by name
        """
        windows = [window.steps for window in self.windows(*names)]
        return {name: np.concatenate([steps[name] for steps in windows]) for name in windows[0]}

    def pictures(self) -> list[bytes]:
        """Return the PNG files of what was seen at each step; none where they were not asked for."""
        return [picture for window in self.windows(PICTURES) for picture in window.pictures]

    def texts(self) -> list[str]:
        """Return what the environment said of itself at each step; none where that was not asked for."""
        return [text for window in self.windows(TEXTS) for text in window.texts]


class Recording(NamedTuple):
    """A recording that was opened.

    :param folder: its path
    :param description: contents of ``recording.json``
    :param episodes: numbered as they began
    """

    folder: Path
    description: dict[str, Any]
    episodes: list[RecordedEpisode]

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a recording.

        :raises CheckpointError: if it is missing, unfinished, damaged or of a newer version
        """
        folder = Path(folder)
        file = folder / DESCRIPTION_FILE
        if not file.is_file():
            state = "is no recording, or was not finished" if folder.is_dir() else "does not exist"
            raise CheckpointError(f"{folder} {state}")
        description = files.read_json(file)
        files.check_version(file, description)
        try:
            episodes = [
                RecordedEpisode(
                    folder, told["length"], told["return"], told["info"], [Piece(*p) for p in told["pieces"]]
                )
                for told in description["episodes"]
            ]
            if any(sum(piece.steps for piece in episode.pieces) != episode.length for episode in episodes):
                raise LookupError("an episode's pieces have not as many steps as it")
        except (LookupError, TypeError) as error:
            raise CheckpointError(f"{file} is damaged: {error!r}") from error
        return cls(folder, description, episodes)


# --- files ----------------------------------------------------------------------------------------------------------


def window_file(number: int | None) -> str:
    """Return the name of the file of a window, counted from 0; or the pattern of them all."""
    return f"window-{'*' if number is None else format(number, '08d')}.safetensors"


def write_window(
    folder: Path,
    number: int,
    steps: dict[str, np.ndarray],
    states: Sequence[Tensor | np.ndarray],
    pictures: Sequence[Sequence[bytes]] = (),
    texts: Sequence[Sequence[str]] = (),
) -> None:
    """Write a window of a recording: N steps of P pieces of episodes, one behind the other.

    :param steps: arrays (N, ...) by name
    :param states: of the core before each piece, leaves (P, ...) in order
    :param pictures: of each piece, the PNG files of its steps; none where they were not asked for
    :param texts: of each piece, what the environment said at its steps; likewise
    """
    tree = {
        _STEPS: steps,
        STATE: list(states),
        PICTURES: [_joined(of_piece) for of_piece in pictures if of_piece],
        TEXTS: [_joined([text.encode() for text in of_piece]) for of_piece in texts if of_piece],
    }
    trees.write_tree(folder / window_file(number), tree, durable=False)  # recording.json vouches for it


def _read_piece(folder: Path, piece: Piece, first: int, wanted: Callable[[str], bool]) -> RecordedWindow:
    """Read nothing of a window but a piece, and of its arrays those that are wanted."""

    def rows(path: tuple[str, ...]) -> slice | None:
        kind = path[0]
        if kind == _STEPS:
            return slice(piece.begin, piece.begin + piece.steps) if wanted("/".join(path[1:])) else None
        if kind == STATE:
            return slice(piece.number, piece.number + 1)
        return slice(None) if wanted(kind) and path[1] == str(piece.number) else None

    tree = trees.read_tree(folder / window_file(piece.window), rows)
    try:
        pictures, texts = (_parts(tree[kind][piece.number]) if tree[kind] else [] for kind in (PICTURES, TEXTS))
        steps = {name: values for name, values in tree[_STEPS].items() if values is not None}
        return RecordedWindow(first, steps, tree[STATE], pictures, [text.decode() for text in texts])
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / window_file(piece.window)} is damaged: {error!r}") from error


def _is_named(name: str, names: Sequence[str]) -> bool:
    return name in names or name.split(".")[0] in names


def _joined(parts: Sequence[bytes]) -> list[np.ndarray]:
    """Return parts one behind the other, and where each ends."""
    return [np.frombuffer(b"".join(parts), np.uint8), np.cumsum([len(part) for part in parts])]


def _parts(joined: Sequence[np.ndarray | None]) -> list[bytes]:
    """Cut what stands one behind the other; nothing where it was not read."""
    blob, ends = joined
    if blob is None or ends is None:
        return []
    return [blob[begin:end].tobytes() for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
