"""minGRU and minLSTM against plain loops, and against the errors that others make."""

import numpy as np
import pytest
import torch

from memagents import make_core
from memagents.cores.core import unroll_by_steps
from tests.cores.linear import (
    SIZE,
    B,
    disturb,
    inputs_of,
    measured_half_lives,
    no_starts,
    single_against_double,
    some_starts,
    used,
)
from tests.reference import mingru

CELLS = [("gru", False), ("gru", True), ("lstm", False), ("lstm", True)]
every_cell = pytest.mark.parametrize(("cell", "positive"), CELLS)


def make(dtype=torch.float64, **changes):
    torch.manual_seed(0)
    return make_core("mingru", SIZE, **({"hidden_size": 5} | changes)).to(dtype)


def numpy_weights(layer):
    names = ["z", "h", "skip"] if layer.cell == "gru" else ["f", "i", "h", "skip"]
    matrices, biases = (p.detach().chunk(layer.parts) for p in layer.maps.parameters())
    return {name: (w.numpy(), b.numpy()) for name, w, b in zip(names, matrices, biases, strict=False)}


@every_cell
@pytest.mark.parametrize("skip", [False, True])
def test_equals_the_equations_unit_by_unit(cell, positive, skip):
    core, steps = make(cell=cell, positive=positive, skip=skip, layers=3), 20
    disturb(core)
    inputs, starts, before = inputs_of(steps), some_starts(steps), used(core)
    outputs, state, _, _ = core.unroll(inputs, before, starts)
    step = mingru.mingru_step if cell == "gru" else mingru.minlstm_step
    for b in range(B):
        hidden = before.memory[b].detach().numpy()
        for t in range(steps):
            hidden = np.zeros_like(hidden) if starts[t, b] else hidden.copy()
            x = inputs[t, b].numpy()
            for n, layer in enumerate(core.layers):
                weights = numpy_weights(layer)
                hidden[n] = step(weights, x, hidden[n], mingru.positive if positive else float)
                x = hidden[n] + (weights["skip"][0] @ x + weights["skip"][1] if skip else 0)
            np.testing.assert_allclose(outputs[t, b].detach(), x, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(state.memory[b].detach(), hidden, rtol=1e-10, atol=1e-10)


@every_cell
def test_single_precision_over_4096_steps(cell, positive):
    def make_one(dtype):
        return make(dtype, cell=cell, positive=positive, longest_half_life=1000.0)

    assert single_against_double(make_one) < 1e-5


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_half_lives_at_the_start(cell):
    """From the shortest to the longest, each a constant factor above the one before."""
    core = make(cell=cell, hidden_size=4, shortest_half_life=1.5, longest_half_life=12.0)
    expected = torch.tensor([1.5, 3, 6, 12], dtype=torch.float64)
    torch.testing.assert_close(measured_half_lives(core), expected, rtol=1e-5, atol=0)


def test_without_a_bias_half_is_forgotten_in_every_step():
    core = make(shortest_half_life=1.0, longest_half_life=1.0)
    assert (core.layers[0].maps.bias[:5].abs() < 1e-6).all()


@every_cell
def test_a_carried_state_is_a_state_and_not_put_through_g(cell, positive):
    """Another's minLSTM takes 0.2 into a window as 0.7."""
    core = make(cell=cell, positive=positive, layers=1, skip=False)
    with torch.no_grad():
        core.layers[0].maps.weight.zero_()
        core.layers[0].maps.bias.zero_()
        core.layers[0].maps.bias[:5] = -60.0 if cell == "gru" else 60.0  # keep all
        if cell == "lstm":
            core.layers[0].maps.bias[5:10] = -60.0
    state = core.initial_state(B)._replace(memory=torch.full((B, 1, 5), 0.2, dtype=torch.float64))
    outputs = core.unroll(inputs_of(6), state, no_starts(6)).outputs
    torch.testing.assert_close(outputs, torch.full_like(outputs, 0.2), rtol=1e-12, atol=0)


@every_cell
def test_nothing_is_infinite_where_a_state_is_zero(cell, positive):
    """Logarithms of a state that begins at zero would be, and their gradients not numbers."""
    core = make(cell=cell, positive=positive)
    state = core.initial_state(B)
    state.memory.requires_grad_()
    inputs = inputs_of(9).requires_grad_()
    outputs = core.unroll(inputs, state, some_starts(9)).outputs
    grads = torch.autograd.grad(outputs.square().sum(), [inputs, state.memory, *core.parameters()])
    assert all(grad.isfinite().all() for grad in (outputs, *grads))
    assert (grads[1] != 0).any()


@pytest.mark.parametrize("gate", [-200.0, 200.0])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_gates_that_are_shut_or_open_give_numbers(cell, gate):
    """σ(f) and σ(i) both zero to the last bit: their ratio is still one."""
    core = make(torch.float32, cell=cell, layers=1)
    with torch.no_grad():
        core.layers[0].maps.bias[: 5 if cell == "gru" else 10] = gate
    inputs = inputs_of(9, torch.float32).requires_grad_()
    window = core.unroll(inputs, core.initial_state(B), no_starts(9), trace=True)
    grads = torch.autograd.grad(window.outputs.sum(), [inputs, *core.parameters()])
    assert all(grad.isfinite().all() for grad in (window.outputs, *grads))
    if cell == "lstm":
        assert ((window.trace["decay"] > 0.05) & (window.trace["decay"] < 0.95)).all()


def test_candidates_through_g_are_positive():
    core = make(positive=True, skip=False)
    disturb(core, 2.0)
    assert (core.unroll(inputs_of(50), core.initial_state(B), no_starts(50)).outputs > 0).all()


def test_the_trace_of_a_window_is_that_of_its_steps():
    core, starts = make(), some_starts(6)
    windows = [way(core, inputs_of(6), used(core), starts, True) for way in (type(core).unroll, unroll_by_steps)]
    torch.testing.assert_close(windows[0].trace, windows[1].trace)
    assert windows[0].trace["memory"].shape == (6, B, 2, 5)


def test_bad_parameters():
    for wrong, message in [
        ({"hidden_size": 0}, "hidden_size must be a positive integer"),
        ({"layers": 1.5}, "layers must be a positive integer"),
        ({"cell": "rnn"}, "cell must be one of 'gru', 'lstm', not 'rnn'"),
        ({"positive": "no"}, "positive must be true or false"),
        ({"skip": 1}, "skip must be true or false"),
        ({"shortest_half_life": 0}, "shortest_half_life must be a finite number above 0"),
        ({"longest_half_life": float("inf")}, "longest_half_life must be a finite number above 0"),
        ({"shortest_half_life": 5, "longest_half_life": 4}, "longest_half_life must be at least shortest_half_life, 5"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
