"""A neighbourhood of the Underground as a map, or as text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from memenvs.graph.draw import ansi_journey, draw_journey
from memenvs.graph.map import load_map
from memenvs.planning.junctions import load_junctions
from memenvs.planning.neighbourhood import way_to


def draw_neighbourhood(state: np.void, level: np.void) -> NDArray[np.uint8]:
    """Draw the neighbourhood as a map, with the way that the agent looks along pointed out.

    An exit has the number of the state that looks along it.

    :return: (height, width, 3) bytes
    """
    tube, journey = load_map(), contents(state, level)
    nodes = journey.pop("nodes")
    colours = [load_junctions().colours[nodes[u], nodes[v]] for u, v, _ in journey["edges"]]
    ahead = journey["edges"][int(state["position"])][:2]
    return draw_journey(tube.positions[nodes], edge_colours=colours, described=ahead, **journey)


def ansi_neighbourhood(state: np.void, level: np.void) -> str:
    """Write where the agent is and looks to, the exits, the goal and a shortest way."""
    journey = contents(state, level)
    del journey["nodes"]
    caption = journey.pop("caption")
    return f"{caption}\n{ansi_journey(**journey)}"


def contents(state: np.void, level: np.void) -> dict[str, Any]:
    """Return the contents of a picture: the stations, as numbered in the map, and what the pictures of graphs take."""
    n = int(level["states"])
    at, towards, ids = (level[name][:n].tolist() for name in ("at", "towards", "ids"))
    stations = sorted({*at})
    number = {station: place for place, station in enumerate(stations)}
    nodes = load_junctions().stations[stations].tolist()
    names = [load_map().names[node] for node in nodes]

    position, goal, begun = (int(state[name]) for name in ("position", "goal", "begun"))
    best = [number[at[place]] for place in states_on_way(level, position, goal)]
    return {
        "nodes": nodes,
        "edges": [(number[u], number[v], str(i)) for u, v, i in zip(at, towards, ids, strict=True)],
        "names": names,
        "start": number[at[begun]],
        "goal": number[at[goal]],
        "position": number[at[position]],
        "route": [],
        "best": [station for i, station in enumerate(best) if i == 0 or station != best[i - 1]],
        "caption": f"step {state['steps']} of {level['steps']}, goals: {state['goals']}; "
        f"state {ids[position]}, goal {ids[goal]}",
    }


def states_on_way(level: np.void, position: int, goal: int) -> list[int]:
    """Return the states of a shortest way, both ends included."""
    way = [position]
    while way[-1] != goal:
        way.append(int(level["after"][way[-1], way_to(level, way[-1], goal)[0]]))
    return way
