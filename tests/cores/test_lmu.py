"""The Legendre Memory Unit against plain loops."""

import numpy as np
import pytest
import torch

from memagents import make_core
from memagents.cores.core import unroll_by_steps
from memagents.testing import CORE_CHECKS, core_case
from tests.cores.linear import SIZE, B, disturb, inputs_of, no_starts, single_against_double, some_starts, used
from tests.cores.support import SMALL
from tests.reference import lmu

both = pytest.mark.parametrize("feedback", [True, False])


def make(dtype=torch.float64, **changes):
    torch.manual_seed(0)
    return make_core("lmu", SIZE, **({"hidden_size": 5, "order": 3, "theta": 6.0} | changes)).to(dtype)


def numpy_weights(core, theta):
    """Ā and B̄ are the reference's own, and the core is given them: its own are those in float32."""
    system, injection = lmu.discretised(core.order, theta)
    np.testing.assert_allclose(core.transition, system, rtol=1e-5, atol=1e-7)
    core.transition.copy_(torch.from_numpy(system))
    core.injection.copy_(torch.from_numpy(injection))
    names = {"W_m": core.from_memory}
    if core.feedback:
        names |= {"W_h": core.from_hidden, "E_h": core.hidden_encoder, "E_m": core.memory_encoder}
    sizes = [core.signals, core.hidden_size]
    for (first, second), parameter in zip((("E_x", "W_x"), ("b_u", "b_h")), core.from_input.parameters(), strict=True):
        names[first], names[second] = parameter.split(sizes)
    return {name: tensor.detach().numpy() for name, tensor in names.items()} | {"A": system, "B": injection}


@both
@pytest.mark.parametrize("signals", [1, 2])
def test_equals_the_equations(feedback, signals):
    core, steps = make(feedback=feedback, signals=signals), 20
    disturb(core)
    weights = numpy_weights(core, 6.0)
    inputs, starts, before = inputs_of(steps), some_starts(steps), used(core)
    outputs, state, _, _ = core.unroll(inputs, before, starts)
    for b in range(B):
        memory, hidden = list(before.memory[b].detach().numpy()), before.hidden[b].detach().numpy()
        for t in range(steps):
            if starts[t, b]:
                memory, hidden = [np.zeros(3)] * signals, np.zeros(5)
            memory, hidden = lmu.lmu_step(weights, inputs[t, b].numpy(), memory, hidden, feedback)
            np.testing.assert_allclose(outputs[t, b].detach(), hidden, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(state.memory[b].detach(), memory, rtol=1e-10, atol=1e-10)
        if feedback:
            np.testing.assert_allclose(state.hidden[b].detach(), hidden, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("check", [c for c in CORE_CHECKS if c.name != "gpu"], ids=str)
def test_contract_where_nothing_feeds_back(check):
    check(core_case("lmu", input_size=SIZE, **SMALL["lmu"], feedback=False))


@both
def test_single_precision_over_4096_steps(feedback):
    def make_one(dtype):
        return make(dtype, feedback=feedback, order=32, theta=64.0, signals=2)

    assert single_against_double(make_one) < 1e-4


@torch.no_grad()
def test_the_memory_holds_theta_steps_at_the_start():
    """One impulse: its size falls below a thousandth within three θ, and not within one."""
    core = make(order=8, theta=20.0, feedback=False)
    impulse = core.initial_state(B)._replace(memory=torch.ones(B, 1, 8, dtype=torch.float64))
    window = core.unroll(torch.zeros(60, B, SIZE, dtype=torch.float64), impulse, no_starts(60), trace=True)
    sizes = window.trace["memory"][:, 0, 0].norm(dim=-1) / 8**0.5
    assert sizes[10] > 0.1
    assert sizes[59] < 1e-3


def test_the_delay_line_is_no_parameter_and_stays_as_it_is():
    core = make()
    names = {name for name, _ in core.named_parameters()}
    assert not names & {"transition", "injection"}
    assert not core.state_dict().keys() & {"transition", "injection"}
    core.unroll(inputs_of(6), core.initial_state(B), no_starts(6)).outputs.square().sum().backward()
    for name, parameter in core.named_parameters():
        assert (parameter.grad != 0).any(), name


@torch.no_grad()
def test_how_it_begins():
    core = make(hidden_size=400)
    assert (core.memory_encoder == 0).all()
    assert (core.from_input.bias == 0).all()
    bound = (3 / 400) ** 0.5
    assert 0.95 * bound < core.hidden_encoder.abs().max() <= bound
    assert core.from_hidden.std().item() == pytest.approx(400**-0.5, rel=0.05)


@both
def test_the_trace_of_a_window_is_that_of_its_steps(feedback):
    core, starts = make(feedback=feedback), some_starts(6)
    windows = [way(core, inputs_of(6), used(core), starts, True) for way in (type(core).unroll, unroll_by_steps)]
    torch.testing.assert_close(windows[0].trace, windows[1].trace)


@both
def test_autocast_leaves_the_memory_in_full_precision(feedback):
    core = make(torch.float32, feedback=feedback)
    with torch.autocast("cpu", torch.bfloat16):
        state = core.unroll(inputs_of(9, torch.float32), core.initial_state(B), no_starts(9)).state
        assert core(inputs_of(1, torch.float32)[0], state).state.memory.dtype == torch.float32
    assert not torch.equal(state.memory, state.memory.bfloat16().float())


def test_bad_parameters():
    for wrong, message in [
        ({"hidden_size": 0}, "hidden_size must be a positive integer"),
        ({"order": 1.5}, "order must be a positive integer"),
        ({"theta": 0}, "theta must be a finite number above 0"),
        ({"signals": -1}, "signals must be a positive integer"),
        ({"feedback": "no"}, "feedback must be true or false"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
