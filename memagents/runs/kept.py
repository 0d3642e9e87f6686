"""Checkpoints that are kept beside the last one: the best one, and those of the last few moments.

Each is a run folder within the run's, and is written as the run's own checkpoint is.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

from memagents.runs import agent_files, files
from memagents.runs.files import CheckpointError
from memagents.runs.layout import BEST_FOLDER, CONFIG_FILE, KEPT_FOLDER

_DIGITS = 12  # of a step in the name of a folder, so that names sort as numbers


def keep(
    folder: Path, save: Callable[[Path], None], step: int, mean_return: float | None, last: int, best: bool
) -> None:
    """Keep the checkpoint of this moment beside the run's own.

    :param folder: of the run
    :param save: writes the checkpoint to a folder
    :param step: of the training
    :param mean_return: of its last episodes; None while there are none
    :param last: how many checkpoints to keep; older ones are removed
    :param best: whether to keep it if no other had a higher mean return
    """
    if last:
        _save(folder, folder / KEPT_FOLDER / f"{step:0{_DIGITS}}", save)
        for old in kept(folder)[:-last]:
            shutil.rmtree(old, ignore_errors=True)
    if best and mean_return is not None and mean_return >= _best_return(folder):
        _save(folder, folder / BEST_FOLDER, save)


def kept(folder: Path) -> list[Path]:
    """Return the run folders of checkpoints that are kept because they are among the last, the oldest first."""
    names = "[0-9]" * _DIGITS
    return sorted((folder / KEPT_FOLDER).glob(names))


def _save(folder: Path, place: Path, save: Callable[[Path], None]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    if (folder / CONFIG_FILE).is_file():  # else it is a training by no script
        files.write_bytes(place / CONFIG_FILE, files.read_bytes(folder / CONFIG_FILE))
    save(place)


def _best_return(folder: Path) -> float:
    place = folder / BEST_FOLDER
    try:
        found = agent_files.read_description(place).get("mean_return") if place.is_dir() else None
    except CheckpointError:  # nobody can use it
        shutil.rmtree(place, ignore_errors=True)
        found = None
    return found if isinstance(found, float) and not math.isnan(found) else -math.inf
