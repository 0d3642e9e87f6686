"""Gated writes and forgetting."""

from itertools import pairwise

import pytest
import torch

from memagents.memory.writes import decay, gated_add, gated_overwrite, normalise

B, N, W = 2, 3, 4


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("of_a_gate", [1, W], ids=["a gate for each slot", "a gate for each number"])
def test_gated_writes_number_by_number(of_a_gate):
    memory, candidates, gates = random(B, N, W), random(B, N, W, seed=1), random(B, N, of_a_gate, seed=2).sigmoid()
    added, overwritten = gated_add(memory, gates, candidates), gated_overwrite(memory, gates, candidates)
    for place in torch.cartesian_prod(*map(torch.arange, (B, N, W))).tolist():
        b, n, w = place
        h, g, new = (float(x) for x in (memory[b, n, w], gates[b, n, w % of_a_gate], candidates[b, n, w]))
        assert float(added[b, n, w]) == pytest.approx(h + g * new, rel=1e-12)
        assert float(overwritten[b, n, w]) == pytest.approx((1 - g) * h + g * new, rel=1e-12)


def test_open_and_closed_gates():
    memory, candidates = random(B, N, W), random(B, N, W, seed=1)
    closed, opened = torch.zeros(B, N, 1).double(), torch.ones(B, N, 1).double()
    for write in (gated_add, gated_overwrite):
        assert torch.equal(write(memory, closed, candidates), memory)
    assert torch.equal(gated_overwrite(memory, opened, candidates), candidates)


@pytest.mark.parametrize("length", [1e-3, 1.0, 1e6, 1e15])
def test_normalised_slots_have_length_one_and_their_direction(length):
    memory = length * normalise(random(B, N, W))
    normal = normalise(memory)
    torch.testing.assert_close(normal.norm(dim=-1), torch.ones(B, N).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(normal * memory.norm(dim=-1, keepdim=True), memory, rtol=1e-6, atol=0)
    assert torch.autograd.gradcheck(normalise, random(B, N, W).requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_zero_slot_stays_zero_with_a_finite_gradient(dtype):
    memory = torch.zeros(B, N, W, dtype=dtype, requires_grad=True)
    normal = normalise(memory)
    assert (normal == 0).all()
    (grad,) = torch.autograd.grad((normal * torch.arange(W)).sum(), memory)
    assert grad.isfinite().all()


def test_normalising_forgets():
    """A vector added again and again drives out the old content; without the norm it would all be there still."""
    memory, other = torch.eye(W)[:1].double(), torch.eye(W)[1:2].double()
    gates, kept = torch.full((1, 1), 0.5).double(), []
    for _ in range(10):
        memory = normalise(gated_add(memory, gates, other))
        kept.append(float(memory[0, 0]))
    assert all(later < 0.95 * earlier for earlier, later in pairwise(kept))
    assert kept[-1] < 0.05
    assert memory.norm() == pytest.approx(1)


def test_decay():
    memory = random(B, N, W)
    torch.testing.assert_close(decay(memory, 1.0), memory / 2)
    torch.testing.assert_close(decay(memory, 4.0, 8), memory / 4)
    torch.testing.assert_close(decay(decay(memory, 3.0, 2), 3.0, 5), decay(memory, 3.0, 7))
    half_lives, elapsed = 1 + random(B, N, 1).exp(), torch.tensor([0, 3]).view(B, 1, 1)
    faded = decay(memory, half_lives, elapsed)
    assert torch.equal(faded[0], memory[0])
    torch.testing.assert_close(faded[1], memory[1] * 0.5 ** (3 / half_lives[1]))
    assert torch.autograd.gradcheck(lambda m, h: decay(m, h, 2), (memory.requires_grad_(), half_lives.requires_grad_()))
    assert decay(memory.float(), 3.0).dtype == torch.float32
