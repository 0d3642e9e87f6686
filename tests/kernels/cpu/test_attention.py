"""Attention by kernels against the plain operations, and the cores that go through them against their plain loops."""

import pytest
import torch

from memagents import make_core
from memagents.cores.core import map_state, state_leaves, unroll_by_steps
from memagents.cores.transformer import GRUGate, kernels_for
from memagents.kernels.cpu.attention import window as kernels
from memagents.kernels.cpu.attention.window import attention_window, gate_window, look_window
from memagents.memory import history
from memagents.memory.attention import attention
from memagents.memory.relative import constant_sinusoids, sinusoids

I = 6  # noqa: E741
SIZES = {  # of cores that fit the kernels in float64, whose vectors have four numbers
    "gtrxl": {"length": 5, "layers": 2, "width": 8, "heads": 2},
    "universal": {"length": 5, "width": 8, "heads": 2},
    "compressive": {"length": 3, "compressed": 2, "rate": 2, "width": 8, "heads": 2},
    "dmn": {"length": 5, "hidden_size": 8, "passes": 2},
    "kv": {"length": 5, "hidden_size": 8},
    "hopfield": {"length": 5, "width": 8, "heads": 2},
}
OTHERS = {
    "gtrxl": [{"length": 1}, {"length": 13, "heads": 1}, {"width": 20, "heads": 5, "output_size": 3}],
    "universal": [{"length": 1, "max_depth": 3}, {"length": 13, "heads": 1}, {"threshold": 0.5, "ponder_cost": 0}],
    "compressive": [{"length": 1, "compressed": 1}, {"rate": 1}, {"rate": 4, "length": 2, "compressed": 5}],
    "dmn": [{"length": 1}, {"length": 13}, {"passes": 1, "output_size": 3}],
    "kv": [{"length": 1}, {"length": 13, "hops": 1}, {"condition_size": 2, "hops": 3}],
    "hopfield": [{"length": 1}, {"length": 13, "heads": 1}, {"updates": 3, "beta": 0.4}],
}
every_core = pytest.mark.parametrize("name", SIZES)


def make(name, **changes):
    """A core whose weights (LayerNorms', u and v too) are away from their initial values, so that each matters."""
    torch.manual_seed(0)
    core = make_core(name, I, **SIZES[name] | changes).double()
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return core


def window(core, steps, batch, before, share):
    """Inputs, the state after some steps, and starts."""
    state = core.initial_state(batch)
    if before:
        starts = torch.zeros(before, batch, dtype=torch.bool)
        starts[before // 2, 0] = True  # so that rows have seen unequally much
        with torch.no_grad():
            state = unroll_by_steps(core, torch.randn(before, batch, I).double(), state, starts).state
    return torch.randn(steps, batch, I).double(), state, torch.rand(steps, batch) < share


# --- cores --------------------------------------------------------------------------------------------------------


@every_core
@pytest.mark.parametrize("before", [0, 3, 14])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("steps", "batch"), [(9, 3), (1, 4), (4, 1)])
def test_values_and_gradients_equal_the_plain_loop(name, before, share, steps, batch, fused):
    core = make(name)
    inputs, state, starts = window(core, steps, batch, before, share)
    check_gradients(core, inputs, state, starts)
    assert fused


@pytest.mark.parametrize(("name", "changes"), [(name, change) for name in SIZES for change in OTHERS[name]], ids=str)
def test_other_sizes_too(name, changes):
    core = make(name, **changes)
    for steps, before in [(7, 0), (7, 12)]:
        check_gradients(core, *window(core, steps, 3, before, 0.2))


