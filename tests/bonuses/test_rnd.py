"""Random network distillation and NovelD, against their formulas."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from memagents.bonuses import make_bonus
from memagents.bonuses.features import Moments, Whitening
from tests.bonuses.support import ACTIONS, CODES, ROWS, in_windows, stream, windows
from tests.bonuses.test_count import by_hand

SMALL = {"width": 5, "hidden_size": 6}


def test_the_bonus_is_the_error_of_what_a_step_leads_to():
    torch.manual_seed(0)
    rnd, experience = make_bonus("rnd", CODES, ACTIONS, ROWS, **SMALL), stream()
    following = experience.observations[1:]
    errors = ((rnd.predictor(following) - rnd.target(following)) ** 2).mean(-1)
    expected = torch.where(experience.starts[1:], 0, errors)
    torch.testing.assert_close(rnd.bonus(experience), expected.detach())
    torch.testing.assert_close(rnd.loss(experience), errors.mean())


def test_what_is_met_often_pays_less_than_what_is_new():
    torch.manual_seed(0)
    rnd, experience = make_bonus("rnd", CODES, ACTIONS, ROWS), stream()
    known = experience._replace(observations=torch.where(experience.observations > 0, 1, 0))
    optimizer = torch.optim.Adam([p for p in rnd.parameters() if p.requires_grad], lr=1e-2)
    before = {name: value.clone() for name, value in rnd.target.named_parameters()}
    for _ in range(100):
        optimizer.zero_grad()
        rnd.loss(known).backward()
        optimizer.step()
    met = (experience.observations[1:] < 2).all(-1)
    errors = rnd.errors(experience.observations[1:]).detach()
    assert errors[met].mean() < errors[~met].mean() / 20
    assert all(torch.equal(value, before[name]) for name, value in rnd.target.named_parameters())


def test_a_share_of_the_batch():
    torch.manual_seed(0)
    rnd, experience = make_bonus("rnd", CODES, ACTIONS, ROWS, share=0.3, **SMALL), stream()
    errors = rnd.errors(experience.observations[1:])
    torch.manual_seed(1)
    chosen = torch.rand_like(errors) < 0.3
    torch.manual_seed(1)
    torch.testing.assert_close(rnd.loss(experience), errors[chosen].mean())


@pytest.mark.parametrize("sizes", [(30,), (7, 20, 3)])
def test_noveld(sizes):
    torch.manual_seed(0)
    noveld, experience = make_bonus("noveld", CODES, ACTIONS, ROWS, alpha=0.7, **SMALL), stream()
    error = noveld.predictor(experience.observations) - noveld.target(experience.observations)
    novelty = error.detach().norm(dim=-1)
    expected = (novelty[1:] - 0.7 * novelty[:-1]).clamp(min=0) * (by_hand(experience) == 1)
    expected = expected.masked_fill(experience.starts[1:], 0)
    torch.testing.assert_close(in_windows(noveld, experience, *sizes), expected)
    assert (expected > 0).any()


# --- scales -----------------------------------------------------------------------------------------------------------


def test_moments_of_all_that_was_given():
    values, moments = 3 + 2 * torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), Moments((4,))
    assert torch.equal(moments.std(), torch.ones(4, dtype=torch.float64))
    for part in values.split([1, 19, 30]):
        moments.update(part)
    np.testing.assert_allclose(moments.mean, values.double().mean(0))
    np.testing.assert_allclose(moments.std(), values.double().numpy().std(0))


def test_measured_numbers_are_whitened_and_symbols_are_not():
    space = spaces.Dict(a=spaces.Box(-9, 9, (2,)), b=spaces.Discrete(3))
    whitening = Whitening(space)
    seen = {"a": 5 + 2 * torch.randn(40, 3, 2), "b": torch.randint(3, (40, 3))}
    whitening.update(seen)
    found = whitening(seen)
    assert torch.equal(found["b"], seen["b"])
    flat = seen["a"].flatten(0, 1).double()
    expected = ((seen["a"] - flat.mean(0)) / flat.std(0, correction=0)).clamp(-5, 5)
    torch.testing.assert_close(found["a"], expected.float())
    assert whitening({"a": torch.full((1, 1, 2), 1e6), "b": seen["b"]})["a"].tolist() == [[[5.0, 5.0]]]


def test_numbers_are_whitened_before_the_networks_see_them():
    torch.manual_seed(0)
    space = spaces.Box(-np.inf, np.inf, (2,))
    experience = stream(space=space)
    far = experience._replace(observations=1e4 * experience.observations + 3e4)
    found = [make_seeded(space).bonus(e) for e in (experience, far)]
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5)


def make_seeded(space):
    torch.manual_seed(0)
    return make_bonus("rnd", space, ACTIONS, ROWS, **SMALL)


def test_windows_go_on_where_the_last_one_ended():
    experience = stream()
    assert sum(len(window.actions) for window in windows(experience, 7, 20, 3)) == len(experience.actions)
