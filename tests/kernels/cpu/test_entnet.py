"""The fused EntNet against the plain loop of its steps, which is the reference."""

import pytest
import torch

from memagents import make_core
from memagents.kernels.cpu.entnet import window as kernel
from tests.kernels.support.windows import assert_equal_unrolls, assert_same_bits, assert_weights_learn_alike


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
