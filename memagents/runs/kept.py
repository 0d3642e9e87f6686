"""Checkpoints that are kept beside the last one: the best one, and those of the last few moments.

Each is a run folder within the run's, and is written as the run's own checkpoint is.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

from memagents.checks import warn_user
from memagents.runs import agent_files, checkpoint, files, layout
from memagents.runs.files import CheckpointError
from memagents.runs.layout import BEST_FOLDER, CONFIG_FILE, KEPT_FOLDER, POLICY_FILE

_DIGITS = 12  # of a step in the name of a folder, so that names sort as numbers
_TICK = 1_000_000  # nanoseconds that every file system tells apart


def keep(
    folder: Path, save: Callable[[Path], None], step: int, mean_return: float | None, last: int, best: bool, lesson: int
) -> None:
    """Keep the checkpoint of this moment beside the run's own; what cannot be kept is warned of.

    :param folder: of the run
    :param save: writes the checkpoint to a folder
    :param step: of the training
    :param mean_return: of its last episodes; None while there are too few
    :param last: how many checkpoints to keep; older ones are removed
    :param best: whether to keep it if no other of the same lesson had a higher mean return
    :param lesson: number of the curriculum's present lesson
    """
    try:
        if last:
            place = folder / KEPT_FOLDER / f"{step:0{_DIGITS}}"
            _save(folder, place, save)
            _stamp(folder, place)
            for old in kept(folder)[:-last]:
                layout.remove_whole(old)
        if best and mean_return is not None and mean_return >= _best_return(folder / BEST_FOLDER, lesson):
            _save(folder, folder / BEST_FOLDER, save)
    except (OSError, CheckpointError) as error:
        warn_user(f"the checkpoint of step {step} is not kept beside the run's own: {error}")


def kept(folder: Path) -> list[Path]:
    """Return the run folders of checkpoints that are kept because they are among the last, the oldest first."""
    found = (folder / KEPT_FOLDER).glob("[0-9]" * _DIGITS)
    return sorted(found, key=lambda place: (place.stat().st_mtime_ns, place.name))


def keeper(folder: Path) -> Path | None:
    """Return the run that keeps a run folder as one of its checkpoints; None for any other."""
    place = folder.parent if folder.name == BEST_FOLDER else folder.parent.parent
    inside = folder.name == BEST_FOLDER or folder.parent.name == KEPT_FOLDER
    return place if inside and (place / POLICY_FILE).is_file() else None


def _save(folder: Path, place: Path, save: Callable[[Path], None]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    if (folder / CONFIG_FILE).is_file():  # else it is a training by no script
        files.write_bytes(place / CONFIG_FILE, files.read_bytes(folder / CONFIG_FILE))
    save(place)


def _stamp(folder: Path, place: Path) -> None:
    """Give a folder just written the latest time of all, whatever the clock says: times are the order of those kept."""
    others = [other.stat().st_mtime_ns for other in kept(folder) if other != place]
    latest = max([time.time_ns(), *(stamp + _TICK for stamp in others)])
    os.utime(place, ns=(latest, latest))


def _best_return(place: Path, lesson: int) -> float:
    """The mean return of the best checkpoint so far, if it is of this lesson."""
    if not checkpoint.holds(place, POLICY_FILE):
        return -math.inf
    described = agent_files.read_description(place)
    found = described.get("mean_return") if described.get("lesson") == lesson else None
    return found if isinstance(found, float) and math.isfinite(found) else -math.inf
