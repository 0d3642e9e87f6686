"""The running episodes: steps that wait for their N-step return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from memagents.algorithms.causes import observations_named, visible_cause
from memagents.policies.encoding import map_observations, stack_observations


class Finished(NamedTuple):
    """Steps of which the return is known: observations (M, ...), all else (M,), keys (M, W).

    ``asked`` is false where the action did not matter.
    """

    observations: Any
    actions: np.ndarray
    keys: np.ndarray
    situations: np.ndarray
    asked: np.ndarray
    returns: np.ndarray


class Trail:
    """The steps of one environment's running episode.

    The N-step return of step t is r_t + γ r_{t+1} + … + γ^{N−1} r_{t+N−1} + γ^N max_a Q(s_{t+N}, a) (Pritzel et al.
    2017, equation 3), known when s_{t+N} is. That of the last steps of an episode ends with it: with the value of the
    final observation if a time limit cut it.

    :param n_steps: N, or None for the whole episode
    :param gamma: discount γ
    :param whole: keep all steps until :meth:`clear`, and not only those that wait
    """

    def __init__(self, n_steps: int | None, gamma: float, whole: bool = False):
        self.n_steps, self.gamma, self.whole = n_steps, gamma, whole
        self.clear()

    def clear(self) -> None:
        """Begin a new episode."""
        self.taken = 0  # how many of the first steps have been given by ``take``
        self.steps: list[tuple[Any, ...]] = []  # observation, action, key, situation, asked
        self.rewards: list[float] = []
        self.returns: list[float] = []  # of the first steps, as far as they are known

    def value(self, best: float) -> None:
        """The value max_a Q of the observation that the next step is taken from."""
        first = len(self.returns)
        if self.n_steps is not None and len(self.rewards) - first == self.n_steps:
            self.returns.append(discounted(self.rewards[first:], best, self.gamma))

    def add(self, observation: Any, action: int, key: np.ndarray, situation: int, asked: bool) -> None:
        """A step, without the reward that it will bring; observation and key are copied."""
        self.steps.append((map_observations(np.array, observation), action, np.array(key), situation, asked))

    def reward(self, reward: float) -> None:
        """Note the results of the step."""
        self.rewards.append(reward)

    def end(self, best: float) -> None:
        """The episode is over: the remaining returns.

        :param best: value of the final observation where a time limit cut the episode, else 0
        """
        following, remaining = best, []
        for reward in reversed(self.rewards[len(self.returns) :]):
            following = reward + self.gamma * following
            remaining.append(following)
        self.returns.extend(reversed(remaining))

    def take(self) -> Finished | None:
        """The steps whose return has become known since the last time, if there are any."""
        begin, end = self.taken, len(self.returns)
        if begin == end:
            return None
        finished = gather(self.steps[begin:end], self.returns[begin:end])
        if self.whole:
            self.taken = end
        else:
            # New lists: those of before are looked into where a return is not finite.
            self.steps, self.rewards, self.returns = self.steps[end:], self.rewards[end:], self.returns[end:]
        return finished

    def episode(self) -> Finished:
        """Return all steps of an episode that is over."""
        return gather(self.steps, self.returns)

    def tree(self) -> dict[str, Any]:
        """Return the trail as plain values and arrays."""
        steps = gather(self.steps, [0.0] * len(self.steps))._asdict() if self.steps else None
        return {"steps": steps, "rewards": self.rewards, "returns": self.returns, "taken": self.taken}

    def restore(self, tree: dict[str, Any]) -> None:
        """Go on from what :meth:`tree` gave."""
        self.clear()
        self.rewards, self.returns, self.taken = list(tree["rewards"]), list(tree["returns"]), tree["taken"]
        if tree["steps"] is not None:
            self.steps = list(scatter(Finished(**tree["steps"])))


def cause_among(steps: Sequence[tuple[Any, ...]], rewards: Sequence[float], row: int, last: int, every: int) -> str:
    """Return why a return or a key is not finite, see :func:`memagents.algorithms.causes.visible_cause`.

    :param steps: of one environment, as a trail keeps them
    :param rewards: that they brought
    :param row: number of the environment
    :param last: number of steps that were made with the last of these
    :param every: steps that are made at a time
    """
    seen = stack_observations([step[0] for step in steps])
    observations = observations_named(map_observations(lambda values: values[:, None], seen), last - every)
    return visible_cause({"reward": (np.array(rewards)[:, None], last), **observations}, every, row)


def discounted(rewards: Sequence[float], last: float, gamma: float) -> float:
    """r_0 + γ r_1 + … + γ^n ``last`` for n rewards."""
    total = last
    for reward in reversed(rewards):
        total = reward + gamma * total
    return total


def gather(steps: Sequence[tuple[Any, ...]], returns: Sequence[float]) -> Finished:
    """One step after another as arrays."""
    observations, actions, keys, situations, asked = zip(*steps, strict=True)
    return Finished(
        stack_observations(observations),
        np.array(actions, dtype=np.int64),
        np.stack(keys),
        np.array(situations, dtype=np.int64),
        np.array(asked, dtype=bool),
        np.array(returns, dtype=np.float32),
    )


def scatter(steps: Finished) -> Iterator[tuple[Any, ...]]:
    """The inverse of :func:`gather`."""
    for i in range(len(steps.actions)):
        observation = map_observations(itemgetter(i), steps.observations)
        yield observation, int(steps.actions[i]), steps.keys[i], int(steps.situations[i]), bool(steps.asked[i])
