"""LSTMs and GRUs for the tests of their kernels."""

import functools

import torch

from memagents import make_core
from memagents.cores.core import map_state, state_leaves
from tests.kernels.support import windows

NAMES = ["lstm", "gru"]
assert_equal_unrolls = functools.partial(windows.assert_equal_unrolls, tolerance=1e-12)


def make(name, hidden, dtype=torch.float64):
    torch.manual_seed(hidden)
    core = make_core(name, 3, hidden_size=hidden).to(dtype)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.mul_(3.0)
    return core


def used_state(core, batch):
    """A state as in the middle of an episode."""
    return map_state(lambda leaf: torch.randn_like(leaf).detach(), core.initial_state(batch))


def operands(name, steps, batch, hidden, dtype=torch.float64):
    """Operands of a kernel: x, starts, weights, state."""
    core = make(name, hidden, dtype)
    gates = core.recurrent_gates
    weights = [parameter.detach() for parameter in gates.parameters()]
    x = torch.randn(steps, batch, len(gates.weight), dtype=dtype)
    return x, torch.rand(steps, batch) < 0.2, weights, state_leaves(used_state(core, batch))
