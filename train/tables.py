"""The tables of docs/cores.md, docs/worlds.md, docs/learning.md, docs/training.md and docs/underground.md.

    python train/tables.py                                          # all of it: hours on two cores
    python train/tables.py --only copy --rows ntm --seeds 0         # a part; what is there already stays
    python train/tables.py --only ""                                # the tables alone, from the runs there are

A training that is finished is not made again, and one that was stopped goes on from its checkpoint, so parts may run
side by side in processes of their own. Results outlast the run folders: ``docs/results`` keeps the scores of each row
and seed, and a table shows them beside those made here. A table of which there are no runs here stays as it is; whoever
changes a recipe deletes its file of results.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads: spinning threads starve the environments

import numpy as np
import tyro
from experiment import Experiment
from scoring import mean_score, trained
from tables_experiments import SHARES, experiments

from memagents.checks import selected
from memagents.command_line.errors import plain_errors
from memagents.experiments.configuration import by_recipe
from memagents.experiments.documents import markdown_table, write_between_marks
from memagents.experiments.evaluation import FEW_SEEDS, over_seeds
from memagents.experiments.figures import learning_curve
from memagents.experiments.run import Run
from memagents.experiments.settings import TrainSettings
from memagents.experiments.training import prepare
from memagents.runs.files import read_json, write_json
from memagents.runs.layout import RESULT_FILE


@dataclass
class TablesSettings:
    """Settings of the trainings and the tables.

    :param only: names of experiments; by default all
    :param rows: names of their rows; by default all
    :param seeds: of the trainings
    :param folder: of the runs
    :param documents: folder of the documents that the tables are written into; an empty path writes none. By default
        docs, and with a share of the steps none: such tables are printed
    :param share: of the environment steps, at most 1, for a quick look; also of the episodes of each test, 20 at least
    :param threads: of torch
    """

    only: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    folder: Path = Path("runs/tables")
    documents: Path | None = None
    share: float = 1.0
    threads: int = 1

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("seeds must be one or more integers")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be a number above 0 and at most 1, not {self.share}")


def row_settings(experiment: Experiment, row: str, **changes: Any) -> TrainSettings:
    """Return the settings that a row's agents are trained by.

    :param changes: to the recipe, beside those of the row
    """
    changes = {"core": row, **changes, **experiment.rows[row]}
    return by_recipe(changes.pop("recipe", experiment.recipe), **changes)


def train(experiment: Experiment, row: str, seed: int, folder: Path, settings: TablesSettings) -> None:
    """Train the agent of one row with one seed, evaluate it, and leave the result in its run folder.

    Nothing is done where there is a result already.

    :raises ValueError: if that is of another number of steps
    """
    chosen = row_settings(experiment, row, seed=seed, threads=settings.threads, run_dir=str(folder), overwrite=True)
    chosen = replace(chosen, total_timesteps=int(settings.share * chosen.total_timesteps))
    if (folder / RESULT_FILE).is_file():
        made = Run.open(folder).settings
        if made is not None and made.total_timesteps != chosen.total_timesteps:
            raise ValueError(
                f"{folder} was trained for {made.total_timesteps:,} steps, not {chosen.total_timesteps:,}: choose "
                "another --folder, or the --share that it was made with"
            )
        return
    agent, minutes = trained(chosen, folder, experiment.tests.values())
    episodes = min(experiment.episodes, max(20, int(settings.share * experiment.episodes)))
    score(replace(experiment, episodes=episodes), folder, agent.num_timesteps, minutes)


def score(experiment: Experiment, folder: Path, steps: int, minutes: float) -> None:
    """Evaluate a trained agent, and leave the result in its run folder."""
    run, scores = Run.open(folder), dict[str, float]()
    for name, test in experiment.tests.items():
        scores[name] = mean_score(run, test, experiment.episodes, experiment.metric, slots=experiment.test_slots)
        if experiment.chance is not None and scores[name] <= experiment.chance:
            scores = {**dict.fromkeys(experiment.tests, scores[name]), **scores}
            break
    write_json(folder / RESULT_FILE, {"steps": steps, "minutes": minutes, "scores": scores})


# --- tables ---------------------------------------------------------------------------------------------------------


Results = dict[str, dict[str, dict[str, Any]]]  # by row and seed, what a run folder's result file holds


def made_here(experiment: Experiment, folder: Path) -> Results:
    """Return the results of the runs in a folder."""
    made: Results = {}
    for row in experiment.rows:
        for path in folder.glob(f"{row}-*/{RESULT_FILE}"):
            made.setdefault(row, {})[path.parent.name.removeprefix(f"{row}-")] = read_json(path)
    return made


def joined(recorded: Results, made: Results) -> Results:
    """Return the results that were recorded, and in place of those that were made anew or beside them, the latter."""
    rows = dict.fromkeys((*recorded, *made))
    return {row: dict(sorted({**recorded.get(row, {}), **made.get(row, {})}.items())) for row in rows}


def table(experiment: Experiment, results: Results) -> list[str]:
    """Return the lines of an experiment's table: a row for each agent of which there are results."""
    heads = ["", *experiment.tests, "seeds", "steps", "minutes", "steps/s"]
    rows = [[f"`{row}`", *cells(list(results[row].values()), experiment)] for row in experiment.rows if row in results]
    return [f"### {experiment.title}", "", experiment.about, "", *markdown_table(heads, rows), ""]


