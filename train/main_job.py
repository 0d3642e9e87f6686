"""The main job: agents that saw only random graphs travel neighbourhoods of the real London Underground.

    make train

trains a DNC by the recipe ``underground`` (PPO alone, random graphs alone), an LSTM and a memoryless control by the
same recipe, and evaluates all of them on connected neighbourhoods of 4 to 6 real stations, with goals 1 and 2 hops away
and a budget of one step more than that. The table, the learning curves and a map of one journey stay in the run folder.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before torch loads: spinning threads starve the environments

import tyro
from rich.console import Console

from memagents import RecurrentPPO
from memagents.checkpoint import write_json
from memagents.environments import make_env
from memagents.evaluation import Scores, baselines, compare, scores_json, scores_table
from memagents.figures import comparison, learning_curve, write_png
from memagents.settings import PPOSettings, of_recipe
from memagents.training import learn, load_agent, make_agent, make_curriculum, plain_errors, prepare, scenes

RECIPES = Path(__file__).parent / "recipes"
ENV = "memenvs/Underground-v0"
DISTANCES = (1, 2)
REAL = {"map": "underground", "stations": (4, 6), "exits": (1, 7), "slack": 1, "labels": 8}
CORES = {"dnc": {}, "lstm": {"hidden_size": 128}, "none": {"hidden_size": 128}}  # the DNC's own sizes are the recipe's
EVALUATION_SEED = 2_000_000


@dataclass
class Settings:
    """What may be changed; the defaults are the claim.

    :param run_dir: folder of everything
    :param cores: what is trained, by the same recipe
    :param episodes: of the evaluation, for each agent and distance
    :param seed: of the trainings
    :param total_timesteps: environment steps of each training; by default the recipe's
    :param threads: of torch; by default one for each core
    """

    run_dir: Path = Path("runs/main_job")
    cores: tuple[str, ...] = ("dnc", "lstm", "none")
    episodes: int = 1000
    seed: int = 0
    total_timesteps: int | None = None
    threads: int | None = None


def train(core: str, settings: Settings) -> Path:
    """Train one agent by the recipe; its run folder."""
    changes: dict = {"core": core, "seed": settings.seed, "threads": settings.threads, "overwrite": True}
    if CORES[core]:
        changes["core_kwargs"] = CORES[core]
    if settings.total_timesteps is not None:
        changes["total_timesteps"] = settings.total_timesteps
    run_dir = settings.run_dir / core
    told = of_recipe(PPOSettings, "underground", RECIPES, run_dir=str(run_dir), **changes)
    prepare(threads=told.threads)
    curriculum = make_curriculum(told)
    learn(make_agent(RecurrentPPO, told, curriculum), told, curriculum)
    return run_dir


def evaluate(runs: dict[str, Path], distance: int, episodes: int) -> dict[str, Scores]:
    """The scores of all agents and of the baselines, on real neighbourhoods with the goal so many hops away."""
    env = make_env(ENV, 100, **REAL, distance=distance)
    agents = {core: load_agent(run, env, "cpu") for core, run in runs.items()}
    return compare({**agents, **baselines(env)}, env, episodes, EVALUATION_SEED)


def main(settings: Settings) -> None:
    begin = time.perf_counter()
    runs = {core: train(core, settings) for core in settings.cores}
    minutes = (time.perf_counter() - begin) / 60
    results = {f"{d} hop{'s' * (d > 1)}": evaluate(runs, d, settings.episodes) for d in DISTANCES}

    folder, console = settings.run_dir, Console()
    for name, scores in results.items():
        console.print(scores_table(f"the real Underground, 4-6 stations, {name}, {settings.episodes} episodes", scores))
    write_json(folder / "results.json", {name: scores_json(scores) for name, scores in results.items()})
    success = {name: {a: s.success for a, s in scores.items()} for name, scores in results.items()}
    comparison(success, folder / "success.png")
    learning_curve(list(runs.values()), folder / "learning_curve.png")
    journey = scenes(next(iter(runs.values())), ENV, {**REAL, "distance": max(DISTANCES)}, seed=EVALUATION_SEED)[0]
    write_png(journey[-1], folder / "journey.png")
    console.print(f"trained in {minutes:.1f} minutes; tables, learning_curve.png, success.png, journey.png in {folder}")


if __name__ == "__main__":
    with plain_errors(ValueError, FloatingPointError, KeyboardInterrupt):
        main(tyro.cli(Settings, description=__doc__))
