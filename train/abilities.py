"""The tables of docs/results.md: which memory serves which ability, all of equal size and with equal steps.

    python train/abilities.py                                            # all of it: many hours on two cores
    python train/abilities.py --only order --cores lstm dnc --seeds 0    # a part; what is there already stays
    python train/abilities.py --only ""                                  # the tables alone

With seed 0 each core is trained by every learning rate of the sweep, with the other seeds by that which did best in
episodes that no table shows. What is finished is not made again, here or on the machine that docs/results/abilities is
from, and what was stopped goes on, so parts may run side by side in processes of their own, on several days.
"""

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads: spinning threads starve the environments

import numpy as np
import tyro
from abilities_tasks import ABILITIES, Ability
from scoring import mean_score, trained

from memagents import core_names
from memagents.checks import selected
from memagents.command_line.errors import plain_errors
from memagents.experiments.catalogue import of_settings
from memagents.experiments.configuration import of_recipe
from memagents.experiments.documents import markdown_table, write_between_marks
from memagents.experiments.evaluation import over_seeds
from memagents.experiments.evaluation_settings import EVALUATION_SEED
from memagents.experiments.rehearsal import Rehearsal
from memagents.experiments.run import Run
from memagents.experiments.sizing import sized
from memagents.experiments.training import prepare
from memagents.runs.files import read_json, write_json
from memagents.runs.layout import RESULT_FILE

CHOICE_SEED = EVALUATION_SEED + 1  # of the episodes by which a learning rate is chosen
WEIGHTS = 100_000  # of each agent, its encoder and heads included
RATES = ("0.0003", "0.001", "0.003")

Results = dict[str, dict[str, dict[str, dict[str, Any]]]]  # by core, learning rate and seed


@dataclass
class AbilitiesSettings:
    """Settings of the trainings and the tables.

    :param only: names of abilities; by default all
    :param cores: names; by default the whole catalogue
    :param seeds: of the trainings; 0 is that of the sweep
    :param folder: of the runs
    :param documents: folder with results.md and results/abilities
    """

    only: tuple[str, ...] = ()
    cores: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    folder: Path = Path("runs/abilities")
    documents: Path = Path("docs")

    def __post_init__(self) -> None:
        if min(self.seeds, default=-1) < 0:
            raise ValueError(f"seeds must be one or more integers from 0 on, not {self.seeds}")


def record(settings: AbilitiesSettings, name: str) -> Path:
    """Return the file that keeps the results of an ability."""
    return settings.documents / "results" / "abilities" / f"{name}.json"


def known(settings: AbilitiesSettings, name: str) -> Results:
    """Return the results that are recorded, and those of the runs there are."""
    file = record(settings, name)
    found: Results = read_json(file) if file.is_file() else {}
    for path in (settings.folder / name).glob(f"*/*/*/{RESULT_FILE}"):
        core, rate, seed = path.parent.relative_to(settings.folder / name).parts
        found.setdefault(core, {}).setdefault(rate, {})[seed] = read_json(path)
    return found


def chosen_rate(rates: dict[str, dict[str, dict[str, Any]]]) -> str | None:
    """Return the learning rate that did best with seed 0; None while not all of them were tried."""
    swept = {rate: rates[rate]["0"]["choice"] for rate in RATES if "0" in rates.get(rate, {})}
    return max(swept, key=lambda rate: swept[rate]) if len(swept) == len(RATES) else None


def train(ability: Ability, core: str, rate: str, seed: int, folder: Path) -> None:
    """Train one agent, evaluate it, and leave the result in its run folder."""
    changes = {"core": core, "core_kwargs": {}, "learning_rate": float(rate), "seed": seed, "threads": 1}
    changes |= {"run_dir": str(folder), "overwrite": True, **ability.changes}
    settings = of_recipe(ability.settings, ability.recipe, **changes)

    rehearsal = Rehearsal(settings.env, settings.env_kwargs, algorithm=of_settings(settings).name)
    settings = replace(settings, core_kwargs=sized(core, {}, WEIGHTS, partial(rehearsal.weights, settings)))
    agent, minutes = trained(settings, folder)
    run, tests = Run.open(folder), ability.tests

    def score(test: dict[str, Any], seed: int) -> float:
        return mean_score(run, test, ability.episodes, sampled=ability.sampled, seed=seed)

    result = {
        "steps": agent.num_timesteps,
        "minutes": minutes,
        "weights": sum(parameter.numel() for parameter in agent.policy.parameters()),
        "choice": score(next(iter(tests.values())), CHOICE_SEED),
        "scores": {name: score(test, EVALUATION_SEED) for name, test in tests.items()},
    }
    write_json(folder / RESULT_FILE, result)


# --- tables ---------------------------------------------------------------------------------------------------------


def columns() -> list[tuple[str, str]]:
    """Return every column of the table: an ability and a test of it."""
    return [(name, test) for name, ability in ABILITIES.items() for test in ability.tests]


def tables(results: dict[str, Results]) -> list[str]:
    """Return the lines of the tables: scores, minutes and learning rates.

    :param results: of every ability
    """
    scores, minutes = [], []
    for core in core_names():
        rates = {name: chosen_rate(results[name].get(core, {})) for name in ABILITIES}
        if not any(rates.values()):
            continue
        runs = {name: list(results[name][core][rate].values()) if rate else [] for name, rate in rates.items()}
        cells = [
            over_seeds([run["scores"][test] for run in runs[name]], 2, low=-np.inf, high=np.inf) if runs[name] else ""
            for name, test in columns()
        ]
        scores.append([f"`{core}`", *cells])
        taken = [
            f"{np.mean([run['minutes'] for run in own]):.1f} ({rates[name]})" if own else ""
            for name, own in runs.items()
        ]
        minutes.append([f"`{core}`", *taken])
    about = [f"- **{name}**: {ability.about}" for name, ability in ABILITIES.items()]
    return [
        *about,
        "",
        *markdown_table(["", *(f"{name}: {test}" for name, test in columns())], scores),
        "",
        "Minutes of a training on one core, and the learning rate chosen:",
        "",
        *markdown_table(["", *ABILITIES], minutes),
        "",
    ]


def main(settings: AbilitiesSettings) -> None:
    """Train what is asked for and not there yet, and write the tables."""
    cores, names = selected(settings.cores, core_names()), selected(settings.only, ABILITIES)
    prepare(threads=1)
    if not (settings.documents / "results.md").is_file():
        raise ValueError(f"documents: {settings.documents} has no results.md for the tables")
    for name in names:
        for seed in sorted(settings.seeds):
            for core in cores:
                there = known(settings, name).get(core, {})
                rate = chosen_rate(there)
                if seed > 0 and rate is None:
                    print(f"{name}, {core}: seed {seed} waits for the sweep of seed 0")
                for one in RATES if seed == 0 else (rate,) if rate else ():
                    if str(seed) not in there.get(one, {}):
                        train(ABILITIES[name], core, one, seed, settings.folder / name / core / one / str(seed))
    results = {name: known(settings, name) for name in ABILITIES}
    for name, found in results.items():
        if found:
            record(settings, name).parent.mkdir(parents=True, exist_ok=True)
            write_json(record(settings, name), found)
    write_between_marks(settings.documents / "results.md", "abilities", tables(results))


if __name__ == "__main__":
    with plain_errors(ValueError, OSError):
        main(tyro.cli(AbilitiesSettings, description=__doc__))
