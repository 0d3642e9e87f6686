"""Speed over the number of environments, the slots of a memory, and the length of a window.

python benchmarks/growth.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import torch
import tyro
from drawing import dress_growth
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from report import show
from turns import fastest, peak_memory
from windows import Turn, turn_of

import memenvs  # noqa: F401 — registers the environments
from memagents import RecurrentPPO, as_vec_env, make_core
from memagents.cores.recompute import unroll_in_chunks
from memagents.experiments.figures import COLOURS, PAPER

INPUT_SIZE, BATCH, STEPS = 32, 16, 32
CORES = {
    "LSTM": ("lstm", {"hidden_size": 64}),
    "DNC": ("dnc", {"slots": 64, "width": 32, "read_heads": 4, "controller_size": 64}),
    "NTM": ("ntm", {"slots": 64, "width": 32, "controller_size": 64}),
    "SAM": ("sam", {"slots": 64, "width": 32, "read_heads": 4, "controller_size": 64}),
}

Series = dict[str, dict[int, float]]


@dataclass
class GrowthBenchmark:
    """Settings: sizes, and how they are timed.

    :param envs: numbers of environments
    :param slots: sizes of a memory
    :param windows: lengths of a window
    :param seconds: time of each point
    :param threads: of torch
    :param figure: PNG of all curves
    """

    envs: tuple[int, ...] = (1, 4, 16, 64, 256, 1024, 4096)
    slots: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024)
    windows: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024)
    seconds: float = 4.0
    threads: int = 1
    figure: Path = Path(__file__).parent.parent / "docs" / "growth.png"


def agent(core: str, n_envs: int) -> Callable[[], object]:
    """Return a window of RecurrentPPO on the Underground: collected, and learned from once."""
    kind, parameters = CORES[core]
    ppo = RecurrentPPO(
        "MlpPolicy",
        as_vec_env(gym.make_vec("memenvs/Underground-v0", num_envs=n_envs, copy=False, stations=5)),
        n_steps=STEPS,
        n_minibatches=min(4, n_envs),
        n_epochs=1,
        policy_kwargs={"core": kind, "core_kwargs": parameters, "critic_core": None},
        device="cpu",
    )
    return lambda: ppo.learn(STEPS * n_envs, reset_num_timesteps=False)


def window(core: str, steps: int, slots: int | None, chunk: int | None) -> Turn:
    """Return a window of a bare core, at once or in chunks of so many steps."""
    kind, parameters = CORES[core]
    made = make_core(kind, INPUT_SIZE, **parameters | ({} if slots is None else {"slots": slots}))
    inputs, starts = torch.randn(steps, BATCH, INPUT_SIZE), torch.zeros(steps, BATCH, dtype=torch.bool)

    def forward() -> torch.Tensor:
        return unroll_in_chunks(made, inputs, made.initial_state(BATCH), starts, chunk or steps).outputs

    return turn_of(made, forward)


def by_environments(settings: GrowthBenchmark) -> Series:
    """Return steps a second of an agent."""
    found: Series = {core: {} for core in ("LSTM", "DNC")}
    for n in settings.envs:
        for core, best in fastest({core: agent(core, n) for core in found}, settings.seconds).items():
            found[core][n] = n * STEPS / best
    return found


def by_slots(settings: GrowthBenchmark) -> Series:
    """Return steps a second of bare cores."""
    found: Series = {core: {} for core in ("DNC", "NTM", "SAM")}
    for n in settings.slots:
        for core, best in fastest({core: window(core, STEPS, n, None) for core in found}, settings.seconds).items():
            found[core][n] = BATCH * STEPS / best
    return found


def chunk_of(steps: int) -> int:
    """Return a power of two near √T."""
    return 1 << (steps.bit_length() // 2)


def by_windows(settings: GrowthBenchmark) -> tuple[Series, Series]:
    """Return steps a second of bare cores and the MiB that a window takes; at once, and the DNC also in chunks."""
    kinds = {"LSTM": ("LSTM", False), "DNC": ("DNC", False), "DNC in chunks": ("DNC", True)}
    speeds: Series = {name: {} for name in kinds}
    memory: Series = {name: {} for name in kinds}
    for steps in settings.windows:
        wanted = {name: (core, steps, None, chunk_of(steps) if cut else None) for name, (core, cut) in kinds.items()}
        best = fastest({name: window(*arguments) for name, arguments in wanted.items()}, settings.seconds)
        for name, arguments in wanted.items():
            speeds[name][steps] = BATCH * steps / best[name]
            core, cut = kinds[name]
            memory[name][steps] = peak_memory(window, arguments, (core, 4, None, 2 if cut else None))
    return speeds, memory


def show_series(title: str, head: str, series: Series, digits: int = 0) -> None:
    """Print a table with a row for each series."""
    rows = [[name, *(f"{value:,.{digits}f}" for value in values.values())] for name, values in series.items()]
    show(title, [head, *(f"{n:,}" for n in next(iter(series.values())))], rows)


def draw(panels: dict[str, Series], path: Path) -> None:
    """Draw every series over the size that grows, both logarithmic."""
    figure = Figure((13, 3.6), dpi=130, layout="constrained", facecolor=PAPER)
    colours = dict(zip(["LSTM", "DNC", "NTM", "SAM", "DNC in chunks"], COLOURS, strict=False))
    for ax, (label, series) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for name, values in series.items():
            ax.plot(list(values), list(values.values()), color=colours[name], linewidth=2, marker="o", markersize=3)
            ax.annotate(
                name,
                (max(values), values[max(values)]),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=colours[name],
            )
        dress_growth(ax, label, list(next(iter(series.values())))[::2])
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:,g}")
        ax.minorticks_off()
        ax.tick_params(labelsize=8)
        ax.margins(x=0.2)
    FigureCanvasAgg(figure).print_png(path)


def main(settings: GrowthBenchmark) -> None:
    """Measure, print, draw."""
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    begin = time.perf_counter()
    environments, slots = by_environments(settings), by_slots(settings)
    speeds, memory = by_windows(settings)
    show_series(
        f"RecurrentPPO on the Underground, windows of {STEPS}, one epoch: steps/s", "environments", environments
    )
    show_series(f"Forward + backward, batch {BATCH}, windows of {STEPS}: steps/s", "slots", slots)
    show_series(f"Forward + backward, batch {BATCH}: steps/s", "window", speeds)
    show_series(f"The same: peak MiB (chunks of about √T steps, {chunk_of(1024)} of 1,024)", "window", memory, digits=1)
    panels = {
        "environments: steps/s of an agent": environments,
        "slots: steps/s of a core": slots,
        "window: steps/s of a core": speeds,
        "window: peak MiB": memory,
    }
    draw(panels, settings.figure)
    print(f"{settings.threads} thread(s), {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main(tyro.cli(GrowthBenchmark, description=__doc__))
