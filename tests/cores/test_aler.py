"""ALER against plain loops, and what its one-hot address promises."""

import numpy as np
import pytest
import torch

from memagents.cores.core import detach_state, draw_keys, map_state, state_leaves, unroll_by_steps
from tests.cores.support import arrays, perturbed, random_inputs
from tests.reference import aler

SIZE, B = 3, 2
SMALL = {"slots": 4, "width": 3, "hidden_size": 5}


def make(noise=0.5, dtype=torch.float64, **changes):
    return perturbed("aler", SIZE, dtype, noise, **(SMALL | changes))


def inputs_of(steps, dtype=torch.float64, rows=B):
    return random_inputs(steps, rows, SIZE, dtype)


def no_starts(steps, rows=B):
    return torch.zeros(steps, rows, dtype=torch.bool)


def begun(core, rows=B):
    torch.manual_seed(3)
    return draw_keys(core.initial_state(rows))


def numpy_weights(core):
    lstm = core.controller
    return arrays(
        W_x=lstm.input_gates.weight,
        b_x=lstm.input_gates.bias,
        W_h=lstm.recurrent_gates.weight,
        W_i=core.interface.weight,
        b_i=core.interface.bias,
        U=core.from_read.weight,
        b_U=core.from_read.bias,
        W_v=core.value.weight,
        b_v=core.value.bias,
    )


@pytest.mark.parametrize("changes", [{}, {"slots": 1}, {"width": 6, "temperature": 0.3}], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_thirty_steps_equal_loops(changes, training):
    core = make(**changes).train(training)
    inputs, starts, state = inputs_of(30), no_starts(30), begun(core)
    starts[0, 1] = starts[11, 0] = starts[20, 0] = starts[21, 0] = True
    outputs, after, _, _ = core.unroll(inputs, state, starts)
    trace = core.unroll(inputs, state, starts, trace=True).trace
    width, units, slots = core.sizes
    for b in range(B):
        key, expected = int(state.key[b]), aler.aler_initial(slots, width, units)
        for t in range(30):
            if starts[t, b]:
                expected = aler.aler_initial(slots, width, units)
            drawn = key + t if training else None
            y, expected, written = aler.aler_step(numpy_weights(core), inputs[t, b].numpy(), expected, drawn)
            np.testing.assert_allclose(outputs[t, b].detach(), y, rtol=1e-10, atol=1e-10)
            assert trace["write_weights"][t, b].argmax() == written
        np.testing.assert_allclose(after.memory[b].detach(), expected["memory"], rtol=1e-10, atol=1e-10)
        assert after.key[b] == key + 30


def test_a_window_is_its_steps():
    """Values and gradients, starts at every position and a state carried in."""
    core, steps = make(), 12
    with torch.no_grad():
        carried = detach_state(core.unroll(-inputs_of(5), begun(core), no_starts(5)).state)
    for start in range(steps):
        starts, found = no_starts(steps), []
        starts[start, start % B] = starts[steps - 2, 0] = True
        for unroll in (core.unroll, lambda *a: unroll_by_steps(core, *a)):
            state = map_state(lambda leaf: leaf.clone().requires_grad_(leaf.is_floating_point()), carried)
            inputs = inputs_of(steps).requires_grad_()
            outputs, after, _, _ = unroll(inputs, state, starts)
            loss = outputs.square().sum() + after.memory.square().sum()
            wanted = [inputs, *(leaf for leaf in state_leaves(state) if leaf.requires_grad), *core.parameters()]
            found.append([outputs, *state_leaves(after), *torch.autograd.grad(loss, wanted)])
        torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)


def test_float32_is_float64_over_4096_steps():
    """But where two slots are drawn almost alike, and rounding decides which is written."""
    found = []
    for dtype in (torch.float32, torch.float64):
        core = make(0.0, torch.float32).to(dtype)
        with torch.no_grad():
            inputs = inputs_of(4096, torch.float32, 1).to(dtype)
            found.append(core.unroll(inputs, begun(core, 1), no_starts(4096, 1)).outputs.double())
    off = (found[0] - found[1]).abs().amax(dim=(1, 2))
    assert off.quantile(0.99) < 1e-5


@pytest.mark.parametrize("slots", [4, 16])
def test_untrained_a_slot_has_a_half_life_of_seven_tenths_of_the_slots(slots):
    core, steps = make(0.0, torch.float32, slots=slots), 200
    trace = core.unroll(inputs_of(steps, torch.float32, 64), begun(core, 64), no_starts(steps, 64), trace=True).trace
    written = trace["write_weights"] > 0.5  # (T, B, N)
    alive, age = torch.ones(64, slots, dtype=torch.bool), 0
    while alive.double().mean() > 0.5:
        alive &= ~written[age]
        age += 1
    assert age == pytest.approx(0.7 * slots, abs=1.5)


