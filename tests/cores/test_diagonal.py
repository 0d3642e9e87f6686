"""The LRU and S5 against one number after another, and against the errors that others make."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from memagents import make_core
from memagents.cores.core import unroll_by_steps
from memagents.memory.state_space import hippo_normal
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
from tests.reference import diagonal

both = pytest.mark.parametrize("name", ["lru", "s5"])


def make(name, dtype=torch.float64, **changes):
    torch.manual_seed(0)
    return make_core(name, SIZE, **({"width": 5, "state_size": 3, "layers": 2} | changes)).to(dtype)


def numpy_weights(layer, name):
    def array(tensor):
        return tensor.detach().numpy()

    into, output = array(layer.into.weight), array(layer.output.weight)
    weights = {
        "B": into[::2] + 1j * into[1::2],
        "C": (output[:, ::2] - 1j * output[:, 1::2]) / (2 if name == "s5" else 1),
        "D": array(layer.feedthrough),
        "gates": (array(layer.gates.weight), array(layer.gates.bias)),
        "norm": [array(p) for p in layer.norm.parameters()],
    }
    if name == "lru":
        names = {"nu": layer.log_rates, "theta": layer.log_phases, "gamma_log": layer.log_scales}
        return weights | {key: array(value) for key, value in names.items()}
    rates = array(torch.complex(-layer.log_rates.exp(), layer.frequencies))
    return weights | {"lambda": rates, "Delta": array(layer.log_intervals.exp())}


@both
@pytest.mark.parametrize("norm", [False, True])
def test_equals_the_equations_number_by_number(name, norm):
    core, steps = make(name, norm=norm), 12
    disturb(core)
    inputs, starts, before = inputs_of(steps), some_starts(steps), used(core)
    outputs, state, _, _ = core.unroll(inputs, before, starts)
    step = diagonal.lru_step if name == "lru" else diagonal.s5_step
    weights = [numpy_weights(layer, name) for layer in core.layers]
    for b in range(B):
        memory = [list(numbers) for numbers in before.memory[b].detach().numpy()]
        if name == "s5":  # both of each pair
            memory = [[*numbers, *np.conj(numbers)] for numbers in memory]
        for t in range(steps):
            if starts[t, b]:
                memory = [[0j] * len(numbers) for numbers in memory]
            x = core.encoder(inputs[t, b]).detach().numpy()
            for n, layer in enumerate(weights):
                memory[n], x = diagonal.block(layer, step, x, memory[n])
            np.testing.assert_allclose(outputs[t, b].detach(), x, rtol=1e-10, atol=1e-10)
        ends = [numbers[:3] for numbers in memory]
        np.testing.assert_allclose(state.memory[b].detach(), ends, rtol=1e-10, atol=1e-10)


@both
def test_single_precision_over_4096_steps(name):
    assert single_against_double(lambda dtype: make(name, dtype)) < 1e-4


@both
def test_half_lives_at_the_start(name):
    core = make(name, state_size=4, shortest_half_life=1.5, longest_half_life=96.0)
    expected = torch.tensor([1.5, 6, 24, 96], dtype=torch.float64)
    torch.testing.assert_close(measured_half_lives(core).sort().values, expected, rtol=1e-5, atol=0)


def test_radii_of_the_paper_as_half_lives():
    """As the docstring has it: 0.9 and 0.999 are half-lives of about 7 and 693 steps."""
    core = make("lru", state_size=2, shortest_half_life=6.579, longest_half_life=692.8)
    decays = core.layers[0].dynamics()[0].abs()
    torch.testing.assert_close(decays, torch.tensor([0.9, 0.999], dtype=torch.float64), rtol=1e-5, atol=0)


def test_lru_is_normalised_at_the_start():
    """γ = √(1 - |λ|²), where the sum of squares of what is left of all inputs is 1."""
    decays, scales = make("lru", state_size=50).layers[0].dynamics()
    torch.testing.assert_close(scales.square() + decays.abs().square(), torch.ones(50, dtype=torch.float64))


def test_phases_have_a_logarithm(monkeypatch):
    monkeypatch.setattr(torch, "rand", torch.zeros)
    assert make("lru").layers[0].log_phases.isfinite().all()
    monkeypatch.setattr(torch, "rand", lambda *shape: torch.full(shape, 1 - 2**-24))  # the largest that it draws
    assert make("lru", largest_phase=0.1).layers[0].log_phases.isfinite().all()


@pytest.mark.parametrize("interval", [0.01, 0.7])
def test_s5_is_the_real_system_with_hippos_matrix(interval):
    """With one Δ for all: zero-order hold of x' = A x + B u, y = C x + D u, by a matrix exponential."""
    pairs, width = 4, 3
    core = make("s5", state_size=pairs, width=width, layers=1, shortest_half_life=1, longest_half_life=1)
    layer = core.layers[0]
    with torch.no_grad():
        layer.log_intervals.fill_(math.log(interval))
    weights = numpy_weights(layer, "s5")
    values, vectors = (x.numpy() for x in hippo_normal(pairs))
    matrix = 2 * (vectors @ np.diag(values) @ vectors.conj().T).real
    into, output = 2 * (vectors @ weights["B"]).real, 2 * (weights["C"] @ vectors.conj().T).real
    system = np.zeros((2 * pairs + width, 2 * pairs + width))
    system[: 2 * pairs] = np.concatenate([matrix, into], axis=1) * interval
    held = scipy.linalg.expm(system)[: 2 * pairs]
    inputs = torch.randn(6, 1, width, dtype=torch.float64)
    memory, state = torch.zeros(1, pairs, dtype=torch.complex128), np.zeros(2 * pairs)
    for x in inputs:
        decay, addition, (_, u) = layer.terms(x)
        memory = decay * memory + addition
        state = held @ np.concatenate([state, u[0].detach().numpy()])
        spoken = layer.output(torch.view_as_real(memory).flatten(-2)).detach()[0]
        np.testing.assert_allclose(spoken, output @ state, rtol=1e-5, atol=1e-6)  # parameters are drawn in float32