def cells(results: list[dict[str, Any]], experiment: Experiment) -> list[str]:
    """Return what a row shows of its runs."""
    scores = []
    for name, test in experiment.tests.items():
        seeds = [result["scores"][name] for result in results]
        many = experiment.each_seed and len(seeds) >= FEW_SEEDS  # fewer are listed anyway
        listed = f": {', '.join(f'{score:.2f}' for score in seeds)}" if many else ""
        scores.append(figure(seeds, test.get("metric", experiment.metric)) + listed)
    steps, minutes = (np.mean([result[name] for result in results]) for name in ("steps", "minutes"))
    return [*scores, f"{len(results)}", f"{steps / 1e6:.2g}M", f"{minutes:.1f}", f"{steps / minutes / 60:,.0f}"]


def figure(values: list[float], metric: str) -> str:
    """Return a score over seeds: a count, a share, or a return."""
    if metric == "return":
        return over_seeds(values, digits=3)
    return over_seeds(values, digits=2 if np.mean(values) < 10 else 1, low=0, high=1 if metric in SHARES else np.inf)


def show_table(name: str, experiment: Experiment, settings: TablesSettings) -> None:
    """Print a table, or put it into its document in place of what stands between its two marks, a picture beside it."""
    results, documents = made_here(experiment, settings.folder / name), settings.documents
    if documents is None:
        documents = Path("docs" if settings.share == 1 else "")
    if not documents.name:
        print("\n".join(table(experiment, results)))
        return
    record = documents / "results" / f"{name}.json"
    if record.exists():
        results = joined(read_json(record), results)
    lines, document = table(experiment, results), documents / experiment.document
    picture = document.with_name(f"{document.stem}_{name}.png")
    runs = sorted((settings.folder / name).glob(f"*-{settings.seeds[0]}/{RESULT_FILE}"))
    if experiment.curves and len(runs) == len(results):  # each row has a curve here
        learning_curve([path.parent for path in runs], picture, experiment.curves)
    if picture.exists():
        lines += [f"![{experiment.title}: learning curves, a seed of each]({picture.name})", ""]
    write_between_marks(document, name, lines)
    write_json(record, results)


def main(settings: TablesSettings) -> None:
    every = experiments()
    names = selected(settings.only, every)
    rows = selected(settings.rows, dict.fromkeys(row for experiment in every.values() for row in experiment.rows))
    prepare(threads=settings.threads)
    for name in names:
        for seed in settings.seeds:
            for row in every[name].rows:
                folder = settings.folder / name / f"{row}-{seed}"
                if row in rows:
                    train(every[name], row, seed, folder, settings)
    for name, experiment in every.items():
        if any((settings.folder / name).glob(f"*/{RESULT_FILE}")):
            show_table(name, experiment, settings)


if __name__ == "__main__":
    with plain_errors(ValueError, FloatingPointError, KeyboardInterrupt):
        main(tyro.cli(TablesSettings, description=__doc__))
