"""Choices, against SB3's categorical distributions."""

import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import make_proba_distribution

from memagents.policies.distributions import Choices, distribution_for

SPACES = [spaces.Discrete(3), spaces.Discrete(40), spaces.MultiDiscrete([2, 30, 5])]


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("count", [1, 300])
def test_choices_are_those_of_sb3(space, count):
    logits = 3 * torch.randn(count, sum(Choices(space).action_dims)).double()
    ours = distribution_for(space).proba_distribution(logits)
    theirs = make_proba_distribution(space).proba_distribution(logits)
    assert isinstance(ours, Choices)
    for deterministic in (True, False):
        torch.manual_seed(1)
        expected = theirs.get_actions(deterministic)
        torch.manual_seed(1)
        actions = ours.get_actions(deterministic)
        assert torch.equal(actions, expected)
        torch.testing.assert_close(ours.log_prob(actions), theirs.log_prob(actions))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())


def test_what_is_impossible_is_never_chosen():
    logits = torch.tensor([[0.0, -1e4, 0.0], [-1e4, 0.0, 300.0]]).repeat(2000, 1)
    choices = distribution_for(SPACES[0]).proba_distribution(logits)
    drawn = choices.sample().view(2000, 2)
    assert set(drawn[:, 0].tolist()) == {0, 2} and set(drawn[:, 1].tolist()) == {2}
    assert choices.entropy().isfinite().all()


def test_other_actions_have_sb3s_distributions():
    for space in (spaces.Box(-1, 1, (2,)), spaces.MultiBinary(3)):
        assert type(distribution_for(space)) is type(make_proba_distribution(space))