# --- what an address that is one-hot promises -------------------------------------------------------------------------


def test_other_slots_stay_to_the_last_bit():
    """Over 100 writes, where a soft address of 0.99 would leave 0.37 of a slot."""
    core = make(dtype=torch.float32)
    with torch.no_grad():
        core.interface.weight[-4:] = 0
        core.interface.bias[-4:] = torch.tensor([-100.0, 0.0, 0.0, 0.0])
    state = begun(core)
    state = state._replace(memory=torch.randn_like(state.memory))
    after = core.unroll(inputs_of(100, torch.float32), state, no_starts(100)).state
    assert torch.equal(after.memory[:, 0], state.memory[:, 0])
    assert (after.memory[:, 1:] != state.memory[:, 1:]).all()


def test_what_is_written_takes_the_slot_whole():
    core = make(dtype=torch.float32, slots=1)
    state = begun(core)
    huge = core(inputs_of(1, torch.float32)[0], state._replace(memory=1e8 * torch.ones_like(state.memory)))
    expected = core.value(huge.outputs).tanh()
    assert torch.equal(huge.state.memory[:, 0], expected)


def test_noise_is_made_of_the_key_and_of_nothing_else():
    core = make(0.0)
    state, starts = begun(core), no_starts(40)
    starts[20] = True
    one, again = (core.unroll(inputs_of(40), state, starts, trace=True).trace["write_weights"] for _ in range(2))
    assert torch.equal(one, again)
    other = core.unroll(inputs_of(40), state._replace(key=state.key + 1), starts, trace=True).trace["write_weights"]
    assert not torch.equal(one, other)
    assert not torch.equal(one[:20], one[20:]), "the key goes on over a start"


def test_evaluation_takes_the_likeliest_slot():
    core = make().eval()
    state = begun(core)
    trace = core.unroll(inputs_of(30), state, no_starts(30), trace=True).trace
    other = core.unroll(inputs_of(30), state._replace(key=state.key + 5), no_starts(30), trace=True).trace
    assert torch.equal(trace["write_weights"], other["write_weights"])


def test_the_address_learns_by_the_softmax():
    """Straight-through: a gradient reaches the logits of all slots, though one alone was written."""
    core = make()
    outputs = core.unroll(inputs_of(6), begun(core), no_starts(6)).outputs
    (grad,) = torch.autograd.grad(outputs[-1].square().sum(), [core.interface.bias])
    of_logits = grad[-4:]
    assert (of_logits != 0).all()
    torch.testing.assert_close(of_logits.sum(), torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("gate, source", [(50.0, "memory"), (-50.0, "lstm")])
def test_the_gate_chooses_between_what_is_read_and_the_lstm(gate, source):
    core = make()
    width, units, _ = core.sizes
    with torch.no_grad():
        core.interface.weight[width : width + units] = 0
        core.interface.bias[width : width + units] = gate
    state = core.unroll(inputs_of(5), begun(core), no_starts(5)).state
    moved = state._replace(memory=state.memory + torch.randn_like(state.memory))
    one, other = (core(inputs_of(1)[0], each) for each in (state, moved))
    assert torch.allclose(one.outputs, other.outputs, rtol=0, atol=1e-12) == (source == "lstm")
    if source == "lstm":
        torch.testing.assert_close(one.outputs, one.state.controller.hidden, rtol=0, atol=1e-12)


def test_what_is_written_depends_on_what_was_read():
    """A later observation can transform what a slot held."""
    core = make()
    state = core.unroll(inputs_of(5), begun(core), no_starts(5)).state
    memory = state.memory.detach().requires_grad_()
    step = core(inputs_of(1)[0], state._replace(memory=memory))
    written = step.trace["write_weights"].argmax(1)
    (grad,) = torch.autograd.grad(step.state.memory[torch.arange(B), written].sum(), memory)
    assert (grad != 0).any(dim=2).all()


def test_bad_parameters():
    for wrong, message in [
        ({"slots": 0}, "slots must be a positive integer"),
        ({"width": 1.5}, "width must be a positive integer"),
        ({"hidden_size": 0}, "hidden_size must be a positive integer"),
        ({"temperature": 0}, "temperature must be a finite number above 0"),
        ({"horizon": 2}, "horizon must be 3 steps or more"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
