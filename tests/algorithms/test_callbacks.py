"""What callbacks find in ``self.locals``: the names that users of Stable-Baselines3 expect, of this very step."""

import copy

import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback

from memagents import MFEC, NEC, Imitation, RecurrentPPO
from tests.support.toys import Recorder, assert_same, dummy

USUAL = {"self", "env", "new_obs", "rewards", "dones", "infos", "actions"}
AGENTS = [
    (RecurrentPPO, {"n_steps": 5}),
    (Imitation, {"n_steps": 5, "oracle_share": 0.5}),
    (Imitation, {"n_steps": 5}),
    (NEC, {"learning_starts": 8}),
    (NEC, {"learning_starts": 8, "policy_kwargs": {"core": "gru"}}),
    (MFEC, {}),
]


class Diary(BaseCallback):
    """Copies the usual names at every step."""

    def __init__(self):
        super().__init__()
        self.steps, self.ends = [], []

    def _on_step(self):
        assert self.locals.keys() >= USUAL
        assert self.locals["self"] is self.model and self.locals["env"] is self.model.env
        self.steps.append({name: copy.deepcopy(self.locals[name]) for name in USUAL - {"self", "env"}})
        return True

    def _on_rollout_end(self):
        self.ends.append(self.locals.keys() >= USUAL)


@pytest.mark.parametrize(("kind", "kwargs"), AGENTS)
@pytest.mark.parametrize("actions", ["shifted", "multi_discrete", "box"])
@pytest.mark.parametrize("observations", ["box", "dict"])
def test_the_usual_names_are_of_this_step(kind, kwargs, actions, observations):
    if actions != "shifted" and (kind in (NEC, MFEC) or (kind is Imitation and actions == "box")):
        pytest.skip("not its actions")
    env = Recorder(dummy(3, observations=observations, actions=actions))
    agent, diary = kind("MlpPolicy", env, seed=0, device="cpu", **kwargs), Diary()
    agent.learn(60, callback=diary)
    assert len(diary.steps) == len(env.history) == 20
    assert len(diary.ends) > 3 and all(diary.ends)
    for seen, (done, observed, rewards, dones, infos, _) in zip(diary.steps, env.history, strict=True):
        np.testing.assert_array_equal(seen["actions"], done)  # as the environment took them
        assert_same(seen["new_obs"], observed)
        np.testing.assert_array_equal(seen["rewards"], rewards)
        np.testing.assert_array_equal(seen["dones"], dones)
        assert [info.keys() for info in seen["infos"]] == [info.keys() for info in infos]


@pytest.mark.parametrize(("kind", "kwargs"), AGENTS)
def test_a_callback_stops_the_training_at_its_step(kind, kwargs):
    class Stop(BaseCallback):
        def _on_step(self):
            return self.n_calls < 7

    agent = kind("MlpPolicy", dummy(3), seed=0, device="cpu", **kwargs)
    agent.learn(300, callback=Stop())
    assert agent.num_timesteps == 21
