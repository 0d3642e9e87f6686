"""The tables of docs/cores.md, docs/worlds.md and docs/learning.md: each memory on the tasks that it was made for.

    python train/tables.py                                          # all of it: hours on two cores
    python train/tables.py --only copy --rows ntm --seeds 0         # a part; what is there already stays
    python train/tables.py --only ""                                # the tables alone, from the runs there are

A training that is finished is not made again, so parts may run side by side in processes of their own. A table of which
there are no runs here stays as it is.
"""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads: spinning threads starve the environments

import numpy as np
import tyro

from memagents import core_names
from memagents.checks import selected
from memagents.command_line.errors import plain_errors
from memagents.environments.make import make_env
from memagents.experiments.configuration import of_recipe
from memagents.experiments.documents import markdown_table, write_between_marks
from memagents.experiments.evaluation import FEW_SEEDS, evaluate, over_seeds
from memagents.experiments.evaluation_settings import EVALUATION_SEED
from memagents.experiments.figures import learning_curve
from memagents.experiments.lessons import make_curriculum
from memagents.experiments.run import Run
from memagents.experiments.settings import ImitationSettings, PPOSettings, WindowSettings
from memagents.experiments.training import learn, make_agent, prepare
from memagents.runs.files import read_json, write_json
from memagents.runs.layout import RESULT_FILE


@dataclass(frozen=True)
class Experiment:
    """Agents trained by one recipe and evaluated in several environments: a table with a row for each.

    :param title: of its table
    :param about: paragraph above it
    :param recipe: its name
    :param rows: by name, the changes to the recipe; the name is the core's unless there is an entry ``core``
    :param tests: by the head of a column, the parameters of its environment; ``env`` gives another id, ``metric``
        another metric than the one below, ``sampled`` asks for sampled actions instead of the most likely ones
    :param metric: the score shown: ``success`` or a metric of the environment
    :param settings: dataclass that the recipe fills
    :param episodes: of each test
    :param test_slots: slots of a memory in the tests, if not as many as in training
    :param document: file of the table, in ``docs``
    :param curves: axis over which the learning curves are drawn, ``"steps"`` or ``"minutes"``;
        an empty word draws none
    :param each_seed: list the scores of all seeds behind their mean
    :param ever_harder: whether a score of 0 in one test stands for 0 in those that follow, which are not played then
    """

    title: str
    about: str
    recipe: str
    rows: dict[str, dict[str, Any]]
    tests: dict[str, dict[str, Any]]
    metric: str = "success"
    settings: type[WindowSettings] = ImitationSettings
    episodes: int = 100
    test_slots: int | None = None
    document: str = "cores.md"
    curves: str = "steps"
    each_seed: bool = False
    ever_harder: bool = False


SHARES = ("success", "first", "later")  # metrics that are at most 1
NO_BONUS: dict[str, Any] = {"bonus": None, "bonus_kwargs": {}}
MEMORY_S13_CORES: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru": {"core_kwargs": {"hidden_size": 64}},
    "gtrxl": {"core_kwargs": {"width": 64, "layers": 2, "length": 32}},
    "dnc": {"core_kwargs": {"slots": 16, "width": 16, "read_heads": 2, "controller_size": 64}},
}
NTH_FARTHEST_DNC = {"slots": 8, "width": 16, "read_heads": 2, "controller_size": 64}

