"""The main job: agents that saw only random graphs travel neighbourhoods of the real London Underground.

    make train

trains a DNC on random graphs alone, first by imitation of the oracle (recipe ``underground_imitation``), then by PPO
(recipe ``underground``), and a memoryless control by the same recipes; and evaluates both on connected neighbourhoods
of 4 to 6 real stations, with goals 1 and 2 hops away and a budget of one step more than that. The table, the learning
curves and a map of one journey stay in the run folder.

    python train/main_job.py --cores dnc lstm gru none --seeds 5

makes the table over seeds, with an LSTM and a GRU that have as many weights as the DNC. What is finished is kept, so
that it goes on where it was stopped.
"""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads: spinning threads starve the environments

import numpy as np
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from memagents.checks import positive_int
from memagents.command_line.errors import plain_errors
from memagents.cores import core_class
from memagents.environments.make import make_env
from memagents.experiments.configuration import of_recipe
from memagents.experiments.documents import markdown_table
from memagents.experiments.evaluate_run import scenes
from memagents.experiments.evaluation import ORACLE, RANDOM, WALK, Scores, baselines, compare, scores_json
from memagents.experiments.evaluation_settings import EVALUATION_SEED, EvaluationSettings
from memagents.experiments.figures import comparison, learning_curve, write_png
from memagents.experiments.lessons import make_curriculum
from memagents.experiments.run import Run, load_agent
from memagents.experiments.settings import ImitationSettings, PPOSettings, WindowSettings
from memagents.experiments.statistics import bootstrap, mean
from memagents.experiments.training import learn, make_agent, prepare
from memagents.runs.files import write_bytes, write_json
from memagents.runs.layout import LEARNING_CURVE

ENV = "memenvs/Underground-v0"
DISTANCES = (1, 2)
# The memoryless control's; LSTM and GRU have as many weights as the recipes' DNC, 209,000.
CORE_KWARGS = {"lstm": {"hidden_size": 192}, "gru": {"hidden_size": 226}, "none": {"hidden_size": 128}}
REAL: dict[str, Any] = {"map": "underground", "stations": (4, 6), "exits": (1, 7), "slack": 1, "labels": 8}


@dataclass
class MainJobSettings:
    """Settings of the main job; the figures in docs/underground.md are those of the defaults.

    :param run_dir: folder of all results
    :param cores: memories trained by the same recipes
    :param episodes: of the evaluation of each agent at each distance
    :param seed: of the first trainings
    :param seeds: trainings of each core, of this seed and the next ones
    :param share: of the recipes' environment steps, for a quick look
    :param threads: of torch; by default one for each core
    """

    run_dir: Path = Path("runs/main_job")
    cores: tuple[str, ...] = ("dnc", "none")
    episodes: int = 1000
    seed: int = 0
    seeds: int = 1
    share: float = 1.0
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("episodes", "seeds"):
            positive_int(name, getattr(self, name))
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be a number above 0 and at most 1, not {self.share}")
        if not self.cores or len(set(self.cores)) < len(self.cores):
            raise ValueError(f"cores must be one or more, each once, not {' '.join(self.cores) or 'none'}")
        for core in self.cores:
            core_class(core)  # which is an error where there is none


S = TypeVar("S", bound=WindowSettings)


def train(core: str, seed: int, folder: Path, settings: MainJobSettings) -> Path:
    """Train one agent by both recipes and return the run folder of the second."""
    changes: dict = {"core": core, "seed": seed, "threads": settings.threads, "overwrite": True}
    if core in CORE_KWARGS:
        changes["core_kwargs"] = CORE_KWARGS[core]
    warm, last = folder / "imitation" / core, folder / "ppo" / core
    imitation = of_recipe(ImitationSettings, "underground_imitation", run_dir=str(warm), **changes)
    ppo = of_recipe(PPOSettings, "underground", run_dir=str(last), init_from=str(warm), **changes)
    for phase in (imitation, ppo):
        phase = in_part(phase, settings)
        curriculum = make_curriculum(phase)
        learn(make_agent(phase, curriculum), phase, curriculum)
    return last


def in_part(phase: S, settings: MainJobSettings) -> S:
    """Return the settings of a training with as many steps as are asked for."""
    return replace(phase, total_timesteps=int(settings.share * phase.total_timesteps))


def is_done(run: Path, settings: MainJobSettings) -> bool:
    """Return whether a core's trainings are finished, and not stopped in the middle.

    :raises ValueError: if they are, with another share of the steps
    """
    if not (run / LEARNING_CURVE).is_file():
        return False
    made, wanted = Run.open(run), in_part(of_recipe(PPOSettings, "underground"), settings)
    assert made.settings is not None
    steps = made.settings.total_timesteps
    if steps != wanted.total_timesteps:
        raise ValueError(
            f"{run} was trained for {steps:,} steps, not {wanted.total_timesteps:,}: choose another --run-dir, or the "
            "--share that it was made with"
        )
    return made.description["num_timesteps"] >= steps


