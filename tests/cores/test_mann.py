"""The MANN against plain loops, and against the errors that others make."""

import gc
import weakref
from itertools import pairwise

import numpy as np
import pytest
import torch

from memagents import make_core
from memagents.cores.core import detach_state, map_state, state_leaves, unroll_by_steps
from tests.cores.support import arrays, perturbed, random_inputs
from tests.reference import mann

SIZE, B = 3, 2
SMALL = {"slots": 6, "width": 4, "heads": 2, "controller_size": 5}


def make(noise=0.5, dtype=torch.float64, **changes):
    return perturbed("mann", SIZE, dtype, noise, **(SMALL | changes))


def inputs_of(steps, dtype=torch.float64, rows=B):
    return random_inputs(steps, rows, SIZE, dtype)


def no_starts(steps, rows=B):
    return torch.zeros(steps, rows, dtype=torch.bool)


def numpy_weights(core):
    return arrays(
        W_x=core.input_gates.weight,
        b_x=core.input_gates.bias,
        W_r=core.recurrent_gates.weight,
        W_ξ=core.interface.weight,
        b_ξ=core.interface.bias,
        W_y=core.output.weight,
        b_y=core.output.bias,
    )


@pytest.mark.parametrize(
    "changes",
    [{}, {"heads": 1}, {"slots": 2, "key_strengths": True}, {"heads": 3, "decay": 0.5}, {"output_size": 2}],
    ids=str,
)
def test_thirty_steps_equal_loops(changes):
    core = make(**changes)
    inputs, starts = inputs_of(30), no_starts(30)
    starts[0, 1] = starts[11, 0] = starts[20, 0] = starts[21, 0] = True
    outputs, state, _, trace = core.unroll(inputs, core.initial_state(B), starts, trace=True)
    sizes, options = (core.slots, core.width, core.heads, core.controller_size), {"decay": core.decay}
    for b in range(B):
        expected = mann.mann_initial(*sizes)
        for t in range(30):
            if starts[t, b]:
                expected = mann.mann_initial(*sizes)
            y, expected = mann.mann_step(
                numpy_weights(core), inputs[t, b].numpy(), expected, **options, key_strengths=core.key_strengths
            )
            np.testing.assert_allclose(outputs[t, b].detach(), y, rtol=1e-10, atol=1e-10)
            np.testing.assert_allclose(trace["usage"][t, b].detach(), expected["usage"], rtol=1e-10, atol=1e-10)
        for name in ("memory", "usage", "read_weights", "read_vectors"):
            np.testing.assert_allclose(getattr(state, name)[b].detach(), expected[name], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("changes", [{}, {"heads": 1}, {"heads": 3, "key_strengths": True}], ids=str)
def test_a_window_is_its_steps(changes):
    """Values and gradients, those of the usage too, starts at every position and a state carried in."""
    core, steps = make(**changes), 9
    with torch.no_grad():
        carried = detach_state(core.unroll(-inputs_of(5), core.initial_state(B), no_starts(5)).state)
    for start in range(steps):
        starts, found = no_starts(steps), []
        starts[start, start % B] = starts[steps - 2, 0] = True
        for unroll in (core.unroll, lambda *a: unroll_by_steps(core, *a)):
            inputs = inputs_of(steps).requires_grad_()
            state = map_state(lambda leaf: leaf.clone().requires_grad_(), carried)
            outputs, after, _, _ = unroll(inputs, state, starts)
            loss = sum((leaf * (leaf - 0.3)).sum() for leaf in (outputs, *state_leaves(after)))
            wanted = [inputs, *state_leaves(state), *core.parameters()]
            found.append([outputs, *state_leaves(after), *torch.autograd.grad(loss, wanted)])
        torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-10)


def test_a_window_is_not_kept_by_what_it_returned():
    """No circle between the graph and its results: they go with the last name of theirs."""
    core = make()
    outputs, state, _, _ = core.unroll(inputs_of(4), core.initial_state(B), no_starts(4))
    kept = weakref.ref(state.memory.grad_fn.tape[-1][0])
    gc.disable()
    try:
        assert kept() is not None
        del outputs, state
        assert kept() is None
    finally:
        gc.enable()


def test_float32_is_float64_over_4096_steps():
    """But for the order of slots used almost alike, which rounding decides; the outputs then differ for a while."""
    cores = [make(noise=0.0, dtype=dtype, slots=8, controller_size=16) for dtype in (torch.float32, torch.float64)]
    found = []
    with torch.no_grad():
        for core, dtype in zip(cores, (torch.float32, torch.float64), strict=True):
            core.load_state_dict(cores[0].state_dict())
            inputs = inputs_of(4096, torch.float32).to(dtype)
            found.append(core.unroll(inputs, core.initial_state(B), no_starts(4096)).outputs.double())
    off = (found[0] - found[1]).abs().amax(dim=(1, 2))
    assert off.quantile(0.9) < 1e-5
    assert off.max() < 0.1


