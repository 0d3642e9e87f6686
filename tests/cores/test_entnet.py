"""The EntNet against plain loops, and what makes it one: keys, gates, and a norm that forgets."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from memagents import make_core
from tests.reference import entnet

T, B, SIZE = 10, 2, 5


def make(**changes):
    """Weights (the slopes too) away from their initial values, so that each matters."""
    torch.manual_seed(0)
    core = make_core("entnet", SIZE, **({"slots": 3, "width": 4} | changes)).double()
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return core


def inputs_of(steps=T):
    return torch.randn(steps, B, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def no_starts(steps=T):
    return torch.zeros(steps, B, dtype=torch.bool)


def numpy_weights(core):
    names = {
        "keys": core.keys,
        "E": core.encoding.weight,
        "e": core.encoding.bias,
        "Q": core.query.weight,
        "q": core.query.bias,
        "U": core.from_memory.weight,
        "V": core.from_key.weight,
        "W": core.from_encoding.weight,
        "H": core.from_read.weight,
        "R": core.output.weight,
        "memory_slopes": core.memory_slopes,
        "output_slopes": core.output_slopes,
    }
    assert len(names) == len(list(core.parameters()))
    return {name: parameter.detach().numpy() for name, parameter in names.items()}


@pytest.mark.parametrize("changes", [{}, {"output_size": 7, "slots": 1}, {"width": 3, "slots": 6}])
def test_some_steps_equal_loops(changes):
    core = make(**changes, write_penalty=0.3)
    weights, inputs, starts = numpy_weights(core), inputs_of(), no_starts()
    starts[0, 1] = starts[3, 0] = starts[7, 1] = True
    outputs, state, losses, trace = core.unroll(inputs, core.initial_state(B), starts, trace=True)
    close = {"rtol": 1e-9, "atol": 1e-9}
    for b in range(B):
        memory = entnet.entnet_initial(weights)
        for t in range(T):
            if starts[t, b]:
                memory = entnet.entnet_initial(weights)
            y, memory, gates, read_weights = entnet.entnet_step(weights, inputs[t, b].numpy(), memory)
            np.testing.assert_allclose(outputs[t, b].detach(), y, **close)
            np.testing.assert_allclose(trace["write_gates"][t, b].detach(), gates, **close)
            np.testing.assert_allclose(trace["read_weights"][t, b].detach(), read_weights, **close)
            np.testing.assert_allclose(losses["write"][t, b].detach(), 0.3 * sum(gates), **close)
        np.testing.assert_allclose(state.memory[b].detach(), memory, **close)


def test_slots_begin_as_their_keys_and_differ():
    core = make_core("entnet", SIZE)
    memory = core.initial_state(B).memory
    assert torch.equal(memory[1], core.keys)
    distances = torch.cdist(memory[0], memory[0]) + torch.eye(20)
    assert distances.min() > 0.3
    assert 0.7 < memory[0].norm(dim=1).mean() < 1.3


def test_a_start_trains_the_keys_as_initial_slots():
    """Beside what they do as keys: here V and the encoding are zero, and h_j = w_j is all that is left of them."""
    core = make()
    with torch.no_grad():
        for parameter in (*core.encoding.parameters(), core.from_key.weight):
            parameter.zero_()
    (grad,) = torch.autograd.grad(core(inputs_of()[0], core.initial_state(B)).outputs.sum(), core.keys)
    assert (grad != 0).all()


def test_slots_of_one_key_stay_alike_and_others_do_not():
    core = make()
    with torch.no_grad():
        core.keys[1] = core.keys[0]
    memory = core.unroll(inputs_of(), core.initial_state(B), no_starts()).state.memory
    assert torch.equal(memory[:, 0], memory[:, 1])
    assert (memory[:, 0] - memory[:, 2]).abs().max() > 0.01


def test_slots_do_not_see_each_other():
    core = make()
    before = torch.randn(B, 3, 4, dtype=torch.float64, requires_grad=True)
    after = core(inputs_of()[0], core.initial_state(B)._replace(memory=before)).state.memory
    (grad,) = torch.autograd.grad(after[:, 0].sum(), before)
    assert (grad[:, 1:] == 0).all()
    assert (grad[:, 0] != 0).any()


def test_the_gate_listens_to_content_and_to_key():
    """A slot opens to an encoding along an axis if its content or its key lies there, more so if both do."""
    core = make(slots=4)
    with torch.no_grad():
        core.encoding.weight.zero_()
        core.encoding.bias.copy_(torch.tensor([3.0, 0, 0, 0]))
        core.keys.zero_()
        core.keys[1, 0] = core.keys[3, 0] = 1
    memory = torch.zeros(B, 4, 4).double()
    memory[:, 2, 0] = memory[:, 3, 0] = 1
    gates = core(inputs_of()[0], core.initial_state(B)._replace(memory=memory)).trace["write_gates"]
    expected = torch.tensor([0.0, 3.0, 3.0, 6.0], dtype=torch.float64).sigmoid().expand(B, 4)
    torch.testing.assert_close(gates, expected)


def writer():
    """One slot that holds an axis; inputs are written as they are, on other axes, for half of what they are worth."""
    core = make(slots=1, width=SIZE)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.zero_()
        core.from_encoding.weight.copy_(torch.eye(SIZE))
        core.encoding.weight.copy_(torch.eye(SIZE))
        core.encoding.weight[0, 0] = 0
    return core, core.initial_state(1)._replace(memory=torch.eye(SIZE)[:1].double().unsqueeze(0))


def test_the_norm_is_what_forgets():
    """Nothing takes the old content away, and yet every write leaves less of it, as much as the length says."""
    core, state = writer()
    x = torch.eye(SIZE)[1:2].double()
    kept = [1.0]
    for _ in range(8):
        before = state.memory[0, 0]
        step = core(x, state)
        state = step.state
        written = before + step.trace["write_gates"][0, 0] * x[0]
        torch.testing.assert_close(state.memory[0, 0], written / written.norm(), rtol=1e-9, atol=1e-9)
        kept.append(state.memory[0, 0, 0].item())
    assert all(later < 0.95 * earlier for earlier, later in pairwise(kept))
    assert kept[-1] < 0.05
    torch.testing.assert_close(state.memory.norm(dim=-1), torch.ones(1, 1).double(), rtol=1e-9, atol=0)


def test_without_anything_to_write_nothing_is_forgotten():
    """Though the gate of such a step is half open."""
    core, state = writer()
    for _ in range(8):
        step = core(torch.zeros(1, SIZE).double(), state)
        assert step.trace["write_gates"].item() == 0.5
        torch.testing.assert_close(step.state.memory, state.memory, rtol=1e-9, atol=1e-9)
        state = step.state


def test_gradients_of_a_slot_that_was_cancelled_are_finite():
    """h + g h̃ = 0, where h / ‖h‖ has no gradient."""
    core = make(slots=1).float()
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.zero_()
        core.from_memory.weight.copy_(-2 * torch.eye(4))
        core.memory_slopes.fill_(1)
    memory = torch.ones(B, 1, 4, requires_grad=True)
    after = core(inputs_of()[0].float(), core.initial_state(B)._replace(memory=memory)).state.memory
    assert (after == 0).all()
    grads = torch.autograd.grad(after.sum(), [memory, *core.parameters()], allow_unused=True)
    assert all(grad.isfinite().all() for grad in grads if grad is not None)


def test_slopes_begin_at_one_and_are_of_units():
    core = make_core("entnet", SIZE, slots=3, width=4)
    for slopes in (core.memory_slopes, core.output_slopes):
        assert slopes.shape == (4,)
        assert (slopes == 1).all()
    core = make()
    with torch.no_grad():
        core.memory_slopes.copy_(torch.tensor([1.0, 0.0, 1.0, 1.0]))
    step = core(inputs_of()[0], core.initial_state(B)._replace(memory=torch.zeros(B, 3, 4).double()))
    assert (step.state.memory[..., 1] >= 0).all()
    assert (step.state.memory[..., [0, 2, 3]] < 0).any()


def test_the_read_is_after_the_write():
    """An input can be asked for at once: the output depends on the present W s."""
    core = make()
    outputs = core(inputs_of()[0], core.initial_state(B)).outputs
    (grad,) = torch.autograd.grad(outputs.sum(), core.from_encoding.weight)
    assert (grad != 0).all()


def test_the_penalty_on_writes():
    assert core_losses(make()) == {}
    inputs = inputs_of()
    once, twice = (core_losses(make(write_penalty=penalty))["write"] for penalty in (1.0, 2.0))
    assert once.shape == (T, B)
    torch.testing.assert_close(twice, 2 * once)
    core = make(write_penalty=1.0)
    optimiser = torch.optim.Adam(core.parameters(), lr=0.03)
    amounts = []
    for _ in range(40):
        loss = core.unroll(inputs, core.initial_state(B), no_starts()).losses["write"].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        amounts.append(loss.item())
    assert amounts[-1] < 0.5 * amounts[0]


def core_losses(core):
    return core.unroll(inputs_of(), core.initial_state(B), no_starts()).losses


def test_nothing_is_detached():
    core = make()
    inputs = inputs_of().requires_grad_()
    core.unroll(inputs, core.initial_state(B), no_starts()).outputs[-1].sum().backward()
    assert (inputs.grad[0] != 0).any()


def test_bad_parameters():
    for wrong, message in [
        ({"slots": 0}, "slots must be a positive integer"),
        ({"width": 2.5}, "width must be a positive integer"),
        ({"output_size": 0}, "output_size must be a positive integer"),
        ({"write_penalty": -0.1}, "write_penalty must be a number in"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
