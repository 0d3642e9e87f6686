"""Two memories side by side: the contract again, and that neither hears of the other."""

import pytest
import torch

from memagents import make_core
from memagents.cores.core import detach_state, draw_keys
from memagents.cores.pair import Pair
from memagents.testing import check_core
from tests.cores.support import SMALL

T, B, SIZE = 8, 3, 4
PAIRS = [("lstm", "lstm"), ("dnc", "gru"), ("none", "shm"), ("sam", "gtrxl")]
each = pytest.mark.parametrize(("actor", "critic"), PAIRS)


def make(actor, critic, input_size=SIZE, **kwargs):
    return Pair(*(make_core(name, input_size, **SMALL[name]) for name in (actor, critic)), **kwargs)


def window():
    torch.manual_seed(1)
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[0, 2] = starts[3, 0] = starts[5, 0] = True
    return torch.randn(T, B, SIZE, dtype=torch.float64), starts


@each
def test_contract(actor, critic):
    check_core(lambda input_size: make(actor, critic, input_size))


@each
def test_each_half_is_the_core_alone(actor, critic):
    torch.manual_seed(0)
    pair = make(actor, critic).double()
    inputs, starts = window()
    state = detach_state(pair.unroll(inputs, draw_keys(pair.initial_state(B)), starts).state)
    found = pair.unroll(inputs, state, starts, trace=True)
    halves = zip(pair.split(found.outputs), ("", "critic_"), (pair.actor, pair.critic), state, found.state, strict=True)
    for outputs, prefix, core, before, after in halves:
        alone = core.unroll(inputs, before, starts, trace=True)
        torch.testing.assert_close(outputs, alone.outputs, rtol=0, atol=0)
        torch.testing.assert_close(after, alone.state, rtol=0, atol=0)
        for ours, theirs in ((found.losses, alone.losses), (found.trace, alone.trace)):
            torch.testing.assert_close({n: ours[prefix + n] for n in theirs}, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("critic_gradient", [True, False])
def test_a_loss_trains_its_own_half(critic_gradient):
    torch.manual_seed(0)
    pair = make("lstm", "gru", critic_gradient=critic_gradient).double()
    inputs, starts = window()
    inputs.requires_grad_()
    actor, critic = pair.split(pair.unroll(inputs, pair.initial_state(B), starts).outputs)
    actor.sum().backward(retain_graph=True)
    assert all(p.grad is not None for p in pair.actor.parameters())
    assert all(p.grad is None or not p.grad.any() for p in pair.critic.parameters())
    pair.zero_grad()
    inputs.grad = None
    critic.sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in pair.actor.parameters())
    assert all(p.grad is not None for p in pair.critic.parameters())
    assert bool(inputs.grad.any()) is critic_gradient


def test_more_slots_reach_both_cores():
    class Slots(type(make_core("gru", SIZE))):
        def with_more_slots(self, weights):
            assert "input_gates.weight" in weights
            return {name: 2 * tensor for name, tensor in weights.items()}

    pair = Pair(Slots(SIZE, hidden_size=5), Slots(SIZE, hidden_size=3))
    weights = {name: tensor.clone() for name, tensor in pair.state_dict().items()}
    assert pair.with_more_slots(weights).keys() == weights.keys()
    torch.testing.assert_close(pair.with_more_slots(weights), {name: 2 * tensor for name, tensor in weights.items()})


def test_cores_of_other_inputs():
    with pytest.raises(ValueError, match="critic must take inputs of width 4, not 5"):
        Pair(make_core("gru", 4), make_core("gru", 5))
