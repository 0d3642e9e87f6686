"""Relative positions, beside obvious loops."""

import math

import pytest
import torch

from memagents.memory import history
from memagents.memory.relative import relative_attention, sinusoids

L, T, B, HEADS, K = 4, 6, 3, 2, 5


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_arguments(span):
    """Queries, keys, values, encodings, u, v; and the mask of a window in which episodes begin."""
    positions = L + T
    starts = torch.rand(T, B, generator=torch.Generator().manual_seed(3)) < 0.25
    first = history.first_positions(torch.tensor([0, 2, L]), starts, L)
    shapes = [(B, HEADS, T, K), (B, HEADS, positions, K), (B, HEADS, positions, 3), (HEADS, span, K)]
    floats = [random(*shape, seed=n) for n, shape in enumerate([*shapes, (HEADS, K), (HEADS, K)])]
    return floats, history.sees(first, L, span)


@pytest.mark.parametrize("span", [1, 3, L + 1])
def test_relative_attention_is_loops(span):
    (q, k, v, r, bias_u, bias_v), seen = make_arguments(span)
    found, weights = relative_attention(q, k, v, r, bias_u, bias_v, seen)
    assert found.shape == (B, HEADS, T, 3)
    assert weights.shape == (B, HEADS, T, L + T)
    for b, h, t in ((b, h, t) for b in range(B) for h in range(HEADS) for t in range(T)):
        scores = {}
        for position in range(L + T):
            if seen[b, t, position]:
                age = L + t - position
                query, of_age = q[b, h, t], r[h, span - 1 - age]
                content = (query + bias_u[h]).dot(k[b, h, position])
                scores[position] = float(content + (query + bias_v[h]).dot(of_age)) / math.sqrt(K)
        total = sum(math.exp(score) for score in scores.values())
        expected = torch.zeros(L + T, dtype=torch.float64)
        for position, score in scores.items():
            expected[position] = math.exp(score) / total
        torch.testing.assert_close(weights[b, h, t], expected)
        torch.testing.assert_close(found[b, h, t], expected @ v[b, h])


def test_its_gradients():
    arguments, seen = make_arguments(L + 1)
    arguments = [argument.requires_grad_() for argument in arguments]
    assert torch.autograd.gradcheck(lambda *a: relative_attention(*a, seen=seen), arguments, fast_mode=True)


@pytest.mark.parametrize("width", [1, 5, 6])
def test_sinusoids(width):
    encodings = sinusoids(4, width, torch.zeros(1, dtype=torch.float64))
    assert encodings.shape == (4, width)
    assert encodings.dtype == torch.float64
    sines = math.ceil(width / 2)
    for row, age in enumerate([3, 2, 1, 0]):
        for w in range(width):
            i = w if w < sines else w - sines
            angle = age / 10_000 ** (2 * i / width)
            assert float(encodings[row, w]) == pytest.approx(math.sin(angle) if w < sines else math.cos(angle))


def test_a_longer_span_adds_older_ages_in_front():
    like = torch.zeros(1, dtype=torch.float64)
    assert torch.equal(sinusoids(7, 6, like)[-4:], sinusoids(4, 6, like))
