"""The fused DNC against the plain loop of its steps, which is the reference."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from memagents.cores.core import map_state, select_rows, state_leaves, unroll_by_steps
from memagents.kernels.cpu.dnc.window import dnc_window
from tests.kernels.support.dnc import assert_equal_unrolls, make, used_state
from tests.kernels.support.windows import assert_same_bits, assert_weights_learn_alike, on_threads, values_and_gradients

SIZES = [  # slots, width, read heads, controller, steps, batch
    (1, 1, 1, 1, 1, 1),
    (8, 4, 2, 8, 7, 3),
    (7, 5, 3, 6, 9, 11),
    (6, 9, 1, 5, 5, 4),
    (13, 3, 4, 7, 10, 9),
    (16, 8, 2, 12, 4, 8),
    (5, 2, 5, 3, 1, 17),
    (32, 24, 2, 16, 6, 5),
    (64, 32, 4, 64, 4, 9),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("chance_of_start", [0.0, 0.3, 1.0])
def test_values_and_gradients_equal_the_plain_loop(sizes, chance_of_start):
    *shape, steps, batch = sizes
    core = make(*shape)
    inputs = torch.randn(steps, batch, core.input_size, dtype=torch.float64)
    starts = torch.rand(steps, batch) < chance_of_start
    assert_equal_unrolls(core, inputs, used_state(core, batch), starts)


ALL_OPTIONS = {"masked_lookup": True, "deallocate": True, "sharpen_links": True}
every_option = pytest.mark.parametrize(
    "options", [{name: True} for name in ALL_OPTIONS] + [ALL_OPTIONS], ids=["masked", "deallocate", "sharp", "all"]
)


@every_option
@pytest.mark.parametrize("sizes", [*SIZES[:5], SIZES[6]], ids=str)
@pytest.mark.parametrize("chance_of_start", [0.0, 0.3])
def test_with_options_values_and_gradients_equal_the_plain_loop(options, sizes, chance_of_start, fused):
    *shape, steps, batch = sizes
    core = make(*shape, **options)
    inputs = torch.randn(steps, batch, core.input_size, dtype=torch.float64)
    assert_equal_unrolls(core, inputs, used_state(core, batch), torch.rand(steps, batch) < chance_of_start)
    assert set(fused) == {"dnc"}


def test_with_options_in_float32():
    core = make(8, 6, 2, 8, torch.float32, scale=1.0, **ALL_OPTIONS)
    inputs, starts = torch.randn(6, 10, core.input_size), torch.zeros(6, 10, dtype=torch.bool)
    assert_equal_unrolls(core, inputs, used_state(core, 10), starts, tolerance=1e-4)


def test_with_options_steps_one_by_one_equal_the_window():
    core = make(10, 7, 3, 9, torch.float32, **ALL_OPTIONS)
    inputs, starts = torch.randn(6, 21, core.input_size), torch.rand(6, 21) < 0.2
    state = used_state(core, 21)
    with torch.no_grad():
        whole, outputs = core.unroll(inputs, state, starts), []
        for t in range(len(inputs)):
            step = core.unroll(inputs[t : t + 1], state, starts[t : t + 1])
            state = step.state
            outputs.append(step.outputs)
    torch.testing.assert_close(torch.cat(outputs), whole.outputs, rtol=1e-5, atol=1e-6)
    assert_same_bits(state_leaves(state), state_leaves(whole.state))


def test_a_start_at_every_position():
    core = make(6, 4, 2, 5)
    steps = 7
    inputs = torch.randn(steps, steps, core.input_size, dtype=torch.float64)
    assert_equal_unrolls(core, inputs, used_state(core, steps), torch.eye(steps, dtype=torch.bool))


def test_huge_and_zero_inputs_to_the_initial_state():
    core = make(6, 4, 2, 5, scale=30.0)
    inputs = torch.randn(5, 3, core.input_size, dtype=torch.float64) * torch.tensor([0.0, 1.0, 1e3]).view(1, 3, 1)
    starts = torch.zeros(5, 3, dtype=torch.bool)
    found = values_and_gradients(type(core).unroll, core, inputs, core.initial_state(3), starts, by_state=True)
    assert all(value.isfinite().all() for value in found.values())


def test_float32():
    core = make(8, 6, 2, 8, torch.float32, scale=1.0)
    inputs = torch.randn(6, 10, core.input_size)
    starts = torch.zeros(6, 10, dtype=torch.bool)
    assert_equal_unrolls(core, inputs, used_state(core, 10), starts, tolerance=1e-4)


def test_without_gradients_to_the_state():
    core = make(6, 4, 2, 5)
    inputs = torch.randn(4, 3, core.input_size, dtype=torch.float64)
    starts, state = torch.rand(4, 3) < 0.3, used_state(core, 3)
    assert_weights_learn_alike(core, inputs, state, starts)


def test_leaves_in_any_layout_and_some_of_them_trained():
    core = make(6, 4, 2, 5)
    inputs = torch.randn(4, 3, core.input_size, dtype=torch.float64)
    starts = torch.zeros(4, 3, dtype=torch.bool)
    plain = used_state(core, 3)
    strided = map_state(lambda leaf: leaf.movedim(0, -1).contiguous().movedim(-1, 0), plain)
    gradients = []
    for state, unroll in [(plain, unroll_by_steps), (strided, type(core).unroll)]:
        memory = state.memory.detach().requires_grad_()
        unroll(core, inputs, state._replace(memory=memory), starts).outputs.sum().backward()
        gradients.append(memory.grad)
    torch.testing.assert_close(*gradients)


# --- one result, however it is computed -----------------------------------------------------------------------------


@pytest.fixture
def window():
    """The kernel's own operands: (x, starts, weights, leaves), without the matrix products around it."""
    core = make(10, 7, 3, 9, torch.float32)
    steps, batch = 6, 21
    x = core.project(torch.randn(steps, batch, core.input_size)).detach()
    weights = core.recurrent_gates.weight, core.interface.weight, core.interface.bias
    return x, torch.rand(steps, batch) < 0.2, weights, used_state(core, batch)


