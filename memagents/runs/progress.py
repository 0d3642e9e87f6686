"""Progress of a training: its bar on the screen and the log of its run."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import (
    CSVOutputFormat,
    HumanOutputFormat,
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
)
from tqdm import tqdm

from memagents.runs.layout import PROGRESS_FILE, TENSORBOARD_FOLDER

STEPS = "time/total_timesteps"


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
        )

    def _on_step(self) -> bool:
        self.bar.update(self.training_env.num_envs)
        return True

    def _on_rollout_end(self) -> None:
        self.bar.set_postfix(self.model.recent_figures(), refresh=False)  # type: ignore[attr-defined]

    def _on_training_end(self) -> None:
        self.bar.close()


class ContinuedCSV(CSVOutputFormat):
    """SB3's CSV log that goes on with an existing file instead of emptying it.

    :param path: the file
    :param after: rows of more steps than this are dropped; they were made after the checkpoint that is gone on from
    """

    def __init__(self, path: Path, after: int):
        rows = read_progress(path) if after > 0 and path.exists() else []
        super().__init__(str(path))
        if rows:
            self.keys = list(rows[0])
            writer = csv.DictWriter(self.file, self.keys, lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for row in rows if float(row[STEPS]) <= after)
            self.file.flush()


def read_progress(path: Path) -> list[dict[str, str]]:
    """The rows of a run's log, oldest first, empty strings for what one lacks. A row that a crash cut is left out."""
    with open(path, newline="") as file:
        return [row for row in csv.DictReader(file) if row.get(STEPS) and None not in row.values()]


def run_logger(folder: Path, verbose: int, after: int) -> Logger:
    """``progress.csv`` and TensorBoard events in a run folder, and a table on the screen if ``verbose``.

    :param after: steps already made by the run that is gone on with; 0 for a new one
    """
    folder.mkdir(parents=True, exist_ok=True)
    events = TensorBoardOutputFormat(str(folder / TENSORBOARD_FOLDER))
    outputs: list[KVWriter] = [ContinuedCSV(folder / PROGRESS_FILE, after), events]
    if verbose:
        outputs.append(HumanOutputFormat(sys.stdout))
    return Logger(str(folder), outputs)