EXPERIMENTS = {
    "copy": Experiment(
        title="Copy",
        about="Wrong bits in a sequence of 8-bit vectors (of 160, 320 and 960), trained on lengths 1 to 20.",
        recipe="copy",
        rows={
            "ntm": {"core_kwargs": {"slots": 128, "width": 20, "controller_size": 100}},
            "dnc": {
                "core_kwargs": {"slots": 32, "width": 20, "read_heads": 1, "controller_size": 100},
                "total_timesteps": 4_000_000,
            },
            "lstm": {"core_kwargs": {"hidden_size": 256}},
        },
        tests={
            "length 20": {"length": 20},
            "length 40": {"length": 40},
            "length 120": {"length": 120},
        },
        test_slots=128,
        metric="wrong_bits",
    ),
    "associative_recall": Experiment(
        title="Associative recall",
        about="Share of items recalled without a wrong bit, trained on 2 to 6 items of 3 × 6 bits.",
        recipe="associative_recall",
        rows={
            "dnc": {"core_kwargs": {"slots": 64, "width": 24, "read_heads": 2, "controller_size": 100}},
            "ntm": {"core_kwargs": {"slots": 64, "width": 24, "controller_size": 100}},
            "sam": {"core_kwargs": {"slots": 128, "width": 24, "read_heads": 2, "controller_size": 100}},
            "lstm": {"core_kwargs": {"hidden_size": 256}},
        },
        tests={f"{items} items": {"items": items} for items in (6, 10, 15)},
        test_slots=128,
    ),
    "nth_farthest": Experiment(
        title="N-th farthest",
        about="Share of right answers for 3 vectors of one number, where the rank alone gives 2/3. The published size "
        "(8 vectors of 16 numbers) is the recipe `nth_farthest`, for a GPU.",
        recipe="nth_farthest_small",
        rows={
            "rmc": {"core_kwargs": {"slots": 4, "width": 32, "heads": 2}},
            "lstm": {"core_kwargs": {"hidden_size": 64}},
            "dnc": {"core_kwargs": NTH_FARTHEST_DNC},
            "dnc, random start": {"core": "dnc", "core_kwargs": {**NTH_FARTHEST_DNC, "ready_to_record": False}},
        },
        tests={"success": {}},
        episodes=2000,
    ),
    "minigrid_doorkey": Experiment(
        title="MiniGrid's DoorKey, here and on MiniGrid",
        about="The same recipe on either implementation of DoorKey-5x5, 300,000 steps; success in 1,000 episodes here.",
        recipe="minigrid_doorkey",
        rows={
            name: {"core": "lstm", "env": f"{space}MiniGrid-DoorKey-5x5-v0"}
            for name, space in (("memenvs", "memenvs/"), ("MiniGrid", ""))
        },
        tests={"success": {"env": "memenvs/MiniGrid-DoorKey-5x5-v0"}},
        settings=PPOSettings,
        episodes=1000,
        document="worlds.md",
        curves="minutes",
    ),
    "maze": Experiment(
        title="A goal found again",
        about="Recipe `maze` (PPO, 20M steps): a hidden goal stays where it is while the agent is put elsewhere each "
        "time it gets there. How many times it got there, and how short its first way and the later ones were (the "
        "fewest possible steps over those it took), in 1,000 episodes of mazes not seen before.",
        recipe="maze",
        rows={"gru": {}, "none": {}},
        tests={
            **{name: {"metric": name} for name in ("goals", "first", "later")},
            "later, sampled actions": {"metric": "later", "sampled": True},
        },
        settings=PPOSettings,
        episodes=1000,
        document="worlds.md",
        each_seed=True,
    ),
    "memory_s7": Experiment(
        title="MiniGrid's MemoryS7",
        about="The recipe `minigrid_memory` (an LSTM with a bonus for what is new in the episode), 2M steps; the "
        "share of right choices in 1,000 episodes.",
        recipe="minigrid_memory",
        rows={
            "lstm": {},
            "lstm, no bonus": {"core": "lstm", **NO_BONUS},
            "lstm, no recall": {"core": "lstm", "policy_kwargs": {"net_arch": [64]}},
            "lstm, one memory": {"core": "lstm", "critic_core": None},
        },
        tests={"most likely actions": {}, "sampled actions": {"sampled": True}},
        settings=PPOSettings,
        episodes=1000,
        document="learning.md",
        each_seed=True,
    ),
    "memory_s13": Experiment(
        title="MiniGrid's MemoryS13",
        about="The recipe `minigrid_memory_s13`, 3M steps in all, those in the shorter corridors included; the share "
        "of right choices in 1,000 episodes of the last corridor, and of a longer one that was never trained.",
        recipe="minigrid_memory_s13",
        rows={
            **MEMORY_S13_CORES,
            **{f"{core}, no bonus": {"core": core, **row, **NO_BONUS} for core, row in MEMORY_S13_CORES.items()},
            "lstm, no lessons": {"core": "lstm", "lessons": ()},
        },
        tests={
            "most likely actions": {},
            "sampled actions": {"sampled": True},
            "S17Random": {"env": "memenvs/MiniGrid-MemoryS17Random-v0"},
        },
        settings=PPOSettings,
        episodes=1000,
        document="learning.md",
        each_seed=True,
    ),
    "multiroom": Experiment(
        title="MiniGrid's MultiRoom-N6",
        about="The recipe `minigrid_multiroom` (an LSTM with a bonus for what is new in the episode), 3M steps, "
        "trained on one part of the levels; how often the goal was reached in 1,000 episodes of the other part.",
        recipe="minigrid_multiroom",
        rows={"lstm": {}, "lstm, no bonus": {"core": "lstm", **NO_BONUS}},
        tests={"most likely actions": {}, "sampled actions": {"sampled": True}},
        settings=PPOSettings,
        episodes=1000,
        document="learning.md",
        each_seed=True,
    ),
}