def run(x, starts, weights, state):
    features, leaves = dnc_window(x, starts, *weights, leaves=state_leaves(state))
    return [features.detach(), *(leaf.detach() for leaf in leaves)]


@pytest.mark.parametrize("rows", [[4], [20, 0], list(range(8)), list(range(20, -1, -1)), [3] * 9], ids=str)
def test_a_row_does_not_depend_on_its_batch(window, rows):
    x, starts, weights, state = window
    features, *leaves = run(x, starts, weights, state)
    alone = run(x[:, rows], starts[:, rows], weights, select_rows(state, rows))
    assert_same_bits(alone, [features[:, rows], *(leaf[rows] for leaf in leaves)])


@pytest.mark.parametrize("grad", [False, True])
def test_steps_one_by_one_equal_the_window(window, grad):
    x, starts, weights, state = window
    with torch.set_grad_enabled(grad):
        expected = run(x, starts, weights, state)
    leaves, features = state_leaves(state), []
    with torch.no_grad():
        for t in range(len(x)):
            step, leaves = dnc_window(x[t : t + 1], starts[t : t + 1], *weights, leaves=leaves)
            features.append(step)
    assert_same_bits([torch.cat(features), *leaves], expected)


def test_the_number_of_threads_changes_nothing(window):
    x, starts, weights, state = window

    def call():
        core_x = x.clone().requires_grad_()
        features, _ = dnc_window(core_x, starts, *(w.detach() for w in weights), leaves=state_leaves(state))
        features.sum().backward()
        return [features.detach(), core_x.grad]

    results = on_threads(call)
    assert_same_bits(results[1], results[0])
    assert_same_bits(results[2], results[0])


def test_not_a_number_stays_in_its_row_and_ends_at_a_start(window):
    x, starts, weights, state = window
    clean = run(x, torch.ones_like(starts), weights, state)
    broken = map_state(lambda leaf: torch.full_like(leaf, float("nan")), state)
    assert_same_bits(run(x, torch.ones_like(starts), weights, broken), clean)
    x = x.clone()
    x[0, 5] = float("nan")
    features = run(x, torch.zeros_like(starts), weights, state)[0]
    assert features[:, 5].isnan().any() and not features[:, :5].isnan().any() and not features[:, 6:].isnan().any()


def test_two_callers_at_once(window):
    expected = run(*window)
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda _: run(*window), range(8)):
            assert_same_bits(found, expected)


def _window_in_child(operands, connection):
    connection.send([part.numpy() for part in run(*operands)])


def test_after_a_fork(window):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        expected = run(*window)  # starts the threads, which the child will not have
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        with torch.no_grad():
            child = context.Process(target=_window_in_child, args=(window, theirs))
            child.start()
        assert ours.poll(60), "the child hangs"
        assert_same_bits([torch.from_numpy(part) for part in ours.recv()], expected)
        child.join()
    finally:
        torch.set_num_threads(before)


def test_backward_twice_through_one_window(window):
    x, starts, weights, state = window
    x.requires_grad_()
    features, _ = dnc_window(x, starts, *weights, leaves=state_leaves(state))
    first, second = (torch.autograd.grad(features.square().sum(), x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


# --- where the kernel does not apply --------------------------------------------------------------------------------


def test_not_differentiable_twice():
    core = make(4, 3, 1, 4)
    inputs = torch.randn(2, 2, core.input_size, dtype=torch.float64, requires_grad=True)
    outputs = core.unroll(inputs, core.initial_state(2), torch.zeros(2, 2, dtype=torch.bool)).outputs
    (gradient,) = torch.autograd.grad(outputs.square().sum(), inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="twice"):
        gradient.sum().backward()


def test_shapes_that_do_not_belong_together_are_refused():
    core = make(4, 3, 1, 4)
    inputs, starts = torch.randn(2, 5, core.input_size, dtype=torch.float64), torch.zeros(2, 5, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"memory must be \(5, 4, 3\) .* not \(6, 4, 3\)"):
        core.unroll(inputs, core.initial_state(6), starts)
    state = core.initial_state(5)
    with pytest.raises(ValueError, match=r"link must be \(5, 4, 4\)"):
        core.unroll(inputs, state._replace(link=state.link[:, :3]), starts)
    with pytest.raises(ValueError, match="recurrent_weight must be"):
        core.unroll(inputs, make(4, 3, 2, 4).initial_state(5), starts)


def test_what_the_kernel_does_not_do_goes_through_the_loop(fused):
    core = make(4, 3, 1, 4, torch.float32)
    inputs, state = torch.randn(2, 2, core.input_size), core.initial_state(2)
    starts = torch.zeros(2, 2, dtype=torch.bool)
    core.unroll(inputs, state, starts)
    assert fused == ["dnc"]
    assert core.unroll(inputs, state, starts, trace=True).trace["usage"].shape == (2, 2, 4)
    with torch.autocast("cpu"):
        assert core.unroll(inputs, state, starts).state.memory.dtype == torch.float32
    assert fused == ["dnc"]