@both
@pytest.mark.parametrize("by", [-30.0, 30.0])
def test_no_weights_make_the_memory_grow(name, by):
    """Another's S5 learns Re λ itself, and a positive one diverges."""
    core = make(name, torch.float32, layers=1)
    layer = core.layers[0]
    with torch.no_grad():
        for parameter in [layer.log_rates, layer.log_phases if name == "lru" else layer.frequencies]:
            parameter.add_(by)
    inputs = inputs_of(3000, torch.float32).requires_grad_()
    window = core.unroll(inputs, core.initial_state(B), no_starts(3000), trace=True)
    assert (window.trace["decay"] <= 1 + 1e-6).all()
    added = layer.terms(core.project(inputs))[1].abs().sum(0)
    assert (window.state.memory[:, 0].abs() <= added * (1 + 1e-3)).all()
    grads = torch.autograd.grad(window.outputs.square().mean(), [inputs, *core.parameters()])
    assert all(grad.isfinite().all() for grad in (window.outputs, *grads))


@both
@pytest.mark.parametrize(
    "dtype, expected",
    [(torch.float32, torch.complex64), (torch.float64, torch.complex128), (torch.bfloat16, torch.complex64)],
)
def test_the_state_is_complex_whatever_the_core_was_moved_to(name, dtype, expected):
    core = make(name, torch.float32).to(torch.float64).to(dtype)
    assert core.initial_state(B).memory.dtype == expected
    window = core.unroll(inputs_of(4, dtype), core.initial_state(B), no_starts(4))
    step = core(inputs_of(1, dtype)[0], window.state)
    for result in (window, step):
        assert result.state.memory.dtype == expected
        assert result.outputs.dtype == dtype


@both
def test_autocast_leaves_the_memory_in_full_precision(name):
    core = make(name, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        state = core.unroll(inputs_of(9, torch.float32), core.initial_state(B), no_starts(9)).state
        assert core(inputs_of(1, torch.float32)[0], state).state.memory.dtype == torch.complex64
    assert state.memory.dtype == torch.complex64
    assert not torch.equal(state.memory.real, state.memory.real.bfloat16().float())


@both
def test_all_is_learned(name):
    core = make(name)
    core.unroll(inputs_of(6), core.initial_state(B), no_starts(6)).outputs.square().sum().backward()
    for parameter, tensor in core.named_parameters():
        assert (tensor.grad != 0).any(), parameter
    for tensor in (core.layers[1].log_rates, *core.layers[1].dynamics()):
        assert tensor.shape == (3,)


@both
def test_the_trace_of_a_window_is_that_of_its_steps(name):
    core, starts = make(name), some_starts(6)
    windows = [way(core, inputs_of(6), used(core), starts, True) for way in (type(core).unroll, unroll_by_steps)]
    torch.testing.assert_close(windows[0].trace, windows[1].trace)
    assert windows[0].trace["decay"].shape == windows[0].trace["memory"].shape == (6, B, 2, 3)


@both
def test_bad_parameters(name):
    for wrong, message in [
        ({"width": 0}, "width must be a positive integer"),
        ({"state_size": 2.5}, "state_size must be a positive integer"),
        ({"layers": 0}, "layers must be a positive integer"),
        ({"norm": 1}, "norm must be true or false"),
        ({"shortest_half_life": -1}, "shortest_half_life must be a finite number above 0"),
        ({"longest_half_life": 0.5}, "longest_half_life must be at least shortest_half_life"),
        *([({"largest_phase": 7}, "largest_phase must be a number in")] if name == "lru" else []),
    ]:
        with pytest.raises(ValueError, match=message):
            make(name, **wrong)
