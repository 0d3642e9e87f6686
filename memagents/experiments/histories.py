"""Equal histories in an evaluation: environments in which the same has been seen are acted for once.

A T-maze has two cues and a corridor without events: of a hundred walks of 10⁵ steps two differ.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm

from memagents.cores.core import State, select_rows
from memagents.policies.core_policy import CorePolicy
from memagents.policies.encoding import map_observations
from memagents.policies.row_set import RowSet

ANY = -1  # history of a row that begins an episode


class Histories(NamedTuple):
    """What was seen since the episodes of B rows began: K different histories.

    :param numbers: of the rows' histories, (B,)
    :param state: of the agent after each, of K rows
    """

    numbers: np.ndarray
    state: State

    @property
    def different(self) -> int:
        """K."""
        return int(self.numbers.max()) + 1


class EqualHistories:
    """Acts by the most likely actions of a policy, once for all rows with the same history.

    The actions are those that the policy takes for each row by itself, but for what the sums of other batches are
    rounded to.

    :param agent: whose ``policy`` remembers nothing beyond episodes, see :func:`may_share`
    """

    def __init__(self, agent: Any):
        self.agent = agent

    def predict(
        self,
        observation: Any,
        state: Histories | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Histories]:
        """Return actions (B, ...), and the histories for the next call."""
        entries = list(observation.values()) if isinstance(observation, dict) else [observation]
        starts = (
            np.ones(len(entries[0]), dtype=bool) if episode_start is None else np.asarray(episode_start, dtype=bool)
        )
        numbers, first = self._numbered(entries, state, starts)
        some = map_observations(lambda entry: entry[first], observation)
        kept = None if state is None else _of_rows(state, first)
        try:
            actions, after = self.agent.predict(some, kept, starts[first], True)
        except FloatingPointError:  # which tells of the rows that it was given
            whole = None if state is None else _of_rows(state, np.arange(len(starts)))
            self.agent.predict(observation, whole, starts, True)
            raise
        return actions[numbers], Histories(numbers, after)

    def _numbered(
        self, entries: list[np.ndarray], state: Histories | None, starts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Number the histories of the rows with what they see now, (B,), and name a row of each, (K,)."""
        rows = np.arange(len(starts))
        if state is not None and state.different == len(rows) and starts.sum() < 2:
            return rows, rows  # all differ already, and stay so
        before = np.where(starts, ANY, ANY if state is None else state.numbers)
        looked_at = [before, *(entry for entry in entries if entry.size)]
        seen = [np.ascontiguousarray(entry).reshape(len(rows), -1).view(np.uint8) for entry in looked_at]
        given = np.concatenate(seen, axis=1)
        # By their first rows, so that histories that stay as they are keep their numbers.
        return RowSet(given.shape[1], len(given)).add(given)


def _of_rows(state: Histories, rows: np.ndarray) -> State:
    """Return the state of some rows; the state itself where nothing has to be moved."""
    numbers = state.numbers[rows]
    same = len(numbers) == state.different and (numbers == np.arange(state.different)).all()
    return state.state if same else select_rows(state.state, numbers.tolist())


def may_share(agent: Any) -> bool:
    """Return whether an agent acts by a policy as it is, by the history of a row alone, on the CPU.

    A wrapper that looks at what its policy does, as a recorder, wants to see every row; and a GPU would have to be
    waited for, to compare rows.
    """
    policy = agent if isinstance(agent, CorePolicy) else getattr(agent, "policy", None)
    as_it_is = getattr(type(agent), "predict", None) in (CorePolicy.predict, BaseAlgorithm.predict)
    return as_it_is and isinstance(policy, CorePolicy) and not policy.remembers and policy.device.type == "cpu"
