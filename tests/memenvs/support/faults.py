"""Environments with one planted fault each, for the conformance kit to find."""

from dataclasses import replace

import numpy as np

from memenvs.compilation import njit
from memenvs.maze import tmaze
from tests.memenvs.support.drifting import BatchedDrifting, Drifting


class ReusesArrays(BatchedDrifting):
    """Observations are the arrays that the next step writes into."""

    def _given(self, arrays):
        return arrays


class ReusesOneArray(Drifting):
    """The same for the single environment."""

    def _observation(self):
        return {name: array[0] for name, array in self.batch.observations.items()}


class IgnoresTheSplit(BatchedDrifting):
    """Train and test have the same levels."""

    def __init__(self, *args, split=None, **kwargs):
        super().__init__(*args, **kwargs)


class SeedsByNumber(BatchedDrifting):
    """The levels depend on how many environments there are."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=None if seed is None else seed + self.num_envs, options=options)


class SameLevelEverywhere(BatchedDrifting):
    """All rows play the same episodes."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed, options=options)
        self.batch.rows["key"] = self.batch.rows["key"][0]
        self.batch.reset()
        return self._given(self.batch.observations), {"decision": self._given(self.batch.decision)}


class ForgetsTheDynamics(BatchedDrifting):
    """A snapshot lacks the key from which the dynamics are drawn."""

    def snapshot(self):
        kept = super().snapshot()
        rows = kept["rows"].view(self.batch.rows.dtype)[:, 0]
        rows["state"]["key"] = 0
        return kept


class SnapshotIsAView(BatchedDrifting):
    """A snapshot changes with the environment."""

    def snapshot(self):
        return super().snapshot() | {"rows": self.batch.rows.view(np.uint8).reshape(self.num_envs, -1)}


class ResetsLate(BatchedDrifting):
    """The step that ends an episode returns its last observation; the next step only begins a new episode."""

    def step(self, actions):
        observations, *rest, infos = super().step(actions)
        for name, array in infos.get("final_obs", {}).items():
            observations[name][infos["_final_obs"]] = array[infos["_final_obs"]]
        return observations, *rest, infos


class EndsInSilence(BatchedDrifting):
    """The last observation is lost."""

    def step(self, actions):
        *step, infos = super().step(actions)
        return *step, {name: value for name, value in infos.items() if "final_obs" not in name}


class MarksEveryRow(BatchedDrifting):
    """The mask of final_obs marks rows that go on."""

    def step(self, actions):
        *step, infos = super().step(actions)
        if "final_obs" in infos:
            infos["_final_obs"] = np.ones(self.num_envs, bool)
        return *step, infos


class EndsTwice(BatchedDrifting):
    """An episode that terminates is reported as truncated, too."""

    def step(self, actions):
        observations, rewards, terminated, truncated, infos = super().step(actions)
        return observations, rewards, terminated, truncated | terminated, infos


class CountsOneTooMany(BatchedDrifting):
    """Episodes are reported one step longer than they are."""

    def step(self, actions):
        *step, infos = super().step(actions)
        if "episode" in infos:
            infos["episode"]["l"] += infos["_episode"]
        return *step, infos


class HasAnotherType(BatchedDrifting):
    """An entry of the observations has another dtype than its space."""

    def _given(self, arrays):
        given = super()._given(arrays)
        return given | {"place": given["place"].astype(np.int32)} if isinstance(given, dict) else given


class HasAnotherShape(BatchedDrifting):
    """An entry of the observations has another shape than its space."""

    def _given(self, arrays):
        given = super()._given(arrays)
        return given | {"scent": given["scent"][:, 0]} if isinstance(given, dict) else given


class RewardsNothingKnown(BatchedDrifting):
    """A reward is no number."""

    def step(self, actions):
        observations, rewards, *rest = super().step(actions)
        return observations, np.where(rewards > 0.4, np.nan, rewards), *rest


class GoesOnAfterTheEnd(Drifting):
    """The single environment steps on when its episode has ended."""

    def step(self, action):
        self._running = True
        return super().step(action)


BATCHED = {
    ReusesArrays: "copies: .* of step .*, looked at again after the last step, must be",
    IgnoresTheSplit: "splits: the number of levels in both train and test must be 0, not [1-9]",
    SeedsByNumber: "seeds: row 0 of 1 environments, seeded for the first time, as among 8, step 0",
    SameLevelEverywhere: "seeds: the levels of other rows and of another seed must be others, not the same",
    ForgetsTheDynamics: "snapshots: row . restored in the same environment, step .* must be",
    SnapshotIsAView: "snapshots: a snapshot, looked at after further steps",
    ResetsLate: "resets: the first of the next episode, in step .*, in row 0 as in the single environment",
    EndsInSilence: r"ends: infos\['final_obs'\] of step .*, which ends episodes, must be there, not absent",
    MarksEveryRow: r"ends: infos\['_final_obs'\] of step .* must be",
    EndsTwice: "ends: the end of an episode in step .* must be terminated or truncated, not both",
    CountsOneTooMany: r"ends: infos\['episode'\]\['l'\] of step .* in the rows that ended must be",
    HasAnotherType: r"spaces: the dtype of the observation of step 0\['place'\] must be int16, not int32",
    HasAnotherShape: r"spaces: the shape of the observation of step 0\['scent'\] must be \(8, 2, 2\), not \(8, 2\)",
    RewardsNothingKnown: "rewards: the rewards of step .* must be finite",
}
SINGLE = {
    ReusesOneArray: "copies: the first observation of the single environment, looked at again after its episode",
    GoesOnAfterTheEnd: "ends: a step of the single environment after the end must be a RuntimeError, not accepted",
}


@njit
def turn_wrongly(state, level):
    best = tmaze.oracle(state, level)
    return 2 - best if best in (0, 2) else best


@njit
def step_nowhere(state, level):
    return 7 * (tmaze.oracle(state, level) >= 0)


@njit
def never_sure(state, level):
    return -1 if state.position == level.length else tmaze.oracle(state, level)


def maze(**changes):
    """The definition of a T-maze, with a fault."""
    return replace(tmaze.define(length=2), **changes)
