"""The Episodic Planning Network against plain loops, its packed rows against those with gaps, and what it promises."""

import numpy as np
import pytest
import torch

from memagents.cores.core import unroll_by_steps
from memagents.kernels import choice
from tests.cores.support import arrays, norm_weights, perturbed, random_inputs
from tests.reference import epn

T, B, SIZE = 12, 3, 5
SMALL = {"length": 4, "width": 6, "heads": 2, "output_size": 5}
VARIANTS = {
    "two iterations": {},
    "five iterations": {"iterations": 5},
    "one head": {"heads": 1, "feedforward": 3},
    "one transition": {"length": 1},
    "whole episodes": {"length": 20},
    "by a kernel": {"width": 16},
}


def make(dtype=torch.float64, noise=0.3, **changes):
    return perturbed("epn", SIZE, dtype, noise, **(SMALL | changes))


def inputs_of(steps=T, rows=B, dtype=torch.float64):
    return random_inputs(steps, rows, SIZE, dtype)


def no_starts(steps=T, rows=B):
    return torch.zeros(steps, rows, dtype=torch.bool)


def numpy_weights(core):
    a, b = core.transition.weight.chunk(2)
    c, d = core.present.weight.chunk(2)
    b_a, b_b = core.transition.bias.chunk(2)
    b_c, b_d = core.present.bias.chunk(2)
    perceptron, output = core.feedforward, core.output
    return arrays(A=a, B=b, C=c, D=d, b_A=b_a, b_B=b_b, b_C=b_c, b_D=b_d) | {
        "attention_norm": norm_weights(core.attention_norm),
        "feedforward_norm": norm_weights(core.feedforward_norm),
        "last_norm": norm_weights(core.last_norm),
        **arrays(W_qkv=core.interface.weight, W_o=core.found.weight),
        **arrays(W_1=perceptron[0].weight, b_1=perceptron[0].bias, W_2=perceptron[2].weight, b_2=perceptron[2].bias),
        **arrays(W_3=output[0].weight, b_3=output[0].bias, W_4=output[2].weight, b_4=output[2].bias),
    }


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_some_steps_equal_loops(changes):
    core = make(**changes)
    inputs, starts = inputs_of(), no_starts()
    starts[0, 1] = starts[3, 0] = starts[8, 0] = starts[9, 2] = True
    outputs, _, _, trace = core.unroll(inputs, core.initial_state(B), starts, trace=True)
    silent = core.unroll(inputs, core.initial_state(B), starts).outputs
    for b in range(B):
        stored = []
        for t in range(T):
            stored = [] if starts[t, b] else stored
            y, stored, shares = epn.epn_step(
                numpy_weights(core),
                stored,
                inputs[t, b].numpy(),
                length=core.length,
                heads=core.heads,
                iterations=core.iterations,
            )
            np.testing.assert_allclose(outputs[t, b].detach(), y, rtol=1e-10, atol=1e-10)
            np.testing.assert_allclose(silent[t, b].detach(), y, rtol=1e-10, atol=1e-10)
            for k, of_iteration in enumerate(shares, start=1):
                shown = trace[f"iteration_{k}_weights"][t, b].detach()
                there = of_iteration.shape[-1]
                np.testing.assert_allclose(shown[:, -there:], of_iteration[:, -1], rtol=1e-10, atol=1e-10)
                assert (shown[:, :-there] == 0).all()


@pytest.mark.parametrize("sizes", [{"width": 16}, {"width": 8, "heads": 1, "length": 1}, {"width": 8, "length": 20}])
def test_rows_packed_are_rows_with_gaps(sizes):
    """The kernel's way equals the plain one, values and gradients, starts at every position and a carried state."""
    core = make(**({"heads": 2} | sizes))
    assert choice.window_for("attention", [core.found.weight], key_size=core.width // core.heads) is not None
    with torch.no_grad():
        # Other inputs than the window's: of two transitions that are alike, rounding decides which has the maximum.
        carried = core.unroll(-inputs_of(3), core.initial_state(B), no_starts(3)).state
    for start in range(T):
        starts, found = no_starts(), []
        starts[start, start % B] = starts[T - 1, 0] = True
        for unroll in (core.unroll, lambda *a: core.unroll(*a, trace=True), lambda *a: unroll_by_steps(core, *a)):
            inputs, rows = inputs_of().requires_grad_(), carried.rows.clone().requires_grad_()
            outputs, state, _, _ = unroll(inputs, carried._replace(rows=rows), starts)
            loss = outputs.square().sum() + state.rows.square().sum()
            found.append([outputs, state.rows, *torch.autograd.grad(loss, [inputs, rows, *core.parameters()])])
        for other in found[1:]:
            torch.testing.assert_close(found[0], other, rtol=1e-9, atol=1e-9)


def test_float32_is_float64_over_4096_steps():
    found, starts = [], torch.rand(4096, 1, generator=torch.Generator().manual_seed(2)) < 0.02
    for dtype in (torch.float32, torch.float64):
        core = make(torch.float32, noise=0.0, width=8).to(dtype)
        with torch.no_grad():
            inputs = inputs_of(4096, 1, torch.float32).to(dtype)
            found.append(core.unroll(inputs, core.initial_state(1), starts).outputs.double())
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-5)


