"""GRU and LSTM against torch's own, the LSTM's fused windows, and the memoryless control."""

import pytest
import torch

from memagents import MemoryCore, make_core
from memagents.cores.core import detach_state, reset_steps, state_leaves

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
    outputs, state, _, _ = MemoryCore.unroll(core, window(), core.initial_state(B), no_starts())
    expected, last = theirs(window())
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(state_leaves(state), [x[0] for x in (last if name == "lstm" else (last,))])


@pytest.mark.parametrize("resets", [[], [0], [15], [0, 1], [3, 4, 5], [1, 7, 8, 14]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fused_windows_equal_the_default(resets, dtype, monkeypatch):
    """Up to four resets in sixteen steps: the fused LSTM, without a single plain step."""
    torch.manual_seed(0)
    core = make_core("lstm", INPUTS, hidden_size=HIDDEN).to(dtype)
    inputs, starts = window(dtype), no_starts()
    for number, t in enumerate(resets):
        starts[t, number % B] = True
    state = detach_state(core.unroll(inputs, core.initial_state(B), starts).state)
    expected = MemoryCore.unroll(core, inputs, state, starts)
    expected_grads = torch.autograd.grad(expected.outputs.square().sum(), core.parameters())
    monkeypatch.setattr(core, "step", None)
    got = core.unroll(inputs, state, starts)
    grads = torch.autograd.grad(got.outputs.square().sum(), core.parameters())
    torch.testing.assert_close(got.outputs, expected.outputs)
    torch.testing.assert_close(state_leaves(got.state), state_leaves(expected.state))
    torch.testing.assert_close(grads, expected_grads, rtol=1e-4, atol=1e-4 if dtype == torch.float32 else 1e-10)


def test_many_resets_and_autocast_take_the_default(monkeypatch):
    core = make_core("lstm", INPUTS, hidden_size=HIDDEN)
    monkeypatch.setattr(core, "_fused", None)
    starts = no_starts()
    starts[:5, 0] = True
    assert sum(reset_steps(starts)) == 5
    core.unroll(window(torch.float32), core.initial_state(B), starts)
    with torch.autocast("cpu", torch.bfloat16):
        state = core.unroll(window(torch.float32), core.initial_state(B), no_starts()).state
    assert state.cell.dtype == torch.float32


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