# --- how long it remembers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("heads", [1, 2])
def test_untrained_it_keeps_a_write_until_all_other_slots_were_used(heads):
    """A slot comes to be the least used again after as many steps as there are slots for each head: half of the slots
    still hold what was written half so many steps ago."""
    core, steps = make_core("mann", SIZE, slots=16, heads=heads), 120
    trace = core.unroll(inputs_of(steps, torch.float32), core.initial_state(B), no_starts(steps), trace=True).trace
    fresh = trace["write_weights"][:, 0].amax(dim=1).argmax(dim=1)  # of the first row, the least used slot
    waits = [t - last for slot in range(16) for last, t in pairwise((fresh == slot).nonzero().flatten().tolist())]
    assert np.median(waits) == pytest.approx(16 / heads, rel=0.25)


# --- errors seen elsewhere --------------------------------------------------------------------------------------------


def one_head(alpha):
    """A core whose gate is shut (nothing to what was read), or open, whatever the input."""
    core = make(heads=1)
    with torch.no_grad():
        core.interface.weight[-1] = 0
        core.interface.bias[-1] = alpha
    return core


def test_an_empty_memory_is_written_slot_by_slot():
    """Ties at the start: all slots are used alike, and one of them is written, not all."""
    trace = one_head(-50.0).unroll(inputs_of(6), make(heads=1).initial_state(B), no_starts(6), trace=True).trace
    written = trace["write_weights"][:, :, 0]
    assert torch.equal(written > 0.5, torch.eye(6).bool().unsqueeze(1).expand(6, B, 6))
    torch.testing.assert_close(written.sum(2), torch.ones(6, B, dtype=torch.float64))


def test_the_least_used_slot_is_empty_before_it_is_written_and_no_other():
    core = one_head(-50.0)
    state = core.unroll(inputs_of(9), core.initial_state(B), no_starts(9)).state
    before, oldest = state.memory.detach(), state.usage.argmin(1)
    after = core(inputs_of(1)[0], state).state
    with torch.no_grad():
        keys = core.interface(after.controller.hidden)[:, : core.width].tanh()
        for b in range(B):
            expected = before[b].clone()
            expected[oldest[b]] = keys[b]
            torch.testing.assert_close(after.memory[b], expected)


def test_with_an_open_gate_it_writes_to_what_it_read():
    core = one_head(50.0)
    state = core.unroll(inputs_of(9), core.initial_state(B), no_starts(9)).state
    trace = core(inputs_of(1)[0], state).trace
    torch.testing.assert_close(trace["write_weights"], state.read_weights, rtol=0, atol=1e-12)


def test_no_gradient_through_what_is_least_used():
    """The usage decides on an order alone, and no output has a gradient to it."""
    core = make()
    state = core.unroll(inputs_of(9), core.initial_state(B), no_starts(9)).state
    leaves = map_state(lambda leaf: leaf.detach().requires_grad_(), state)
    outputs = core.unroll(inputs_of(5), leaves, no_starts(5)).outputs
    grads = torch.autograd.grad(outputs.square().sum(), state_leaves(leaves), allow_unused=True)
    assert grads[1] is None
    assert all(grad is not None and grad.isfinite().all() for grad in (*grads[:1], *grads[2:]))


def test_a_softmax_of_cosines_alone_is_never_sharp_and_one_with_strengths_is():
    sharpest = [
        make(5.0, key_strengths=strong).unroll(inputs_of(20), make().initial_state(B), no_starts(20), True).trace
        for strong in (False, True)
    ]
    bound = np.e / (np.e + 5 * np.exp(-1))  # one slot along the key, all others against it
    assert sharpest[0]["read_weights"].max() <= bound
    assert sharpest[1]["read_weights"].max() > bound


def test_rows_find_their_own_slots():
    """A public version squeezes the batch away where it has one row."""
    core = make()
    state = core.unroll(inputs_of(9), core.initial_state(B), no_starts(9)).state
    alone = core(inputs_of(1)[0, :1], map_state(lambda leaf: leaf[:1], state)).outputs
    torch.testing.assert_close(alone, core(inputs_of(1)[0], state).outputs[:1])


def test_a_trained_core_can_be_given_more_slots():
    few, many = make(), make(slots=9)
    many.load_state_dict(few.state_dict())
    assert many.unroll(inputs_of(4), many.initial_state(B), no_starts(4)).outputs.isfinite().all()


def test_bad_parameters():
    for wrong, message in [
        ({"slots": 0}, "slots must be a positive integer"),
        ({"width": 2.5}, "width must be a positive integer"),
        ({"heads": 7}, r"heads must be at most slots \(6\)"),
        ({"heads": 0}, "heads must be a positive integer"),
        ({"controller_size": 0}, "controller_size must be a positive integer"),
        ({"output_size": 0}, "output_size must be a positive integer"),
        ({"decay": 1.5}, r"decay must be a number in \[0, 1\]"),
        ({"key_strengths": "no"}, "key_strengths must be true or false"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
