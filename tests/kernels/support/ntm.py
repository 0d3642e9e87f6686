"""NTMs for the tests of its kernels."""

import torch

from memagents import make_core
from memagents.cores.core import map_state


def make(slots, width, heads, hidden, dtype=torch.float64, scale=2.0, **options):
    torch.manual_seed(slots * 1000 + width * 100 + heads * 10 + hidden)
    options = {"input_size": 3, "output_size": 4, "read_heads": heads, "controller_size": hidden} | options
    core = make_core("ntm", slots=slots, width=width, **options).to(dtype)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.mul_(scale).add_(0.3 * torch.randn_like(parameter))
    return core


def used_state(core, batch):
    """A state as in the middle of an episode."""
    state = map_state(torch.clone, core.initial_state(batch))
    noisy = map_state(lambda leaf: torch.randn_like(leaf).detach(), state)
    return noisy._replace(weights=torch.softmax(2 * noisy.weights, dim=2))
