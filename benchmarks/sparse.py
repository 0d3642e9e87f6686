"""Cost of a step as the memory grows: SAM and SDNC, whose reads and writes are sparse, beside the DNC.

A step is one of the T steps of a window, forward and backward, from a memory that holds something in every slot. SAM
and SDNC go through their kernel and, beside it, through the loop in torch that runs where there is none (on other
devices, under autocast, for a trace), which also is the way of SAM by hashing.

Contestants take turns and the fastest turn of each counts, so that what else runs on the machine disturbs all of them
alike. Prints a table, one of the memory that such a window takes at most, and draws docs/sparse_cost.png.

python benchmarks/sparse.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
import tyro
from drawing import dress_growth
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from report import show
from torch import Tensor
from turns import fastest, peak_memory
from windows import Turn, turn_of

from memagents import make_core
from memagents.cores.sparse_memory import BY_COPIES, SparseMemoryCore
from memagents.experiments.figures import COLOURS, INK, PAPER
from memagents.kernels import choice

INPUT_SIZE, WIDTH, HEADS, HIDDEN = 32, 24, 2, 64


class Contestant(NamedTuple):
    """A core and its way through a window."""

    core: str
    options: dict[str, Any]
    in_torch: bool = False  # step by step, although there is a kernel


CONTESTANTS = {
    "SAM": Contestant("sam", {}),
    "SDNC": Contestant("sdnc", {}),
    "DNC": Contestant("dnc", {}),
    "SAM, in torch": Contestant("sam", {}, in_torch=True),
    "SDNC, in torch": Contestant("sdnc", {}, in_torch=True),
    "SAM, hashing": Contestant("sam", {"search": "lsh"}),
}
IN_TORCH = ", in torch"


@dataclass
class SparseBenchmark:
    """Settings: sizes of the memory, and how it is timed.

    :param slots: numbers of slots
    :param dnc_slots: the most for the DNC, whose links grow with their square
    :param batch: rows B
    :param steps: steps T of a window
    :param seconds: time for the turns of one number of slots, for all contestants together
    :param memory: also measure the peak memory, in a process for each
    :param figure: PNG of the curves
    """

    slots: tuple[int, ...] = (64, 256, 1024, 4096)
    dnc_slots: int = 1024
    batch: int = 8
    steps: int = 32
    seconds: float = 20.0
    memory: bool = True
    figure: Path = Path(__file__).parent.parent / "docs" / "sparse_cost.png"


def turn(contestant: Contestant, slots: int, settings: SparseBenchmark) -> Turn:
    """Return a window of a contestant, forward and backward."""
    sizes = {"slots": slots, "width": WIDTH, "read_heads": HEADS, "controller_size": HIDDEN}
    core = make_core(contestant.core, INPUT_SIZE, **sizes, **contestant.options)
    inputs = torch.randn(settings.steps, settings.batch, INPUT_SIZE)
    starts = torch.zeros(settings.steps, settings.batch, dtype=torch.bool)
    with torch.no_grad():
        state = core.unroll(inputs, core.initial_state(settings.batch), starts).state
    if isinstance(core, SparseMemoryCore):
        state = filled(core, state)
    whole = turn_of(core, lambda: core.unroll(inputs, state, starts).outputs)

    def without_kernels() -> Tensor:
        with mock.patch.object(choice, "window_for", return_value=None):
            return whole()

    return without_kernels if contestant.in_torch else whole


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


def times_of(slots: int, settings: SparseBenchmark) -> dict[str, float]:
    """Return the seconds of a step of each contestant."""
    runs = {name: turn(c, slots, settings) for name, c in CONTESTANTS.items() if fits(c, slots, settings)}
    return {name: seconds / settings.steps for name, seconds in fastest(runs, settings.seconds).items()}


def memory_of(slots: int, settings: SparseBenchmark) -> dict[str, float]:
    """Return the peak MiB of a window of each contestant that is no slow one."""
    return {
        name: peak_memory(turn, (contestant, slots, settings), (contestant, 16, settings))
        for name, contestant in CONTESTANTS.items()
        if fits(contestant, slots, settings) and not contestant.in_torch
    }


def fits(contestant: Contestant, slots: int, settings: SparseBenchmark) -> bool:
    return contestant.core != "dnc" or slots <= settings.dnc_slots


def report(times: dict[int, dict[str, float]], settings: SparseBenchmark) -> None:
    """Print a table of milliseconds, and how many times as long the loop in torch takes as the kernel."""
    rows = []
    for name in CONTESTANTS:
        cells = [f"{1e3 * found[name]:.3f}" if name in found else "" for found in times.values()]
        if name.endswith(IN_TORCH):
            fused = name.removesuffix(IN_TORCH)
            cells = [
                f"{cell} ({found[name] / found[fused]:.1f}×)" for cell, found in zip(cells, times.values(), strict=True)
            ]
        rows.append([name, *cells])
    title = f"A step forward + backward, batch {settings.batch}, T {settings.steps}, one thread: ms (times the kernel)"
    show(title, ["slots", *(f"{slots:,}" for slots in times)], rows)
    print(f"torch {torch.__version__}; width {WIDTH}, {HEADS} read heads, controller {HIDDEN}, 4 reads of a head")


def draw(times: dict[int, dict[str, float]], path: Path) -> None:
    """Draw the cost over slots, both logarithmic; dashed: in torch."""
    figure = Figure((7.5, 4.6), dpi=130, layout="constrained", facecolor=PAPER)
    ax = figure.subplots()
    colours: dict[str, str] = {}
    for name, contestant in CONTESTANTS.items():
        colour = colours.setdefault(name.removesuffix(IN_TORCH), COLOURS[len(colours)])
        known = [slots for slots, found in times.items() if name in found]
        style = {"linestyle": "--", "linewidth": 1.2} if contestant.in_torch else {"linewidth": 2.0}
        ax.plot(known, [1e3 * times[n][name] for n in known], color=colour, marker="o", label=name, **style)
    dress_growth(ax, "slots N", list(times))
    low, high = (f(value for found in times.values() for value in found.values()) for f in (min, max))
    steps = [v for e in range(-2, 4) for v in (10**e, 2 * 10**e, 5 * 10**e)]
    shown = [v for v in steps if 0.5e3 * low <= v <= 2e3 * high]
    ax.set_yticks(shown, [f"{v:g}" for v in shown])
    ax.set_ylabel("ms a step, forward + backward", color=INK)
    figure.legend(loc="outside upper left", ncols=3, frameon=False, labelcolor=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(path)


def main(settings: SparseBenchmark) -> None:
    """Measure, print, draw."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    times = {slots: times_of(slots, settings) for slots in sorted(settings.slots)}
    report(times, settings)
    if settings.memory:
        found = {slots: memory_of(slots, settings) for slots in times}
        rows = [
            [name, *(f"{of[name]:.1f}" if name in of else "" for of in found.values())] for name in found[min(found)]
        ]
        show(
            "The same: peak MiB of a window, above what the process holds anyway",
            ["slots", *(f"{slots:,}" for slots in found)],
            rows,
        )
    draw(times, settings.figure)


if __name__ == "__main__":
    main(tyro.cli(SparseBenchmark, description=__doc__))
