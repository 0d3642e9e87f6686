"""The ids of POPGym that memenvs provides, with their classes and parameters."""

from __future__ import annotations

from typing import Any

LEVELS = ("Easy", "Medium", "Hard")
# Of each family its class, and the values of its parameters at the three levels.
FAMILIES: dict[str, tuple[str, dict[str, tuple[Any, Any, Any]]]] = {
    "Autoencode": ("memenvs.popgym.autoencode:Autoencode", {"decks": (1, 2, 3)}),
    "RepeatFirst": ("memenvs.popgym.repeat:RepeatFirst", {"decks": (1, 8, 16)}),
    "RepeatPrevious": ("memenvs.popgym.repeat:RepeatPrevious", {"decks": (1, 2, 3), "k": (4, 32, 64)}),
    "CountRecall": ("memenvs.popgym.count_recall:CountRecall", {"decks": (1, 2, 4), "classes": (2, 4, 13)}),
    "HigherLower": ("memenvs.popgym.higher_lower:HigherLower", {"decks": (1, 2, 3)}),
    "Battleship": ("memenvs.popgym.battleship:Battleship", {"board": (8, 10, 12)}),
    "Concentration": ("memenvs.popgym.concentration:Concentration", {"decks": (1, 2, 1), "classes": (2, 2, 13)}),
    "MineSweeper": ("memenvs.popgym.minesweeper:MineSweeper", {"board": (4, 6, 8), "mines": (2, 6, 10)}),
    "MultiarmedBandit": (
        "memenvs.popgym.multiarmed_bandit:MultiarmedBandit",
        {"arms": (10, 20, 30), "trials": (200, 400, 600)},
    ),
    "PositionOnlyCartPole": ("memenvs.popgym.cartpole:PositionOnlyCartPole", {"max_steps": (200, 400, 600)}),
    "VelocityOnlyCartpole": ("memenvs.popgym.cartpole:VelocityOnlyCartPole", {"max_steps": (200, 400, 600)}),
    "NoisyPositionOnlyCartPole": ("memenvs.popgym.cartpole:NoisyPositionOnlyCartPole", {"sigma": (0.1, 0.2, 0.3)}),
    "PositionOnlyPendulum": ("memenvs.popgym.pendulum:PositionOnlyPendulum", {"max_steps": (200, 150, 100)}),
    "NoisyPositionOnlyPendulum": ("memenvs.popgym.pendulum:NoisyPositionOnlyPendulum", {"sigma": (0.1, 0.2, 0.3)}),
    "LabyrinthEscape": ("memenvs.popgym.labyrinth:LabyrinthEscape", {"size": (11, 15, 19)}),
    "LabyrinthExplore": ("memenvs.popgym.labyrinth:LabyrinthExplore", {"size": (11, 15, 19)}),
}

ENVIRONMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    f"popgym-{family}{level}-v0": (path, {name: values[place] for name, values in parameters.items()})
    for family, (path, parameters) in FAMILIES.items()
    for place, level in enumerate(LEVELS)
}