def of_seed(seed: int, settings: MainJobSettings) -> tuple[dict[str, Path], dict[str, dict[str, Scores]]]:
    """Train and evaluate all cores with one seed, where that is not done yet.

    :return: the run folder of each core, and the scores at each distance
    """
    folder = settings.run_dir if settings.seeds == 1 else settings.run_dir / f"seed-{seed}"
    runs = {core: folder / "ppo" / core for core in settings.cores}
    for core, run in runs.items():
        if settings.seeds == 1 or not is_done(run, settings):
            train(core, seed, folder, settings)
    return runs, {f"{d} hop{'s' * (d > 1)}": evaluate(runs, d, settings.episodes) for d in DISTANCES}


def evaluate(runs: dict[str, Path], distance: int, episodes: int) -> dict[str, Scores]:
    """Return the scores of all agents and baselines on real neighbourhoods, with the goal ``distance`` hops away."""
    env = make_env(ENV, 100, **REAL, distance=distance)
    agents = {core: load_agent(run, env, "cpu") for core, run in runs.items()}
    return compare({**agents, **baselines(env)}, env, episodes, EVALUATION_SEED)


def table(results: dict[str, dict[str, Scores]], episodes: int) -> Table:
    """Return a table with a row for each agent: its success at each distance with the 95% interval, and its SPL."""
    shown = Table(title=f"the real Underground, 4-6 stations, {episodes} episodes each", box=box.SIMPLE)
    shown.add_column("agent")
    for name in results:
        shown.add_column(f"{name}: success", no_wrap=True)
        shown.add_column("SPL")
    for agent in next(iter(results.values())):
        cells = []
        for scores in (group[agent] for group in results.values()):
            assert scores.success is not None and scores.spl is not None  # the Underground measures both
            mean, low, high = scores.success
            cells += [f"{mean:.3f}  ({low:.3f} to {high:.3f})", f"{scores.spl.mean:.3f}"]
        shown.add_row(agent, *cells)
    return shown


def over_all_seeds(results: list[dict[str, dict[str, Scores]]]) -> list[str]:
    """Return the lines of a Markdown table: the success of each agent at each distance over the seeds, all listed.

    Agents that are not trained have no seeds: theirs is the interval over episodes.
    """
    rows = []
    for agent in results[0]["1 hop"]:
        trained, cells = agent not in (RANDOM, WALK, ORACLE), []
        for name in results[0]:
            found = [success for one in results if (success := one[name][agent].success) is not None]
            seeds = [success.mean for success in found]
            interval = bootstrap(mean, seeds) if trained else found[0]
            shown = "" if interval is None else f" ({interval.low:.3f} to {interval.high:.3f})"
            each = ", ".join(f"{seed:.3f}" for seed in seeds) if trained else ""
            cells += [f"{np.mean(seeds):.3f}{shown}", each]
        rows.append([agent, *cells])
    heads = [cell for name in results[0] for cell in (f"{name}: mean (95% over seeds)", "each seed")]
    return markdown_table(["agent", *heads], rows)


def main(settings: MainJobSettings) -> None:
    prepare(threads=settings.threads)
    begin = time.perf_counter()
    done = [of_seed(seed, settings) for seed in range(settings.seed, settings.seed + settings.seeds)]
    minutes = (time.perf_counter() - begin) / 60

    (runs, results), folder, console = done[0], settings.run_dir, Console()
    if settings.seeds > 1:
        lines = over_all_seeds([scores for _, scores in done])
        write_bytes(folder / "table.md", "\n".join([*lines, ""]).encode())
        print("\n".join(lines))
    else:
        console.print(table(results, settings.episodes))
    write_json(folder / "results.json", [{n: scores_json(scores) for n, scores in own.items()} for _, own in done])
    success = {name: {a: s.success for a, s in scores.items() if s.success} for name, scores in results.items()}
    comparison(success, folder / "success.png")
    for phase in ("imitation", "ppo"):
        shown = [run.parent.parent / phase / core for core, run in runs.items()]
        learning_curve(shown, folder / f"learning_curve_{phase}.png")
    where = EvaluationSettings(env=ENV, env_kwargs={**REAL, "distance": max(DISTANCES)}, episodes=1)
    journey = scenes(Run.open(next(iter(runs.values()))), where)[0]
    write_png(journey[-1], folder / "journey.png")
    console.print(f"trained and evaluated in {minutes:.1f} minutes; the tables, curves and maps are in {folder}")


if __name__ == "__main__":
    with plain_errors(ValueError, FloatingPointError, KeyboardInterrupt):
        main(tyro.cli(MainJobSettings, description=__doc__))
