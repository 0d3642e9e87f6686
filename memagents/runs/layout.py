"""Layout of a run folder: every file name in it, how a new one is made and how an old one is removed."""

from __future__ import annotations

import contextlib
import difflib
import re
import shutil
from pathlib import Path

from memagents.runs import pretrained

# The agent.
MANIFEST_FILE = "manifest.json"  # names its files: all of one moment
POLICY_FILE = "policy.json"
WEIGHTS_FILE = "policy.safetensors"
MEMORY_FILE = "memory.safetensors"  # what a policy remembers beyond episodes, where it does
NORMALIZATION_FILE = "normalization.safetensors"  # of observations, where they are normalised
STATE_FILE = Path("checkpoint/state.safetensors")  # all that an interrupted training needs to go on exactly
BEST_FOLDER = "best"  # a run folder: the checkpoint with the highest mean return
KEPT_FOLDER = "kept"  # run folders of the last checkpoints, by their steps
# The training.
CONFIG_FILE = "config.yaml"  # its settings
LOCK_FILE = "lock"  # held while a training runs in the folder
PROGRESS_FILE = "progress.csv"
TENSORBOARD_FOLDER = "tb"
LEARNING_CURVE = "learning_curve.png"
RETENTION_FILE = "lessons.json"  # scores of every lesson's task as each lesson ended
# The evaluation.
EVALUATION_FILE = "evaluation.json"
HEALTH_FILE = "health.json"  # of the memory
RESULT_FILE = "result.json"  # of a row in a table of the documents
# The inspection.
INSPECTION_PAGE = "inspection.html"
INSPECTION_FOLDER = "inspection"  # the recording that the page shows

FILES = (
    *(POLICY_FILE, WEIGHTS_FILE, MEMORY_FILE, NORMALIZATION_FILE, CONFIG_FILE, PROGRESS_FILE, LEARNING_CURVE),
    *(RETENTION_FILE, EVALUATION_FILE, HEALTH_FILE, RESULT_FILE, LOCK_FILE, INSPECTION_PAGE),
    MANIFEST_FILE,  # last: what is left of a folder that is being removed is not taken for an older one
)
CHECKPOINT_FILES = (POLICY_FILE, WEIGHTS_FILE, MEMORY_FILE, NORMALIZATION_FILE, str(STATE_FILE))
FOLDERS = (STATE_FILE.parent.name, TENSORBOARD_FOLDER, INSPECTION_FOLDER)

_BEGUN = (CONFIG_FILE, PROGRESS_FILE)  # written before the first checkpoint

RUNS = Path("runs")  # where runs without a folder of their own go


def folder_of(path: str | Path) -> Path:
    """Return the folder that a path means; the ending ``.zip``, which SB3's callbacks add, is dropped.

    ``pretrained:NAME`` means a folder of the package, see :mod:`memagents.runs.pretrained`.

    :raises CheckpointError: if there is no such policy
    """
    if pretrained.is_pretrained(path):
        return pretrained.folder(str(path))
    path = Path(path)
    return path.with_suffix("") if path.suffix == ".zip" else path


def unknown(folder: Path) -> str:
    """Return the message that there is no such run folder, with those that are spelled alike."""
    if folder.is_file():
        return f"{folder} is a file; a run is a folder"
    there = [str(path) for path in runs_in(RUNS)]
    alike = difflib.get_close_matches(str(folder), there, n=3) or [p for p in there if Path(p).name == folder.name]
    return f"there is no run folder {folder}" + (f"; spelled alike: {', '.join(alike)}" if alike else "")


def without_checkpoint(folder: Path) -> str | None:
    """Return the message that a training has begun in a folder and saved nothing; None where that is not so."""
    if holds_agent(folder) or not holds_training(folder):
        return None
    return f"{folder} stopped before its first checkpoint: begin again, on the command line with --overwrite"


def holds_agent(folder: Path) -> bool:
    """Return whether an agent was saved in a folder."""
    return any((folder / name).is_file() for name in (POLICY_FILE, STATE_FILE, MANIFEST_FILE))


def holds_training(folder: Path) -> bool:
    """Return whether a training was begun in a folder: what lies there is more than a saved agent."""
    return any((folder / name).is_file() for name in _BEGUN)


def new(name: str) -> Path:
    """Make the first of ``runs/name``, ``runs/name-2``, ``runs/name-3``, … that does not exist."""
    number = 1
    make(RUNS, "run_dir")
    while True:
        folder = RUNS / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def empty(folder: Path, overwrite: bool) -> Path:
    """Make a folder for a new run at a path of the user's choice.

    :param overwrite: whether a run that is there may be replaced
    :raises ValueError: if it is a file, or there is something in the folder, and it is not a run to overwrite
    """
    if folder.is_file():
        raise ValueError(f"run_dir {folder} is a file; a run needs a folder")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        if not (folder / CONFIG_FILE).is_file():
            raise ValueError(f"run_dir {folder} exists and is no run, so it is not overwritten: choose another folder")
        if not overwrite:
            go_on = "add --overwrite to replace it, or --resume it to go on with it"
            raise ValueError(f"run_dir {without_checkpoint(folder) or f'{folder} exists; {go_on}'}")
        remove(folder)
    return make(folder, "run_dir")


def make(folder: Path, argument: str) -> Path:
    """Make a folder, and those above it, where there is none.

    :param argument: that names the folder, for the message
    :raises ValueError: if that is not possible
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{argument} {folder} cannot be made: {error.strerror}") from error
    return folder


def remove(folder: Path) -> None:
    """Remove what a run writes, and nothing else that a person may have put there."""
    for inner in (folder / BEST_FOLDER, *(folder / KEPT_FOLDER).glob("[0-9]*")):
        if inner.is_dir():
            remove_whole(inner)
    remove_empty(folder / KEPT_FOLDER)
    for name in FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
        beside(folder / name).unlink(missing_ok=True)


def remove_whole(folder: Path) -> None:
    """Do what :func:`remove` does, and remove the folder as well, unless a person has put something there."""
    remove(folder)
    remove_empty(folder)


def remove_empty(folder: Path) -> None:
    """Remove a folder if it is there and nothing is in it."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def beside(path: Path) -> Path:
    """Return where a file of a checkpoint is until it takes its place."""
    return path.with_name(f".{path.name}.next")


def sweep(folder: Path) -> None:
    """Remove what processes that ended within a write left beside the files of a run; nobody may be writing there."""
    names = "|".join(re.escape(Path(name).name) for name in (*FILES, STATE_FILE))
    for place in (folder, (folder / STATE_FILE).parent):
        for path in place.glob(".*") if place.is_dir() else ():
            if re.fullmatch(rf"\.({names}|\.({names})\.next)\.\d+", path.name):  # see files.write_bytes
                path.unlink(missing_ok=True)


def runs_in(folder: Path) -> list[Path]:
    """Return the run folders in a folder and below it, by name; also those that have no checkpoint yet.

    Those within a run folder, checkpoints that it keeps, are not listed.
    """
    found = {path.parent for name in (POLICY_FILE, CONFIG_FILE) for path in folder.rglob(name)}
    return sorted(path for path in found if found.isdisjoint(path.parents))
