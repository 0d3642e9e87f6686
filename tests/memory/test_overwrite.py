"""One slot, drawn or the likeliest, and nothing of the others."""

import math

import torch

from memagents.memory import draws
from memagents.memory.overwrite import gumbel_slot, overwrite


def test_slots_are_drawn_as_often_as_likely():
    logits = torch.tensor([0.7, 0.2, 0.1]).log().expand(30_000, 3)
    chosen = gumbel_slot(logits, torch.arange(30_000), 5.0)
    assert ((chosen == 0) | (chosen == 1)).all() and (chosen.sum(1) == 1).all()
    torch.testing.assert_close(chosen.mean(0), torch.tensor([0.7, 0.2, 0.1]), rtol=0, atol=0.01)


def test_without_keys_it_is_the_likeliest():
    assert gumbel_slot(torch.tensor([[0.1, 0.3, 0.2]]), None, 1.0).tolist() == [[0, 1, 0]]


def test_backward_it_is_the_softmax_at_the_temperature():
    logits, wanted = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    keys = torch.arange(4)
    noise = draws.gumbel(keys, 3, torch.float64)
    grads = []
    for weights in (lambda x: gumbel_slot(x, keys, 0.5), lambda x: ((x + noise) / 0.5).softmax(-1)):
        leaf = logits.clone().requires_grad_()
        grads.append(torch.autograd.grad((weights(leaf) * wanted).sum(), leaf)[0])
    torch.testing.assert_close(*grads)


def test_gumbel_noise_is_finite_and_of_its_distribution():
    noise = draws.gumbel(torch.arange(50_000), 2, torch.float64)
    assert noise.isfinite().all()
    assert abs(noise.mean() - 0.5772) < 0.02
    assert abs(noise.var() - math.pi**2 / 6) < 0.05
    assert draws.gumbel(torch.arange(50_000), 2).isfinite().all()


def test_a_slot_is_overwritten_whole_and_the_others_not_at_all():
    memory = torch.tensor([[[1e8, 1e-8], [3.0, 0.1]]])
    value = torch.tensor([[0.1, 0.7]])
    after = overwrite(memory, torch.tensor([[1.0, 0.0]]), value)
    assert torch.equal(after[0], torch.stack([value[0], memory[0, 1]]))
