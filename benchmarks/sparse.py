"""Cost of a step as the memory grows: SAM and SDNC, whose reads and writes are sparse, beside the DNC.

A step is one of the T steps of a window, forward and backward, from a memory that holds something in every slot. Two
searches of a sparse step look at all slots, for the nearest by content and for the least recently accessed; they are
timed alone, forward, since they have no backward pass, and "but for the search" is the rest. SAM by hashing has only
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
from typing import Any, NamedTuple

import torch
import tyro
from drawing import dress_growth
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from report import show
from turns import fastest
from windows import Turn, turn_of

from memagents import make_core
from memagents.cores.core import map_state
from memagents.cores.sparse_memory import BY_COPIES, IN_PLACE, SparseMemoryCore
from memagents.experiments.figures import COLOURS, INK, PAPER
from memagents.memory import sparse

INPUT_SIZE, WIDTH, HEADS, HIDDEN = 32, 24, 2, 64
CORES: dict[str, tuple[str, dict[str, Any]]] = {
    "SAM": ("sam", {}),
    "SAM, hashing": ("sam", {"search": "lsh"}),
    "SDNC": ("sdnc", {}),
    "DNC": ("dnc", {}),
}
SEARCH = "its search"


@dataclass
class SparseBenchmark:
    """Settings: sizes of the memory, and how it is timed.

    :param slots: numbers of slots
    :param dnc_slots: the most for the DNC, whose links grow with their square
    :param batch: rows B
    :param steps: steps T of a window
    :param seconds: time for the turns of one number of slots, for all contestants together
    :param figure: PNG of the curves
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


def contestant(name: str, slots: int, settings: SparseBenchmark) -> tuple[Turn, Callable[[], None] | None]:
    """Return a window of a core, and the searches of its steps if it has any."""
    kind, options = CORES[name]
    core = make_core(kind, INPUT_SIZE, slots=slots, width=WIDTH, read_heads=HEADS, controller_size=HIDDEN, **options)
    inputs = torch.randn(settings.steps, settings.batch, INPUT_SIZE)
    starts = torch.zeros(settings.steps, settings.batch, dtype=torch.bool)
    with torch.no_grad():
        state = core.unroll(inputs, core.initial_state(settings.batch), starts).state
    if isinstance(core, SparseMemoryCore):
        state = filled(core, state)
    window = turn_of(core, lambda: core.unroll(inputs, state, starts).outputs)
    return window, searches(core, state, settings) if isinstance(core, SparseMemoryCore) else None


def filled(core: SparseMemoryCore, state: Any) -> Any:
    """Return the state with something in every slot, accessed in any order."""
    batch = len(state.clock)
    memory = torch.randn_like(state.memory)
    last_access = torch.stack([torch.randperm(core.slots) for _ in range(batch)])
    hashes = state.hashes
    for some in torch.arange(core.slots).split(64):
        changed = some.repeat(batch, 1)
        hashes = core.search(memory, last_access, hashes, memory[:, :HEADS], changed, BY_COPIES)[2]
    return state._replace(memory=memory, last_access=last_access, clock=state.clock + core.slots, hashes=hashes)


def searches(core: SparseMemoryCore, state: Any, settings: SparseBenchmark) -> Callable[[], None]:
    """Return the searches of a window's steps."""
    queries = torch.randn(settings.steps, settings.batch, HEADS, WIDTH)
    written = torch.cat([state.read_indices.flatten(1), state.last_access.argmin(1, keepdim=True)], dim=1)
    hashes = map_state(torch.clone, state.hashes)

    def run() -> None:
        for query in queries:
            sparse.least_recently_accessed(state.last_access)
            core.search(state.memory, state.last_access, hashes, query, written, IN_PLACE)

    return run


def times_of(slots: int, settings: SparseBenchmark) -> dict[str, Times]:
    """Return the times of each contestant."""
    names = [name for name in CORES if name != "DNC" or slots <= settings.dnc_slots]
    runs: dict[tuple[str, str], Callable[[], object]] = {}
    for name in names:
        window, search = contestant(name, slots, settings)
        runs[name, ""] = window
        if search is not None:
            runs[name, SEARCH] = search
    best = fastest(runs, settings.seconds)
    seconds = {key: value / settings.steps for key, value in best.items()}
    return {name: Times(seconds[name, ""], seconds.get((name, SEARCH), float("nan"))) for name in names}


def report(times: dict[int, dict[str, Times]], settings: SparseBenchmark) -> None:
    """Print a table of milliseconds, and how many times more the largest memory costs than one of 256."""
    base = 256 if 256 in times else min(times)
    rows = []
    for name, (kind, _) in CORES.items():
        parts = {name: "whole"}
        if kind != "dnc":
            parts |= {"of it the search": "search", "but for the search": "rest"}
        for label, part in parts.items():
            values = {slots: getattr(found[name], part) for slots, found in times.items() if name in found}
            cells = [f"{1e3 * values[slots]:.3f}" if slots in values else "" for slots in times]
            most = max(values)
            rows.append([label, *cells, f"{values[most] / values[base]:.2f}× ({most:,})"])
    title = f"A step forward + backward, batch {settings.batch}, T {settings.steps}, one thread: ms"
    show(title, ["slots", *(f"{slots:,}" for slots in times), f"most / {base:,}"], rows)
    print(f"torch {torch.__version__}; width {WIDTH}, {HEADS} read heads, controller {HIDDEN}, 4 reads of a head")


def draw(times: dict[int, dict[str, Times]], path: Path) -> None:
    """Draw the cost over slots, both logarithmic; solid: the whole step, dashed: but for the search."""
    figure = Figure((7.5, 4.6), dpi=130, layout="constrained", facecolor=PAPER)
    ax = figure.subplots()
    for colour, (name, (kind, _)) in zip(COLOURS, CORES.items(), strict=False):
        known = [slots for slots, found in times.items() if name in found]
        ax.plot(known, [1e3 * times[n][name].whole for n in known], color=colour, linewidth=2, marker="o", label=name)
        if kind != "dnc":
            rest = [1e3 * times[n][name].rest for n in known]
            ax.plot(known, rest, color=colour, linewidth=1.2, linestyle="--", marker=".")
    ax.plot([], [], color=INK, linewidth=1.2, linestyle="--", marker=".", label="but for the search")
    dress_growth(ax, "slots N", list(times))
    low, high = (f(t.whole for found in times.values() for t in found.values()) for f in (min, max))
    low = min(low, *(t.rest for found in times.values() for t in found.values() if t.rest == t.rest))
    steps = [v for e in range(-2, 4) for v in (10**e, 2 * 10**e, 5 * 10**e)]
    shown = [v for v in steps if 0.5e3 * low <= v <= 2e3 * high]
    ax.set_yticks(shown, [f"{v:g}" for v in shown])
    ax.set_ylabel("ms a step, forward + backward", color=INK)
    figure.legend(loc="outside upper left", ncols=5, frameon=False, labelcolor=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(path)


def main(settings: SparseBenchmark) -> None:
    """Measure, print, draw."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    times = {slots: times_of(slots, settings) for slots in sorted(settings.slots)}
    report(times, settings)
    draw(times, settings.figure)


if __name__ == "__main__":
    main(tyro.cli(SparseBenchmark, description=__doc__))
