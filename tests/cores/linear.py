"""What the tests of cores made of linear recurrences ask of all of them."""

import torch

from memagents.cores.core import map_state

B, SIZE = 3, 4


def inputs_of(steps, dtype=torch.float64, size=SIZE, seed=1):
    return torch.randn(steps, B, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def no_starts(steps):
    return torch.zeros(steps, B, dtype=torch.bool)


def some_starts(steps, share=0.15):
    starts = torch.rand(steps, B, generator=torch.Generator().manual_seed(2)) < share
    starts[0, 1] = True
    return starts


def used(core):
    """A state in which nothing is zero."""
    return core.unroll(2 * inputs_of(7, core_dtype(core), seed=3), core.initial_state(B), no_starts(7)).state


def core_dtype(core):
    return next(core.parameters()).dtype


def disturb(core, by=0.3):
    """Move all parameters away from where they begin."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter))


@torch.no_grad()
def single_against_double(make, steps=4096, window=4096):
    """The largest difference between outputs in float32 and in float64, as a share of the largest output."""
    outputs = []
    for dtype in (torch.float32, torch.float64):
        core = make(dtype)
        state, parts = core.initial_state(B), []
        for x, starts in zip(
            inputs_of(steps, dtype).split(window), some_starts(steps, 0.0005).split(window), strict=True
        ):
            part, state, _, _ = core.unroll(x, state, starts)
            parts.append(part.double())
        outputs.append(torch.cat(parts))
    assert outputs[0].isfinite().all()
    return ((outputs[0] - outputs[1]).abs().max() / outputs[1].abs().max()).item()


@torch.no_grad()
def measured_half_lives(core, steps=20):
    """Of each number of the first layer's memory, (N,), from what zeros leave of ones after so many steps."""
    inputs, nothing = torch.zeros(steps, B, SIZE, dtype=core_dtype(core)), core.initial_state(B)
    ones = map_state(torch.ones_like, nothing)
    empty, full = (core.unroll(inputs, state, no_starts(steps)).state.memory[0, 0] for state in (nothing, ones))
    return -steps / (full - empty).abs().log2()
