"""The fused Stable Hadamard Memory against the plain loop of its steps, which is the reference."""

import math

import pytest
import torch

from memagents import make_core
from memagents.cores.core import unroll_by_steps
from memagents.kernels.cpu.shm.window import shm_window
from tests.kernels.support.windows import assert_equal_unrolls


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


def test_float32(fused):
    core = make(32, torch.float32, bound=1.0)
    assert_equal_unrolls(core, *window(core, 6, 5), tolerance=1e-5)
    assert fused


def test_at_the_bound_itself_a_gradient_passes():
    """As through torch's ``clamp``; the scan, which sees only what was clipped, lets none pass."""
    core = make(8, bound=0.5)
    with torch.no_grad():
        core.thetas.zero_()
        core.maps.weight[:, :].zero_()
    inputs, state, starts = window(core, 3, 2, 0.0)
    assert_equal_unrolls(core, inputs, state._replace(memory=torch.full_like(state.memory, 0.5)), starts, 1e-12)


def test_the_penalty_on_writes_and_its_gradients(fused):
    core = make(8, write_penalty=0.3)
    inputs, state, starts = window(core, 4, 3)
    found = []
    for unroll in (unroll_by_steps, type(core).unroll):
        core.zero_grad()
        unrolled = unroll(core, inputs, state, starts)
        (unrolled.losses["write"].sum() + unrolled.outputs.square().sum()).backward()
        found.append([unrolled.losses["write"].detach(), *(parameter.grad for parameter in core.parameters())])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)
    assert fused


@pytest.mark.parametrize("number", range(4))
def test_wrong_shapes_are_refused(number):
    drawn = torch.zeros(2, 3, dtype=torch.long)
    given = [torch.zeros(2, 3, 21), torch.zeros(7, 4), drawn, torch.zeros(3, 4, 4)]
    given[number] = torch.cat([given[number], given[number]], dim=-1)
    x, thetas, drawn, memory = given
    with pytest.raises(ValueError, match=r"must be .* beside the others, not"):
        shm_window(x, torch.zeros(2, 3, dtype=torch.bool), thetas, drawn, 1.0, memory)


def test_a_draw_that_there_is_not_is_refused():
    """It would be read from beyond the learned vectors."""
    drawn, starts = torch.tensor([[0, 7]]), torch.zeros(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="drawn must be"):
        shm_window(torch.zeros(1, 2, 21), starts, torch.zeros(7, 4), drawn, 1.0, torch.zeros(2, 4, 4))