def check_gradients(core, inputs, state, starts):
    """The core's own unroll gives the plain loop's outputs, states, losses, and gradients of a random sum of them."""

    def outcome(unroll):
        x = inputs.clone().requires_grad_()
        before = map_state(lambda leaf: leaf.clone().requires_grad_(leaf.is_floating_point()), state)
        result = unroll(core, x, before, starts)
        leaves = [leaf for leaf in state_leaves(result.state) if leaf.is_floating_point()]
        generator, found = torch.Generator().manual_seed(3), [result.outputs, *leaves, *result.losses.values()]
        total = sum((value * torch.randn(value.shape, generator=generator).double()).sum() for value in found)
        wanted = [x, *(leaf for leaf in state_leaves(before) if leaf.requires_grad), *core.parameters()]
        grads = torch.autograd.grad(total, wanted, allow_unused=True)
        made = [torch.zeros_like(of) if grad is None else grad for grad, of in zip(grads, wanted, strict=True)]
        return [*found, *made, *(leaf for leaf in state_leaves(result.state) if not leaf.is_floating_point())]

    for seen, right in zip(outcome(type(core).unroll), outcome(unroll_by_steps), strict=True):
        torch.testing.assert_close(seen, right, rtol=1e-9, atol=1e-10 * (1 + right.abs().max().item()))


@every_core
def test_acting_step_by_step_equals_the_window(name):
    """Without a gradient, a step looks at the rows themselves; starts at every position."""
    core, (steps, batch) = make(name), (12, 3)
    for first in range(steps):
        inputs, state, starts = window(core, steps, batch, 7, 0.1)
        starts[first, 1] = True
        with torch.no_grad():
            whole = core.unroll(inputs, state, starts)
            for t in range(steps):
                step = core.unroll(inputs[t : t + 1], state, starts[t : t + 1])
                state = step.state
                torch.testing.assert_close(step.outputs[0], whole.outputs[t], rtol=1e-10, atol=1e-12)
                for loss, of_whole in zip(step.losses.values(), whole.losses.values(), strict=True):
                    torch.testing.assert_close(loss[0], of_whole[t], rtol=1e-10, atol=1e-12)
        for seen, right in zip(state_leaves(state), state_leaves(whole.state), strict=True):
            torch.testing.assert_close(seen, right, rtol=1e-10, atol=1e-12)


@every_core
@pytest.mark.parametrize("steps", [1, 6])
def test_a_row_does_not_depend_on_the_others(name, steps):
    """To the last bit on their inputs and states; but for rounding on where their episodes begin."""
    core = make(name)
    inputs, state, starts = window(core, steps, 4, 9, 0.2)
    with torch.no_grad():
        before = core.unroll(inputs, state, starts)
        other = inputs.clone()
        other[:, 2] = 5.0
        after = core.unroll(other, state, starts)
        assert torch.equal(before.outputs[:, [0, 1, 3]], after.outputs[:, [0, 1, 3]])
        alone = core.unroll(inputs[:, 1:2], map_state(lambda leaf: leaf[1:2], state), starts[:, 1:2])
    torch.testing.assert_close(alone.outputs[:, 0], before.outputs[:, 1], rtol=1e-10, atol=1e-12)


@every_core
@pytest.mark.parametrize("steps", [1, 4])
def test_what_is_no_number_does_not_pass_a_start(name, steps):
    core = make(name)
    inputs, state, starts = window(core, steps, 3, 9, 0.0)
    starts[0] = True
    spoilt = map_state(lambda leaf: leaf * torch.nan if leaf.is_floating_point() else leaf, state)
    with torch.no_grad():
        result = core.unroll(inputs, spoilt, starts)
        fresh = core.unroll(inputs, core.initial_state(3), starts)
    torch.testing.assert_close(result.outputs, fresh.outputs, rtol=1e-10, atol=1e-12)
    for seen, right in zip(state_leaves(result.state), state_leaves(fresh.state), strict=True):
        torch.testing.assert_close(seen, right, rtol=1e-10, atol=1e-12)


@every_core
def test_acting_changes_no_argument(name):
    core = make(name)
    inputs, state, starts = window(core, 1, 3, 9, 0.3)
    before = [leaf.clone() for leaf in (inputs, *state_leaves(state))]
    with torch.no_grad():
        after = core.unroll(inputs, state, starts).state
    assert all(torch.equal(a, b) for a, b in zip((inputs, *state_leaves(state)), before, strict=True))
    for old, new in zip(state_leaves(state), state_leaves(after), strict=True):
        assert old.shape == new.shape and old.dtype == new.dtype and new.is_contiguous()
        assert old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr()


