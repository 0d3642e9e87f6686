"""Fast and Forgetful Memory against plain loops, and against the errors that others make."""

import math

import numpy as np
import pytest
import torch

from memagents import make_core
from memagents.cores.core import unroll_by_steps
from tests.reference import ffm

B, SIZE = 3, 4
SIZES = {
    "some of each": {"memory_size": 3, "context_size": 2, "output_size": 5},
    "one of each": {"memory_size": 1, "context_size": 1, "output_size": 2},
    "more contexts than traces": {"memory_size": 2, "context_size": 4, "output_size": 3},
}


def make(dtype=torch.float64, **changes):
    torch.manual_seed(0)
    return make_core("ffm", SIZE, **({"memory_size": 3, "context_size": 2, "output_size": 5} | changes)).to(dtype)


def inputs_of(steps, dtype=torch.float64):
    return torch.randn(steps, B, SIZE, generator=torch.Generator().manual_seed(1), dtype=dtype)


def no_starts(steps):
    return torch.zeros(steps, B, dtype=torch.bool)


def numpy_weights(core):
    pairs = zip(*(p.detach().split(core.sizes) for p in core.from_input.parameters()), strict=True)
    weights = {f"l{n}": (w.numpy(), b.numpy()) for n, (w, b) in zip((1, 2, 4, 5), pairs, strict=True)}
    weights["l3"] = (core.mix.weight.detach().numpy(), core.mix.bias.detach().numpy())
    return weights | {"alpha": core.decays.tolist(), "omega": core.frequencies.tolist()}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
