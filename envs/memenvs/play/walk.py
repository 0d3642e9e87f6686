"""A person in the place of the agent: the meanings of keys, and the screen after each."""

from __future__ import annotations

import contextlib
import string
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary
from numpy.typing import ArrayLike

from memenvs.batched import SingleEnv
from memenvs.catalogue import has_oracle
from memenvs.engine.definition import Definition
from memenvs.engine.types import Observation
from memenvs.play.keyboard import ARROWS, INTERRUPTS

COMMANDS = {"o": "the oracle's action", "r": "restart", "q": "quit"}
LETTERS = dict(zip("wdsa", ARROWS, strict=True))  # the other keys for the arrows
MOST_KEYS = 10  # more actions than that are typed as numbers or names
# Words of an action's name, and the arrow that stands for it.
DIRECTIONS = {"forward": "up", "north": "up", "east": "right", "south": "down", "back": "down", "west": "left"}
SHOWN = 64  # numbers of an observation that are shown; more say nothing to a person


class WrongAnswer(Exception):
    """The error of a typed line that is no action; the message says what is."""


class Answers:
    """The actions of keys and typed lines.

    ``keys`` are those that stand for an action each; without any, actions are ``typed``.

    :param definition: of the environment
    """

    def __init__(self, definition: Definition):
        self.space: Any = definition.action_space
        self.names = definition.action_names
        self.n = int(definition.action_space.n) if isinstance(definition.action_space, Discrete) else 0
        self.typed = not 0 < self.n <= MOST_KEYS
        self.keys = {} if self.typed else action_keys(self.n, self.names)

    def read(self, line: str) -> int | np.ndarray:
        """The action of a typed line.

        :raises WrongAnswer: if it is none
        """
        line = line.strip()
        if self.n:
            lowered = [name.lower() for name in self.names]
            if line.lower() in lowered:
                return lowered.index(line.lower())
            numbers = _integers(line.split())
            if len(numbers) == 1 and 0 <= numbers[0] < self.n:
                return numbers[0]
        elif isinstance(self.space, Box):
            values = _floats(line.replace(",", " ").split())
            if len(values) == self.space.low.size:
                action = np.array(values, self.space.dtype).reshape(self.space.shape)
                if self.space.contains(action):
                    return action
        else:
            words = line.replace(",", " ").split()
            bits = isinstance(self.space, MultiBinary)
            numbers = _integers(list("".join(words)) if bits else words)
            sizes = [2] * self.space.shape[0] if bits else self.space.nvec.tolist()
            if len(numbers) == len(sizes) and all(0 <= n < size for n, size in zip(numbers, sizes, strict=True)):
                return np.array(numbers)
        raise WrongAnswer(f"{line!r} is no answer: type {self.wanted()}")

    def wanted(self) -> str:
        """Return the words for a valid answer."""
        if self.n:
            names = f" or a name: {', '.join(self.names)}" if self.names else ""
            return f"a number from 0 to {self.n - 1}{names}"
        if isinstance(self.space, MultiBinary):
            return f"{self.space.shape[0]} digits 0 or 1"
        if isinstance(self.space, Box):
            return f"{self.space.low.size} number(s) from {self.space.low.min():g} to {self.space.high.max():g}"
        sizes = self.space.nvec.tolist()
        if len(set(sizes)) == 1:
            return f"{len(sizes)} number(s) from 0 to {sizes[0] - 1}"
        return "numbers: " + ", ".join(f"0 to {size - 1}" for size in sizes)

    def name(self, action: ArrayLike) -> str:
        """Return an action in words."""
        values = np.asarray(action).reshape(-1).tolist()
        if not self.n:
            return ("" if isinstance(self.space, MultiBinary) else " ").join(map(str, values))
        (number,) = values
        keys = [key for key, one in self.keys.items() if one == number]
        name = self.names[number] if self.names else f"action {number}"
        return f"{name} (key {' or '.join(keys)})" if keys else f"{name} ({number})" if self.names else name

    def help(self) -> str:
        """Return the meanings of the keys."""
        if self.typed:
            return f"type {self.wanted()}, then Enter"
        if not self.names:
            return f"0 to {self.n - 1}: actions"
        keys = [" ".join(key for key, one in self.keys.items() if one == action) for action in range(self.n)]
        return "   ".join(f"{pressed}: {name}" for pressed, name in zip(keys, self.names, strict=True))


def action_keys(n: int, names: tuple[str, ...]) -> dict[str, int]:
    """Return keys with their actions: digits, arrows (and wasd) for directions, a letter of other names."""
    keys = {str(action): action for action in range(n)}
    for action, name in enumerate(names):
        words = name.lower().replace("_", " ").split()
        for arrow in [DIRECTIONS.get(word, word) for word in words]:
            if arrow in ARROWS and arrow not in keys:
                keys[arrow] = action
                keys[next(letter for letter, meant in LETTERS.items() if meant == arrow)] = action
                break
    for action, name in enumerate(names):
        if sum(one == action for one in keys.values()) == 1:
            free = [c for c in name.lower() if c in string.ascii_lowercase and c not in {*keys, *COMMANDS, *LETTERS}]
            if free:
                keys[free[0]] = action
    return keys


