"""The tables of docs/results.md: which memory serves which ability, all of equal size and with equal steps.

    python train/abilities.py                                            # all of it: many hours on two cores
    python train/abilities.py --only order --cores lstm dnc --seeds 0    # a part; what is there already stays
    python train/abilities.py --only ""                                  # the tables alone

Each is tested at its end, and as it was when it had learned for so long on one core as all of them may (``seconds``).
With seed 0 each core is trained by every learning rate of the sweep, with the other seeds by that which did best in all
tests together, in episodes that no table shows. What is finished is not made again, here or on the machine that
docs/results/abilities is from, and what was stopped goes on, so parts may run side by side in processes of their own,
on several days.
"""

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads: spinning threads starve the environments

import tyro
from abilities_report import PICTURE, Bounds, Report, Results, chosen_rate
from abilities_tasks import ABILITIES, Ability
from scoring import KeptInTime, mean_score, score_of, test_env, trained

from memagents import core_names
from memagents.checks import selected
from memagents.command_line.errors import plain_errors
from memagents.experiments.catalogue import of_settings
from memagents.experiments.configuration import by_recipe
from memagents.experiments.documents import write_between_marks
from memagents.experiments.evaluation import ORACLE, RANDOM, baselines
from memagents.experiments.evaluation_settings import EVALUATION_SEED
from memagents.experiments.rehearsal import Rehearsal
from memagents.experiments.run import Run
from memagents.experiments.settings import WindowSettings
from memagents.experiments.sizing import sized
from memagents.experiments.training import prepare
from memagents.runs.files import read_json, write_json
from memagents.runs.layout import RESULT_FILE

CHOICE_SEED = EVALUATION_SEED + 1  # of the episodes by which a learning rate is chosen
BOUNDS_FILE = "bounds.json"
EARLY_FOLDER = "early"  # in that of a run: its agent when its time was up
WEIGHTS = 100_000  # of each agent, its encoder and heads included
RATES = ("0.0003", "0.001", "0.003")


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


def train(ability: Ability, core: str, rate: str, seed: int, folder: Path) -> None:
    """Train one agent, evaluate it, and leave the result in its run folder."""
    changes = {"core": core, "core_kwargs": {}, "learning_rate": float(rate), "seed": seed, "threads": 1}
    changes |= {"run_dir": str(folder), "overwrite": True, **ability.changes}
    settings = by_recipe(ability.recipe, **changes)
    assert isinstance(settings, WindowSettings)

    rehearsal = Rehearsal(settings.env, settings.env_kwargs, algorithm=of_settings(settings).name)
    settings = replace(settings, core_kwargs=sized(core, {}, WEIGHTS, partial(rehearsal.weights, settings)))
    early = folder / EARLY_FOLDER
    agent, minutes = trained(settings, folder, ability.tests.values(), KeptInTime(ability.seconds, early))
    run, tests = Run.open(folder), ability.tests

    def score(test: dict[str, Any], seed: int = EVALUATION_SEED, of: Run = run) -> float:
        return mean_score(of, test, ability.episodes, sampled=ability.sampled, seed=seed)

    scores = {name: score(test) for name, test in tests.items()}
    before = run._replace(folder=early) if early.exists() else None
    result = {
        "steps": agent.num_timesteps,
        "minutes": minutes,
        "weights": sum(parameter.numel() for parameter in agent.policy.parameters()),
        "scores": scores,
        "early": {name: score(test, of=before) for name, test in tests.items()} if before else scores,
    }
    if seed == 0:  # the sweep's; nothing is chosen by the others
        result["choice"] = mean(score(test, CHOICE_SEED) for test in tests.values())
    write_json(folder / RESULT_FILE, result)


def bounds(settings: AbilitiesSettings) -> Bounds:
    """Return what random actions and the oracle score in every test, measured once."""
    file = settings.documents / "results" / "abilities" / BOUNDS_FILE
    found: Bounds = read_json(file) if file.is_file() else {}
    for name, ability in ABILITIES.items():
        if name in found:
            continue
        plain = by_recipe(ability.recipe, **ability.changes)
        found[name] = {RANDOM: {}, ORACLE: {}}
        for test, changes in ability.tests.items():
            env = test_env(plain, changes, 100)
            agents = baselines(env)
            for agent, scores in found[name].items():
                scores[test] = score_of(agents[agent], env, ability.episodes, changes.get("metric", "success"))
            env.close()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, found)
    return found


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
                rate = chosen_rate(there, RATES)
                if seed > 0 and rate is None:
                    print(f"{name}, {core}: seed {seed} waits for the sweep of seed 0")
                for one in RATES if seed == 0 else (rate,) if rate else ():
                    if str(seed) not in there.get(one, {}):
                        train(ABILITIES[name], core, one, seed, settings.folder / name / core / one / str(seed))
    results = {name: known(settings, name) for name in ABILITIES}
    report = Report(results, bounds(settings), RATES)  # makes the folder of the records
    for name, found in results.items():
        if found:
            write_json(record(settings, name), found)
    report.draw(settings.documents / PICTURE)
    write_between_marks(settings.documents / "results.md", "abilities", report.tables())


if __name__ == "__main__":
    with plain_errors(ValueError, OSError):
        main(tyro.cli(AbilitiesSettings, description=__doc__))
