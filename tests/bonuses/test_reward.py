"""Bonuses as rewards: their scale, their schedule, and what a checkpoint holds."""

import copy
import math

import numpy as np
import pytest
import torch

from memagents.bonuses import BONUSES, make_bonus
from memagents.bonuses.reward import IntrinsicReward
from tests.bonuses.support import ACTIONS, CODES, ROWS, in_windows, stream, windows

GAMMA = 0.9


def make(bonus="count", gamma=GAMMA, **kwargs):
    torch.manual_seed(0)
    return IntrinsicReward(bonus, CODES, ACTIONS, ROWS, gamma, **kwargs)


def bare(*sizes):
    return in_windows(make_bonus("count", CODES, ACTIONS, ROWS), stream(), *sizes)


def test_as_they_are():
    found = make(coef=0.3, normalize=None).rewards(stream(), 1.0)
    torch.testing.assert_close(found, 0.3 * bare(30))


def test_divided_by_how_they_have_varied():
    """The standard deviation of all bonuses so far, with the present window's."""
    reward, past = make(coef=1.0), []
    for window, plain in zip(windows(stream(), 10, 20), bare(10, 20).split([10, 20]), strict=True):
        past += plain.flatten().tolist()
        torch.testing.assert_close(reward.rewards(window, 1.0), plain / np.std(past))


def test_divided_by_how_their_discounted_sums_have_varied():
    reward, sums, past = make(coef=1.0, normalize="returns"), np.zeros(ROWS), []
    for window, plain in zip(windows(stream(), 10, 20), bare(10, 20).split([10, 20]), strict=True):
        for now in plain.numpy():
            sums = GAMMA * sums + now
            past += sums.tolist()
        torch.testing.assert_close(reward.rewards(window, 1.0), plain / np.std(past))


def test_the_coefficient_falls_with_the_training():
    for progress, wanted in ((1.0, 0.4), (0.5, 0.3), (0.0, 0.2)):
        found = make(coef=0.4, final_coef=0.2, normalize=None).rewards(stream(), progress)
        torch.testing.assert_close(found, wanted * bare(30))
    assert not make(coef=0.4, final_coef=0).rewards(stream(), 0.0).any()


def test_a_product_is_one_of_bonuses_and_learns_what_they_learn():
    torch.manual_seed(0)
    product = make_bonus("count*rnd", CODES, ACTIONS, ROWS, form="first", width=4)
    count, rnd = product.factors
    expected = make_bonus("count", CODES, ACTIONS, ROWS, form="first").bonus(stream()) * rnd.bonus(stream())
    torch.testing.assert_close(product.bonus(stream()), expected)
    torch.testing.assert_close(product.loss(stream()), rnd.loss(stream()))
    assert count.form == "first"
    assert rnd.predictor.width == 4
    both = make_bonus("e3b*rnd", CODES, ACTIONS, ROWS)
    torch.testing.assert_close(both.loss(stream()), sum(factor.loss(stream()) for factor in both.factors))
    assert make_bonus("count*count", CODES, ACTIONS, ROWS).loss(stream()) is None


@pytest.mark.parametrize("name", [*BONUSES, "e3b*noveld"])
def test_its_state_is_all_there_is(name):
    """Halfway it is put into another one, which then goes on alike to the last bit."""
    before, after = windows(stream(60), 30, 30)
    one, other = make(name, normalize="returns"), make(name, normalize="returns")
    one.rewards(before, 1.0)
    one.learn(before)
    other.restore(copy.deepcopy(one.state()))  # as through a file: an optimiser keeps the tensors it is given
    assert torch.equal(one.rewards(after, 0.5), other.rewards(after, 0.5))
    assert one.learn(after) == other.learn(after)
    for ours, theirs in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_another_bonus_cannot_take_its_state():
    with pytest.raises(ValueError, match="the bonus of the training was another one"):
        make("rnd").restore(make("count").state())


def test_a_loss_that_is_not_finite_changes_nothing():
    reward = make("rnd")
    reward.bonus.loss = lambda _: next(iter(reward.bonus.predictor.parameters())).sum() * math.nan
    before = {name: value.clone() for name, value in reward.state_dict().items()}
    with pytest.raises(FloatingPointError, match="bonus_loss is not finite"):
        reward.learn(stream())
    assert all(torch.equal(value, before[name]) for name, value in reward.state_dict().items())


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"bonus": "curiosity"}, "bonus must be one of count, rnd, noveld, e3b, or a product"),
        ({"bonus": "rnd*"}, "bonus must be one of"),
        ({"bonus": 3}, "bonus must be one of .*, not 3"),
        ({"coef": -1}, r"coef must be a finite number of at least 0, not -1"),
        ({"final_coef": -1}, r"final_coef must be a finite number of at least 0, not -1"),
        ({"normalize": "mean"}, "normalize must be one of 'std', 'returns', None, not 'mean'"),
        ({"heads": 3}, "heads must be one of 1, 2, not 3"),
        ({"heads": True}, "heads must be one of 1, 2, not True"),
        ({"episodic": False}, "bonus_gamma and episodic are for heads=2"),
        ({"heads": 2, "bonus_gamma": 2}, r"bonus_gamma must be a number in \[0, 1\], not 2"),
        ({"form": "cube"}, "form must be one of 'sqrt', 'first', not 'cube'"),
        ({"capacity": 0}, "capacity must be a positive integer, not 0"),
        ({"alpha": 0.5}, "bonus 'count' has no parameter 'alpha'; it has: form, capacity, resolution, counted, coef"),
        ({"rows": 3}, "bonus 'count' has no parameter 'rows'; it has: form"),
        ({"bonus": ["count"]}, r"bonus must be one of .*, not \['count'\]"),
        ({"resolution": 0}, "resolution must be a finite number above 0, not 0"),
        ({"bonus": "rnd", "share": 0}, "share must be a finite number above 0, not 0"),
        ({"bonus": "noveld", "alpha": math.inf}, "alpha must be a finite number of at least 0, not inf"),
        ({"bonus": "e3b", "ridge": math.inf}, "ridge must be a finite number above 0, not inf"),
        (
            {"counted": ["place"]},
            r"counted must be one or more names of entries of a Dict, and the observation is",
        ),
    ],
)
def test_what_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(**kwargs)
