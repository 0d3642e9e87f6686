"""Elliptical episodic bonuses, against inverting the matrix at every step."""

import pytest
import torch
from gymnasium import spaces

from memagents.bonuses import make_bonus
from tests.bonuses.support import ACTIONS, CODES, ROWS, in_windows, stream
from tests.bonuses.test_count import by_hand

WIDTH, RIDGE = 5, 0.3


def by_inversion(features, starts):
    """b = φᵀ C⁻¹ φ of each step, C = λ I + Σ φ φᵀ over the episode before it, (T, B)."""
    bonuses = torch.zeros(len(features) - 1, ROWS, dtype=torch.float64)
    for row in range(ROWS):
        for t in range(len(features)):
            if starts[t, row]:
                matrix = RIDGE * torch.eye(features.shape[-1], dtype=torch.float64)
            phi = features[t, row].double()
            if t and not starts[t, row]:
                bonuses[t - 1, row] = phi @ torch.linalg.inv(matrix) @ phi
            matrix = matrix + torch.outer(phi, phi)
    return bonuses


def make(space=CODES, actions=ACTIONS):
    torch.manual_seed(0)
    return make_bonus("e3b", space, actions, ROWS, width=WIDTH, hidden_size=6, ridge=RIDGE)


@pytest.mark.parametrize("sizes", [(30,), (1,) * 30, (7, 20, 3)])
def test_in_windows_of_any_size(sizes):
    e3b, experience = make(), stream()
    expected = by_inversion(e3b.features(experience.observations).detach(), experience.starts)
    torch.testing.assert_close(in_windows(e3b, experience, *sizes).double(), expected, rtol=1e-4, atol=1e-5)


def test_with_one_hot_features_it_counts():
    """b = 1 / (λ + N), N counting the times before."""

    class OneHot(torch.nn.Module):
        def forward(self, observations):
            return torch.nn.functional.one_hot(2 * observations[..., 0] + observations[..., 1], 6).float()

    e3b, experience = make(), stream()
    e3b.features = OneHot()
    e3b.inverse = torch.zeros(ROWS, 6, 6)
    expected = (1 / (RIDGE + by_hand(experience) - 1)).masked_fill(experience.starts[1:], 0)
    torch.testing.assert_close(e3b.bonus(experience), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("actions", "drawn"),
    [
        (ACTIONS, lambda: torch.randint(3, (30, ROWS))),
        (spaces.MultiDiscrete([2, 3]), lambda: torch.randint(2, (30, ROWS, 2))),
        (spaces.MultiBinary(2), lambda: torch.randint(2, (30, ROWS, 2)).float()),
        (spaces.Box(-1, 1, (2,)), lambda: torch.randn(30, ROWS, 2)),
    ],
)
def test_the_inverse_model_learns_every_kind_of_action(actions, drawn):
    e3b = make(spaces.Box(-9, 9, (2,)), actions)
    experience = stream(space=spaces.Box(-9, 9, (2,)))._replace(actions=drawn())
    optimizer, losses = torch.optim.Adam(e3b.parameters(), lr=0.03), []
    for _ in range(150):
        optimizer.zero_grad()
        loss = e3b.loss(experience)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.3


def test_transitions_over_the_end_of_an_episode_teach_nothing():
    e3b, experience = make(), stream()
    changed = experience._replace(
        actions=torch.where(experience.starts[1:], 2 - experience.actions, experience.actions)
    )
    assert not torch.equal(changed.actions, experience.actions)
    torch.testing.assert_close(e3b.loss(changed), e3b.loss(experience))
    alone = experience._replace(starts=torch.ones_like(experience.starts))
    assert e3b.loss(alone).item() == 0
    e3b.loss(alone).backward()


def test_large_numbers_are_as_good_as_small_ones():
    """Without a scale C⁻¹ would drown in its rounding, and the bonus be negative."""
    space = spaces.Box(-torch.inf, torch.inf, (4,))
    found = []
    for scale in (1.0, 1e6):
        e3b, told = make(space), []
        for number in range(12):
            experience = stream(steps=128, seed=number, space=space)
            starts = torch.zeros_like(experience.starts)
            starts[0] = number == 0
            told.append(e3b.bonus(experience._replace(observations=scale * experience.observations, starts=starts)))
        found.append(torch.cat(told))
    assert found[1].min() > 0
    torch.testing.assert_close(found[1], found[0], rtol=0.05, atol=1e-4)


def test_without_a_ridge_nothing_is_finite():
    with pytest.raises(ValueError, match="ridge must be a finite number above 0"):
        make_bonus("e3b", CODES, ACTIONS, ROWS, ridge=0)
