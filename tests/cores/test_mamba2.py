"""Mamba-2 against loops, and against the errors that others make."""

from functools import partial

import pytest
import torch

from memagents import make_core
from tests.cores.chunked import (
    against_the_equations,
    array,
    measured_half_lives,
    nothing_that_is_not_finite_outlives_a_start,
    of_layer,
    window_equals_steps,
)
from tests.cores.linear import SIZE, B, disturb, inputs_of, no_starts, single_against_double
from tests.reference import linear

DOUBLE = {"dtype": torch.float64}


def make(dtype=torch.float64, **changes):
    torch.manual_seed(0)
    small = {"width": 6, "heads": 4, "head_size": 3, "state_size": 2, "layers": 2, "chunk": 7}
    return make_core("mamba2", SIZE, **(small | changes)).to(dtype)


def numpy_weights(block):
    names = {"in": block.maps.weight, "taps": block.taps, "taps_bias": block.taps_bias, "A_log": block.log_rates}
    names |= {"dt_bias": block.intervals, "D": block.feedthrough, "scale": block.scale, "o": block.output.weight}
    return {name: array(weight) for name, weight in names.items()}


@pytest.mark.parametrize("groups", [1, 2])
def test_equals_the_equations(groups):
    core = make(groups=groups)
    disturb(core)
    step = partial(linear.mamba2_step, groups=groups)
    weights = [numpy_weights(block) for block in core.blocks]
    against_the_equations(core, weights, step, lambda state, b, n: list(of_layer(state.memory, b, n)))


@pytest.mark.parametrize("chunk", [1, 7, 32])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_window_equals_steps(groups, chunk):
    core = make(groups=groups, chunk=chunk)
    disturb(core)
    window_equals_steps(core)


def test_single_precision_over_4096_steps():
    assert single_against_double(lambda dtype: make(dtype, chunk=16)) < 1e-5


def test_half_lives_at_the_start():
    core = make(shortest_half_life=1.5, longest_half_life=96.0)
    expected = torch.tensor([1.5, 6, 24, 96], **DOUBLE).view(4, 1, 1).expand(4, 2, 3)
    torch.testing.assert_close(measured_half_lives(core), expected, rtol=1e-5, atol=0)


def test_half_lives_of_the_defaults():
    lives = measured_half_lives(make_core("mamba2", SIZE).double(), 50)[:, 0, 0]
    torch.testing.assert_close(lives, torch.tensor([10.0, 46.416, 215.44, 1000.0], **DOUBLE), rtol=1e-4, atol=0)


def test_heads_that_remember_for_long_are_written_to_as_much():
    intervals = torch.nn.functional.softplus(make(longest_half_life=1e4).blocks[0].intervals)
    torch.testing.assert_close(intervals, torch.full((4,), 0.1, **DOUBLE), rtol=1e-5, atol=0)


def test_the_norm_comes_after_the_gate():
    """Others have RMSNorm(y) ∘ SiLU(z), whose size is z's."""
    core, seen = make(layers=1), []
    with torch.no_grad():
        core.blocks[0].maps.weight[:12] *= 100  # z
    core.blocks[0].output.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    core.unroll(inputs_of(9), core.initial_state(B), no_starts(9))
    torch.testing.assert_close(seen[0].square().mean(-1), torch.ones(9, B, **DOUBLE), rtol=1e-3, atol=0)


def test_fast_decays_stay_numbers():
    """exp of a sum of log decays is zero in float32 after a few steps of such."""
    core = make(torch.float32, chunk=32)
    with torch.no_grad():
        for block in core.blocks:
            block.intervals.fill_(20.0)
            block.log_rates.fill_(3.0)
    inputs = inputs_of(64, torch.float32).requires_grad_()
    outputs, state, _, _ = core.unroll(inputs, core.initial_state(B), no_starts(64))
    grads = torch.autograd.grad(outputs.square().sum(), [inputs, *core.parameters()])
    assert all(tensor.isfinite().all() for tensor in (outputs, *state, *grads))


def test_nothing_that_is_not_finite_outlives_a_start():
    nothing_that_is_not_finite_outlives_a_start(make())


def test_bad_parameters():
    for wrong, message in [
        ({"width": 0}, "width must be a positive integer"),
        ({"heads": 2.0}, "heads must be a positive integer"),
        ({"groups": 0}, "groups must be a positive integer"),
        ({"groups": 3}, "heads must be a multiple of groups, 3, not 4"),
        ({"head_size": 0}, "head_size must be a positive integer"),
        ({"state_size": True}, "state_size must be a positive integer"),
        ({"layers": 0}, "layers must be a positive integer"),
        ({"chunk": -2}, "chunk must be a positive integer"),
        ({"shortest_half_life": -1}, "shortest_half_life must be a finite number above 0"),
        ({"shortest_half_life": 5, "longest_half_life": 4}, "longest_half_life must be at least shortest_half_life, 5"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