def horizons() -> dict[str, Experiment]:
    """Return the experiment that trains every core in short T-mazes and lets it walk through long ones."""
    lengths = {"10": 10, "100": 100, "1,000": 1000, "10,000": 10_000, "100,000": 100_000}
    return {
        "tmaze_horizon": Experiment(
            title="T-mazes far longer than those of the training",
            about="Trained in corridors of 1 to 10 steps (recipe `tmaze`, 400,000 steps), each core with the "
            "parameters it has by default; the share of right turns in 100 corridors of each length. One that makes "
            "no right turn at a length is not asked at longer ones, which count as 0.",
            recipe="tmaze",
            rows={core: {"core_kwargs": {}, "env_kwargs": {"length": [1, 10]}, "lessons": ()} for core in core_names()},
            tests={f"{head} steps": {"length": length} for head, length in lengths.items()},
            settings=PPOSettings,
            document="learning.md",
            curves="",
            each_seed=True,
            ever_harder=True,
        ),
    }


def small_runs() -> dict[str, Experiment]:
    """Return the experiments that train every core of the catalogue on two small tasks."""
    return {
        "small_copy": Experiment(
            title="Every core: Copy, small",
            about="Share of sequences of 1 to 4 vectors of 4 bits copied without a wrong bit, after 300,000 steps of "
            "imitation, each core with the parameters it has by default.",
            recipe="copy",
            rows={
                core: {
                    "core_kwargs": {},
                    "env_kwargs": {"width": 4, "length": [1, 4]},
                    "n_steps": 22,
                    "learning_rate": 3e-3,
                    "total_timesteps": 300_000,
                }
                for core in core_names()
            },
            tests={"success": {"length": [1, 4]}},
            episodes=500,
            curves="",
        ),
        "small_tmaze": Experiment(
            title="Every core: T-maze",
            about="Share of right turns after a corridor of 3 steps, after 24,576 steps of PPO.",
            recipe="tmaze",
            rows={
                core: {"core_kwargs": {}, "env_kwargs": {"length": 3}, "lessons": (), "total_timesteps": 24_576}
                for core in core_names()
            },
            tests={"success": {}},
            settings=PPOSettings,
            episodes=500,
            curves="",
        ),
    }


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


def train(experiment: Experiment, row: str, seed: int, folder: Path, settings: TablesSettings) -> None:
    """Train the agent of one row with one seed, evaluate it, and leave the result in its run folder.

    Nothing is done where there is a result already.

    :raises ValueError: if that is of another number of steps
    """
    changes = {"core": row, "seed": seed, "threads": settings.threads, "run_dir": str(folder), "overwrite": True}
    chosen = of_recipe(experiment.settings, experiment.recipe, **{**changes, **experiment.rows[row]})
    chosen = replace(chosen, total_timesteps=int(settings.share * chosen.total_timesteps))
    if (folder / RESULT_FILE).is_file():
        made = Run.open(folder).settings
        if made is not None and made.total_timesteps != chosen.total_timesteps:
            raise ValueError(
                f"{folder} was trained for {made.total_timesteps:,} steps, not {chosen.total_timesteps:,}: choose "
                "another --folder, or the --share that it was made with"
            )
        return
    curriculum = make_curriculum(chosen)
    agent = make_agent(chosen, curriculum)
    begin = time.perf_counter()
    learn(agent, chosen, curriculum)
    minutes = (time.perf_counter() - begin) / 60
    episodes = min(experiment.episodes, max(20, int(settings.share * experiment.episodes)))
    score(replace(experiment, episodes=episodes), folder, agent.num_timesteps, minutes)


