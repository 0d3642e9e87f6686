"""What every core promises, asked of every core in the catalogue, present and future.

A new core is tested as soon as it has a name. If its defaults are too large for a quick test, give it small ones in
``SMALL``; if some of its weightings must sum to exactly 1, name them in ``DISTRIBUTIONS``.
"""

import copy
import inspect
import io

import pytest
import torch
from torch.func import functional_call

from memagents import core_names, make_core
from memagents.cores import core_class
from memagents.cores.core import (
    detach_state,
    map_state,
    restart_state,
    select_rows,
    state_leaves,
    unroll_by_steps,
    where_state,
)
from memagents.cores.recompute import unroll_in_chunks

# Three slots for the DNC: of more, some are alike to the last bit after a start, and it is rounding that decides which
# of them is written next. The state is then the same but for the order of its slots, and the outputs are the same.
SMALL = {
    "none": {"hidden_size": 5},
    "gru": {"hidden_size": 5},
    "lstm": {"hidden_size": 5},
    "dnc": {"slots": 3, "width": 4, "read_heads": 2, "controller_size": 5, "ready_to_record": False},
    "rmc": {"slots": 3, "width": 4, "heads": 2},
    "ntm": {"slots": 4, "width": 3, "read_heads": 2, "controller_size": 5},
    "sam": {"slots": 6, "width": 4, "read_heads": 2, "reads": 3, "controller_size": 5, "ready_to_record": False},
    "sdnc": {"slots": 6, "width": 4, "read_heads": 2, "reads": 2, "links": 3, "controller_size": 5},
    "memn2n": {"length": 4, "hidden_size": 5, "hops": 2},
    "kv": {"length": 4, "hidden_size": 5, "hops": 2, "condition_size": 1},
    "dmn": {"length": 4, "hidden_size": 5, "passes": 2},
    "entnet": {"slots": 3, "width": 5},
    "hopfield": {"length": 4, "width": 6, "heads": 2, "updates": 2},
    "gtrxl": {"length": 3, "layers": 2, "width": 6, "heads": 2, "feedforward": 5},
    "compressive": {"length": 2, "compressed": 2, "rate": 2, "layers": 2, "width": 4, "heads": 2},
    "universal": {"length": 3, "max_depth": 3, "width": 4, "heads": 2},
    "ffm": {"memory_size": 3, "context_size": 2, "output_size": 5, "horizon": 20},
    "shm": {"width": 3, "thetas": 5, "encoding_size": 6},
}
DISTRIBUTIONS = {
    "rmc": ["block_1_weights"],
    "ntm": ["read_weights", "write_weights", "shift_weights"],
    "memn2n": ["hop_1_weights", "hop_2_weights"],
    "dmn": ["pass_1_weights", "pass_2_weights"],
    "entnet": ["read_weights"],
    "hopfield": ["retrieval_weights"],
    "gtrxl": ["layer_1_weights", "layer_2_weights"],
    "compressive": ["layer_1_weights", "layer_2_weights"],
    "universal": ["update_weights"],
}
# Left out of the gradcheck, since finite differences see what their gradients are not meant to.
STOPPED_GRADIENTS = {
    "compressive",  # before and behind its convolutions
    "sdnc",  # at its links
}

T, B, SIZE = 9, 3, 4

every_core = pytest.mark.parametrize("name", core_names())


