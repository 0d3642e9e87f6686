"""What a step costs as the memory grows: SAM and SDNC, whose reads and writes are sparse, beside the DNC.

A step is one of the T steps of a window, forward and backward, from a memory that holds something in every slot. Two
searches of a sparse step look at all slots, for the nearest by content and for the least recently accessed; they are
timed alone, forward, since they have no backward pass, and "but for the search" is what is left. SAM by hashing has but
the second of these, and pays for its index in place of the first.

Contestants take turns and the fastest turn of each counts, so that what else runs on the machine disturbs all of them
alike. Prints a table and draws docs/sparse_cost.png.

python benchmarks/sparse.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from report import show, table
from turns import fastest

from memagents import make_core
from memagents.cores.core import map_state
from memagents.cores.sparse_memory import BY_COPIES, IN_PLACE, SparseMemoryCore
from memagents.experiments.figures import COLOURS, FAINT, INK, PAPER
from memagents.memory import sparse

INPUT_SIZE, WIDTH, HEADS, HIDDEN = 32, 24, 2, 64
CORES = {"SAM": ("sam", {}), "SAM, hashing": ("sam", {"search": "lsh"}), "SDNC": ("sdnc", {}), "DNC": ("dnc", {})}
SEARCH = "its search"


@dataclass
class Settings:
    """What to measure.

    :param slots: numbers of slots
    :param dnc_slots: the most for the DNC, whose links are as many as the square
    :param batch: rows B
    :param steps: steps T of a window
    :param seconds: time for the turns of one number of slots, for all contestants together
    :param figure: where to draw
    """

    slots: tuple[int, ...] = (64, 256, 1024, 4096)
    dnc_slots: int = 1024
    batch: int = 8
    steps: int = 32
    seconds: float = 20.0
    figure: Path = Path(__file__).parent.parent / "docs" / "sparse_cost.png"


class Times(NamedTuple):
    """Seconds of a step."""

    whole: float
    search: float  # NaN where there is none apart

    @property
    def rest(self) -> float:
        return self.whole - self.search


def contestant(name: str, slots: int, settings: Settings) -> tuple[Callable[[], None], Callable[[], None] | None]:
    """A window of a core, forward and backward, and the searches of its steps."""
    kind, options = CORES[name]
    core = make_core(kind, INPUT_SIZE, slots=slots, width=WIDTH, read_heads=HEADS, controller_size=HIDDEN, **options)
    inputs = torch.randn(settings.steps, settings.batch, INPUT_SIZE)
    starts = torch.zeros(settings.steps, settings.batch, dtype=torch.bool)
    with torch.no_grad():
        state = core.unroll(inputs, core.initial_state(settings.batch), starts).state
    if isinstance(core, SparseMemoryCore):
        state = filled(core, state)

    def window() -> None:
        core.zero_grad()
        core.unroll(inputs, state, starts).outputs.sum().backward()

    return window, searches(core, state, settings) if isinstance(core, SparseMemoryCore) else None


def filled(core: SparseMemoryCore, state):
    """The state with something in every slot, accessed in any order."""
    batch = len(state.clock)
    memory = torch.randn_like(state.memory)
    last_access = torch.stack([torch.randperm(core.slots) for _ in range(batch)])
    hashes = state.hashes
    for some in torch.arange(core.slots).split(64):
        changed = some.repeat(batch, 1)
        hashes = core.search(memory, last_access, hashes, memory[:, :HEADS], changed, BY_COPIES)[2]
    return state._replace(memory=memory, last_access=last_access, clock=state.clock + core.slots, hashes=hashes)


def searches(core: SparseMemoryCore, state, settings: Settings) -> Callable[[], None]:
    """The searches of as many steps."""
    queries = torch.randn(settings.steps, settings.batch, HEADS, WIDTH)
    written = torch.cat([state.read_indices.flatten(1), state.last_access.argmin(1, keepdim=True)], dim=1)
    hashes = map_state(torch.clone, state.hashes)

    def run() -> None:
        for query in queries:
            sparse.least_recently_accessed(state.last_access)
            core.search(state.memory, state.last_access, hashes, query, written, IN_PLACE)

    return run


def times_of(slots: int, settings: Settings) -> dict[str, Times]:
    """Of each contestant."""
    names = [name for name in CORES if name != "DNC" or slots <= settings.dnc_slots]
    runs = {}
    for name in names:
        window, search = contestant(name, slots, settings)
        runs[name, ""] = window
        if search is not None:
            runs[name, SEARCH] = search
    best = fastest(runs, settings.seconds)
    seconds = {key: value / settings.steps for key, value in best.items()}
    return {name: Times(seconds[name, ""], seconds.get((name, SEARCH), float("nan"))) for name in names}


def report(times: dict[int, dict[str, Times]], settings: Settings) -> None:
    """A table of milliseconds, and how many times more the largest memory costs than one of 256."""
    base = 256 if 256 in times else min(times)
    title = f"A step forward + backward, batch {settings.batch}, T {settings.steps}, one thread: ms"
    shown = table(title, "slots", *(f"{slots:,}" for slots in times), f"most / {base:,}")
    for name, (kind, _) in CORES.items():
        rows = [(name, "whole")]
        if kind != "dnc":
            rows += [("of it the search", "search"), ("but for the search", "rest")]
        for label, part in rows:
            values = {slots: getattr(found[name], part) for slots, found in times.items() if name in found}
            cells = [f"{1e3 * values[slots]:.3f}" if slots in values else "" for slots in times]
            most = max(values)
            ratio = f"{values[most] / values[base]:.2f}× ({most:,})"
            shown.add_row(label, *cells, ratio)
    show(shown)
    print(f"torch {torch.__version__}; width {WIDTH}, {HEADS} read heads, controller {HIDDEN}, 4 reads of a head")


def draw(times: dict[int, dict[str, Times]], path: Path) -> None:
    """Cost over slots, both logarithmic; solid: the whole step, dashed: but for the search."""
    figure = Figure((7.5, 4.6), dpi=130, layout="constrained", facecolor=PAPER)
    ax = figure.subplots()
    for colour, (name, (kind, _)) in zip(COLOURS, CORES.items(), strict=False):
        known = [slots for slots, found in times.items() if name in found]
        ax.plot(known, [1e3 * times[n][name].whole for n in known], color=colour, linewidth=2, marker="o", label=name)
        if kind != "dnc":
            rest = [1e3 * times[n][name].rest for n in known]
            ax.plot(known, rest, color=colour, linewidth=1.2, linestyle="--", marker=".")
    ax.plot([], [], color=INK, linewidth=1.2, linestyle="--", marker=".", label="but for the search")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(list(times), [f"{n:,}" for n in times])
    ax.minorticks_off()
    low, high = (f(t.whole for found in times.values() for t in found.values()) for f in (min, max))
    low = min(low, *(t.rest for found in times.values() for t in found.values() if t.rest == t.rest))
    steps = [v for e in range(-2, 4) for v in (10**e, 2 * 10**e, 5 * 10**e)]
    shown = [v for v in steps if 0.5e3 * low <= v <= 2e3 * high]
    ax.set_yticks(shown, [f"{v:g}" for v in shown])
    ax.set_xlabel("slots N", color=INK)
    ax.set_ylabel("ms a step, forward + backward", color=INK)
    ax.set_facecolor(PAPER)
    ax.grid(color=FAINT, linewidth=0.6)
    ax.tick_params(colors=INK, length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(FAINT)
    figure.legend(loc="outside upper left", ncols=5, frameon=False, labelcolor=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(path)


def main(settings: Settings) -> None:
    """Measure, print, draw."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    times = {slots: times_of(slots, settings) for slots in sorted(settings.slots)}
    report(times, settings)
    draw(times, settings.figure)


if __name__ == "__main__":
    main(tyro.cli(Settings))
