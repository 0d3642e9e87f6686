"""GRU and LSTM against torch's own, and the memoryless control."""

import pytest
import torch

from memagents import make_core
from memagents.cores.core import state_leaves, unroll_by_steps

T, B, INPUTS, HIDDEN = 16, 3, 4, 5


def window(dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(T, B, INPUTS, generator=generator, dtype=torch.float64).to(dtype)


def no_starts():
    return torch.zeros(T, B, dtype=torch.bool)


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_equations_are_torchs(name):
    torch.manual_seed(0)
    core = make_core(name, INPUTS, hidden_size=HIDDEN).double()
    theirs = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[name](INPUTS, HIDDEN).double()
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(core.input_gates.weight)
        theirs.bias_ih_l0.copy_(core.input_gates.bias)
        theirs.weight_hh_l0.copy_(core.recurrent_gates.weight)
        bias = core.recurrent_gates.bias
        theirs.bias_hh_l0.copy_(torch.zeros_like(theirs.bias_hh_l0) if bias is None else bias)
    outputs, state, _, _ = unroll_by_steps(core, window(), core.initial_state(B), no_starts())
    expected, last = theirs(window())
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(state_leaves(state), [x[0] for x in (last if name == "lstm" else (last,))])


def test_the_memoryless_core_remembers_nothing():
    core = make_core("none", INPUTS, hidden_size=HIDDEN).double()
    assert [leaf.shape for leaf in state_leaves(core.initial_state(B))] == [(B, 0)]
    outputs = core.unroll(window(), core.initial_state(B), no_starts()).outputs
    shuffled = torch.randperm(T, generator=torch.Generator().manual_seed(2))
    again = core.unroll(window()[shuffled], core.initial_state(B), no_starts()).outputs
    torch.testing.assert_close(again, outputs[shuffled])
    assert (outputs.std(0) > 0).all(), "but it does see the input"


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_parameters_begin_as_torchs(name):
    core = make_core(name, 2, hidden_size=64)
    for parameter in core.parameters():
        assert parameter.abs().max() <= 64**-0.5
        assert parameter.abs().max() > 0.9 * 64**-0.5


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_units_begin_with_time_scales_up_to_the_horizon(name):
    """Without inputs, a unit of time scale τ loses the share 1/τ of what it holds in a step."""
    torch.manual_seed(0)
    core = make_core(name, 2, hidden_size=400, horizon=50).double()
    for weight in (core.input_gates.weight, core.recurrent_gates.weight):
        torch.nn.init.zeros_(weight)
    held = type(core.initial_state(1))(*(1e-6 * torch.ones_like(leaf) for leaf in core.initial_state(1)))
    x = core.project(torch.zeros(1, 2, dtype=torch.float64))
    candidate = slice(2 * 400, 3 * 400)
    x[:, candidate] = 0  # only what is kept, nothing new
    if name == "gru":
        torch.nn.init.zeros_(core.recurrent_gates.bias[candidate])
    kept = core.step(x, held).state[-1] / 1e-6
    scales = 1 / (1 - kept)
    assert scales.min() >= 2 - 1e-6
    assert scales.max() <= 50 + 1e-6
    assert abs(scales.mean() - 26) < 2
    if name == "lstm":  # what keeps much takes in little
        into, keep, _, _ = core.input_gates.bias.chunk(4)
        assert torch.equal(into, -keep)


@pytest.mark.parametrize("horizon", [0, 2, 2.5])
def test_horizons_that_are_none(horizon):
    with pytest.raises(ValueError, match="horizon must be"):
        make_core("lstm", 2, horizon=horizon)
