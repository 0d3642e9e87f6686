"""The mLSTM against loops, and against the errors that others make."""

import math

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
from tests.cores.linear import SIZE, B, disturb, inputs_of, no_starts, single_against_double, some_starts, used
from tests.reference import linear

DOUBLE = {"dtype": torch.float64}


def make(dtype=torch.float64, **changes):
    torch.manual_seed(0)
    small = {"width": 6, "heads": 2, "head_size": 8, "layers": 2, "chunk": 7}
    return make_core("mlstm", SIZE, **(small | changes)).to(dtype)


def numpy_weights(block):
    maps = [array(torch.block_diag(*blocks.transpose(1, 2))) for blocks in block.maps_of_heads]
    names = {"up": block.maps.weight, "taps": block.taps, "taps_bias": block.taps_bias, "scale": block.scale}
    names |= {"skip": block.skip, "down": block.output.weight}
    weights = {name: array(weight) for name, weight in names.items()} | dict(zip("qkv", maps, strict=True))
    return weights | {"gates": (array(block.gates.weight), array(block.gates.bias))}


def memories_of(state, b, n):
    memory, stabilisers = of_layer(state.memory, b, n), of_layer(state.stabiliser, b, n)
    return [(both[:, :-1], both[:, -1], m) for both, m in zip(memory, stabilisers, strict=True)]


def test_equals_the_equations():
    core = make()
    disturb(core)
    against_the_equations(core, [numpy_weights(block) for block in core.blocks], linear.mlstm_step, memories_of)


@pytest.mark.parametrize("chunk", [1, 7, 32])
def test_a_window_equals_steps(chunk):
    """The state as well: another's windows divide the queries, its steps the keys by √D, so that states differ."""
    core = make(chunk=chunk)
    disturb(core)
    window_equals_steps(core)


def test_single_precision_over_4096_steps():
    assert single_against_double(lambda dtype: make(dtype, chunk=16)) < 1e-5


def test_half_lives_at_the_start():
    core = make(heads=4, shortest_half_life=1.5, longest_half_life=96.0)
    expected = torch.tensor([1.5, 6, 24, 96], **DOUBLE).view(4, 1, 1).expand(4, 8, 9)
    torch.testing.assert_close(measured_half_lives(core), expected, rtol=1e-5, atol=0)


def test_the_defaults_are_the_published_biases():
    core = make_core("mlstm", SIZE, heads=4).double()
    forget = core.blocks[0].gates.bias[4:]
    torch.testing.assert_close(forget, torch.linspace(3, 6, 4, **DOUBLE), rtol=0, atol=0.03)
    assert not core.blocks[0].gates.weight.any()
    assert core.blocks[0].gates.bias[:4].abs().max() < 0.6
    lives = measured_half_lives(core, 50)[:, 0, 0]
    torch.testing.assert_close(lives[[0, 3]], torch.tensor([14.0, 280.0], **DOUBLE), rtol=1e-4, atol=0)


def test_what_is_read_does_not_depend_on_the_first_stabiliser():
    core, outputs = make(), []
    for first in (0.0, -30.0):
        state = core.initial_state(B)
        state = state._replace(stabiliser=torch.full_like(state.stabiliser, first))
        outputs.append(core.unroll(inputs_of(30), state, no_starts(30)).outputs)
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-5)  # but for the 1e-6 beside the normaliser


@pytest.mark.parametrize("chunk", [1, 5])
@pytest.mark.parametrize("gates", [(200.0, 3.0), (-200.0, 3.0), (0.0, 200.0), (0.0, -200.0), (-200.0, -200.0)])
def test_gates_that_are_shut_or_open_give_numbers(gates, chunk):
    """Exponentials of ±200 are none in float32; all that is taken is of differences."""
    core = make(torch.float32, chunk=chunk)
    with torch.no_grad():
        for block in core.blocks:
            block.gates.bias.copy_(torch.tensor(gates).repeat_interleave(2))
    inputs = inputs_of(20, torch.float32).requires_grad_()
    outputs, state, _, _ = core.unroll(inputs, core.initial_state(B), some_starts(20))
    grads = torch.autograd.grad(outputs.square().sum(), [inputs, *core.parameters()])
    assert all(tensor.isfinite().all() for tensor in (outputs, *state, *grads))


def test_a_normaliser_that_cancels_divides_by_no_less_than_its_bound():
    """With |nᵀ q| alone the value read would be divided by next to nothing."""
    core = make(layers=1)
    state = used(core)
    with torch.no_grad():
        state.memory[..., -1] = 0  # n
        core.blocks[0].maps_of_heads[1] = 0  # no key, so that n stays zero
        outputs, after, _, _ = core.unroll(inputs_of(1), state, no_starts(1))
    assert not after.memory[..., -1].any()
    assert after.memory.any()
    assert outputs.isfinite().all()


def test_nothing_that_is_not_finite_outlives_a_start():
    nothing_that_is_not_finite_outlives_a_start(make())


def test_bad_parameters():
    for wrong, message in [
        ({"width": 0}, "width must be a positive integer"),
        ({"heads": 0}, "heads must be a positive integer"),
        ({"head_size": 0}, "head_size must be a positive integer"),
        ({"head_size": 6}, "head_size must be a multiple of 4, not 6"),
        ({"layers": 0}, "layers must be a positive integer"),
        ({"chunk": 0}, "chunk must be a positive integer"),
        ({"shortest_half_life": math.nan}, "shortest_half_life must be a finite number above 0"),
        ({"shortest_half_life": 5, "longest_half_life": 4}, "longest_half_life must be at least shortest_half_life, 5"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
