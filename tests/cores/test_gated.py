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
