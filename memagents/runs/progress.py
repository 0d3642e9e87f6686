"""Progress of a training: its bar on the screen and the log of its run."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import (
    HumanOutputFormat,
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
    filter_excluded_keys,
)
from tqdm import tqdm

from memagents.runs.files import CheckpointError, check_regular, write_bytes
from memagents.runs.layout import PROGRESS_FILE, TENSORBOARD_FOLDER

STEPS, SECONDS = "time/total_timesteps", "time/time_elapsed"


class ProgressBar(BaseCallback):
    """Steps made and to come, steps per second, and how the agent does of late."""

    def _on_training_start(self) -> None:
        model = self.model
        self.bar = tqdm(
            total=model.num_timesteps + model.remaining_timesteps,  # type: ignore[attr-defined]
            initial=model.num_timesteps,
            unit=" steps",
            unit_scale=True,
            dynamic_ncols=True,
            mininterval=0.1 if sys.stderr.isatty() else 10,  # a line every ten seconds is enough for a file
            desc="first window: compiling what is not compiled yet",
        )
        self.compiling = True

    def _on_step(self) -> bool:
        self.bar.update(self.model.num_timesteps - self.bar.n)
        return True

    def _on_rollout_end(self) -> None:
        if self.compiling:  # the first window, which tells nothing of how long the others take
            self.compiling = False
            self.bar.set_description_str("", refresh=False)
            self.bar.initial = self.bar.n
            self.bar.unpause()
        self.bar.set_postfix(self.model.recent_figures(), refresh=False)  # type: ignore[attr-defined]

    def _on_training_end(self) -> None:
        self.bar.close()


class ProgressCSV(KVWriter):
    """Log of a run as CSV: the steps first, then columns by their groups; each row is whole or not there.

    A row with the columns there are is appended. One with new columns has the file written anew beside it and renamed,
    so that nothing is lost where the disk is full.

    :param path: the file
    :param after: rows of more steps than this are dropped; they were made after the checkpoint that is gone on from
    """

    def __init__(self, path: Path, after: int):
        self.path = path
        rows = read_progress(path) if after > 0 and path.exists() else []
        self._rewrite([row for row in rows if float(row[STEPS]) <= after])

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Write a row."""
        row = {name: str(value) for name, value in filter_excluded_keys(key_values, key_excluded, "csv").items()}
        if row.keys() <= set(self.columns):
            with open(self.path, "a", newline="") as file:
                csv.DictWriter(file, self.columns, lineterminator="\n").writerow(row)
        else:
            self._rewrite([*(read_progress(self.path)), row])

    def close(self) -> None:
        """Do nothing: the file is open for the time of a row only."""

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        self.columns = sorted({name for row in rows for name in row}, key=_place)
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_bytes(self.path, text.getvalue().encode() if rows else b"")


def _place(column: str) -> tuple[int, str]:
    """Return the place of a column: steps, what the training reached, how, and how long it took."""
    groups = ["rollout", "curriculum", "train", "time"]
    group = column.partition("/")[0]
    return (0 if column == STEPS else 1 + groups.index(group) if group in groups else 9), column


def read_progress(path: Path) -> list[dict[str, str]]:
    """The rows of a run's log, oldest first, empty strings for what one lacks. A row that a crash cut is left out.

    :raises CheckpointError: if it is no text, or no regular file
    """
    if path.exists():
        check_regular(path)
    try:
        with open(path, newline="") as file:
            return [row for row in csv.DictReader(file) if row.get(STEPS) and None not in row.values()]
    except (UnicodeDecodeError, csv.Error) as error:
        raise CheckpointError(f"{path} is no readable log: {error}") from error


def logged_number(path: Path, row: dict[str, str], column: str) -> float:
    """Return a number of a row.

    :param path: of the log, for the message
    :raises CheckpointError: if it is none
    """
    try:
        return float(row.get(column, ""))
    except ValueError as error:
        raise CheckpointError(f"{path}: {column} must be a number, not {row.get(column, '')!r}") from error


def run_logger(folder: Path, verbose: int, after: int) -> Logger:
    """``progress.csv`` and TensorBoard events in a run folder, and a table on the screen if ``verbose``.

    :param after: steps already made by the run that is gone on with; 0 for a new one
    """
    folder.mkdir(parents=True, exist_ok=True)
    events = TensorBoardOutputFormat(str(folder / TENSORBOARD_FOLDER))
    outputs: list[KVWriter] = [ProgressCSV(folder / PROGRESS_FILE, after), events]
    if verbose:
        outputs.append(HumanOutputFormat(sys.stdout))
    return Logger(str(folder), outputs)


def seconds_of(rows: list[dict[str, str]]) -> float:
    """Return how long a training took by the rows of its log, whether it was stopped and gone on with or not."""
    total = before = 0.0
    for row in rows:
        now = float(row[SECONDS])
        total += now - before if now >= before else now  # from 0 again where it went on
        before = now
    return total


def end_events(logger: Logger) -> None:
    """Close what TensorBoard has of a logger, a file and a thread; the other outputs go on."""
    events = [output for output in logger.output_formats if isinstance(output, TensorBoardOutputFormat)]
    for output in events:
        output.close()
    logger.output_formats = [output for output in logger.output_formats if output not in events]
