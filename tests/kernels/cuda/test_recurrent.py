"""LSTM's and GRU's GPU kernels against the plain loop of their steps, see :mod:`tests.kernels.support.interpreter`."""

import importlib
import sys

import pytest
import torch

from memagents.cores import core as contract
from memagents.cores.core import Unrolled, state_leaves, unroll_by_steps
from tests.kernels.support import interpreter
from tests.kernels.support.interpreter import DEVICES, FakeGraph, needs_a_gpu, on_device
from tests.kernels.support.recurrent import NAMES, assert_equal_unrolls, make, operands, used_state
from tests.kernels.support.windows import values_and_gradients

kernel = importlib.import_module("memagents.kernels.cuda.recurrent.window")


@pytest.fixture(params=NAMES)
def name(request):
    """Name of a core."""
    return request.param


@pytest.fixture
def window(name):
    """The core's, on a GPU."""
    return getattr(kernel, f"{name}_window")


@pytest.fixture(autouse=True)
def workspaces(name, monkeypatch):
    """New ones for every test."""
    kind = getattr(kernel, f"{name.upper()}Workspace")
    return interpreter.new_workspaces(monkeypatch, kernel, f"_{name}_workspaces", kind)


@pytest.fixture(params=DEVICES)
def device(request, window, monkeypatch):
    """One whose kernels every window goes by."""
    interpreter.go_by(monkeypatch, window, request.param)
    return request.param


def random_window(name, sizes, chance_of_start=0.0, dtype=torch.float64, seed=0):
    """A core, and the inputs, the state and the starts of a window.

    :param sizes: hidden, steps, batch
    """
    hidden, steps, batch = sizes
    return interpreter.random_window(make(name, hidden, dtype), used_state, steps, batch, chance_of_start, seed)


def in_three_windows(core, inputs, state, starts):
    outputs = []
    for now, begun in zip(inputs.tensor_split(3), starts.tensor_split(3), strict=True):
        unrolled = core.unroll(now, state, begun)
        outputs.append(unrolled.outputs)
        state = unrolled.state
    return Unrolled(torch.cat(outputs), state, {}, {})


# --- equal to the plain loop ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("sizes", [(1, 1, 1), (5, 3, 4), (8, 2, 16), (3, 4, 1), (13, 2, 23)], ids=str)
@pytest.mark.parametrize("chance_of_start", [0.0, 0.4])
def test_values_and_gradients_equal_the_plain_loop(name, sizes, chance_of_start):
    """One program and, for 13 units in 23 rows, three, where a row begins in one and ends in the next."""
    assert_equal_unrolls(*random_window(name, sizes, chance_of_start), tolerance=1e-10)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("rows", [slice(None), slice(0, 1), slice(2, 3), slice(4, 5)], ids=["each", "0", "2", "4"])
def test_a_start_at_every_step(name, rows):
    """At each step in another row; and in one row at the first, the middle and the last step."""
    core, inputs, state, _ = random_window(name, (3, 5, 5))
    starts = torch.zeros(5, 5, dtype=torch.bool)
    starts[rows] = torch.eye(5, dtype=torch.bool)[rows]
    assert_equal_unrolls(core, inputs, state, starts, tolerance=1e-10)


@pytest.mark.usefixtures("device")
def test_a_single_step(name, workspaces):
    for seed in range(2):
        assert_equal_unrolls(*random_window(name, (4, 1, 3), 0.5, seed=seed), tolerance=1e-10)
    assert len(workspaces) == 1


@pytest.mark.usefixtures("device")
def test_windows_in_a_row_in_workspaces_that_were_used_before(name, workspaces):
    for seed in range(2):
        window = random_window(name, (3, 6, 2), 0.3, seed=seed)
        assert window[-1].any()
        expected = values_and_gradients(unroll_by_steps, *window, by_state=True)
        found = values_and_gradients(in_three_windows, *window, by_state=True)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert len(workspaces) == 3


@pytest.mark.usefixtures("device")
def test_single_precision(name):
    assert_equal_unrolls(*random_window(name, (6, 3, 2), 0.3, dtype=torch.float32), tolerance=1e-5)