class Walk:
    """Episodes in one environment, driven by keys.

    :param env: the environment, its render mode ``"ansi"``, or ``"human"`` for a window
    :param read: waits for the next key and gives its name, as in :mod:`memenvs.play.keyboard`
    :param show: puts a text on the screen, in place of the last one
    :param seed: of the first episode
    """

    def __init__(self, env: SingleEnv, read: Callable[[], str], show: Callable[[str], None], seed: int | None = None):
        self.env = env
        self.read = read
        self.show = show
        self.answers = Answers(env.definition)
        self.line = ""  # what has been typed
        self.said = ""  # the answer to the last key
        self._begin(seed)

    def run(self) -> None:
        """Go on until the person quits."""
        while True:
            self.show(self.screen())
            if not self.press(self.read()):
                return

    def press(self, key: str) -> bool:
        """Do what a key stands for.

        :return: whether to go on
        """
        self.said = ""
        command = self._command(key)
        if key in INTERRUPTS or key == "escape" or command == "q":
            return False
        if command:
            self.line = ""
            if command == "r":
                self._begin()
            else:
                self.said = self._oracle()
        elif self.over:
            if key in ("enter", "space"):
                self._begin()
        elif key in self.answers.keys:
            self._step(self.answers.keys[key])
        elif key in ("enter", "space") and not self.line:
            self._pass()
        elif self.answers.typed:
            self._type(key)
        return True

    def screen(self) -> str:
        """Return the whole screen."""
        drawn = str(self.env.render()) if self.env.render_mode == "ansi" else None
        parts = [self.env.definition.name, *([drawn] if drawn else []), *observed(self.observation)]
        ended = {True: "terminated", False: "truncated"}[self.terminated] if self.over else ""
        parts.append(f"step {self.steps}   reward {self.reward:g}   return {self.total:g}   {ended}".rstrip())
        if self.over:
            parts.append("   ".join(f"{name} {value:g}" for name, value in self.metrics.items()))
            parts.append("Enter: next episode")
        elif not self.decision:
            parts.append("no action matters now   Enter: go on")
        parts.append(self.answers.help())
        by_name = self.answers.typed and self.answers.names
        parts.append("   ".join(f"{key}{' Enter' if by_name else ''}: {what}" for key, what in COMMANDS.items()))
        if self.said:
            parts.append(self.said)
        if self.answers.typed:
            parts.append(f"> {self.line}")
        return "\n".join(part for part in parts if part)

    def _command(self, key: str) -> str:
        """The command that a key gives, or the line that it ends, where letters may begin a name."""
        if self.answers.typed and self.answers.names and not self.over:
            return self.line if key == "enter" and self.line in COMMANDS else ""
        return key if key in COMMANDS else ""

    def _begin(self, seed: int | None = None) -> None:
        self.observation, info = self.env.reset(seed=seed)
        self.decision = info["decision"]
        self.reward, self.total, self.steps = 0.0, 0.0, 0
        self.over = self.terminated = False
        self.metrics: dict[str, float] = {}
        self.line = ""

    def _step(self, action: ArrayLike) -> None:
        self.observation, self.reward, self.terminated, truncated, info = self.env.step(action)
        self.total += self.reward
        self.steps += 1
        self.decision = info["decision"]
        self.over = self.terminated or truncated
        self.metrics = {name: info[name] for name in self.env.definition.metrics} if self.over else {}

    def _pass(self) -> None:
        """Take any action, where none matters."""
        if self.decision:
            self.said = f"an action is needed: {self.answers.help()}"
        else:
            self._step(np.zeros(self.answers.space.shape, int) if self.answers.space.shape else 0)

    def _type(self, key: str) -> None:
        if key == "backspace":
            self.line = self.line[:-1]
        elif key == "enter":
            line, self.line = self.line, ""
            try:
                self._step(self.answers.read(line))
            except WrongAnswer as error:
                self.said = str(error)
        else:
            self.line += " " if key == "space" else key if len(key) == 1 and key.isprintable() else ""

    def _oracle(self) -> str:
        if not has_oracle(self.env.definition):
            return "this environment has no oracle"
        if self.over:
            return "the episode is over"
        action = self.env.oracle()
        return "oracle: " + ("no action matters" if np.min(action) < 0 else self.answers.name(action))


def observed(observation: Observation) -> list[str]:
    """Return the observation as text, entry by entry; large entries are left out."""
    entries = observation if isinstance(observation, dict) else {"observation": observation}
    if isinstance(observation, tuple):
        entries = {f"observation {place}": entry for place, entry in enumerate(observation)}
    return [
        f"{name}: {np.array2string(np.asarray(value), precision=2, max_line_width=100, suppress_small=True)}"
        for name, value in entries.items()
        if np.size(value) <= SHOWN
    ]


def _floats(words: list[str]) -> list[float]:
    """Return words as numbers, none if one of them is not."""
    with contextlib.suppress(ValueError):
        return [float(word) for word in words]
    return []


def _integers(words: list[str]) -> list[int]:
    """Return words as integers, none if one of them is not."""
    return [int(word) for word in words] if all(word.isascii() and word.isdigit() for word in words) else []
