"""Observability gap and memory bias of a memory: a task beside the same task that shows everything.

    python train/twins.py --env memenvs/TMaze-v0 --core lstm --seeds 5 --total-timesteps 400_000 -- --recipe tmaze

trains with each seed an agent with the memory where everything is shown (``observable=True``), one without a memory
there, and one with the memory where it is not, as two runs of ``memagents compare``; words after ``--`` are settings of
``memagents train ppo`` that all trainings share. What is done is kept: the same command goes on where it was stopped.
"""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tyro

from memagents.checks import positive_int
from memagents.command_line.compare import checked, compare
from memagents.command_line.errors import plain_errors
from memagents.experiments.comparison import ComparisonSettings
from memagents.experiments.evaluation import FEW_SEEDS, Interval
from memagents.experiments.jobs import SET_FOR_ALL
from memagents.experiments.options import Pairs, parse_options, refuse_words
from memagents.inspection.twins import twins
from memagents.runs.files import write_json

NONE = "none"
RESULT_FILE = "twins.json"
_SET = {**SET_FOR_ALL, "core": "--core", "learning_rate": "--learning-rate", "seed": "--seeds"}


@dataclass
class TwinsSettings:
    """Observability gap and memory bias of a memory: a task beside the same task that shows everything.

    Each training is a process of its own with one thread. What is done is kept: the same command goes on after Ctrl-C
    or a crash. Words after ``--`` are settings of ``memagents train ppo`` that all trainings share, such as
    --recipe tmaze.

    :param env: id of an environment with a parameter ``observable``, or "package:Id"
    :param env_kwargs: its other parameters, as key=value with values in YAML
    :param core: memory
    :param seeds: of each of the three agents, two or more; five or more have intervals
    :param learning_rate: of all trainings
    :param total_timesteps: environment steps of each training
    :param episodes: of each evaluation
    :param processes: trainings at a time; by default one for each processor
    :param folder: where everything goes
    :param imports: packages to import first
    :param words: settings of ``memagents train ppo``, after ``--``
    """

    env: str
    env_kwargs: Pairs = field(default_factory=dict)
    core: str = "lstm"
    seeds: int = 5
    learning_rate: float = 1e-3
    total_timesteps: int = 1_000_000
    episodes: int = 1000
    processes: int | None = None
    folder: Path = Path("runs/twins")
    imports: tuple[str, ...] = ()
    words: tyro.conf.Suppress[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if positive_int("seeds", self.seeds) < 2:
            raise ValueError("seeds must be 2 or more")
        if self.core == NONE:
            raise ValueError("core must be a memory: the agents without one are trained beside it")
        if "observable" in self.env_kwargs:
            raise ValueError("env_kwargs must leave out observable, which is what the twins differ by")
        refuse_words(self.words, _SET, "twins.py")

    def twin(self, observable: bool) -> ComparisonSettings:
        """Return the comparison that trains the agents of one twin."""
        shared = {name: getattr(self, name) for name in ("env", "seeds", "total_timesteps", "episodes", "processes")}
        return ComparisonSettings(
            **shared,
            env_kwargs={**self.env_kwargs, "observable": observable},
            cores=(self.core, NONE) if observable else (self.core,),
            learning_rates=(self.learning_rate,),
            folder=self.folder / ("seen" if observable else "hidden"),
            imports=self.imports,
            words=self.words,
        )


def main(settings: TwinsSettings) -> None:
    twin = {name: settings.twin(name == "seen") for name in ("hidden", "seen")}
    for comparison in twin.values():  # both, before anything is trained
        checked(comparison)
    hidden, seen = compare(twin["hidden"]), compare(twin["seen"])
    if hidden.measure != seen.measure:
        raise ValueError(
            f"env {settings.env!r} tells the {hidden.measure} of its episodes, but where everything is shown the "
            f"{seen.measure}: the twins cannot be compared"
        )
    scores = {"seen": seen.rows[0].likely, "hidden": hidden.rows[0].likely, "seen_without": seen.rows[1].likely}
    found = twins(**scores)
    print(f"observability gap: {told(found.gap, settings.seeds)}")
    print(f"memory bias: {told(found.bias, settings.seeds)}")
    figures = {name: plain(interval, settings.seeds) for name, interval in found._asdict().items()}
    write_json(settings.folder / RESULT_FILE, {"measure": seen.measure, "scores": scores, **figures})
    print(f"{RESULT_FILE} is in {settings.folder}")


def told(interval: Interval, seeds: int) -> str:
    """Return a difference with its interval, where there are enough seeds for one."""
    shown = f"({interval.low:+.3f} to {interval.high:+.3f})" if seeds >= FEW_SEEDS else f"({seeds} seeds)"
    return f"{interval.mean:+.3f} {shown}"


def plain(interval: Interval, seeds: int) -> dict[str, Any]:
    """Return the same as plain values; of too few seeds the ends are None."""
    return interval._asdict() if seeds >= FEW_SEEDS else {"mean": interval.mean, "low": None, "high": None}


if __name__ == "__main__":
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    with plain_errors(ValueError, KeyboardInterrupt):
        parsed = parse_options(TwinsSettings, given[:end], "train/twins.py")
        main(replace(parsed, words=tuple(given[end + 1 :])))
