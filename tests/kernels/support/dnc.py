"""DNCs for the tests of its kernels."""

import torch

from memagents import make_core
from memagents.cores.dnc import DNCState, LSTMState
from tests.kernels.support import windows


def make(slots, width, heads, hidden, dtype=torch.float64, scale=2.0, **options):
    torch.manual_seed(slots * 1000 + width * 100 + heads * 10 + hidden)
    sizes = {"slots": slots, "width": width, "read_heads": heads, "controller_size": hidden}
    core = make_core("dnc", input_size=3, **sizes, output_size=4, **options).to(dtype)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.mul_(scale)
    return core


def used_state(core, batch):
    """A state as in the middle of an episode, in which no two slots are used almost equally.

    Where two are, rounding decides which of them is written, and the reference and the kernel may round differently:
    their memories are then equal but for the order of slots. That happens in the steps after a start, where
    only what does not depend on that order can be compared.
    """
    n, w, r, h = core.slots, core.width, core.read_heads, core.controller_size
    like = {"dtype": core.output.weight.dtype}
    return DNCState(
        memory=torch.randn(batch, n, w, **like),
        usage=torch.stack([torch.randperm(n) for _ in range(batch)]).to(**like) * 0.8 / n + 0.1,
        link=torch.rand(batch, n, n, **like) / n * (1 - torch.eye(n, **like)),
        precedence=torch.rand(batch, n, **like) / n,
        write_weights=torch.zeros(batch, n, **like),
        read_weights=torch.softmax(torch.randn(batch, r, n, **like), dim=2),
        read_vectors=torch.randn(batch, r, w, **like),
        controller=LSTMState(torch.randn(batch, h, **like).tanh(), torch.randn(batch, h, **like)),
    )


def assert_equal_unrolls(core, inputs, state, starts, tolerance=1e-10):
    """Compares the final state only where no episode begins, see :func:`used_state`."""
    windows.assert_equal_unrolls(core, inputs, state, starts, tolerance, by_state=not starts.any())
