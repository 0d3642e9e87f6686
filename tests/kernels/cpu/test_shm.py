"""The fused Stable Hadamard Memory against the plain loop of its steps, which is the reference."""

import math

import pytest
import torch

from memagents import make_core
from memagents.cores.core import select_rows
from memagents.kernels.cpu.shm import window as kernel
from tests.kernels.support.windows import assert_equal_unrolls, assert_same_bits


def make(width, dtype=torch.float64, **options):
    """Weights away from their initial values, so that each matters, and C far from 1."""
    torch.manual_seed(width)
    core = make_core("shm", 5, **({"width": width, "thetas": 7, "encoding_size": 9} | options)).to(dtype)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return core


def window(core, steps, batch, chance_of_start=0.3):
    """Inputs, a state as in the middle of an episode, and starts."""
    inputs = torch.randn(steps, batch, core.input_size, dtype=core.thetas.dtype)
    state = core.initial_state(batch)
    memory, key = torch.randn_like(state.memory), torch.randint(2**62, (batch,))
    return inputs, state._replace(memory=memory, key=key), torch.rand(steps, batch) < chance_of_start


SIZES = [  # width, steps, batch
    (1, 1, 1),
    (3, 7, 2),
    (8, 1, 5),
    (16, 12, 3),
    (11, 20, 4),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("chance_of_start", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("bound", [0.3, 100.0, math.inf])
def test_values_and_gradients_equal_the_plain_loop(sizes, chance_of_start, bound, fused):
    width, steps, batch = sizes
    core = make(width, bound=bound)
    assert_equal_unrolls(core, *window(core, steps, batch, chance_of_start), tolerance=1e-12)
    assert fused
