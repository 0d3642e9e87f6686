"""Pictures of the tasks: the journey on the map, and the description and the query in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from memenvs.graph.fixed import UNREACHED, distances
from memenvs.graph.level import DESTINATION, EXPLORE, LABEL, SHORTEST_PATH, SOURCE, TRAVERSAL
from memenvs.graph.map import load_map
from memenvs.graph.tracks import zone_1

MOST_SCHEMATIC = 100  # stations of a real map that are drawn on a map of their own; more are shown on the whole network


def draw(state: np.void, level: np.void) -> np.ndarray:
    """The journey as a map, (H, W, 3) uint8."""
    from memenvs.graph.draw import draw_journey
    from memenvs.graph.network import draw_network

    journey = journey_of(state, level)
    n, nodes = int(level["stations"]), level["nodes"].tolist()
    if n > MOST_SCHEMATIC and nodes[0] >= 0:
        shown = {key: place(nodes, journey[key]) for key in ("start", "goal", "position", "route", "best")}
        return draw_network((960, 720), caption=journey["caption"], journey=shown)
    colours = [lines_between(nodes[u], nodes[v]) for u, v, _ in journey["edges"]] if nodes[0] >= 0 else None
    points = np.stack([level["x"], level["y"]], axis=1)[:n]  # (n, 2)
    edge = None if level["task"] == EXPLORE else described(state, level)
    return draw_journey(points, edge_colours=colours, described=edge, **journey)


def text(state: np.void, level: np.void) -> str:
    """The journey as text."""
    from memenvs.graph.draw import ansi_journey

    journey = journey_of(state, level)
    caption = journey.pop("caption")
    return f"{caption}\n{ansi_journey(**journey)}"


def place(nodes: list[int], stations: Any) -> Any:
    """A station, or a list of them, as numbered in the map; None stays None."""
    if isinstance(stations, list):
        return [nodes[station] for station in stations]
    return None if stations is None else nodes[stations]


def lines_between(u: int, v: int) -> list[str]:
    """The colours of the lines between two stations of the map that are adjacent there or among those of Zone 1."""
    tube = load_map()
    return [tube.line_colours[line] for line in tube.lines.get((u, v)) or zone_1().lines(u, v)]


def journey_of(state: np.void, level: np.void) -> dict[str, Any]:
    """The graph with names and labels, where the agent has been and could have been, and a caption."""
    task = int(level["task"])
    show = {TRAVERSAL: traversed, EXPLORE: explored}.get(task, travelled)
    n, e = int(level["stations"]), int(level["edges"])
    nodes, codes = level["nodes"][:n].tolist(), level["codes"][:n].tolist()
    ends = zip(level["links"][:e, SOURCE].tolist(), level["links"][:e, DESTINATION].tolist(), strict=True)
    edges = [(u, v, str(label)) for (u, v), label in zip(ends, level["links"][:e, LABEL].tolist(), strict=True)]
    names = [load_map().names[node] if node >= 0 else f"{code:03d}" for node, code in zip(nodes, codes, strict=True)]
    return {"edges": edges, "names": names, **show(state, level)}


def travelled(state: np.void, level: np.void) -> dict[str, Any]:
    """Return the contents of the picture of a journey from a start to a goal."""
    asked = state if level["task"] == SHORTEST_PATH else level  # of which there may be several, one after another
    start, goal = int(asked["start"]), int(asked["goal"])
    caption = told(state, level, int(level["told"]), int(level["asked"])) or (
        "shortest path" if level["task"] == SHORTEST_PATH else "travel"
    )
    return {
        "start": start,
        "goal": goal,
        "position": int(state["position"]),
        "route": state["route"][: state["taken"] + 1].tolist(),
        "best": best_route(level, start, goal),
        "caption": f"{caption}: {named(level, start)} to {named(level, goal)}" if is_asked(state, level) else caption,
    }


def traversed(state: np.void, level: np.void) -> dict[str, Any]:
    """Return the contents of the picture of a queried path: the route goes as far along it as the answers are right."""
    path = state["path"][: state["asked"]]
    best = [int(state["start"]), *level["links"][path, DESTINATION].tolist()]
    preparing = sum(map(int, (state["began"], state["asked"], level["planning"])))  # more than 16 bits may hold
    answered = max(int(state["time"]) - preparing, 0)
    said = state["said"][:answered].tolist()
    wanted = level["codes"][best[1:]].tolist()
    right = 0
    while right < answered and said[right] == wanted[right]:
        right += 1
    caption = told(state, level, int(state["began"]), int(state["asked"])) or "answers"
    if is_asked(state, level):
        labels = " ".join(map(str, level["links"][path, LABEL].tolist()))
        caption += f": from {code(level, best[0])} by {labels}"
    if said:
        verdicts = (f"{a:03d}" if a == b else f"{a:03d} (wrong: {b:03d})" for a, b in zip(said, wanted, strict=False))
        caption += " → " + ", ".join(verdicts)
    return {
        "start": best[0],
        "goal": best[-1],
        "position": None,
        "route": best[: right + 1],
        "best": best,
        "caption": caption,
    }


def explored(state: np.void, level: np.void) -> dict[str, Any]:
    """Return the contents of the picture of a search for goals: the route since the last one was reached."""
    position, goal = int(state["position"]), int(state["goal"])
    begun, taken = int(state["begun"]), int(state["taken"])
    reached = int(state["goals"].sum())
    return {
        "start": int(state["route"][begun]),
        "goal": goal,
        "position": position,
        "route": state["route"][begun : taken + 1].tolist(),
        "best": best_route(level, position, goal),
        "caption": f"step {taken} of {int(level['budget'])}, goals reached: {reached}",
    }


def is_asked(state: np.void, level: np.void) -> bool:
    """Return whether the description is over."""
    return bool(state["time"] >= level["told"])


def told(state: np.void, level: np.void, began: int, labels: int) -> str:
    """The phase before answers and travel, with the edge that is described; "" after it.

    :param began: when the query began
    :param labels: how many steps it takes
    """
    time = int(state["time"])
    asked = time - began
    if asked < 0:
        edge = level["order"][time]
        u, v = int(level["links"][edge, SOURCE]), int(level["links"][edge, DESTINATION])
        label = int(level["links"][edge, LABEL])
        return f"description {time + 1} of {int(level['told'])}: {named(level, u)}, exit {label} → {named(level, v)}"
    if asked < labels:
        return "query"
    return "planning" if asked < labels + int(level["planning"]) else ""


def described(state: np.void, level: np.void) -> tuple[int, int] | None:
    """Return the ends of the edge that is described at present; None when the description is over."""
    if is_asked(state, level):
        return None
    edge = level["order"][int(state["time"])]
    return int(level["links"][edge, SOURCE]), int(level["links"][edge, DESTINATION])


def named(level: np.void, station: int) -> str:
    """Return a station's name with its code, or the code alone where it has no name."""
    node = int(level["nodes"][station])
    return f"{load_map().names[node]} ({code(level, station)})" if node >= 0 else code(level, station)


def code(level: np.void, station: int) -> str:
    """The code of a station, three digits."""
    return f"{int(level['codes'][station]):03d}"


def best_route(level: np.void, start: int, goal: int) -> list[int]:
    """The stations of a shortest path, or the start alone where there is none."""
    n, e = int(level["stations"]), int(level["edges"])
    sources, destinations = level["links"][:e, SOURCE], level["links"][:e, DESTINATION]
    to_goal = distances(n, sources, destinations)[:, goal]
    route = [start]
    while to_goal[route[-1]] not in (0, UNREACHED):
        following = destinations[sources == route[-1]]
        route.append(int(following[to_goal[following].argmin()]))
    return route