def score(experiment: Experiment, folder: Path, steps: int, minutes: float) -> None:
    """Evaluate a trained agent, and leave the result in its run folder."""
    run, scores = Run.open(folder), dict.fromkeys(experiment.tests, 0.0)
    assert run.settings is not None
    for name, test in experiment.tests.items():
        slots = experiment.test_slots if "slots" in run.settings.core_kwargs else None  # type: ignore[attr-defined]
        parameters = dict(test)
        env, metric = parameters.pop("env", None), parameters.pop("metric", experiment.metric)
        likely = not parameters.pop("sampled", False)
        env, kwargs = run.evaluation_env(env, parameters)
        evaluated = run.load_agent(make_env(env, min(experiment.episodes, 100), **kwargs), slots=slots)
        episodes = evaluate(evaluated, evaluated.env, experiment.episodes, likely, seed=EVALUATION_SEED)
        measured = episodes.success if metric == "success" else episodes.metrics[metric]
        assert measured is not None
        scores[name] = float(measured.mean())
        if experiment.ever_harder and scores[name] == 0:
            break
    write_json(folder / RESULT_FILE, {"steps": steps, "minutes": minutes, "scores": scores})


# --- tables ---------------------------------------------------------------------------------------------------------


def table(experiment: Experiment, folder: Path) -> list[str]:
    """Return the lines of an experiment's table: a row for each agent that was trained."""
    heads = ["", *experiment.tests, "seeds", "steps", "minutes", "steps/s"]
    rows = []
    for row in experiment.rows:
        results = [read_json(path) for path in sorted(folder.glob(f"{row}-*/{RESULT_FILE}"))]
        if results:
            rows.append([f"`{row}`", *cells(results, experiment)])
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
    """Return a score over seeds: a count, or a share."""
    return over_seeds(values, digits=2 if np.mean(values) < 10 else 1, low=0, high=1 if metric in SHARES else np.inf)


def show_table(name: str, experiment: Experiment, settings: TablesSettings) -> None:
    """Print a table, or put it into its document in place of what stands between its two marks, a picture beside it."""
    lines, folder = table(experiment, settings.folder / name), settings.documents
    if folder is None:
        folder = Path("docs" if settings.share == 1 else "")
    if not folder.name:
        print("\n".join(lines))
        return
    document = folder / experiment.document
    runs = sorted((settings.folder / name).glob(f"*-{settings.seeds[0]}/{RESULT_FILE}"))
    if experiment.curves and runs:
        picture = document.with_name(f"{document.stem}_{name}.png")
        learning_curve([path.parent for path in runs], picture, experiment.curves)
        lines += [f"![{experiment.title}: learning curves of seed {settings.seeds[0]}]({picture.name})", ""]
    write_between_marks(document, name, lines)


def main(settings: TablesSettings) -> None:
    experiments = {**EXPERIMENTS, **small_runs(), **horizons()}
    names = selected(settings.only, experiments)
    rows = selected(settings.rows, dict.fromkeys(row for experiment in experiments.values() for row in experiment.rows))
    prepare(threads=settings.threads)
    for name in names:
        for seed in settings.seeds:
            for row in experiments[name].rows:
                folder = settings.folder / name / f"{row}-{seed}"
                if row in rows:
                    train(experiments[name], row, seed, folder, settings)
    for name, experiment in experiments.items():
        if any((settings.folder / name).glob(f"*/{RESULT_FILE}")):
            show_table(name, experiment, settings)


if __name__ == "__main__":
    with plain_errors(ValueError, FloatingPointError, KeyboardInterrupt):
        main(tyro.cli(TablesSettings, description=__doc__))
