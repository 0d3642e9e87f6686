"""Pictures of a family or a random graph with its description and queries."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from numpy.typing import NDArray

from memenvs.graph.family.relations import BROTHERS, SONS, STEPS
from memenvs.graph.family.wording import Scene, answer, ask, scene, triple
from memenvs.render import INK, PAPER, blank_canvas, draw_box, draw_head, draw_line, draw_text, text_size, to_array

WOMAN, MAN, NODE = "#F6DDD4", "#D9E6F2", "#E9E6DE"
LINE, FAINT = "#8B93A3", "#DAD7CF"
WAY = "#7A2BF5"
ASKED, RIGHT, WRONG = "#188A42", "#FFC62E", "#D7263D"

CAPTION = 112.0  # pixels at the bottom, for lines on the description or the queries
LINES = 4
EDGE = 16.0

# What covers what.
EDGES, BADGES, RINGS, BOXES, NAMES, ARROWS, LABELS = range(1, 8)

Floats = NDArray[np.float64]


class Layout(NamedTuple):
    """The places of the nodes and the size of their boxes, in pixels."""

    places: Floats  # (n, 2) the centres
    width: float
    height: float
    upright: bool  # whether names are written upwards, since there is no room beside


def draw_family(state: np.void, level: np.void, size: tuple[int, int] = (960, 720)) -> NDArray[np.uint8]:
    """Draw an episode at its present step.

    A family stands in rows, a generation each, with women in round and men in square boxes; edges not described
    yet are faint. Arrows show the edge being described or the edges that a query asks to follow, from the green box to
    the golden one; a wrong answer is red.

    :param size: width and height in pixels
    :return: (height, width, 3) bytes
    """
    shown = scene(state, level)
    canvas, axes = blank_canvas(size)
    if shown.family:
        layout = arrange_family(level, size)
        draw_couples(axes, layout, level)
    else:
        layout = arrange_points(level, size)
        draw_edges(axes, layout, shown)
    draw_nodes(axes, layout, shown, level["male"])
    if shown.questions:
        question = shown.questions[-1]
        draw_way(axes, layout, shown, question.path, question.labels)
    else:
        source, label, destination = shown.edges[shown.told - 1]
        draw_way(axes, layout, shown, [source, destination], (label,))
    draw_caption(axes, shown, size[0])
    return to_array(canvas)


# --- where everything goes --------------------------------------------------------------------------------------------


def arrange_family(level: np.void, size: tuple[int, int]) -> Layout:
    """Place every generation in its row, every couple side by side and above the middle of its children."""
    n = int(level["nodes"])
    columns = np.zeros(n)
    width = place_branch(level, 0, 0.0, columns)
    rows = level["generation"][:n].astype(float)
    room = (size[0] - 2 * EDGE) / width
    wide = min(0.86 * room, 92.0)
    pitch = (size[1] - CAPTION - 2 * EDGE) / (rows.max() + 1)
    upright = wide < 44
    high = min(wide * 1.9, 0.5 * pitch, 84.0) if upright else min(0.42 * pitch, 42.0)
    x = size[0] / 2 + (columns - width / 2) * min(room, wide / 0.8)
    y = size[1] - EDGE - (rows + 0.5) * pitch
    return Layout(np.stack([x, y], axis=1), wide, high, upright)


def place_branch(level: np.void, person: int, left: float, columns: Floats) -> float:
    """Place a descendant of the first couple with all that follow, from a column on.

    :return: the number of columns they take
    """
    partner, own = int(level["partner"][person]), 1.0 if level["partner"][person] < 0 else 2.0
    children = sorted(int(child) for child in level["after"][person, SONS:BROTHERS] if child >= 0)
    below = 0.0
    for child in children:
        below += place_branch(level, child, left + below, columns)
    width = max(own, below)
    if 0 < below < own:  # a single child of a couple: in the middle
        columns[children[0]] += (own - below) / 2
    if partner >= 0:
        columns[[person, partner]] = left + width / 2 + np.array([-0.5, 0.5])
    else:
        columns[person] = left + width / 2
    return width


def arrange_points(level: np.void, size: tuple[int, int]) -> Layout:
    """The points where they are, but so far apart that boxes do not touch."""
    n = int(level["nodes"])
    points = np.stack([level["x"], level["y"]], axis=1)[:n].astype(float)
    points = (points - points.min(axis=0)) / np.maximum(np.ptp(points, axis=0), 1)
    wide = float(np.clip(200 / np.sqrt(n), 26, 52))
    low = np.array([EDGE + wide, CAPTION + EDGE + wide / 2])
    high = np.array([size[0] - EDGE - wide, size[1] - EDGE - wide / 2])
    places = low + points * (high - low)
    gap = np.sqrt(np.prod(high - low) / n)
    for _ in range(200):
        away = places[:, None] - places
        distance = np.linalg.norm(away, axis=2) + np.eye(n)
        push = np.maximum(gap - distance, 0) * (1 - np.eye(n)) / distance
        places = np.clip(places + 0.2 * (push[..., None] * away).sum(axis=1), low, high)
    return Layout(places, wide, 0.6 * wide, False)


def arc(layout: Layout, source: int, destination: int, bend: float) -> Floats:
    """A curve (k, 2) from the rim of a box to that of another, bent to its left."""
    a, b = layout.places[source], layout.places[destination]
    middle = (a + b) / 2 + bend * np.array([a[1] - b[1], b[0] - a[0]])
    curve = bezier(a, middle, middle, b)
    half = np.array([layout.width, layout.height]) / 2 + 3
    outside = (np.abs(curve - a) > half).any(axis=1) & (np.abs(curve - b) > half).any(axis=1)
    return curve[outside] if outside.sum() > 1 else curve[[20, 40]]


def branch(layout: Layout, source: int, destination: int) -> Floats:
    """A curve (k, 2) from the top or the bottom of a box to that of another, in another row or the same."""
    ends = layout.places[[source, destination]]
    aside = 0.2 * layout.width * np.sign(ends[1, 0] - ends[0, 0])
    leave, arrive = np.sign(ends[1, 1] - ends[0, 1]), np.sign(ends[0, 1] - ends[1, 1])
    if leave == 0:  # over the heads of those between
        leave = arrive = 1.0
    a = ends[0] + np.array([aside, leave * (layout.height / 2 + 2)])
    b = ends[1] + np.array([-aside, arrive * (layout.height / 2 + 4)])
    rise = max(0.6 * abs(b[1] - a[1]), min(0.9 * layout.height + 0.05 * abs(b[0] - a[0]), 60.0))
    return bezier(a, a + np.array([0, leave * rise]), b + np.array([0, arrive * rise]), b)


def bezier(a: Floats, b: Floats, c: Floats, d: Floats) -> Floats:
    """The points (60, 2) of a cubic curve."""
    t = np.linspace(0, 1, 60)[:, None]
    return (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d


# --- the parts of the picture -----------------------------------------------------------------------------------------


def draw_couples(axes: Axes, layout: Layout, level: np.void) -> None:
    """A line between partners, and from its middle to each of their children."""
    for person in range(int(level["nodes"])):
        partner = int(level["partner"][person])
        if partner < person:  # none, or drawn already
            continue
        ends = layout.places[[person, partner]]
        draw_line(axes, ends, LINE, 2.0, EDGES)
        x, y = ends.mean(axis=0)
        for child in level["after"][person, SONS:BROTHERS]:
            if child >= 0:
                to_x, to_y = layout.places[child]
                half = (y + to_y) / 2
                draw_line(axes, np.array([[x, y], [x, half], [to_x, half], [to_x, to_y]]), LINE, 2.0, EDGES)


def draw_edges(axes: Axes, layout: Layout, shown: Scene) -> None:
    """Draw all edges with their labels; those not described yet are faint."""
    pairs = {(source, destination) for source, _, destination in shown.edges}
    for i, (source, label, destination) in enumerate(shown.edges):
        colour = LINE if i < shown.told else FAINT
        points = arc(layout, source, destination, bend_of(pairs, source, destination))
        draw_arrow(axes, points, colour, 1.6, 5.0, EDGES)
        if i < shown.told:
            draw_badge(axes, points[len(points) // 3], str(label), PAPER, LINE, INK, BADGES)


def bend_of(pairs: set[tuple[int, int]], source: int, destination: int) -> float:
    """Bend edges in both directions apart."""
    return 0.12 if (destination, source) in pairs else 0.0


def draw_nodes(axes: Axes, layout: Layout, shown: Scene, male: NDArray[np.int16]) -> None:
    """The boxes, with names and codes."""
    known = {node for source, _, destination in shown.edges[: shown.told] for node in (source, destination)}
    rings: dict[int, list[str]] = {}
    if shown.questions:
        question = shown.questions[-1]
        rings[question.path[0]] = [ASKED]
        rings.setdefault(question.path[-1], []).append(RIGHT)
        if question.said in shown.codes and question.said != shown.codes[question.path[-1]]:
            rings.setdefault(shown.codes.index(question.said), []).append(WRONG)
    for node, (x, y) in enumerate(layout.places.tolist()):
        w, h = layout.width / 2, layout.height / 2
        faint = node not in known
        colour = PAPER if faint else NODE if not shown.family else MAN if male[node] else WOMAN
        corner = 2.0 if shown.family and male[node] else 0.9 * min(w, h)
        for i, ring in enumerate(rings.get(node, [])):
            wider = 5.0 * (i + 1)
            box = (x - w - wider, y - h - wider, x + w + wider, y + h + wider)
            draw_box(axes, box, corner + wider, ring, RINGS - 0.1 * i)
        rim = {"edgecolor": FAINT if faint else LINE, "linewidth": 1.2}
        draw_box(axes, (x - w, y - h, x + w, y + h), corner, colour, BOXES, **rim)
        write_name(axes, layout, shown, node, FAINT if faint else INK)


def write_name(axes: Axes, layout: Layout, shown: Scene, node: int, colour: str) -> None:
    """The name of a node, and under it, in a family, its code."""
    name, code = shown.names[node], f"{shown.codes[node]:03d}"
    x, y = layout.places[node]
    along, across = (layout.height, layout.width) if layout.upright else (layout.width, layout.height)
    width = text_size(name, 10.0, True)[0] / 10
    font = float(np.clip(0.88 * along / width, 5.0, min(13.5, (0.5 if shown.family else 0.62) * across)))
    if layout.upright:
        axes.text(x, y, name, rotation=90, ha="center", va="center", fontsize=font, color=colour, zorder=NAMES)
    elif shown.family:
        draw_text(axes, x, y + 0.2 * across, name, font, colour, NAMES, weight="bold")
        draw_text(axes, x, y - 0.25 * across, code, 0.72 * font, colour, NAMES)
    else:
        draw_text(axes, x, y, name, font, colour, NAMES, weight="bold")


def draw_way(axes: Axes, layout: Layout, shown: Scene, path: list[int], labels: tuple[int, ...]) -> None:
    """Draw arrows along a path, with the labels of its edges."""
    pairs = {(source, destination) for source, _, destination in shown.edges}
    taken = np.empty((0, 2))
    for source, label, destination in zip(path[:-1], labels, path[1:], strict=True):
        if shown.family:
            points = branch(layout, source, destination)
            spots = points[[30, 24, 36, 18, 42]]
        else:
            points = arc(layout, source, destination, bend_of(pairs, source, destination))
            spots = points[[len(points) // 3]]
        draw_arrow(axes, points, WAY, 3.2, 7.0, ARROWS)
        gaps = np.linalg.norm((spots[:, None] - taken) * [0.3, 1], axis=2).min(axis=1, initial=np.inf)
        spot = spots[np.flatnonzero(gaps > 24)[0] if (gaps > 24).any() else int(np.argmax(gaps))]
        taken = np.append(taken, [spot], axis=0)
        draw_badge(axes, spot, STEPS[label] if shown.family else str(label), WAY, PAPER, "white", LABELS)


def draw_arrow(axes: Axes, points: Floats, colour: str, width: float, half: float, order: float) -> None:
    along = points[-1] - points[-2]
    along = along / max(float(np.linalg.norm(along)), 1e-9)
    draw_line(axes, np.concatenate([points[:-1], [points[-1] - half * along]]), colour, width, order)
    draw_head(axes, points[-1], along, half, colour, order)


def draw_badge(axes: Axes, place: Floats, text: str, face: str, rim: str, ink: str, order: float) -> None:
    """A small box around a text."""
    x, y = place
    half = max(text_size(text, 10.0, True)[0] / 2 + 4, 8.0)
    if len(text) == 1:
        axes.add_artist(Circle((x, y), 8.0, facecolor=face, edgecolor=rim, linewidth=1.0, zorder=order))
    else:
        draw_box(axes, (x - half, y - 8, x + half, y + 8), 8.0, face, order, edgecolor=rim, linewidth=1.0)
    draw_text(axes, x, y, text, 10.0, ink, order, weight="bold")


def draw_caption(axes: Axes, shown: Scene, width: float) -> None:
    """Draw the edge being described, or the last queries with their answers."""
    draw_line(axes, np.array([[EDGE, CAPTION], [width - EDGE, CAPTION]]), FAINT, 1.5, EDGES)
    if shown.questions:
        texts = [f"{i + 1}.  {ask(shown, q)}:  {answer(shown, q)}" for i, q in enumerate(shown.questions)][-LINES:]
    else:
        texts = [f"{shown.told} of {len(shown.edges)}:  {triple(shown, shown.told - 1)}"]
    for i, text in enumerate(texts):
        last = i == len(texts) - 1
        font = min(15.0, 15.0 * (width - 2 * EDGE) / text_size(text, 15.0, last)[0])
        y = CAPTION - 18 - i * (CAPTION - 18) / LINES
        draw_text(
            axes, EDGE, y, text, font, INK if last else LINE, NAMES, ha="left", weight="bold" if last else "normal"
        )
