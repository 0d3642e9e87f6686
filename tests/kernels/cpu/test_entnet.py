"""The fused EntNet against the plain loop of its steps, which is the reference."""

import pytest
import torch

from memagents import make_core
from memagents.cores.core import unroll_by_steps
from memagents.kernels.cpu.entnet.window import entnet_window
from tests.kernels.support.windows import assert_equal_unrolls


def make(slots, width, dtype=torch.float64, **options):
    """Weights (the slopes too) away from their initial values, so that each matters."""
    torch.manual_seed(100 * slots + width)
    core = make_core("entnet", 5, slots=slots, width=width, **options).to(dtype)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return core


def window(core, steps, batch, chance_of_start=0.3):
    """Inputs, a state as in the middle of an episode, and starts."""
    inputs = torch.randn(steps, batch, core.input_size, dtype=core.keys.dtype)
    memory = torch.randn_like(core.initial_state(batch).memory)
    return inputs, core.initial_state(batch)._replace(memory=memory), torch.rand(steps, batch) < chance_of_start


SIZES = [  # slots, width, steps, batch
    (1, 1, 1, 1),
    (3, 8, 6, 3),
    (20, 32, 5, 6),
    (9, 11, 1, 5),
    (8, 24, 4, 9),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("chance_of_start", [0.0, 0.3, 1.0])
def test_values_and_gradients_equal_the_plain_loop(sizes, chance_of_start, fused):
    *shape, steps, batch = sizes
    core = make(*shape)
    assert_equal_unrolls(core, *window(core, steps, batch, chance_of_start), tolerance=1e-12)
    assert fused


def test_float32(fused):
    core = make(20, 32, torch.float32)
    assert_equal_unrolls(core, *window(core, 6, 5), tolerance=1e-5)
    assert fused


def test_the_penalty_on_writes_and_its_gradients(fused):
    core = make(5, 8, write_penalty=0.3)
    inputs, state, starts = window(core, 4, 3)
    found = []
    for unroll in (unroll_by_steps, type(core).unroll):
        core.zero_grad()
        losses = unroll(core, inputs, state, starts).losses
        (losses["write"] * torch.arange(12.0).view(4, 3)).sum().backward()
        used = [parameter.grad for parameter in core.parameters() if parameter.grad is not None]
        found.append([losses["write"].detach(), *(gradient for gradient in used if gradient.any())])
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)
    assert fused and len(found[0]) > 5


def test_a_sum_of_zero_is_on_the_side_of_the_slope():
    """As torch's ``where`` has it, and with the slope's share of the gradient zero."""
    core = make(3, 4)
    with torch.no_grad():
        for layer in (core.from_memory, core.from_key, core.from_encoding):
            layer.weight.zero_()
    assert_equal_unrolls(core, *window(core, 3, 2), tolerance=1e-12)


@pytest.mark.parametrize("number", range(6))
def test_wrong_shapes_are_refused(number):
    given = [torch.zeros(2, 3, 12), *(torch.zeros(*shape) for shape in ((5, 4), (5, 4), (4, 4), (4,), (3, 5, 4)))]
    given[number] = torch.cat([given[number], given[number]])
    with pytest.raises(ValueError, match=r"must be .* beside the others, not"):
        entnet_window(given[0], torch.zeros(2, 3, dtype=torch.bool), *given[1:])
