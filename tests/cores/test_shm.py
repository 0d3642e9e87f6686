"""Stable Hadamard Memory against plain loops, and against the errors that others make."""

import math

import numpy as np
import pytest
import torch

from memagents import make_core
from memagents.cores.core import unroll_by_steps
from memagents.memory.draws import uniform
from memagents.memory.scan import linear_scan
from tests.reference import shm

B, SIZE = 3, 4
VARIANTS = {
    "as a paper's equation": {"bound": math.inf},
    "an output of its own size": {"output_size": 5},
    "clipped": {"bound": 0.05},
    "one theta": {"thetas": 1},
    "one number": {"width": 1},
}


def make(dtype=torch.float64, **changes):
    torch.manual_seed(0)
    return make_core("shm", SIZE, **({"width": 3, "thetas": 6, "encoding_size": 7} | changes)).to(dtype)


def disturbed(core):
    """Weights away from their initial values, so that each matters, and C far from 1."""
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return core


def inputs_of(steps, rows=B, dtype=torch.float64):
    return torch.randn(steps, rows, SIZE, generator=torch.Generator().manual_seed(1), dtype=dtype)


def no_starts(steps, rows=B):
    return torch.zeros(steps, rows, dtype=torch.bool)


def numpy_weights(core):
    q, k, v, c, eta = core.maps.weight.detach().split(core.sizes[:-1])
    weights = {"W_q": q, "W_k": k, "W_v": v, "W_c": c, "w_eta": eta}
    for letter, layer in (("e", core.encoding), ("s", core.skip), ("o", core.output)):
        weights |= {f"W_{letter}": layer.weight.detach(), f"b_{letter}": layer.bias.detach()}
    weights = {name: weight.numpy() for name, weight in weights.items()}
    return weights | {"norm": (core.norm.weight.detach().numpy(), core.norm.bias.detach().numpy())}


