"""Recordings: episodes of an agent on disk, step by step, with all that its memory did.

A recording is a folder. ``recording.json`` tells of the agent, the environment and the episodes; an episode is a folder
of windows, safetensors files named by their first step. Nothing is ever pickled. ``recording.json`` is written last, so
that a folder with it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
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


class RecordedEpisode(NamedTuple):
    """An episode of a recording, whose steps stay on disk until they are read.

    :param folder: of its windows
    :param length: steps
    :param total: sum of its rewards
    :param info: plain values that the environment said at its end, ``success`` among them
    """

    folder: Path
    length: int
    total: float
    info: dict[str, Any]

    def windows(self) -> Iterator[RecordedWindow]:
        """Yield the episode's windows in order, one in memory at a time.

        :raises CheckpointError: if one is missing or damaged
        """
        step = 0
        while step < self.length:
            window = _read_window(self.folder, step)
            step += len(window.steps["rewards"])
            yield window

    def read(self, *names: str) -> dict[str, np.ndarray]:
        """Return arrays of the whole episode.

        :param names: of arrays, or what their names begin with, such as ``"trace"``; by default all
        :return: arrays (length, ...) by name
        """
        parts: dict[str, list[np.ndarray]] = {}
        for window in self.windows():
            for name, values in window.steps.items():
                if not names or name in names or name.split(".")[0] in names:
                    parts.setdefault(name, []).append(values)
        return {name: np.concatenate(values) for name, values in parts.items()}

    def pictures(self) -> list[bytes]:
        """Return the PNG files of what was seen at each step; none where they were not asked for."""
        return [picture for window in self.windows() for picture in window.pictures]

    def texts(self) -> list[str]:
        """Return what the environment said of itself at each step; none where that was not asked for."""
        return [text for window in self.windows() for text in window.texts]


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
                RecordedEpisode(folder / episode_folder(number), told["length"], told["return"], told["info"])
                for number, told in enumerate(description["episodes"])
            ]
        except (LookupError, TypeError) as error:
            raise CheckpointError(f"{file} is damaged: {error!r}") from error
        return cls(folder, description, episodes)


# --- files ----------------------------------------------------------------------------------------------------------


def episode_folder(number: int) -> str:
    """Return the name of the folder of an episode, counted from 0."""
    return f"episode-{number:04d}"


def window_file(first: int) -> str:
    """Return the name of the file of the window that begins with a step."""
    return f"{first:08d}.safetensors"


def write_window(folder: Path, window: RecordedWindow) -> None:
    """Write a window of an episode."""
    steps = dict(window.steps)
    for name, parts in ((PICTURES, window.pictures), (TEXTS, [text.encode() for text in window.texts])):
        if parts:
            steps[name] = np.frombuffer(b"".join(parts), np.uint8)
            steps[f"{name}_ends"] = np.cumsum([len(part) for part in parts])
    tree = {"steps": steps, "state": window.state}
    trees.write_tree(folder / window_file(window.first), tree, durable=False)  # recording.json vouches for it


def _read_window(folder: Path, first: int) -> RecordedWindow:
    tree = trees.read_tree(folder / window_file(first))
    steps: dict[str, np.ndarray] = tree["steps"]
    pictures, texts = (_parts(steps.pop(name, None), steps.pop(f"{name}_ends", None)) for name in (PICTURES, TEXTS))
    return RecordedWindow(first, steps, tree["state"], pictures, [text.decode() for text in texts])


def _parts(blob: np.ndarray | None, ends: np.ndarray | None) -> list[bytes]:
    """Cut what stands one behind the other."""
    if blob is None or ends is None:
        return []
    return [blob[begin:end].tobytes() for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
