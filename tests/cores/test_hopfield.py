"""The Hopfield core against plain loops."""

import numpy as np
import pytest
import torch

from memagents import make_core
from tests.reference.hopfield import hopfield_step

T, B, SIZE, L = 10, 3, 5, 4
VARIANTS = {
    "one update": {},
    "three updates": {"updates": 3},
    "one head": {"heads": 1},
    "a beta": {"beta": 3.0, "updates": 2},
    "one pattern": {"length": 1},
    "an output size": {"output_size": 2},
}


def make(**changes):
    torch.manual_seed(0)
    core = make_core("hopfield", SIZE, **({"length": L, "width": 6, "heads": 2} | changes)).double()
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return core


def inputs_of(steps=T):
    return torch.randn(steps, B, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def no_starts(steps=T):
    return torch.zeros(steps, B, dtype=torch.bool)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_some_steps_equal_loops(changes):
    core = make(**changes)
    to_output = core.output.weight.detach().numpy()
    weights = {
        "W_Q": core.state_patterns.weight.detach().numpy(),
        "b_Q": core.state_patterns.bias.detach().numpy(),
        "W_K": core.stored_patterns.weight.detach().numpy(),
        "W_R": to_output[:, :SIZE],
        "W_V": to_output[:, SIZE:],
        "b": core.output.bias.detach().numpy(),
    }
    heads = changes.get("heads", 2)
    beta = changes.get("beta", 1 / (6 / heads) ** 0.5)
    inputs, starts = inputs_of(), no_starts()
    starts[0, 1] = starts[3, 0] = starts[8, 0] = starts[9, 2] = True
    outputs, _, _, trace = core.unroll(inputs, core.initial_state(B), starts, trace=True)
    for b in range(B):
        stored = []
        for t in range(T):
            stored = [] if starts[t, b] else stored
            output, stored, shares = hopfield_step(
                weights, stored, inputs[t, b].numpy(), core.length, heads, beta, changes.get("updates", 1)
            )
            np.testing.assert_allclose(outputs[t, b].detach(), output, rtol=1e-9, atol=1e-9)
            shown = trace["retrieval_weights"][t, b].detach().numpy()
            np.testing.assert_allclose(shown[:, core.length - len(stored) :], shares, rtol=1e-9, atol=1e-9)
            assert (shown[:, : core.length - len(stored)] == 0).all()


def test_updates_sharpen():
    """A state ends at one stored pattern and stays there, if beta is high."""
    few, many = make(beta=20.0), make(beta=20.0, updates=8)
    shown = [
        core.unroll(inputs_of(), core.initial_state(B), no_starts(), True).trace["retrieval_weights"][-1]
        for core in (few, many)
    ]
    assert shown[1].amax(-1).mean() > 0.95
    assert shown[1].amax(-1).mean() >= shown[0].amax(-1).mean()


def test_the_output_holds_the_present_input():
    """Even where all that is retrieved is zero."""
    core = make()
    with torch.no_grad():
        core.stored_patterns.weight.zero_()
    inputs = inputs_of(1)[0]
    expected = inputs @ core.output.weight[:, :SIZE].T + core.output.bias
    torch.testing.assert_close(core(inputs, core.initial_state(B)).outputs, expected)


def test_heads_retrieve_for_themselves():
    core = make()
    shown = core.unroll(inputs_of(), core.initial_state(B), no_starts(), True).trace["retrieval_weights"]
    assert shown.shape == (T, B, 2, L)
    assert (shown[-1, :, 0] - shown[-1, :, 1]).abs().max() > 0.05


def test_bad_parameters():
    for wrong, message in [
        ({"width": 7}, "width must be a multiple of heads"),
        ({"beta": -1.0}, "beta must be a number in"),
        ({"beta": float("inf")}, "beta must be a number in"),
        ({"beta": "sharp"}, "beta must be a number in"),
        ({"updates": 0}, "updates must be a positive integer"),
        ({"output_size": 0}, "output_size must be a positive integer"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
