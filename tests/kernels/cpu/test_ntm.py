"""The fused NTM against the plain loop of its steps, which is the reference."""

import pytest
import torch

from memagents.cores.core import detach_state, state_leaves
from memagents.kernels.cpu.ntm.window import ntm_window
from tests.kernels.support.ntm import make, used_state
from tests.kernels.support.windows import assert_equal_unrolls, assert_weights_learn_alike, values_and_gradients

SIZES = [  # slots, width, read heads, controller, steps, batch
    (3, 1, 1, 1, 1, 1),
    (8, 4, 2, 8, 7, 3),
    (7, 5, 3, 6, 9, 11),
    (6, 9, 1, 5, 5, 4),
    (13, 3, 4, 7, 10, 9),
    (5, 2, 5, 3, 1, 17),
    (64, 20, 1, 32, 4, 9),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("chance_of_start", [0.0, 0.3, 1.0])
def test_values_and_gradients_equal_the_plain_loop(sizes, chance_of_start, fused):
    *shape, steps, batch = sizes
    core = make(*shape)
    inputs = torch.randn(steps, batch, core.input_size, dtype=torch.float64)
    assert_equal_unrolls(core, inputs, used_state(core, batch), torch.rand(steps, batch) < chance_of_start)
    assert fused


@pytest.mark.parametrize(
    "options", [{"initial_memory": "learned"}, {"shifts": 3}, {"clip": 0.4}, {"clip": None}], ids=str
)
def test_options(options, fused):
    core = make(9, 3, 2, 5, **options)
    inputs = torch.randn(8, 10, core.input_size, dtype=torch.float64)
    assert_equal_unrolls(core, inputs, used_state(core, 10), torch.rand(8, 10) < 0.2)
    assert fused


def test_a_start_at_every_position():
    core = make(6, 4, 2, 5, initial_memory="learned")
    steps = 9
    inputs = torch.randn(steps, steps, core.input_size, dtype=torch.float64)
    assert_equal_unrolls(core, inputs, used_state(core, steps), torch.eye(steps, dtype=torch.bool))


def test_huge_and_zero_inputs_to_the_initial_state():
    core = make(6, 4, 2, 5, scale=30.0, clip=None)
    inputs = torch.randn(5, 3, core.input_size, dtype=torch.float64) * torch.tensor([0.0, 1.0, 1e3]).view(1, 3, 1)
    starts = torch.zeros(5, 3, dtype=torch.bool)
    found = values_and_gradients(type(core).unroll, core, inputs, detach_state(core.initial_state(3)), starts, True)
    assert all(value.isfinite().all() for value in found.values())


def test_float32(fused):
    core = make(8, 6, 2, 8, torch.float32, scale=1.0)
    inputs = torch.randn(6, 10, core.input_size)
    starts = torch.zeros(6, 10, dtype=torch.bool)
    assert_equal_unrolls(core, inputs, used_state(core, 10), starts, tolerance=1e-4)
    assert fused


def test_without_gradients_to_the_state():
    core = make(6, 4, 2, 5)
    inputs = torch.randn(4, 3, core.input_size, dtype=torch.float64)
    starts, state = torch.rand(4, 3) < 0.3, used_state(core, 3)
    assert_weights_learn_alike(core, inputs, state, starts)


def test_no_gradients_at_all_is_the_same():
    """Acting keeps two records of the tape, learning all of them."""
    core = make(6, 4, 2, 5)
    inputs, state, starts = torch.randn(7, 9, 3).double(), used_state(core, 9), torch.rand(7, 9) < 0.3
    learning = core.unroll(inputs, state, starts)
    with torch.no_grad():
        acting = core.unroll(inputs, state, starts)
    assert torch.equal(acting.outputs, learning.outputs)
    for one, other in zip(state_leaves(acting.state), state_leaves(learning.state), strict=True):
        assert torch.equal(one, other)


def test_a_row_is_the_same_in_any_batch_and_any_cut():
    """To the last bit, so that acting row by row and learning from windows agree."""
    core = make(7, 5, 2, 6, torch.float32)
    weights = [core.recurrent_gates.weight, core.interface.weight, core.interface.bias]

    @torch.no_grad()
    def window(x, starts, leaves):
        features, leaves = ntm_window(x, starts, *weights, initial=core._beginning(), leaves=leaves, clip=core.clip)
        return [features, *leaves]

    x, leaves, starts = torch.randn(6, 11, 24), state_leaves(used_state(core, 11)), torch.rand(6, 11) < 0.3
    whole = window(x, starts, leaves)
    row = window(x[:, 9:10], starts[:, 9:10], [leaf[9:10] for leaf in leaves])
    assert torch.equal(row[0], whole[0][:, 9:10])
    assert all(torch.equal(one[0], leaf[9]) for one, leaf in zip(row[1:], whole[1:], strict=True))
    first = window(x[:2], starts[:2], leaves)
    second = window(x[2:], starts[2:], first[1:])
    assert torch.equal(torch.cat([first[0], second[0]]), whole[0])
    assert all(torch.equal(one, leaf) for one, leaf in zip(second[1:], whole[1:], strict=True))


def test_what_the_kernel_does_not_do_goes_through_the_loop(fused):
    inputs, starts = torch.randn(3, 2, 3, dtype=torch.float64), torch.zeros(3, 2, dtype=torch.bool)
    for options in ({"controller": "feedforward"}, {"write_heads": 2}, {"write_penalty": 0.1}):
        core = make(6, 4, 2, 5, **options)
        core.unroll(inputs, core.initial_state(2), starts)
    core = make(6, 4, 2, 5)
    assert core.unroll(inputs, core.initial_state(2), starts, trace=True).trace
    assert not fused


@pytest.mark.parametrize("number", range(12))
def test_wrong_shapes_are_refused(number):
    core = make(6, 4, 2, 5)
    weights = [core.recurrent_gates.weight, core.interface.weight, core.interface.bias]
    operands = [torch.randn(4, 3, 20).double(), *weights, *core._beginning(), *state_leaves(core.initial_state(3))]
    operands[number] = torch.cat([operands[number], operands[number]], dim=-1)
    with pytest.raises(ValueError, match=r"must be .* beside the others, not"):
        x, *weights = operands[:4]
        state = {"initial": operands[4:7], "leaves": operands[7:], "clip": core.clip}
        ntm_window(x, torch.zeros(4, 3, dtype=torch.bool), *weights, **state)