def test_ten_steps_equal_loops(sizes):
    core = make(**sizes)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))  # so that some α are negative
    inputs, starts = inputs_of(10), no_starts(10)
    starts[0, 1] = starts[3, 0] = starts[7, 0] = True
    outputs, state, _, _ = core.unroll(inputs, core.initial_state(B), starts)
    for b in range(B):
        memory = ffm.ffm_initial(*state.memory.shape[1:])
        for t in range(10):
            if starts[t, b]:
                memory = ffm.ffm_initial(*state.memory.shape[1:])
            y, memory = ffm.ffm_step(numpy_weights(core), inputs[t, b].numpy(), memory)
            np.testing.assert_allclose(outputs[t, b].detach(), y, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(state.memory[b].detach(), memory, rtol=1e-9, atol=1e-9)


def test_what_is_left_after_the_horizon():
    """One input, then nothing: the longest trace keeps β of it after t_e steps, the shortest half after one."""
    core = make(memory_size=5, context_size=3, horizon=50, remainder=0.2)
    with torch.no_grad():
        core.from_input.weight.zero_()
        core.from_input.bias.zero_()
    first = torch.ones(B, 5, 3, dtype=torch.complex128)
    window = core.unroll(inputs_of(50), core.initial_state(B)._replace(memory=first), no_starts(50), trace=True)
    sizes = window.trace["memory"]  # (T, B, m, c)
    torch.testing.assert_close(sizes[-1, :, 0], torch.full((B, 3), 0.2, dtype=torch.float64), rtol=1e-5, atol=0)
    torch.testing.assert_close(sizes[0, :, -1], torch.full((B, 3), math.exp(-0.67), dtype=torch.float64))
    assert (sizes.diff(dim=2) < 0).all()
    torch.testing.assert_close(sizes[0, :, :, 0], window.trace["decay"][0])


def test_contexts_have_periods_from_one_step_to_the_horizon():
    core = make(memory_size=1, context_size=3, horizon=9, remainder=1.0)
    with torch.no_grad():
        core.decays.zero_()
        core.from_input.weight.zero_()
        core.from_input.bias.zero_()
    first = torch.ones(B, 1, 3, dtype=torch.complex128)
    memories = [
        core.unroll(inputs_of(t), core.initial_state(B)._replace(memory=first), no_starts(t)).state.memory[0, 0]
        for t in (1, 5, 9)
    ]
    one = torch.tensor(1.0 + 0j, dtype=torch.complex128)
    for k, period in enumerate((1, 5, 9)):
        for t, memory in zip((1, 5, 9), memories, strict=True):
            if t % period == 0:
                torch.testing.assert_close(memory[k], one, rtol=1e-6, atol=1e-6)
    assert (memories[0][1] - one).abs() > 0.5  # a fifth of a turn, clockwise
    assert memories[0][1].imag < 0


@pytest.mark.parametrize("horizon, remainder", [(1, 0.01), (1024, 0.01), (10, 1.0)])
def test_initial_decays_lie_between_none_and_the_fastest(horizon, remainder):
    decays = make(horizon=horizon, remainder=remainder).decays
    assert (decays >= 0).all()
    assert (decays <= 0.67 + 1e-6).all()
    assert (decays.diff() >= 0).all()


@pytest.mark.parametrize("alpha", [-3.0, -1e-3, 0.0, 1e-3, 300.0])
def test_no_alpha_makes_the_memory_grow(alpha):
    """A window far longer than any trace; the sum with γ^-t would overflow."""
    core = make(torch.float32)
    with torch.no_grad():
        core.decays.fill_(alpha)
    inputs = inputs_of(3000, torch.float32).requires_grad_()
    outputs, state, _, trace = core.unroll(inputs, core.initial_state(B), no_starts(3000), trace=True)
    assert (trace["decay"] <= 1).all()
    added = (core.project(inputs)[..., :3]).abs().sum(0)  # (B, m)
    assert (state.memory.abs() <= added.unsqueeze(-1) * (1 + 1e-3)).all()
    grads = torch.autograd.grad(outputs.square().mean(), [inputs, *core.parameters()])
    assert all(grad.isfinite().all() for grad in (outputs, *grads))


@pytest.mark.parametrize(
    "dtype, expected",
    [(torch.float32, torch.complex64), (torch.float64, torch.complex128), (torch.bfloat16, torch.complex64)],
)
def test_the_state_is_complex_whatever_the_core_was_moved_to(dtype, expected):
    core = make(torch.float32).to(torch.float64).to(dtype)
    assert core.initial_state(B).memory.dtype == expected
    window = core.unroll(inputs_of(4, torch.float32).to(dtype), core.initial_state(B), no_starts(4))
    step = core(inputs_of(1, torch.float32)[0].to(dtype), window.state)
    for result in (window, step):
        assert result.state.memory.dtype == expected
        assert result.outputs.dtype == dtype
        assert (result.state.memory.imag != 0).any()


def test_autocast_leaves_the_memory_in_full_precision():
    core = make(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        state = core.unroll(inputs_of(9, torch.float32), core.initial_state(B), no_starts(9)).state
        assert core(inputs_of(1, torch.float32)[0], state).state.memory.dtype == torch.complex64
    assert state.memory.dtype == torch.complex64
    assert not torch.equal(state.memory.real, state.memory.real.bfloat16().float())


def test_decays_and_frequencies_are_learned():
    core = make()
    core.unroll(inputs_of(6), core.initial_state(B), no_starts(6)).outputs.square().sum().backward()
    assert (core.decays.grad != 0).all()
    assert (core.frequencies.grad != 0).all()


@pytest.mark.parametrize("gate, source", [(50.0, "memory"), (-50.0, "input")])
def test_the_output_gate_chooses_between_memory_and_input(gate, source):
    core = make()
    with torch.no_grad():
        core.from_input.bias[6:11] = gate
    inputs, state = inputs_of(5)[0], core.unroll(inputs_of(5), core.initial_state(B), no_starts(5)).state
    moved = core(inputs, state._replace(memory=state.memory + 1)).outputs
    same = core(inputs, state).outputs
    if source == "input":
        torch.testing.assert_close(same, moved, rtol=0, atol=1e-12)
        torch.testing.assert_close(same, core.from_input(inputs)[:, 11:], rtol=1e-9, atol=1e-9)
    else:
        assert (same - moved).abs().max() > 1e-3
        torch.testing.assert_close(same.mean(-1), torch.zeros(B, dtype=torch.float64), rtol=0, atol=1e-12)


def test_the_penalty_is_what_the_input_gates_let_in():
    core, starts = make(write_penalty=0.25), no_starts(6)
    starts[2, 1] = True
    window = core.unroll(inputs_of(6), core.initial_state(B), starts, trace=True)
    default = unroll_by_steps(core, inputs_of(6), core.initial_state(B), starts, True)
    gates = core.from_input(inputs_of(6))[..., 3:6].sigmoid()
    for result in (window, default):
        torch.testing.assert_close(result.losses, {"write": 0.25 * gates.sum(-1)})
    torch.testing.assert_close(window.trace, default.trace)
    assert make().unroll(inputs_of(2), core.initial_state(B), no_starts(2)).losses == {}


def test_nothing_is_detached():
    core = make()
    inputs = inputs_of(6).requires_grad_()
    core.unroll(inputs, core.initial_state(B), no_starts(6)).outputs[-1].sum().backward()
    assert (inputs.grad[0] != 0).any()


def test_bad_parameters():
    for wrong, message in [
        ({"memory_size": 0}, "memory_size must be a positive integer"),
        ({"context_size": 1.5}, "context_size must be a positive integer"),
        ({"output_size": -1}, "output_size must be a positive integer"),
        ({"horizon": 0}, "horizon must be a positive integer"),
        ({"remainder": 0}, "remainder must be a number in"),
        ({"remainder": 1.5}, "remainder must be a number in"),
        ({"write_penalty": -1}, "write_penalty must be a number in"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