@pytest.mark.usefixtures("device")
def test_gradients_to_a_state_alone_from_a_state_alone(name):
    core, inputs, state, starts = random_window(name, (4, 2, 2))
    core.requires_grad_(False)
    gradients = []
    for unroll in (unroll_by_steps, type(core).unroll):
        hidden = state.hidden.clone().requires_grad_()
        unroll(core, inputs, state._replace(hidden=hidden), starts).state.hidden.square().sum().backward()
        gradients.append(hidden.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


@pytest.mark.usefixtures("device")
def test_not_a_number_ends_at_a_start(name):
    interpreter.assert_not_a_number_ends_at_a_start(*random_window(name, (3, 2, 2)))


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("steps", [1, 3])
def test_without_gradients_the_same(name, steps, workspaces):
    interpreter.assert_the_same_without_gradients(*random_window(name, (3, steps, 2)))
    assert len(workspaces) == 2


@pytest.mark.usefixtures("device")
def test_operands_need_not_be_contiguous(name, device, window):
    x, starts, weights, leaves = operands(name, 3, 4, 5)
    given = [x, *weights, *leaves]
    strided = [torch.stack([tensor, tensor], dim=-1)[..., 0] for tensor in given]
    straight, other = (on_device(window, device)(own[0], starts, *own[1:]) for own in (given, strided))
    torch.testing.assert_close(other, straight, rtol=0, atol=0)


@pytest.mark.gpu
@needs_a_gpu
@pytest.mark.parametrize("sizes", [(128, 32, 64), (64, 9, 33), (100, 5, 300)], ids=str)
@pytest.mark.parametrize("chance_of_start", [0.0, 0.1])
def test_a_gpu_at_the_sizes_of_use(name, window, sizes, chance_of_start, monkeypatch):
    """In double precision; at the second and third turn by a graph."""
    interpreter.go_by(monkeypatch, window, "cuda")
    for seed in range(3):
        assert_equal_unrolls(*random_window(name, sizes, chance_of_start, seed=seed), tolerance=1e-8)


@pytest.mark.gpu
@needs_a_gpu
@pytest.mark.parametrize("steps", [1, 3])
def test_a_core_on_a_gpu_goes_through_the_kernels(name, steps, workspaces):
    window = random_window(name, (5, steps, 2), 0.3, dtype=torch.float32)
    interpreter.assert_a_core_on_a_gpu_gives_the_same(*window)
    assert len(workspaces) == 1


@pytest.mark.gpu
@needs_a_gpu
def test_acting_inside_somebody_elses_graph(name):
    core, inputs, state, starts = random_window(name, (5, 1, 2), dtype=torch.float32)
    expected = unroll_by_steps(core, inputs, state, starts).outputs
    core, inputs, state, starts = (
        core.cuda(),
        inputs.cuda(),
        contract.map_state(torch.Tensor.cuda, state),
        starts.cuda(),
    )
    with torch.no_grad():
        core.unroll(inputs, state, starts)  # compiles
        recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded):
            outputs = core.unroll(inputs, state, starts).outputs
        for _ in range(2):
            outputs.zero_()
            recorded.replay()
            torch.testing.assert_close(outputs.cpu(), expected, rtol=0, atol=1e-4)


# --- as a graph -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("device", DEVICES[:1], indirect=True)
@pytest.mark.parametrize("steps", [1, 3])
def test_a_graph_does_with_new_numbers_what_the_launches_did(name, steps, monkeypatch):
    interpreter.taped_graphs(monkeypatch)
    for seed in range(3):
        assert_equal_unrolls(*random_window(name, (3, steps, 2), 0.5, seed=seed), tolerance=1e-10)
    assert FakeGraph.made == 2, "forward and backward"


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("device", DEVICES[:1], indirect=True)
def test_acting_is_a_graph_of_its_own(name, monkeypatch):
    interpreter.taped_graphs(monkeypatch)
    for seed in range(3):
        core, inputs, state, starts = random_window(name, (3, 1, 2), 0.5, seed=seed)
        with torch.no_grad():
            expected, found = unroll_by_steps(core, inputs, state, starts), core.unroll(inputs, state, starts)
        torch.testing.assert_close(found.outputs, expected.outputs, rtol=0, atol=1e-10)
        torch.testing.assert_close(state_leaves(found.state), state_leaves(expected.state), rtol=0, atol=1e-10)
    assert FakeGraph.made == 1, "forward alone"


# --- which windows go through the kernels ---------------------------------------------------------------------------


def test_which_tensors_the_kernels_take(name, window, monkeypatch):
    interpreter.assert_takes(name, window, monkeypatch)


def test_without_triton_there_is_a_warning_once(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "memagents.kernels.cuda.recurrent.window", None)
    interpreter.assert_refused_once(name, f"the {name.upper()}'s GPU kernels need Triton .pip install triton")


@pytest.mark.parametrize("number", range(4))
def test_wrong_shapes_are_refused(name, window, number):
    x, starts, weights, leaves = operands(name, 4, 3, 8)
    given = [x, *weights, *leaves]
    given[number] = torch.cat([given[number], given[number]])
    with pytest.raises(ValueError, match=r"must be .* beside the others, not"):
        window(given[0], starts, *given[1:])


@pytest.mark.slow
def test_the_kernels_compile_for_a_gpu_and_nothing_else_imports_triton(name, tmp_path):
    workspace, modules = f"recurrent.window.{name.upper()}Workspace", [f"recurrent.{name}"]
    interpreter.assert_compiles_for_a_gpu(name, workspace, "RecurrentSizes", (5,), modules, tmp_path)