@every_core
def test_threads_do_not_matter(name, monkeypatch):
    core = make(name)
    inputs, state, starts = window(core, 9, 7, 9, 0.2)
    found = []
    for number in (1, 3):
        monkeypatch.setattr(kernels, "thread_count", lambda *_, number=number: number)
        for steps in (9, 1):
            for learning in (True, False):
                with torch.set_grad_enabled(learning):
                    outputs = core.unroll(inputs[:steps], state, starts[:steps]).outputs
                grads = torch.autograd.grad(outputs.sum(), core.parameters(), allow_unused=True) if learning else []
                found.append([outputs.detach(), *(grad for grad in grads if grad is not None)])
    for alone, together in zip(found[: len(found) // 2], found[len(found) // 2 :], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_heads_that_are_no_whole_vectors_go_the_plain_way(fused):
    core = make("gtrxl", width=6, heads=2)
    assert_equal_unrolls_of_rows(core, *window(core, 5, 2, 3, 0.2))
    assert not fused


def assert_equal_unrolls_of_rows(core, inputs, state, starts):
    with torch.no_grad():
        found, right = core.unroll(inputs, state, starts), unroll_by_steps(core, inputs, state, starts)
    torch.testing.assert_close(found.outputs, right.outputs, rtol=1e-10, atol=1e-12)


# --- kernels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch", "steps", "length", "heads", "key"), [(3, 5, 4, 2, 4), (2, 9, 17, 3, 8), (1, 1, 1, 1, 12)]
)
@pytest.mark.parametrize("aged", [False, True])
def test_attention_equals_the_plain_one(batch, steps, length, heads, key, aged):
    torch.manual_seed(0)
    first = history.first_positions(torch.randint(0, length + 1, (batch,)), torch.rand(steps, batch) < 0.2, length)
    shapes = [(batch, n, heads * key) for n in (steps, length + steps, length + steps, steps)] + [
        (length + 1, heads * key)
    ]
    operands = [torch.randn(shape).double().requires_grad_() for shape in shapes][: 5 if aged else 3]
    queries, keys, values, *of_ages = [tensor.unflatten(-1, (heads, -1)).transpose(-2, -3) for tensor in operands]
    bias = history.skew(of_ages[0] @ of_ages[1].mT * key**-0.5, length) if aged else None
    right, _ = attention(queries, keys, values, history.sees(first, length, length + 1).unsqueeze(1), bias)
    right = right.transpose(1, 2).flatten(2)
    queries, keys, values, *of_ages = operands
    runs = history.runs(first, length, length + 1)
    found = attention_window(queries, keys, values, runs, length + 1, heads, *of_ages)
    torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-13)
    upstream = torch.randn_like(right)
    for seen, grad in zip(
        torch.autograd.grad(found, operands, upstream), torch.autograd.grad(right, operands, upstream), strict=True
    ):
        torch.testing.assert_close(seen, grad, rtol=1e-12, atol=1e-12)


def test_a_query_that_sees_nothing_finds_zero_and_learns_nothing():
    queries, keys, values = (torch.randn(1, n, 4).double().requires_grad_() for n in (2, 3, 3))
    runs = torch.tensor([[[[1, 1, 0]], [[0, 2, 0]]]])
    found = attention_window(queries, keys, values, runs, 3, 1)
    assert (found[0, 0] == 0).all() and (found[0, 1] != 0).any()
    grads = torch.autograd.grad(found.sum(), [queries, keys, values])
    assert (grads[0][0, 0] == 0).all() and (grads[2][0, 2] == 0).all()