def test_untrained_it_knows_the_last_transitions_alike_and_no_others():
    """No decay: a transition counts, whether it is the last or the L-th last, and then it is gone."""
    core, steps = make(noise=0.0, length=8, width=16), 20
    inputs = inputs_of(steps, 64).requires_grad_()
    outputs = core.unroll(inputs, core.initial_state(64), no_starts(steps, 64)).outputs
    (grad,) = torch.autograd.grad(outputs[-1].square().sum(), inputs)
    by_age = grad.square().mean(dim=(1, 2)).sqrt().flip(0)  # of the present, of one step before, …
    assert (by_age[9:] == 0).all()
    assert (by_age[1:8] > 0.5 * by_age[1]).all()
    assert by_age[8] > 0.2 * by_age[1]  # only one transition holds this input


def test_outputs_do_not_grow_with_the_rows():
    """Of rows as large as a training may make them, that of the present among them."""
    core = make(noise=0.0)
    inputs, highest = inputs_of(), torch.randn(B, T, core.width).double()
    small, large = (core.readout(core._features(inputs, scale * highest)) for scale in (10, 10_000))
    torch.testing.assert_close(large, small, rtol=1e-5, atol=1e-5)


# --- what is easily done wrong ----------------------------------------------------------------------------------------


def test_iterations_share_their_weights():
    """An agent may think longer than it was trained to."""
    few, many = make(iterations=1), make(iterations=6)
    many.load_state_dict(few.state_dict())
    assert sum(p.numel() for p in few.parameters()) == sum(p.numel() for p in many.parameters())
    state = few.initial_state(B)
    assert not torch.equal(*(core.unroll(inputs_of(), state, no_starts()).outputs for core in (few, many)))


def test_an_episode_that_begins_has_nothing_but_the_present():
    core, starts = make(), no_starts(3)
    starts[2] = True
    trace = core.unroll(inputs_of(3), core.initial_state(B), starts, trace=True).trace
    assert (trace["maximum_weights"][2, :, -1] == 1).all()
    assert (trace["iteration_1_weights"][2, :, :, -1] == 1).all()


def test_no_transition_leads_over_a_start():
    """The first input of an episode does not follow the last of the one before."""
    core, starts = make(), no_starts(4)
    starts[2] = True
    inputs = inputs_of(4)
    alone = core.unroll(inputs[2:], core.initial_state(B), no_starts(2)).outputs
    torch.testing.assert_close(core.unroll(inputs, core.initial_state(B), starts).outputs[2:], alone)


def test_rows_know_their_order_by_transitions_alone():
    """A walk in circles has the same transitions wherever it began."""
    core = make(length=6)
    places = inputs_of(3)
    around = torch.cat([places, places, places])  # (9, B, I)
    one, other = (
        core.unroll(walk, core.initial_state(B), no_starts(7)).outputs[-1] for walk in (around[:7], around[2:])
    )
    assert not torch.allclose(one, other)  # other presents
    longer = core.unroll(torch.cat([around[1:], places[:1]]), core.initial_state(B), no_starts(9)).outputs[-1]
    torch.testing.assert_close(longer, one)


def test_bad_parameters():
    for wrong, message in [
        ({"length": 0}, "length must be a positive integer"),
        ({"width": 0}, "width must be a positive integer"),
        ({"heads": 4}, r"width must be a multiple of heads \(4\), not 6"),
        ({"iterations": 0}, "iterations must be a positive integer"),
        ({"feedforward": 1.5}, "feedforward must be a positive integer"),
        ({"output_size": 0}, "output_size must be a positive integer"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
