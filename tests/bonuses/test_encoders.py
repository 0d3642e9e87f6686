"""Bonuses see observations by the encoder that the policy was given."""

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from memagents import RecurrentPPO
from memagents.bonuses.features import Features
from memagents.policies.encoding import FlatEncoder
from memagents.policies.picture_encoders import PictureEncoder
from memagents.policies.symbol_encoders import GridEncoder
from tests.support.worlds import World

VIEW = spaces.Box(0, 255, (7, 7, 3), np.uint8)
KINDS = {"cnn": PictureEncoder, "grid": GridEncoder, "flat": FlatEncoder}


def encoders(space, **kwargs):
    agent = RecurrentPPO(
        *("MultiInputPolicy", DummyVecEnv([lambda: World(space)])), n_steps=4, n_epochs=1, device="cpu", **kwargs
    )
    agent.learn(4)
    return [own.encoder for own in agent._exploration.reward.modules() if isinstance(own, Features)]


@pytest.mark.parametrize("bonus", ["rnd", "e3b*noveld", "count"])
@pytest.mark.parametrize("word", KINDS)
def test_the_policys_word_holds(bonus, word):
    found = encoders(VIEW, bonus=bonus, policy_kwargs={"encoder": word})
    assert bool(found) is (bonus != "count")
    assert all(isinstance(own, KINDS[word]) for own in found)


def test_what_the_policy_does_not_see():
    """Neither do the bonus's networks; words for the previous action are the policy's alone."""
    both = spaces.Dict({"cam": VIEW, "place": spaces.Box(-9, 9, (2,), np.float32)})
    words = {"cam": "grid", "place": "none", "previous_action": "auto"}
    found = encoders(both, bonus="rnd", policy_kwargs={"encoder": words}, condition_on=["action"])
    assert [list(own.encoders) for own in found] == [["cam"], ["cam"]]


def test_words_by_the_names_of_entries():
    both = spaces.Dict({"cam": VIEW, "map": VIEW})
    words = {"cam": "cnn", "map": "grid"}
    found = encoders(both, bonus="rnd", policy_kwargs={"encoder": words}, condition_on=["reward"])
    assert found and all(isinstance(own.encoders[name], KINDS[word]) for own in found for name, word in words.items())
