"""Dropout around cores: the contract again, and what is dropped where."""

import math

import pytest
import torch

from memagents import make_core
from memagents.cores.core import detach_state, draw_keys
from memagents.cores.dropout import Dropout
from memagents.testing import check_core

T, B, SIZE, RATE = 10, 3, 4, 0.4
INNER = {
    "gru": {"hidden_size": 5},
    "dnc": {"slots": 3, "width": 4, "read_heads": 2, "controller_size": 5, "ready_to_record": False},
    "ffm": {"memory_size": 3, "context_size": 2, "output_size": 5},
    "shm": {"width": 3, "thetas": 5, "encoding_size": 6, "write_penalty": 0.1},
}
each = pytest.mark.parametrize("name", INNER)


def make(name, rate=RATE):
    torch.manual_seed(0)
    return make_core(name, SIZE, dropout=rate, **INNER[name]).double()


def inputs_of(steps=T):
    return torch.randn(steps, B, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def no_starts(steps=T):
    return torch.zeros(steps, B, dtype=torch.bool)


def some_starts():
    starts = no_starts()
    starts[0, 2] = starts[3, 0] = starts[3, 1] = starts[7, 0] = True
    return starts


def generic_state(core):
    torch.manual_seed(3)
    begun = draw_keys(core.initial_state(B))
    return detach_state(core.unroll(2 * inputs_of(7), begun, no_starts(7)).state)


@each
@pytest.mark.parametrize("training", [True, False])
def test_contract(name, training):
    check_core(lambda input_size: make_core(name, input_size, dropout=RATE, **INNER[name]).train(training))


@each
def test_the_core_inside_is_untouched(name):
    """Its state, losses and trace are those of the bare core, and what is left of the outputs, but for the scale."""
    core, bare = make(name), make(name, 0)
    assert type(core.core) is type(bare)
    bare.load_state_dict(core.core.state_dict())
    assert (core.input_size, core.output_size) == (bare.input_size, bare.output_size)
    state = generic_state(core)
    found = core.unroll(inputs_of(), state, some_starts(), trace=True)
    expected = bare.unroll(inputs_of(), state.core, some_starts(), trace=True)
    for result, wanted in ((found.state.core, expected.state), (found.losses, expected.losses)):
        torch.testing.assert_close(result, wanted, rtol=0, atol=0)
    assert found.trace.keys() == expected.trace.keys()
    torch.testing.assert_close(found.trace, expected.trace, rtol=0, atol=0)
    left = found.outputs != 0
    torch.testing.assert_close(found.outputs[left], expected.outputs[left] / (1 - RATE))
    assert 0.25 < 1 - left.double().mean() < 0.55
    assert torch.equal(found.state.key, state.key + T)
    calm = core.eval().unroll(inputs_of(), state, some_starts())
    assert torch.equal(calm.outputs, bare.unroll(inputs_of(), state.core, some_starts()).outputs)
    assert torch.equal(calm.state.key, found.state.key)


@each
def test_acting_drops_what_learning_drops(name):
    core, starts = make(name), some_starts()
    state = generic_state(core)
    window = core.unroll(inputs_of(), state, starts)
    outputs = []
    for t in range(T):
        one = core.unroll(inputs_of()[t : t + 1], state, starts[t : t + 1])
        state = one.state
        outputs.append(one.outputs)
    assert torch.equal(torch.cat(outputs) == 0, window.outputs == 0)
    assert torch.equal(state.key, window.state.key)
    torch.testing.assert_close(torch.cat(outputs), window.outputs, rtol=1e-9, atol=1e-11)


def test_steps_rows_and_episodes_drop_differently():
    core = make("gru")
    state = core.initial_state(B)._replace(key=torch.tensor([0, 1000, 2000]))
    starts = no_starts(40)
    starts[20:] = True  # each step an episode of its own
    dropped = core.unroll(inputs_of(40), state, starts).outputs == 0
    for some, others in ((dropped[:, 0], dropped[:, 1]), (dropped[1:], dropped[:-1]), (dropped[:20], dropped[20:])):
        agreement = (some == others).double().mean()
        assert abs(agreement - (RATE**2 + (1 - RATE) ** 2)) < 0.12


def test_keys_can_be_drawn_and_initial_ones_are_zero():
    core = make("shm")
    assert (core.initial_state(B).key == 0).all()
    drawn = draw_keys(core.initial_state(B))
    assert len({*drawn.key.tolist(), *drawn.core.key.tolist()}) == 2 * B


def test_autocast_leaves_states_in_full_precision():
    core = make("ffm").float()
    with torch.autocast("cpu", torch.bfloat16):
        outputs, state, _, _ = core.unroll(inputs_of().float(), core.initial_state(B), no_starts())
    assert state.core.memory.dtype == torch.complex64
    assert outputs.isfinite().all()


def test_more_slots_reach_the_core_inside():
    class Slots(type(make("gru", 0))):
        def with_more_slots(self, weights):
            assert "input_gates.weight" in weights
            return {name: 2 * tensor for name, tensor in weights.items()}

    core = Dropout(Slots(SIZE, hidden_size=5), RATE)
    weights = {name: tensor.clone() for name, tensor in core.state_dict().items()}
    core.load_state_dict(core.with_more_slots(weights))
    torch.testing.assert_close(dict(core.state_dict()), {name: 2 * tensor for name, tensor in weights.items()})


def test_make_core():
    assert isinstance(make("gru"), Dropout)
    assert make("gru").rate == RATE
    assert type(make("gru", 0)) is type(make("gru").core)
    allowed = "hidden_size, horizon, dropout"
    with pytest.raises(ValueError, match=f"core 'gru' has no parameter 'dropuot'; it has: {allowed}"):
        make_core("gru", SIZE, dropuot=0.1)
    for wrong in (-0.1, 1.5, math.nan, "0.1", True):
        with pytest.raises(ValueError, match="dropout must be a number in"):
            make("gru", wrong)
    with pytest.raises(ValueError, match="dropout must be below 1"):
        make("gru", 1)
