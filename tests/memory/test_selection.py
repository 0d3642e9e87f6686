"""From scores to weightings, beside obvious loops."""

import math

import pytest
import torch

from memagents.memory import selection

N = 6
UNIFORM = torch.tensor([0.3], dtype=torch.float64)
WAYS = {
    "soft": selection.soft,
    "hard": selection.hard,
    "sampled": lambda scores, mask=None: selection.sampled(scores, UNIFORM, mask),
    "top_k": lambda scores, mask=None: selection.top_k(scores, 3, mask),
}

every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


def scores_of(*shape, seed=0):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mask_of(*shape, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.6


def softmax(scores):
    total = sum(math.exp(s) for s in scores)
    return [math.exp(s) / total for s in scores]


@every_way
def test_a_mask_leaves_the_others_as_if_alone(way):
    scores, mask = scores_of(20, N), mask_of(20, N)
    weights = way(scores, mask)
    assert (weights[~mask] == 0).all()
    for line, seen, found in zip(scores, mask, weights, strict=True):
        if seen.any():
            torch.testing.assert_close(found[seen], way(line[seen]), rtol=1e-12, atol=0)
            torch.testing.assert_close(found.sum(), found.new_ones(()))


@every_way
def test_where_nothing_may_be_chosen_nothing_is(way):
    scores = scores_of(3, N).requires_grad_()
    mask = torch.ones(3, N, dtype=torch.bool)
    mask[1] = False
    weights = way(scores, mask)
    assert (weights[1] == 0).all()
    torch.testing.assert_close(weights[[0, 2]].sum(-1), weights.new_ones(2))
    with torch.autograd.set_detect_anomaly(True):  # nor is there a NaN on the way
        (grad,) = torch.autograd.grad((weights * scores_of(3, N, seed=2)).sum(), scores)
    assert grad.isfinite().all()
    assert (grad[1] == 0).all()
    assert (grad[0] != 0).any()


@every_way
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_huge_scores(way, size):
    scores = (size * scores_of(5, N)).float().requires_grad_()
    weights = way(scores, mask_of(5, N))
    (grad,) = torch.autograd.grad(weights[:, 0].sum(), scores)
    assert weights.isfinite().all()
    assert grad.isfinite().all()


@every_way
def test_what_is_masked_may_even_be_nan(way):
    scores = torch.tensor([math.nan, 1.0, 2.0], requires_grad=True)
    weights = way(scores, torch.tensor([False, True, True]))
    (grad,) = torch.autograd.grad(weights[2], scores)
    assert weights.isfinite().all()
    assert grad.isfinite().all()


def test_soft():
    scores = scores_of(N)
    torch.testing.assert_close(selection.soft(scores).tolist(), softmax(scores.tolist()))


def test_hard():
    scores = scores_of(9, N)
    for line, weights in zip(scores.tolist(), selection.hard(scores).tolist(), strict=True):
        assert weights == [float(score == max(line)) for score in line]
    close = torch.tensor([1.0, 1.0 + 2**-20, -3.0])
    assert selection.hard(close).tolist() == [0, 1, 0]


def test_sampled_looks_where_the_number_falls():
    scores = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log()
    for number, slot in [(0.0, 0), (0.19, 0), (0.21, 1), (0.69, 1), (0.71, 2), (1 - 2**-24, 2)]:
        weights = selection.sampled(scores, torch.tensor([number], dtype=torch.float64))
        assert weights.tolist() == [float(n == slot) for n in range(3)]
    assert selection.sampled(torch.zeros(2), torch.tensor([0.5])).tolist() == [0, 1], "each slot's range is half open"


def test_sampled_is_always_one_slot_that_may_be_chosen():
    """Numbers at both ends, masks at both ends."""
    scores, mask = scores_of(4000, 50).float(), mask_of(4000, 50)
    for number in (0.0, 2**-24, 0.5, 1 - 2**-24):
        weights = selection.sampled(scores, torch.full((4000, 1), number), mask)
        assert (weights.sum(-1) == 1).all()
        assert set(weights.unique().tolist()) == {0.0, 1.0}
        assert (weights[~mask] == 0).all()


def test_sampled_is_always_one_slot_though_the_sum_rises_at_masked_ones(monkeypatch):
    """The rounding of a parallel sum may make it rise there."""
    cumsum = torch.Tensor.cumsum

    def rising(tensor, dim):
        found = cumsum(tensor, dim=dim)
        return found + 1e-6 * torch.arange(tensor.shape[dim]) if tensor.is_floating_point() else found

    monkeypatch.setattr(torch.Tensor, "cumsum", rising)
    mask = torch.tensor([True, True, False, False])
    weights = selection.sampled(torch.zeros(4), torch.tensor([1 - 2**-24]), mask)
    assert weights.tolist() == [0, 1, 0, 0]


def test_sampled_follows_the_softmax():
    scores = scores_of(N)
    numbers = (torch.arange(10000, dtype=torch.float64) / 10000).unsqueeze(1)
    share = selection.sampled(scores.expand(10000, N), numbers).mean(0)
    torch.testing.assert_close(share, torch.softmax(scores, 0), rtol=0, atol=2e-4)


@pytest.mark.parametrize("name", ["hard", "sampled"])
def test_straight_through(name):
    """The gradient of the softmax, at values that are exactly 0 and 1."""
    grads = []
    for way in (WAYS[name], selection.soft):
        scores = scores_of(20, N).requires_grad_()
        weights = way(scores, mask_of(20, N))
        grads.append(torch.autograd.grad((weights * scores_of(20, N, seed=3)).sum(), scores)[0])
    torch.testing.assert_close(*grads, rtol=0, atol=0)
    assert set(WAYS[name](scores_of(20, N)).unique().tolist()) == {0.0, 1.0}


def test_top_k():
    scores = scores_of(9, N)
    for line, weights in zip(scores.tolist(), selection.top_k(scores, 3).tolist(), strict=True):
        best = sorted(line)[-3:]
        expected = dict(zip(best, softmax(best), strict=True))
        torch.testing.assert_close(weights, [expected.get(score, 0.0) for score in line])
    torch.testing.assert_close(selection.top_k(scores, N + 2), selection.soft(scores))
    assert torch.autograd.gradcheck(lambda s: selection.top_k(s, 3), scores.requires_grad_())
