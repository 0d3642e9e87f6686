"""What ``train/abilities.py`` writes into docs/results.md: the tables, and one picture of them all."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from abilities_tasks import ABILITIES
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from memagents import core_names
from memagents.experiments.documents import markdown_table
from memagents.experiments.evaluation import ORACLE, RANDOM, over_seeds
from memagents.experiments.figures import COLOURS, INK, PAPER, write
from memagents.experiments.statistics import bootstrap, interquartile_mean

NO_MEMORY = "none"  # the core whose agents are the floor
PICTURE = "results.png"

Results = dict[str, dict[str, dict[str, dict[str, Any]]]]  # of an ability, by core, learning rate and seed
Bounds = dict[str, dict[str, dict[str, float]]]  # by ability, agent (random or the oracle) and test


def chosen_rate(rates: dict[str, dict[str, dict[str, Any]]], swept: tuple[str, ...]) -> str | None:
    """Return the learning rate that did best with seed 0; None while not all of them were tried."""
    tried = {rate: rates[rate]["0"]["choice"] for rate in swept if "0" in rates.get(rate, {})}
    return max(tried, key=lambda rate: tried[rate]) if len(tried) == len(swept) else None


@dataclass(frozen=True)
class Report:
    """All that was trained, and what it is measured by.

    :param results: of every ability
    :param bounds: what random actions and the oracle score
    :param rates: learning rates of the sweep
    """

    results: dict[str, Results]
    bounds: Bounds
    rates: tuple[str, ...]

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Every column of the tables: an ability and a test of it."""
        return [(name, test) for name, ability in ABILITIES.items() for test in ability.tests]

    @property
    def cores(self) -> list[str]:
        """Cores with a result."""
        return [core for core in core_names() if any(self.rate(core, name) for name in ABILITIES)]

    def rate(self, core: str, ability: str) -> str | None:
        """Return the learning rate chosen; None while the sweep is not finished."""
        return chosen_rate(self.results[ability].get(core, {}), self.rates)

    def runs(self, core: str, ability: str) -> list[dict[str, Any]]:
        """Return the results of a core's seeds with the chosen learning rate, by seed."""
        rate = self.rate(core, ability)
        return [run for _, run in sorted(self.results[ability][core][rate].items())] if rate else []

    def scores(self, core: str, ability: str, test: str, early: bool = False) -> list[float]:
        """Return the scores of a core's seeds; ``early`` for those in equal time."""
        return [run["early" if early else "scores"][test] for run in self.runs(core, ability)]

    def normalized(self, core: str, ability: str, test: str) -> np.ndarray:
        """Return scores of seeds (N,) with 1 for the oracle's, and 0 for the best that does without a memory."""
        bounds = {agent: scores[test] for agent, scores in self.bounds[ability].items()}
        without = self.scores(NO_MEMORY, ability, test)
        floor = max(bounds[RANDOM], float(np.mean(without)) if without else -np.inf)
        return (np.array(self.scores(core, ability, test)) - floor) / (bounds[ORACLE] - floor)

    def overall(self, core: str) -> str:
        """Return the interquartile mean over all abilities by their first tests; "" while one of them is missing."""
        columns = [self.normalized(core, name, next(iter(ability.tests))) for name, ability in ABILITIES.items()]
        if len({len(column) for column in columns}) != 1 or not len(columns[0]):
            return ""
        scores = np.stack(columns, axis=1)
        interval = bootstrap(interquartile_mean, scores)
        if interval is None:
            return f"{float(interquartile_mean(scores)):.2f}"
        return f"{interval.mean:.2f} ({interval.low:.2f} to {interval.high:.2f})"

    # --- tables -----------------------------------------------------------------------------------------------------

    def tables(self) -> list[str]:
        """Return all lines that stand between the marks."""
        picture = [f"![Scores of every memory by ability]({PICTURE})", ""] if set(self.cores) - {NO_MEMORY} else []
        return [
            *picture,
            *(f"- **{name}**: {ability.about}" for name, ability in ABILITIES.items()),
            "",
            *self._scores(early=False),
            "",
            "The same in equal time: what each had learned after so many seconds of one core, about as long as the "
            "LSTM takes for all its steps. An agent that had made all of them by then is shown as it was.",
            "",
            *self._scores(early=True),
            "",
            "Minutes of a training on one core, and the learning rate chosen:",
            "",
            *self._minutes(),
            "",
        ]

    def _scores(self, early: bool) -> list[str]:
        heads = [f"{name}: {test}" + f", {ABILITIES[name].seconds} s" * early for name, test in self.columns]
        rows = [] if early else [self._bound(RANDOM), self._bound(ORACLE)]
        for core in self.cores:
            found = [self.scores(core, *column, early) for column in self.columns]
            cells = [over_seeds(scores, 2, low=-np.inf, high=np.inf) if scores else "" for scores in found]
            rows.append([f"`{core}`", *cells, *([] if early else [self.overall(core)])])
        return markdown_table(["", *heads, *([] if early else ["all"])], rows)

    def _bound(self, agent: str) -> list[str]:
        return [agent, *(f"{self.bounds[name][agent][test]:.2f}" for name, test in self.columns), ""]

    def _minutes(self) -> list[str]:
        rows = []
        for core in self.cores:
            own = [(self.runs(core, name), self.rate(core, name)) for name in ABILITIES]
            taken = [f"{np.mean([run['minutes'] for run in runs]):.1f} ({rate})" if runs else "" for runs, rate in own]
            rows.append([f"`{core}`", *taken])
        return markdown_table(["", *ABILITIES], rows)

    # --- picture ----------------------------------------------------------------------------------------------------

    def draw(self, path: Path) -> None:
        """Draw a field for each core and test, the darker the nearer to the oracle; the best cores first.

        Nothing is drawn while there is no core.

        :param path: of the PNG or SVG
        """
        cores = [core for core in self.cores if core != NO_MEMORY]
        if not cores:
            return
        found = [[self.normalized(core, *column) for column in self.columns] for core in cores]
        shown = np.array([[np.clip(s.mean(), 0, 1) if len(s) else np.nan for s in row] for row in found])
        shown = shown.reshape(len(cores), len(self.columns))
        known = np.isfinite(shown)
        # What is missing counts as nothing, so that those that were tried in little are not on top.
        order = np.argsort(-np.where(known, shown, 0).sum(1), kind="stable")
        figure = Figure((2.2 + 0.55 * len(self.columns), 1.9 + 0.3 * len(cores)), dpi=130, layout="constrained")
        figure.set_facecolor(PAPER)
        ax = figure.subplots()
        colours = LinearSegmentedColormap.from_list("", [PAPER, COLOURS[0]])
        ax.imshow(shown[order], cmap=colours, vmin=0, vmax=1, aspect="auto")
        for y, x in np.argwhere(known[order]):
            value = shown[order][y, x]
            ax.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=8, color=PAPER if value > 0.6 else INK)
        ax.set_yticks(range(len(cores)), [cores[i] for i in order])
        labels = [name if test == "success" else f"{name}: {test}" for name, test in self.columns]
        ax.set_xticks(range(len(labels)), labels, rotation=40, ha="left", rotation_mode="anchor")
        ax.xaxis.tick_top()
        ax.tick_params(colors=INK, length=0)
        ax.spines[:].set_visible(False)
        ax.set_xticks(np.arange(len(labels) + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(len(cores) + 1) - 0.5, minor=True)
        ax.grid(which="minor", color=PAPER, linewidth=2)
        ax.tick_params(which="minor", length=0)
        ax.set_xlabel("0: no better than without a memory; 1: as good as the oracle. Empty: not trained yet", color=INK)
        write(figure, path)
