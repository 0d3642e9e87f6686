"""MiniGrid's missions as numbers of words, for memenvs' own grids and, by a wrapper, for MiniGrid's environments."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Dict, MultiDiscrete
from gymnasium.utils import RecordConstructorArgs

MOST_WORDS = 17  # LockedRoom's mission has so many

# The words of all missions of MiniGrid's own environments (BabyAI's left out). Their order is what a trained policy
# knows of them, so that new ones belong at the end. The empty word is none.
WORDS = (
    "",
    *["red", "green", "blue", "purple", "yellow", "grey"],
    *["key", "ball", "box", "door", "goal", "lava", "object", "square", "opening", "hallway", "room,", "rooms", "end"],
    *["a", "the", "matching", "at", "from", "of", "near", "to", "up", "and", "then"],
    *[
        "avoid",
        "fetch",
        "find",
        "get",
        "go",
        "must",
        "open",
        "pick",
        "put",
        "reach",
        "traverse",
        "unlock",
        "use",
        "you",
    ],
)
NUMBERS = {word: number for number, word in enumerate(WORDS)}


def numbers(mission: str) -> np.ndarray:
    """The words of a mission as their places in ``WORDS``, uint8 (MOST_WORDS,), with 0 where there are no more.

    :raises ValueError: for a mission with other words, or too many
    """
    words = mission.split()
    if len(words) > MOST_WORDS or not set(words) <= set(WORDS[1:]):
        raise ValueError(
            f"mission must have at most {MOST_WORDS} words, all of them among {WORDS[1:]}, not {mission!r}"
        )
    array = np.zeros(MOST_WORDS, np.uint8)
    array[: len(words)] = [NUMBERS[word] for word in words]
    return array


def text(numbers: np.ndarray) -> str:
    """The mission that numbers of words stand for."""
    return " ".join(WORDS[number] for number in numbers if number)


def varies(space: gymnasium.Space) -> bool:
    """Return whether missions of a ``MissionSpace`` differ from one another."""
    placeholders = getattr(space, "ordered_placeholders", None) or []
    return any(len(choices) > 1 for choices in placeholders)


def observation_space(
    image: gymnasium.Space, direction: gymnasium.Space, with_mission: bool, world: gymnasium.Space | None = None
) -> Dict:
    """Observations of MiniGrid's grids as those of memenvs."""
    spaces: dict[str, gymnasium.Space] = {"direction": direction, "image": image}
    if with_mission:
        spaces["mission"] = MultiDiscrete([len(WORDS)] * MOST_WORDS, dtype=np.uint8)
    if world is not None:
        spaces["world"] = world
    return Dict(spaces)


class MissionWords(gymnasium.ObservationWrapper, RecordConstructorArgs):
    """One of MiniGrid's environments with the observations of memenvs: a policy trained on one can act in the other.

    The entry ``mission`` becomes numbers of words, or is left out where every episode has the same one.

    :param env: an environment of MiniGrid, other than those of BabyAI, whose words are others
    """

    def __init__(self, env: gymnasium.Env):
        RecordConstructorArgs.__init__(self)
        gymnasium.ObservationWrapper.__init__(self, env)
        space = env.observation_space
        if not isinstance(space, Dict) or set(space) != {"direction", "image", "mission"}:
            raise ValueError(f"env must be one of MiniGrid's with its own observations, not one with {space}")
        self._varies = varies(space["mission"])
        self.observation_space = observation_space(space["image"], space["direction"], self._varies)

    def observation(self, observation: dict[str, Any]) -> dict[str, Any]:
        """The observation with its mission in numbers."""
        mission = {"mission": numbers(observation["mission"])} if self._varies else {}
        return {"direction": np.int64(observation["direction"]), "image": observation["image"]} | mission
