"""Losses that are not finite: the message names what the environment gave, and says whether anything was saved."""

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from memagents import MFEC, NEC, Imitation, RecurrentPPO
from memagents.algorithms.causes import listed, visible_cause
from tests.support.worlds import World

PLAIN = spaces.Box(-1, 1, (2,), np.float32)
SMALL = {"n_steps": 8, "n_epochs": 1}
REPLAYED = {"n_steps": 2, "learning_starts": 4, "batch_size": 4}
AGENTS = {
    "ppo": (RecurrentPPO, SMALL),
    "cloning": (Imitation, SMALL),
    "dagger": (Imitation, {**SMALL, "oracle_share": 0.5}),
    "nec": (NEC, REPLAYED),
    "recurrent nec": (NEC, {**REPLAYED, "policy_kwargs": {"core": "gru"}}),
    "mfec": (MFEC, {}),
}


class Odd(World):
    """One step gives a number of the test's choice.

    :param what: ``"reward"`` or ``"observation"``
    :param number: that is given
    :param at: which step, over all episodes, that are of three steps
    """

    def __init__(self, what="", number=0.0, at=5, space=PLAIN):
        super().__init__(space)
        self.what, self.number_given, self.at, self.made = what, number, at, 0

    def step(self, action):
        self.made += 1
        observation, reward, *rest = super().step(action)
        if self.made == self.at and self.what == "reward":
            reward = self.number_given
        if self.made == self.at and self.what == "observation":
            observation = self._spoiled(observation)
        return observation, reward, *rest

    def _spoiled(self, observation):
        if isinstance(observation, dict):
            return {**observation, "aim": self._spoiled(observation["aim"])}
        return np.array([0, self.number_given], np.float32)


def learned(kind, kwargs, *odd, space=PLAIN, **settings):
    """The message that a training ends with."""
    env = DummyVecEnv([lambda: Odd(space=space), lambda: Odd(*odd, space=space, **settings)])
    with pytest.raises(FloatingPointError) as error:
        kind("MlpPolicy", env, seed=0, device="cpu", **kwargs).learn(64)
    return str(error.value)


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("number", [np.nan, -np.inf])
def test_a_number_that_is_not_finite_is_named(name, number):
    assert learned(*AGENTS[name], "reward", number).endswith(f"the reward of environment 1 at step 10 is {number}")


@pytest.mark.parametrize("name", AGENTS)
def test_an_observation_that_is_not_finite_is_named(name):
    message = learned(*AGENTS[name], "observation", np.nan)
    assert message.endswith("the observation of environment 1 at step 10 holds nan")


def test_entries_are_named_and_the_observation_after_the_window():
    both = spaces.Dict({"aim": PLAIN, "wind": PLAIN})
    for at in (5, 8):
        message = learned(RecurrentPPO, SMALL, "observation", np.nan, at, space=both)
        assert message.endswith(f"the observation['aim'] of environment 1 at step {2 * at} holds nan")


def test_the_final_observation_of_an_episode_that_was_cut():
    message = learned(RecurrentPPO, SMALL, "observation", np.nan, at=6)
    assert message.endswith("the value of the final observation of environment 1 at step 12 is nan")


def test_a_finite_number_that_float32_cannot_square():
    message = learned(RecurrentPPO, SMALL, "reward", 1e30)
    assert message == "value_loss is not finite at step 16: the reward of environment 1 at step 10 is 1e+30"
    assert learned(NEC, REPLAYED, "reward", 1e30).endswith("the largest return in the replay is 1e+30")


def test_what_was_saved_and_what_was_not(tmp_path):
    assert learned(RecurrentPPO, {**SMALL, "run_dir": tmp_path / "a"}, "reward", np.nan).endswith(
        "is nan; nothing was saved yet"
    )
    late = learned(RecurrentPPO, {**SMALL, "run_dir": tmp_path / "b", "checkpoint_interval": 1}, "reward", np.nan, at=9)
    assert late.endswith(f"is nan; the last good checkpoint is in {tmp_path / 'b'}")


def test_the_loss_of_a_bonus_is_one_of_them():
    agent = RecurrentPPO("MlpPolicy", DummyVecEnv([Odd]), seed=0, device="cpu", bonus="rnd", **SMALL)
    agent._exploration.reward.bonus.loss = lambda _: agent.policy.value_net.bias.sum() * np.nan
    with pytest.raises(FloatingPointError, match=r"^bonus_loss is not finite at step 8$"):
        agent.learn(8)


def test_nothing_is_named_where_nothing_is_odd():
    given = {"reward": (np.ones((3, 2)), 6), "observation": (np.full((3, 2, 4), 255, np.uint8), 6)}
    assert visible_cause(given, 2) == ""


def test_grammar():
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["a is", "a and b are", "a, b and c are"]
