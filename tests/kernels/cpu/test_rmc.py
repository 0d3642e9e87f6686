"""The fused RMC against the plain loop of its steps, which is the reference."""

import pytest
import torch

from memagents import make_core
from memagents.cores.core import select_rows
from memagents.kernels.cpu.rmc import window as kernel
from tests.kernels.support.windows import assert_equal_unrolls, assert_weights_learn_alike


def make(slots, width, heads, dtype=torch.float64, **options):
    """Weights (LayerNorms' too) away from their initial values, so that each matters."""
    torch.manual_seed(slots * 1000 + width * 10 + heads)
    core = make_core("rmc", 5, slots=slots, width=width, heads=heads, **options).to(dtype)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return core


def window(core, steps, batch, chance_of_start=0.3):
    """Inputs, a state as in the middle of an episode, and starts."""
    inputs = torch.randn(steps, batch, core.input_size, dtype=core.input_row.weight.dtype)
    memory = torch.randn_like(core.initial_state(batch).memory)
    return inputs, core.initial_state(batch)._replace(memory=memory), torch.rand(steps, batch) < chance_of_start


SIZES = [  # slots, width, heads, steps, batch
    (1, 8, 1, 1, 1),
    (3, 8, 2, 6, 3),
    (4, 24, 3, 5, 2),
    (7, 8, 1, 9, 6),
    (8, 32, 2, 1, 5),
    (9, 40, 5, 4, 7),
    (13, 16, 4, 3, 41),  # 533 rows, a product for every step
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("chance_of_start", [0.0, 0.3, 1.0])
def test_values_and_gradients_equal_the_plain_loop(sizes, chance_of_start, fused):
    *shape, steps, batch = sizes
    core = make(*shape)
    assert_equal_unrolls(core, *window(core, steps, batch, chance_of_start))
    assert fused


@pytest.mark.parametrize(
    "options",
    [
        {"gate_style": "memory"},
        {"key_size": 12},
        {"mlp_layers": 1},
        {"mlp_layers": 3},
        {"forget_bias": -0.5, "input_bias": 2.0},
        {"output_size": 7},
    ],
    ids=str,
)
def test_options(options, fused):
    core = make(5, 8, 2, **options)
    assert_equal_unrolls(core, *window(core, 4, 3))
    assert fused


def test_a_start_at_every_position():
    core = make(3, 8, 2)
    inputs, state, _ = window(core, 6, 6)
    assert_equal_unrolls(core, inputs, state, torch.eye(6, dtype=torch.bool))


def test_chunks_of_several_steps_that_do_not_divide_the_window(monkeypatch):
    core = make(4, 8, 2)
    for rows in (1, 24, 36):  # chunks of 1, 2 and 3 steps of 3 rows of 4 slots
        monkeypatch.setattr(kernel, "_CHUNK", rows)
        assert_equal_unrolls(core, *window(core, 7, 3))


def test_scores_far_from_zero():
    """Exponents that overflow unless the greatest score is subtracted, and all of which are far below zero."""
    core = make(6, 8, 2)
    for scale in (30.0, -30.0):
        with torch.no_grad():
            core.blocks[0].qkv_norm.weight.fill_(scale)
            core.blocks[0].qkv_norm.bias.view(2, 3, 4)[:, 0].fill_(100.0)
            core.blocks[0].qkv_norm.bias.view(2, 3, 4)[:, 1].fill_(-100.0)
        assert_equal_unrolls(core, *window(core, 3, 2))


def test_float32(fused):
    core = make(8, 32, 2, torch.float32)
    assert_equal_unrolls(core, *window(core, 5, 6), tolerance=1e-4)
    assert fused


def test_without_gradients_to_the_state():
    core = make(4, 8, 2)
    inputs, state, starts = window(core, 4, 3)
    assert_weights_learn_alike(core, inputs, state, starts)


def test_no_gradients_at_all_is_the_same():
    """Acting has room for a single step, learning for all of them."""
    core = make(4, 8, 2)
    inputs, state, starts = window(core, 6, 3)
    learning = core.unroll(inputs, state, starts)
    with torch.no_grad():
        acting = core.unroll(inputs, state, starts)
    assert torch.equal(acting.outputs, learning.outputs)
    assert torch.equal(acting.state.memory, learning.state.memory)


@pytest.mark.parametrize("steps", [1, 6])
def test_the_state_after_it_shares_nothing_with_the_outputs(steps):
    """Who changes those in place does not change the memory; and it does not keep the whole window."""
    core = make(3, 8, 2)
    with torch.no_grad():
        found = core.unroll(*window(core, steps, 4))
    memory = found.state.memory.clone()
    found.outputs.zero_()
    assert torch.equal(found.state.memory, memory)
    assert found.state.memory.untyped_storage().nbytes() == memory.numel() * memory.itemsize


def test_a_window_cut_in_two_is_the_same():
    core = make(4, 8, 2)
    inputs, state, starts = window(core, 7, 3)
    whole = core.unroll(inputs, state, starts)
    first = core.unroll(inputs[:3], state, starts[:3])
    second = core.unroll(inputs[3:], first.state, starts[3:])
    torch.testing.assert_close(torch.cat([first.outputs, second.outputs]), whole.outputs)


def test_not_a_number_stays_in_its_row_and_ends_at_a_start():
    core = make(5, 8, 2)
    inputs, state, _ = window(core, 4, 4)
    memory = state.memory.clone()
    memory[1] = torch.nan
    starts = torch.zeros(4, 4, dtype=torch.bool)
    starts[2, 1] = True
    outputs = core.unroll(inputs, state._replace(memory=memory), starts).outputs
    assert outputs[:2, 1].isnan().all()
    assert outputs[2:].isfinite().all()
    clean = core.unroll(inputs[:, [0, 2, 3]], select_rows(state, [0, 2, 3]), starts[:, [0, 2, 3]]).outputs
    torch.testing.assert_close(outputs[:, [0, 2, 3]], clean)


def test_what_the_kernel_does_not_do_goes_through_the_loop(fused):
    for options in ({"blocks": 2}, {"gate_style": None}, {"key_size": 3}, {"width": 6}):
        core = make(**{"slots": 3, "width": 8, "heads": 2} | options)
        core.unroll(*window(core, 2, 2))
    core = make(3, 8, 2)
    assert core.unroll(*window(core, 2, 2), trace=True).trace
    assert not fused


def operands_of(core):
    """Weights and biases of the perceptron, starts, initial memory; and the other operands by name."""
    inputs, state, starts = window(core, 4, 3)
    with torch.no_grad():
        operands = core._operands(core.project(inputs), state)
    layers = [core.mlp[0], core.mlp[2]]
    perceptron = [layer.weight for layer in layers], [layer.bias for layer in layers]
    return *perceptron, starts, core.initial_state(1).memory[0], operands


@pytest.mark.parametrize("name", kernel.RMCOperands._fields)
def test_wrong_shapes_are_refused(name):
    *others, operands = operands_of(make(4, 8, 2))
    wrong = torch.cat([operands[name]] * 2, dim=-1)
    with pytest.raises(ValueError, match=r"must be .* not"):
        kernel.rmc_window(*others, heads=2, gate_biases=(0.0, 1.0), **operands | {name: wrong})


def test_a_perceptron_or_heads_of_a_wrong_shape_are_refused():
    weights, biases, starts, initial, operands = operands_of(make(4, 8, 2))
    with pytest.raises(ValueError, match="weights and biases must be"):
        kernel.rmc_window([weight[1:] for weight in weights], biases, starts, initial, 2, (0.0, 1.0), **operands)
    with pytest.raises(ValueError, match="heads that the kernel takes"):
        kernel.rmc_window(weights, biases, starts, initial, 4, (0.0, 1.0), **operands)
