"""Axes shared by the figures of the benchmarks."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from memagents.experiments.figures import FAINT, INK, PAPER


def dress_growth(ax: Axes, label: str, grown: Sequence[int]) -> None:
    """Make both axes logarithmic, with a label and ticks at the sizes that grow.

    :param ax: with everything drawn
    :param label: of the horizontal axis
    :param grown: places of its ticks
    """
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(grown, [f"{n:,}" for n in grown])
    ax.minorticks_off()
    ax.set_xlabel(label, color=INK)
    ax.set_facecolor(PAPER)
    ax.grid(color=FAINT, linewidth=0.6)
    ax.tick_params(colors=INK, length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(FAINT)