def drawn(core, key):
    return int(uniform(torch.tensor(key), 1).item() * len(core.thetas))


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_ten_steps_equal_loops(changes):
    core = disturbed(make(**changes))
    width, thetas = core.width, core.thetas.detach().numpy()
    inputs, starts, keys = inputs_of(10), no_starts(10), [5, 6, 2**61]
    starts[0, 1] = starts[3, 0] = starts[7, 0] = True
    outputs, state, _, _ = core.unroll(inputs, core.initial_state(B)._replace(key=torch.tensor(keys)), starts)
    for b in range(B):
        memory = np.zeros((width, width))
        for t in range(10):
            if starts[t, b]:
                memory = np.zeros((width, width))
            theta = thetas[drawn(core, keys[b] + t)]
            y, memory = shm.shm_step(numpy_weights(core), inputs[t, b].numpy(), memory, theta, core.bound)
            np.testing.assert_allclose(outputs[t, b].detach(), y, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(state.memory[b].detach(), memory, rtol=1e-9, atol=1e-9)
    assert state.key.tolist() == [key + 10 for key in keys]
    assert (state.memory.abs() == 0.05).any() == (core.bound == 0.05)


def draws_of(core, steps, keys):
    """Return the θ that each step of each row draws, (T, B): each θ_i is made i / L, and v_c 1, so that C shows it."""
    with torch.no_grad():
        core.thetas.copy_((torch.arange(len(core.thetas)) / len(core.thetas)).unsqueeze(1).expand_as(core.thetas))
        core.norm.weight.zero_()
        core.norm.bias.fill_(1 / len(core.norm.bias))
        core.maps.weight.fill_(1)
    state = core.initial_state(len(keys))._replace(key=keys)
    shown = core.unroll(inputs_of(steps, len(keys)), state, no_starts(steps, len(keys)), trace=True).trace
    found = (shown["calibration"] - 1).atanh() * len(core.thetas)  # (T, B, H, H)
    assert (found - found.round()).abs().max() < 1e-6
    assert (found.round() == found[..., :1, :1].round()).all()
    return found[..., 0, 0].round().long()


@pytest.mark.parametrize("thetas", [6, 128])
def test_every_theta_is_drawn_and_equally_often(thetas):
    counts = draws_of(make(thetas=thetas), 40, 1000 * torch.arange(thetas)).flatten().bincount(minlength=thetas)
    assert len(counts) == thetas
    assert (counts > 10).all()  # 40 each, with a deviation of 6
    assert (counts < 70).all()


def test_rows_and_steps_draw_differently():
    drawn_by = draws_of(make(thetas=64), 200, torch.tensor([0, 5000]))
    for some, others in ((drawn_by[:, 0], drawn_by[:, 1]), (drawn_by[1:], drawn_by[:-1])):
        assert (some == others).double().mean() < 0.1


def test_a_draw_depends_on_the_key_alone():
    """Neither on training, nor on torch's generator, nor on where windows begin or episodes do."""
    core = make()
    inputs, state = inputs_of(12), core.initial_state(B)._replace(key=torch.tensor([0, 40, 80]))
    whole = core.unroll(inputs, state, no_starts(12))
    torch.manual_seed(7)
    core.eval()
    steps, outputs = state, []
    for x in inputs:
        window = core.unroll(x.unsqueeze(0), steps, no_starts(1))
        steps = window.state
        outputs.append(window.outputs)
    torch.testing.assert_close(torch.cat(outputs), whole.outputs, rtol=1e-12, atol=1e-12)
    starts = no_starts(12)
    starts[5] = True
    again = core.unroll(inputs, state, starts, trace=True)
    assert again.state.key.tolist() == [12, 52, 92]
    torch.testing.assert_close(
        again.trace["calibration"], core.unroll(inputs, state, no_starts(12), trace=True).trace["calibration"]
    )


def test_calibrations_lie_between_nothing_and_twice():
    core = disturbed(make())
    with torch.no_grad():
        core.thetas.mul_(10)
    shown = core.unroll(inputs_of(20), core.initial_state(B), no_starts(20), trace=True).trace
    assert shown["calibration"].min() < 0.01
    assert shown["calibration"].max() > 1.99
    assert ((shown["calibration"] >= 0) & (shown["calibration"] <= 2)).all()
    assert ((shown["update_gate"] > 0) & (shown["update_gate"] < 1)).all()


def test_thetas_begin_near_zero_so_that_much_is_kept():
    shown = (
        make_core("shm", SIZE)
        .unroll(inputs_of(20, dtype=torch.float32), make_core("shm", SIZE).initial_state(B), no_starts(20), trace=True)
        .trace["calibration"]
    )
    assert make_core("shm", SIZE).thetas.abs().max() <= math.sqrt(6 / (128 + 32))
    assert (shown - 1).abs().mean() < 0.1
    assert abs(shown.mean() - 1) < 0.01


def doubling(**changes):
    """A core that doubles its memory in every step."""
    core = make(torch.float32, **changes)
    with torch.no_grad():
        core.norm.weight.zero_()
        core.norm.bias.fill_(1)
        core.maps.weight.fill_(5)
        core.thetas.fill_(5)
    return core


def test_a_memory_that_doubles_for_ever_stays_finite():
    core = doubling()
    inputs = 1e4 * inputs_of(600, dtype=torch.float32)
    for unroll in (core.unroll, lambda *a: unroll_by_steps(core, *a)):
        outputs, state, _, trace = unroll(inputs, core.initial_state(B), no_starts(600), True)
        assert (trace["calibration"] == 2).all()
        assert (state.memory == 100).all()
        assert outputs.isfinite().all()
    free = doubling(bound=math.inf)
    assert free.unroll(inputs, free.initial_state(B), no_starts(600)).state.memory.isinf().all()


def test_what_is_clipped_passes_no_gradient():
    core, inputs = disturbed(make(bound=0.05)), inputs_of(6)
    grads = []
    for unroll in (core.unroll, lambda *a: unroll_by_steps(core, *a)):
        memory = 0.2 * torch.randn(B, 3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        state = core.initial_state(B)._replace(memory=memory.requires_grad_())
        outputs = unroll(inputs, state, no_starts(6)).outputs
        grads.append(torch.autograd.grad(outputs.square().sum(), [memory, *core.parameters()]))
    torch.testing.assert_close(*grads)
    assert (grads[0][0] == 0).any()


def test_the_order_of_rows_and_columns():
    """M = v ⊗ k is read by k: a memory that holds one pair gives its value."""
    core = make()
    memory = torch.zeros(1, 3, 3, dtype=torch.float64)
    memory[0, 2, 1] = 1.0
    x = torch.zeros(1, 16, dtype=torch.float64)
    x[0, 1] = 1.0  # q, the second of three
    step = core.step(x, core.initial_state(1)._replace(memory=memory))
    assert step.features.tolist() == [[0, 0, 1]]


def test_the_penalty_is_what_the_update_gate_lets_in():
    core, starts = make(write_penalty=0.25), no_starts(6)
    starts[2, 1] = True
    window = core.unroll(inputs_of(6), core.initial_state(B), starts, trace=True)
    default = unroll_by_steps(core, inputs_of(6), core.initial_state(B), starts, True)
    torch.testing.assert_close(window.losses, {"write": 0.25 * window.trace["update_gate"].squeeze(-1)})
    torch.testing.assert_close(window.losses, default.losses)
    torch.testing.assert_close(window.trace, default.trace)
    assert make().unroll(inputs_of(2), core.initial_state(B), no_starts(2)).losses == {}


def test_the_bare_equation_is_not_scanned_by_products(monkeypatch):
    """A scan without a bound multiplies the C, as on an accelerator: 2^200 is too much, and M is 0."""

    def scan(*arguments, doubling=True, **others):
        return linear_scan(*arguments, doubling=doubling, **others)

    monkeypatch.setattr("memagents.cores.shm.linear_scan", scan)
    core = make(torch.float32, bound=math.inf)
    with torch.no_grad():
        core.thetas.fill_(10)
        core.norm.weight.zero_()
        core.norm.bias.fill_(1)
        core.maps.weight.zero_().split(core.sizes[:-1])[3].fill_(10)  # of v_c
    inputs = inputs_of(200, dtype=torch.float32)
    window = core.unroll(inputs, core.initial_state(B), no_starts(200), trace=True)
    assert (window.trace["calibration"] == 2).all()
    assert (window.state.memory == 0).all()


def test_one_input_is_enough():
    """A LayerNorm of the input itself would leave nothing of a single number, and a sign of two."""
    core = make_core("shm", 1).double()
    outputs = [core(torch.full((1, 1), x, dtype=torch.float64), core.initial_state(1)).outputs for x in (0.5, 0.7)]
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3


def test_nothing_is_detached():
    core = make()
    inputs = inputs_of(6).requires_grad_()
    core.unroll(inputs, core.initial_state(B), no_starts(6)).outputs[-1].sum().backward()
    assert (inputs.grad[0] != 0).any()


def test_bad_parameters():
    for wrong, message in [
        ({"width": 0}, "width must be a positive integer"),
        ({"thetas": 0}, "thetas must be a positive integer"),
        ({"encoding_size": 2.5}, "encoding_size must be a positive integer"),
        ({"output_size": -1}, "output_size must be a positive integer"),
        ({"bound": 0}, "bound must be a number in"),
        ({"write_penalty": -1}, "write_penalty must be a number in"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
