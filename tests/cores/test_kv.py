"""The key-value memory network against plain loops: what a pair is made of, and when it is known."""

import numpy as np
import pytest
import torch

from memagents import make_core
from memagents.cores.gtrxl import GTrXL
from memagents.cores.kv import KeyValue
from tests.reference.kv import kv_step

T, B, SIZE, L, H = 10, 3, 5, 4, 6


def make(**changes):
    torch.manual_seed(0)
    parameters = {"length": L, "hidden_size": H, "hops": 3, "condition_size": 2} | changes
    return make_core("kv", SIZE, **parameters).double()


def inputs_of(steps=T):
    return torch.randn(steps, B, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def no_starts(steps=T):
    return torch.zeros(steps, B, dtype=torch.bool)


@pytest.mark.parametrize("changes", [{}, {"condition_size": 0}, {"condition_size": 4}, {"hops": 1}, {"length": 1}])
def test_some_steps_equal_loops(changes):
    core = make(**changes)
    weights = {"A": core.embedding.weight.detach().numpy(), "R": [u.weight.detach().numpy() for u in core.updates]}
    inputs, starts = inputs_of(), no_starts()
    starts[0, 1] = starts[3, 0] = starts[8, 0] = starts[9, 2] = True
    outputs, _, _, trace = core.unroll(inputs, core.initial_state(B), starts, trace=True)
    for b in range(B):
        pairs, previous = [], None
        for t in range(T):
            if starts[t, b]:
                pairs, previous = [], None
            observation, conditions = np.split(inputs[t, b].numpy(), [core.observation_size])
            q, pairs, looks = kv_step(weights, pairs, previous, observation, conditions, core.length)
            previous = observation
            np.testing.assert_allclose(outputs[t, b].detach(), q, rtol=1e-9, atol=1e-9)
            for hop, p in enumerate(looks, start=1):
                shown = trace[f"hop_{hop}_weights"][t, b].detach().numpy()
                np.testing.assert_allclose(shown[core.length - len(p) :], p, rtol=1e-9, atol=1e-9)
                assert (shown[: core.length - len(p)] == 0).all()


def test_the_first_step_reads_nothing():
    core = make(hops=1)
    inputs = inputs_of(1)[0].requires_grad_()
    outputs, _, _, trace = core(inputs, core.initial_state(B))
    torch.testing.assert_close(outputs, inputs @ core.embedding.weight.T @ core.updates[0].weight.T)
    assert (trace["hop_1_weights"] == 0).all()
    grads = torch.autograd.grad(outputs.sum(), [inputs, *core.parameters()])
    assert all(grad.isfinite().all() for grad in grads)


def test_the_second_step_reads_what_came_of_the_first():
    """One pair: o = A [obs_0; conditions_1], whatever the query; no other condition and no other observation."""
    core = make(hops=1)
    inputs = inputs_of(2)
    value = torch.cat([inputs[0, :, :3], inputs[1, :, 3:]], dim=1)
    expected = (inputs[1] + value) @ core.embedding.weight.T @ core.updates[0].weight.T
    torch.testing.assert_close(core.unroll(inputs, core.initial_state(B), no_starts(2)).outputs[1], expected)


def test_conditions_are_not_in_the_key():
    """The code of an action changes the value, and not where it is found."""
    core, changed = make(hops=1), inputs_of()
    changed[4, :, 3:] += 1
    traces, outputs = [], []
    for inputs in (inputs_of(), changed):
        result = core.unroll(inputs, core.initial_state(B), no_starts(), trace=True)
        traces.append(result.trace["hop_1_weights"][6])
        outputs.append(result.outputs[6])
    assert torch.equal(*traces)
    assert not torch.equal(*outputs)


def test_a_repeated_observation_finds_its_consequence():
    """The point of it: what was done here last time, and what came of it."""
    core = make(hops=1, condition_size=1)
    with torch.no_grad():
        core.embedding.weight.copy_(10 * torch.eye(H, SIZE))
        core.updates[0].weight.copy_(torch.eye(H))
    inputs = torch.zeros(4, B, SIZE, dtype=torch.float64)
    for t, place in enumerate([0, 1, 2, 1]):
        inputs[t, :, place] = 1
    inputs[2, :, 4] = 0.7  # the reward that follows place 1
    outputs, _, _, trace = core.unroll(inputs, core.initial_state(B), no_starts(4), trace=True)
    torch.testing.assert_close(outputs[3, :, 4], torch.full((B,), 7.0, dtype=torch.float64))
    assert trace["hop_1_weights"][3].argmax(-1).tolist() == [L - 2] * B


def test_each_hop_has_its_own_matrix():
    assert len({update.weight.data_ptr() for update in make(hops=3).updates}) == 3


def test_a_core_without_conditions_takes_all_as_observation():
    assert make(condition_size=0).observation_size == SIZE
    assert make_core("kv", SIZE).observation_size == SIZE


def test_output_size():
    core = make(output_size=7)
    outputs = core.unroll(inputs_of(), core.initial_state(B), no_starts()).outputs
    assert outputs.shape == (T, B, 7)
    expected = make().unroll(inputs_of(), core.initial_state(B), no_starts()).outputs
    torch.testing.assert_close(outputs, core.output(expected))


@pytest.mark.parametrize("size", [0, 2])
def test_autocast_with_and_without_conditions(size):
    core = make(condition_size=size).float()
    with torch.autocast("cpu", torch.bfloat16):
        outputs, state, _, _ = core.unroll(inputs_of().float(), core.initial_state(B), no_starts())
    assert outputs.isfinite().all()
    assert state.rows.dtype == torch.float32


def test_bad_parameters():
    for wrong, message in [
        ({"condition_size": SIZE}, "condition_size must be an integer from 0 to 4, not 5"),
        ({"condition_size": True}, "condition_size must be an integer from 0 to 4"),
        ({"condition_size": 1.5}, "condition_size must be an integer from 0 to 4"),
        ({"hops": 0}, "hops must be a positive integer"),
        ({"output_size": 0}, "output_size must be a positive integer"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)


def test_what_a_subclass_overrides_is_what_runs():
    """Not a faster way to what its parent does, with or without a gradient, a trace or one step."""

    class Other(KeyValue):
        def look(self, x, whole, first, state):
            features, trace = super().look(x, whole, first, state)
            return features + 1, trace

    class Another(GTrXL):
        def window(self, x, state, starts):
            step = super().window(x, state, starts)
            return step._replace(features=step.features + 1)

    for parent, child in ((KeyValue, Other), (GTrXL, Another)):
        torch.manual_seed(0)
        sizes = {"hidden_size": 8} if parent is KeyValue else {"width": 16, "heads": 2, "layers": 1}
        core, own = parent(3, length=4, **sizes).double(), child(3, length=4, **sizes).double()
        own.load_state_dict(core.state_dict())
        for steps in (1, 3):
            inputs, starts = torch.randn(steps, 2, 3).double(), torch.zeros(steps, 2, dtype=torch.bool)
            expected = core.unroll(inputs, core.initial_state(2), starts).outputs + 1
            torch.testing.assert_close(own.unroll(inputs, own.initial_state(2), starts).outputs, expected)
            with torch.no_grad():
                torch.testing.assert_close(own.unroll(inputs, own.initial_state(2), starts).outputs, expected)