def make(name, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    return make_core(name, SIZE, **SMALL.get(name, {})).to(dtype)


def random_inputs(*shape, dtype=torch.float64, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def no_starts(steps=T, rows=B):
    return torch.zeros(steps, rows, dtype=torch.bool)


def generic_state(core, rows=B, seed=2):
    """What some random steps leave behind: valid for any core, and nothing in it zero or tied by construction."""
    inputs = 2 * random_inputs(7, rows, SIZE, dtype=next(core.parameters()).dtype, seed=seed)
    return detach_state(core.unroll(inputs, core.initial_state(rows), no_starts(7, rows)).state)


def is_float(leaf):
    return leaf.is_floating_point() or leaf.is_complex()


def with_gradients(state):
    """A copy whose leaves collect gradients, where they can."""
    return map_state(lambda leaf: leaf.detach().clone().requires_grad_(is_float(leaf)), state)


def outcome(outputs, state, losses):
    """A number that depends on every output, differently on each."""
    tensors = [outputs, *(leaf for leaf in state_leaves(state) if is_float(leaf)), *losses.values()]
    total = outputs.new_zeros(())
    for number, tensor in enumerate(tensors):
        tensor = torch.view_as_real(tensor) if tensor.is_complex() else tensor
        weights = random_inputs(*tensor.shape, dtype=tensor.dtype, seed=100 + number)
        total = total + (weights * tensor).sum()
    return total


def gradients(core, inputs, state, result):
    """The outcome's gradients with respect to inputs, state and parameters; zeros where there is no path."""
    sources = [inputs, *(leaf for leaf in state_leaves(state) if leaf.requires_grad), *core.parameters()]
    return torch.autograd.grad(outcome(*result), sources, allow_unused=True, materialize_grads=True)


def by_forward(core, inputs, state, starts):
    """The obvious loop: reset what begins an episode, then one step."""
    outputs, losses = [], []
    initial = core.initial_state(inputs.shape[1])
    for x, start in zip(inputs, starts, strict=True):
        step = core(x, restart_state(start, initial, state))
        state = step.state
        outputs.append(step.outputs)
        losses.append(step.losses)
    return torch.stack(outputs), state, {key: torch.stack([loss[key] for loss in losses]) for key in losses[0]}


def start_patterns():
    """None, all, random, and a single one at every position."""
    yield "none", no_starts()
    yield "all", ~no_starts()
    yield "random", torch.rand(T, B, generator=torch.Generator().manual_seed(5)) < 0.3
    yield "two", no_starts().index_put_((torch.tensor([2, 6]), torch.tensor([1, 0])), torch.tensor(True))
    for t in range(T):
        yield f"at {t}", no_starts().index_put_((torch.tensor(t), torch.tensor(t % B)), torch.tensor(True))


# --- shapes and states ----------------------------------------------------------------------------------------------


@every_core
def test_shapes(name):
    core = make(name)
    outputs, state, losses, trace = core.unroll(
        random_inputs(T, B, SIZE), core.initial_state(B), no_starts(), trace=True
    )
    assert outputs.shape == (T, B, core.output_size)
    assert all(loss.shape == (T, B) for loss in losses.values())
    assert all(shown.shape[:2] == (T, B) for shown in trace.values())
    assert core.unroll(random_inputs(T, B, SIZE), core.initial_state(B), no_starts()).trace == {}
    step = core(random_inputs(B, SIZE), state)
    assert step.outputs.shape == (B, core.output_size)
    assert step.losses.keys() == losses.keys()
    assert all(loss.shape == (B,) for loss in step.losses.values())
    assert {key: shown.shape for key, shown in step.trace.items()} == {k: v.shape[1:] for k, v in trace.items()}


@every_core
def test_defaults_make_a_core(name):
    core = make_core(name, SIZE)
    assert core(random_inputs(2, SIZE, dtype=torch.float32), core.initial_state(2)).outputs.shape == (
        2,
        core.output_size,
    )


@every_core
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_leaves_keep_batch_shape_and_dtype(name, dtype):
    core = make(name, dtype)
    initial = core.initial_state(B)
    assert isinstance(initial, tuple)
    assert hasattr(initial, "_fields")
    assert state_leaves(initial)
    after = generic_state(core)
    one = core.initial_state(1)
    for leaf, later, single in zip(state_leaves(initial), state_leaves(after), state_leaves(one), strict=True):
        assert leaf.shape == (B, *single.shape[1:]) == later.shape
        assert leaf.dtype == later.dtype
        assert torch.equal(leaf, single.expand_as(leaf)), "rows begin alike"
        if leaf.is_floating_point():
            assert leaf.dtype == dtype


@every_core
def test_an_initial_state_can_be_written_into(name):
    """What is written to a row of a leaf reaches no other row, no other leaf and no parameter."""
    core = make(name)
    parameters = copy.deepcopy(dict(core.named_parameters()))
    with torch.no_grad():
        leaves = state_leaves(core.initial_state(B))
        expected = [leaf.clone() for leaf in leaves]
        for leaf, changed in zip(leaves, expected, strict=True):
            leaf[1] += 1
            changed[1] += 1
    torch.testing.assert_close(leaves, expected, rtol=0, atol=0)
    torch.testing.assert_close(dict(core.named_parameters()), parameters, rtol=0, atol=0)


@every_core
def test_states_can_be_picked_and_joined_by_row(name):
    core = make(name)
    state, initial = generic_state(core), core.initial_state(B)
    mixed = where_state(torch.tensor([True, False, True]), initial, state)
    for leaf, fresh, old in zip(*map(state_leaves, (mixed, initial, state)), strict=True):
        assert torch.equal(leaf[[0, 2]], fresh[[0, 2]])
        assert torch.equal(leaf[1], old[1])
    outputs = core(random_inputs(B, SIZE), state).outputs
    picked = core(random_inputs(B, SIZE)[[2, 0]], select_rows(state, [2, 0])).outputs
    torch.testing.assert_close(picked, outputs[[2, 0]], rtol=1e-12, atol=1e-12)


# --- unroll, forward and the default are one ------------------------------------------------------------------------


@every_core
@pytest.mark.parametrize("starts", [pytest.param(s, id=name) for name, s in start_patterns()])
def test_unroll_equals_the_default_and_the_loop_of_forward(name, starts):
    core = make(name)
    results = []
    for unroll in (core.unroll, lambda *a: unroll_by_steps(core, *a), lambda *a: by_forward(core, *a)):
        inputs, state = random_inputs(T, B, SIZE).requires_grad_(), with_gradients(generic_state(core))
        result = unroll(inputs, state, starts)[:3]
        results.append((result, gradients(core, inputs, state, result)))
    (expected, expected_grads) = results[-1]
    for (outputs, state, losses), grads in results[:-1]:
        close = {"rtol": 1e-9, "atol": 1e-11}
        torch.testing.assert_close(outputs, expected[0], **close)
        torch.testing.assert_close(state_leaves(state), state_leaves(expected[1]), **close)
        torch.testing.assert_close(losses, expected[2], **close)
        torch.testing.assert_close(grads, expected_grads, **close)


@every_core
def test_a_window_in_two_halves_is_the_window(name):
    core = make(name)
    inputs, starts = random_inputs(T, B, SIZE), torch.rand(T, B, generator=torch.Generator().manual_seed(6)) < 0.2
    whole = core.unroll(inputs, generic_state(core), starts)
    first = core.unroll(inputs[:4], generic_state(core), starts[:4])
    second = core.unroll(inputs[4:], first.state, starts[4:])
    torch.testing.assert_close(torch.cat([first.outputs, second.outputs]), whole.outputs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(state_leaves(second.state), state_leaves(whole.state), rtol=1e-10, atol=1e-12)


@every_core
def test_a_window_in_chunks_that_are_computed_again_is_the_window(name):
    core, starts = make(name), torch.rand(T, B, generator=torch.Generator().manual_seed(6)) < 0.2
    results = []
    for unroll in (core.unroll, lambda *a: unroll_in_chunks(core, *a, steps=4)):
        inputs, state = random_inputs(T, B, SIZE).requires_grad_(), with_gradients(generic_state(core))
        outputs, after, losses = unroll(inputs, state, starts)[:3]
        leaves = [outputs, *state_leaves(after), *losses.values()]
        results.append((leaves, gradients(core, inputs, state, (outputs, after, losses))))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-11)


@every_core
def test_unroll_changes_none_of_its_arguments(name):
    core = make(name)
    inputs, state, starts = random_inputs(T, B, SIZE), generic_state(core), no_starts()
    starts[3, 1] = starts[0, 0] = True
    before = copy.deepcopy((inputs, state_leaves(state), starts))
    core.unroll(inputs, state, starts, trace=True)
    torch.testing.assert_close((inputs, state_leaves(state), starts), before, rtol=0, atol=0)


# --- who depends on whom --------------------------------------------------------------------------------------------


@every_core
def test_rows_do_not_mix(name):
    core = make(name)
    inputs, state = random_inputs(T, B, SIZE).requires_grad_(), with_gradients(generic_state(core))
    starts = no_starts()
    starts[4, 0] = True
    result = core.unroll(inputs, state, starts)
    leaves = [leaf for leaf in state_leaves(state) if leaf.requires_grad and leaf.numel()]
    row = 1
    of_row = outcome(result.outputs[:, row], select_rows(result.state, [row]), {})
    to_inputs, *to_leaves = torch.autograd.grad(of_row, [inputs, *leaves], allow_unused=True, materialize_grads=True)
    others = [b for b in range(B) if b != row]
    assert to_inputs[:, row].abs().sum() > 0
    assert (to_inputs[:, others] == 0).all()
    assert all((grad[others] == 0).all() for grad in to_leaves)
    assert not leaves or any(grad[row].abs().sum() > 0 for grad in to_leaves)


@every_core
def test_nothing_leaks_over_a_start(name):
    core = make(name)
    inputs, state = random_inputs(T, B, SIZE).requires_grad_(), with_gradients(generic_state(core))
    starts, begin, row = no_starts(), 4, 1
    starts[begin, row] = True
    result = core.unroll(inputs, state, starts)
    leaves = [leaf for leaf in state_leaves(state) if leaf.requires_grad and leaf.numel()]
    after = outcome(result.outputs[begin:, row], select_rows(result.state, [row]), {})
    to_inputs, *to_leaves = torch.autograd.grad(after, [inputs, *leaves], allow_unused=True, materialize_grads=True)
    assert (to_inputs[:begin] == 0).all()
    assert all((grad == 0).all() for grad in to_leaves)
    before = core.unroll(inputs[:begin], state, starts[:begin]).state
    fresh = restart_state(torch.tensor([True]), core.initial_state(1), select_rows(before, [row]))  # the same draws
    alone = core.unroll(inputs[begin:, [row]], fresh, no_starts(T - begin, 1))
    torch.testing.assert_close(result.outputs[begin:, [row]], alone.outputs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        state_leaves(select_rows(result.state, [row])), state_leaves(alone.state), rtol=1e-10, atol=1e-12
    )


@every_core
def test_not_even_nan_leaks_over_a_start(name):
    core = make(name)
    broken = map_state(lambda leaf: torch.full_like(leaf, torch.nan) if is_float(leaf) else leaf, generic_state(core))
    starts = no_starts()
    starts[0] = True
    outputs, state, _, _ = core.unroll(random_inputs(T, B, SIZE), broken, starts)
    assert outputs.isfinite().all()
    assert all(leaf.isfinite().all() for leaf in state_leaves(state))


@every_core
def test_nothing_of_a_sequence_stays_on_the_module(name):
    """And no tensor is kept where ``.to()`` and ``state_dict`` do not see it."""
    core = make(name)
    kept = {path: dict(vars(module)) for path, module in core.named_modules()}
    buffers = {path: buffer.clone() for path, buffer in core.named_buffers()}
    core.unroll(random_inputs(T, B, SIZE), core.initial_state(B), no_starts(), trace=True)
    core(random_inputs(B, SIZE), core.initial_state(B))
    assert {path: dict(vars(module)) for path, module in core.named_modules()} == kept
    torch.testing.assert_close(dict(core.named_buffers()), buffers, rtol=0, atol=0)
    for attributes in kept.values():
        for value in attributes.values():
            values = value if isinstance(value, list | tuple) else [value]
            assert not any(isinstance(v, torch.Tensor) for v in values)


# --- numbers --------------------------------------------------------------------------------------------------------


INPUTS = {
    "zeros": torch.zeros(12, B, SIZE),
    "huge": 1e4 * random_inputs(12, B, SIZE, dtype=torch.float32),
    "repeated": random_inputs(B, SIZE, dtype=torch.float32).expand(12, B, SIZE),
    "random": random_inputs(12, B, SIZE, dtype=torch.float32),
}


@every_core
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
def test_gradients_are_finite_and_the_state_float32(name, kind, autocast):
    core = make(name, torch.float32)
    inputs, initial = INPUTS[kind].clone().requires_grad_(), with_gradients(core.initial_state(B))
    starts = no_starts(12)
    starts[7, 0] = True
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        outputs, state, losses, _ = core.unroll(inputs, initial, starts)
        step = core(inputs[0], state)
    for leaf, stepped, fresh in zip(*map(state_leaves, (state, step.state, initial)), strict=True):
        assert leaf.dtype == stepped.dtype == fresh.dtype
        assert not leaf.is_floating_point() or leaf.dtype == torch.float32
        assert leaf.isfinite().all()
    assert outputs.isfinite().all()
    result = (outputs.float(), state, losses)
    assert all(grad.isfinite().all() for grad in gradients(core, inputs, initial, result))


@every_core
def test_autocast_changes_little(name):
    core = make(name, torch.float32)
    inputs = random_inputs(T, B, SIZE, dtype=torch.float32)
    exact = core.unroll(inputs, core.initial_state(B), no_starts()).outputs
    with torch.autocast("cpu", torch.bfloat16):
        rough = core.unroll(inputs, core.initial_state(B), no_starts()).outputs
    assert not torch.equal(exact, rough.float())
    torch.testing.assert_close(rough.float(), exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", [name for name in core_names() if name not in STOPPED_GRADIENTS])
def test_gradcheck_from_a_generic_state(name):
    """Values by finite differences, with respect to inputs, state and parameters.

    A core with stop-gradients, ties or straight-through estimators does not belong here: leave it out by name, and
    compare it with a dense reference on the same support in its own test.
    """
    core, rows, steps = make(name), 2, 3
    state = with_gradients(generic_state(core, rows))
    leaves = state_leaves(state)
    places = [number for number, leaf in enumerate(leaves) if leaf.requires_grad and leaf.numel()]
    names, parameters = zip(*core.named_parameters(), strict=True)

    def window(inputs, *rest):
        changed = list(leaves)
        for place, leaf in zip(places, rest, strict=False):
            changed[place] = leaf
        iterator = iter(changed)
        replaced = map_state(lambda _: next(iterator), state)
        weights = dict(zip(names, rest[len(places) :], strict=True))
        outputs, after, losses, _ = functional_call(_Unroll(core), weights, (inputs, replaced, no_starts(steps, rows)))
        return outputs, *(leaf for leaf in state_leaves(after) if leaf.requires_grad), *losses.values()

    names = tuple(f"core.{name}" for name in names)
    inputs = random_inputs(steps, rows, SIZE).requires_grad_()
    sources = (inputs, *(leaves[place] for place in places), *parameters)
    assert torch.autograd.gradcheck(window, sources, fast_mode=True)


class _Unroll(torch.nn.Module):
    """A module whose ``forward`` is ``unroll``, for ``functional_call``."""

    def __init__(self, core):
        super().__init__()
        self.core = core

    def forward(self, *arguments):
        return self.core.unroll(*arguments)


@every_core
def test_weightings_in_the_trace_are_weightings(name):
    """``*_weights`` and ``*_modes`` are non-negative with sums of at most 1; modes and ``DISTRIBUTIONS`` sum to 1."""
    core = make(name)
    inputs, starts = 5 * random_inputs(20, B, SIZE), torch.rand(20, B, generator=torch.Generator().manual_seed(7)) < 0.1
    trace = core.unroll(inputs, core.initial_state(B), starts, trace=True).trace
    exact = set(DISTRIBUTIONS.get(name, ()))
    assert exact <= trace.keys()
    for key, shown in trace.items():
        assert shown.isfinite().all()
        if not key.endswith(("_weights", "_modes")):
            continue
        sums = shown.sum(-1)
        assert (shown >= -1e-12).all(), key
        assert (sums <= 1 + 1e-9).all(), key
        if key in exact or key.endswith("_modes"):
            torch.testing.assert_close(sums, torch.ones_like(sums), rtol=1e-9, atol=0)


# --- moving, saving ---------------------------------------------------------------------------------------------------


@every_core
def test_everything_moves_with_to(name):
    core = make(name, torch.float32)
    core.unroll(random_inputs(T, B, SIZE, dtype=torch.float32), core.initial_state(B), no_starts())
    core.to(torch.float64)
    outputs, state, _, _ = core.unroll(random_inputs(T, B, SIZE), core.initial_state(B), no_starts())
    assert outputs.dtype == torch.float64
    assert all(leaf.dtype == torch.float64 for leaf in state_leaves(state) if leaf.is_floating_point())
    expected = make(name).unroll(random_inputs(T, B, SIZE), make(name).initial_state(B), no_starts()).outputs
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)
    meta = core.to("meta")
    assert all(leaf.device.type == "meta" for leaf in state_leaves(meta.initial_state(B)))


@every_core
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same(name):
    core = make(name)
    starts = torch.rand(T, B, generator=torch.Generator().manual_seed(5)) < 0.3
    results = []
    for device in ("cpu", "cuda"):
        core.to(device)
        inputs = random_inputs(T, B, SIZE).to(device).requires_grad_()
        outputs, state, losses, _ = core.unroll(inputs, core.initial_state(B), starts.to(device))
        assert all(leaf.device.type == device for leaf in (outputs, *state_leaves(state)))
        grads = torch.autograd.grad(outputs.square().sum(), [inputs, *core.parameters()], allow_unused=True)
        found = [outputs, *state_leaves(state), *losses.values(), *(g for g in grads if g is not None)]
        results.append([tensor.cpu() for tensor in found])
    torch.testing.assert_close(results[1], results[0], rtol=1e-9, atol=1e-10)


@every_core
def test_state_dict_round_trip(name):
    core, other = make(name), make(name, seed=9)
    file = io.BytesIO()
    torch.save(core.state_dict(), file)
    file.seek(0)
    inputs = random_inputs(T, B, SIZE)
    expected = core.unroll(inputs, core.initial_state(B), no_starts()).outputs
    assert not torch.equal(other.unroll(inputs, other.initial_state(B), no_starts()).outputs, expected)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other.unroll(inputs, other.initial_state(B), no_starts()).outputs, expected)
    copied = copy.deepcopy(core)
    assert torch.equal(copied.unroll(inputs, copied.initial_state(B), no_starts()).outputs, expected)


# --- bad input ------------------------------------------------------------------------------------------------------


@every_core
def test_windows_of_the_wrong_shape_are_refused(name):
    core = make(name)
    state = core.initial_state(B)
    for inputs in (random_inputs(T, B, SIZE + 1), random_inputs(B, SIZE), random_inputs(0, B, SIZE)):
        with pytest.raises(ValueError, match=rf"inputs must be \(T, B, {SIZE}\)"):
            core.unroll(inputs, state, no_starts(len(inputs)))
    for starts in (no_starts(T, B + 1), no_starts(T - 1), no_starts().float()):
        with pytest.raises(ValueError, match="starts must be booleans of shape"):
            core.unroll(random_inputs(T, B, SIZE), state, starts)
    for inputs in (random_inputs(B, SIZE - 1), random_inputs(1, B, SIZE)):
        with pytest.raises(ValueError, match=rf"inputs must be \(B, {SIZE}\)"):
            core(inputs, state)


@every_core
def test_wrong_parameters_are_refused(name):
    with pytest.raises(ValueError, match=f"core '{name}' has no parameter 'nonsense'; it has: "):
        make_core(name, SIZE, nonsense=1)
    for value in (0, -1, 2.5, True, "3"):
        with pytest.raises(ValueError, match="input_size must be a positive integer"):
            make_core(name, value)
    for parameter in inspect.signature(core_class(name)).parameters.values():
        if type(parameter.default) is int:
            with pytest.raises(ValueError, match=parameter.name):
                make_core(name, SIZE, **{parameter.name: -1})
