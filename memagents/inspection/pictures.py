"""Pictures of what a memory did: heat maps over the steps of an episode, as PNG or SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from memagents.experiments.figures import INK, PAPER, write

COLOURS = "cividis"  # as readable without colour vision, and in grey
_WIDE, _ROW = 0.16, 0.07  # inches of a step and of a place
MOST_LABELS, LONGEST_LABEL = 60, 70  # steps that are labelled, and letters


class Map(NamedTuple):
    """A heat map.

    :param title: above it
    :param values: (T, K)
    :param axis: what the K places are; nothing where there is one only
    """

    title: str
    values: np.ndarray
    axis: str


def maps_of(trace: Mapping[str, np.ndarray], axes: Mapping[str, Sequence[str]], tensors: Sequence[str]) -> list[Map]:
    """Return the heat maps of tensors of a trace, one for each head where there are several.

    :param trace: tensors (T, ...) by name
    :param axes: what their axes are, see :func:`memagents.inspection.axes.axes_of`
    :param tensors: names of those that are meant
    :raises ValueError: if one of them is not there, holds nothing, or has more than two axes beside the steps
    """
    found = []
    for name in tensors:
        if name not in trace:
            raise ValueError(f"tensors: there is no {name!r} in the trace; it has {', '.join(trace) or 'nothing'}")
        values, own = trace[name], list(axes.get(name, ()))
        if values.size == 0:
            raise ValueError(f"tensors: {name!r} holds nothing: its shape is {values.shape}")
        title = name.replace("_", " ")
        if values.ndim == 1:
            found.append(Map(title, values[:, None], ""))
        elif values.ndim == 2:
            found.append(Map(title, values, own[0] if own else "place"))
        elif values.ndim == 3:
            first, second = own if len(own) == 2 else ("row", "column")
            one = values.shape[1] == 1
            found += [
                Map(title if one else f"{title}, {first} {head}", values[:, head], second)
                for head in range(values.shape[1])
            ]
        else:
            raise ValueError(f"tensors: {name!r} has {values.ndim - 1} axes beside the steps; at most two can be drawn")
    return found


def tell_apart(labels: Sequence[str]) -> bool:
    """Return whether labels of steps are words, few enough to be read, and most of them different."""
    words = all(any(letter.isalnum() for letter in label) for label in labels)
    return 0 < len(labels) <= MOST_LABELS and words and len(set(labels)) > len(labels) / 2


def draw_maps(maps: Sequence[Map], path: str | Path, labels: Sequence[str] = (), title: str = "") -> None:
    """Draw heat maps under one another, all over the same steps.

    :param maps: each (T, K)
    :param path: of the PNG or SVG
    :param labels: of the steps, drawn below the last map where they tell steps apart
    :param title: above all
    """
    steps = len(maps[0].values)
    heights = [max(0.5, _ROW * min(one.values.shape[1], 40)) for one in maps]
    shown = [label[:LONGEST_LABEL] for label in labels] if tell_apart(labels) else []
    room = 0.075 * max(map(len, shown), default=4)
    size = (float(np.clip(_WIDE * steps + 2, 5, 14)), sum(heights) + 0.45 * len(maps) + room + 0.4)
    figure = Figure(size, dpi=130, layout="constrained", facecolor=PAPER)
    panels = figure.subplots(len(maps), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for ax, one in zip(panels, maps, strict=True):
        finite = one.values[np.isfinite(one.values)]
        low, high = (finite.min(), finite.max()) if finite.size else (0, 0)
        if low < 0 < high:  # so that the middle of the scale is 0
            low, high = -max(-low, high), max(-low, high)
        scale: dict[str, Any] = {"cmap": COLOURS, "vmin": low, "vmax": high}
        image = ax.imshow(one.values.T, aspect="auto", origin="upper", interpolation="nearest", **scale)
        bar = figure.colorbar(image, ax=ax, fraction=0.03, pad=0.01)
        bar.ax.tick_params(colors=INK, length=0, labelsize=7)
        bar.ax.yaxis.set_major_locator(MaxNLocator(3) if low < high else FixedLocator([float(low)]))
        bar.outline.set_visible(False)
        ax.set_title(one.title, loc="left", color=INK, fontsize=9)
        ax.set_ylabel(one.axis, color=INK, fontsize=8)
        ax.yaxis.set_major_locator(MaxNLocator(4, integer=True) if one.axis else NullLocator())
        ax.tick_params(colors=INK, length=0, labelsize=7)
        ax.spines[:].set_visible(False)
    if shown:
        panels[-1].set_xticks(range(len(shown)), shown, rotation=90, fontsize=7)
    else:
        panels[-1].xaxis.set_major_locator(MaxNLocator(10, integer=True))
        panels[-1].set_xlabel("step", color=INK, fontsize=8)
    if title:
        figure.suptitle(title, x=0.01, ha="left", color=INK, weight="bold", fontsize=10)
    write(figure, Path(path))