def test_runs_mark_what_sees_marks():
    first = history.first_positions(torch.tensor([0, 2, 5]), torch.rand(7, 3) < 0.3, 5)
    for span in (1, 3, 6):
        begin, end, age = history.runs(first, 5, span).squeeze(2).unsqueeze(-2).unbind(-1)
        positions = torch.arange(12)
        marked = (positions >= begin) & (positions < end)
        assert torch.equal(marked, history.sees(first, 5, span))
        assert torch.equal(end - begin + age, torch.full_like(begin, span))


def test_gates_equal_the_plain_ones():
    torch.manual_seed(0)
    gate = GRUGate(8, 1.0).double()
    stream, update = (torch.randn(3, 50, 8).double().requires_grad_() for _ in range(2))
    kernels = kernels_for([stream, update], 8)
    wanted, upstream = [stream, update, *gate.parameters()], torch.randn(3, 50, 8).double()
    found, right = gate(stream, update, kernels), gate(stream, update)
    torch.testing.assert_close(found, right, rtol=1e-13, atol=1e-13)
    for seen, grad in zip(
        torch.autograd.grad(found, wanted, upstream), torch.autograd.grad(right, wanted, upstream), strict=True
    ):
        torch.testing.assert_close(seen, grad, rtol=1e-12, atol=1e-12)


def test_wrong_operands_are_refused():
    x, runs = torch.zeros(2, 3, 8), torch.zeros(2, 3, 1, 3, dtype=torch.int64)
    past_the_end = runs.clone()
    past_the_end[..., 1] = 4
    for message, arguments in [
        ("queries must be of 3 heads", (x, x, x, runs, 3, 3)),
        ("keys must be", (x, x[:1], x, runs, 3, 1)),
        ("values must be", (x, x, x[:, :2], runs, 3, 1)),
        ("runs must be int64", (x, x, x, runs.int(), 3, 1)),
        ("runs must lie within 3 positions and 3 slots", (x, x, x, past_the_end, 3, 1)),
        ("runs must lie within 3 positions and 0 slots", (x, x, x, runs + torch.tensor([0, 1, 0]), 0, 1)),
        ("ages and encodings must be given together", (x, x, x, runs, 3, 1, x)),
    ]:
        with pytest.raises(ValueError, match=message):
            attention_window(*arguments)
    queries = torch.zeros(1, 2, 8)
    for message, of_step in [
        ("store must be", (x[:, :, :4], runs[:, 0], x[:, 0], queries, None, 4, 1.0)),
        ("present must be", (x, runs[:, 0], x[:1, 0], queries, None, 4, 1.0)),
        ("by_slot must be", (x, runs[:, 0], x[:, 0], queries, queries, 4, 1.0)),
        ("runs must lie within 3 positions", (x, past_the_end[:, 0], x[:, 0], queries, None, 9, 1.0)),
        ("queries must be a multiple of 8", (x, runs[:, 0], x[:, 0], queries[..., :4], None, 4, 1.0)),
        ("store must hold", (torch.zeros(2, 8, 3).mT, runs[:, 0], x[:, 0], queries, None, 4, 1.0)),
    ]:
        with pytest.raises(ValueError, match=message):
            look_window(*of_step)
    weight, bias = torch.zeros(8, 8), torch.zeros(8)
    with pytest.raises(ValueError, match=r"of_update must be \(..., 24\)"):
        gate_window(x, x, x, weight, bias)
    with pytest.raises(ValueError, match="weight must be square"):
        gate_window(x, x.repeat(1, 1, 3), x.repeat(1, 1, 2), weight[:4], bias)


def test_sinusoids_are_computed_once():
    like = torch.zeros(1, dtype=torch.float64)
    with torch.inference_mode():
        constant = constant_sinusoids(7, 6, like)
    assert constant is constant_sinusoids(7, 6, like)
    assert torch.equal(constant, sinusoids(7, 6, like))
    weight = torch.zeros(6, 6, dtype=torch.float64, requires_grad=True)
    (constant @ weight).sum().backward()  # not a tensor of inference mode, which could not be learned with
