"""The NTM's GPU kernels against the plain loop of its steps, see :mod:`tests.kernels.support.interpreter`."""

import importlib
import sys

import pytest
import torch

from memagents.cores.core import Unrolled, unroll_by_steps
from memagents.cores.ntm import NTM
from tests.kernels.support import interpreter
from tests.kernels.support.interpreter import DEVICES, FakeGraph, needs_a_gpu
from tests.kernels.support.ntm import make, used_state
from tests.kernels.support.windows import assert_equal_unrolls, values_and_gradients

kernel = importlib.import_module("memagents.kernels.cuda.ntm.window")


@pytest.fixture(autouse=True)
def workspaces(monkeypatch):
    """New ones for every test."""
    return interpreter.new_workspaces(monkeypatch, kernel, "_workspaces", kernel.NTMWorkspace)


@pytest.fixture(params=DEVICES)
def device(request, monkeypatch):
    """One whose kernels every window goes by."""
    interpreter.go_by(monkeypatch, kernel.ntm_window, request.param)
    return request.param


def random_window(sizes, chance_of_start=0.0, dtype=torch.float64, seed=0, **options):
    *shape, steps, batch = sizes
    core = make(*shape, dtype=dtype, **options)
    return interpreter.random_window(core, used_state, steps, batch, chance_of_start, seed)


def in_two_windows(core, inputs, state, starts):
    half = len(inputs) // 2
    first = core.unroll(inputs[:half], state, starts[:half])
    second = core.unroll(inputs[half:], first.state, starts[half:])
    return Unrolled(torch.cat([first.outputs, second.outputs]), second.state, {}, {})


# --- equal to the plain loop ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ((3, 1, 1, 1, 1, 1), {}),
        ((5, 3, 2, 4, 2, 2), {"initial_memory": "learned"}),
        ((7, 6, 1, 5, 2, 1), {"shifts": 3}),
        ((4, 2, 3, 2, 1, 1), {"clip": 0.4}),
        ((6, 5, 1, 3, 1, 1), {"clip": None, "shifts": 2}),
    ],
    ids=str,
)
def test_values_and_gradients_equal_the_plain_loop(sizes, options):
    assert_equal_unrolls(*random_window(sizes, **options))


@pytest.mark.usefixtures("device")
def test_starts_at_any_step():
    window = random_window((3, 2, 1, 2, 3, 2), initial_memory="learned")
    starts = torch.tensor([[True, False], [False, True], [False, True]])
    assert_equal_unrolls(*window[:3], starts=starts)


@pytest.mark.usefixtures("device")
def test_windows_in_a_row_in_workspaces_that_were_used_before(workspaces):
    for seed in range(2):
        window = random_window((3, 2, 1, 2, 4, 1), 0.4, seed=seed, initial_memory="learned")
        assert window[-1].any()
        expected = values_and_gradients(unroll_by_steps, *window, by_state=True)
        found = values_and_gradients(in_two_windows, *window, by_state=True)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert len(workspaces) == 2


@pytest.mark.usefixtures("device")
def test_the_memory_is_computed_again_block_by_block(monkeypatch):
    monkeypatch.setattr(kernel, "_TILE", 8)  # two of eight slots
    assert_equal_unrolls(*random_window((5, 3, 1, 2, 3, 1)))


@pytest.mark.usefixtures("device")
def test_single_precision():
    assert_equal_unrolls(*random_window((6, 4, 1, 5, 2, 1), dtype=torch.float32), tolerance=1e-4)


@pytest.mark.usefixtures("device")
def test_gradients_to_a_state_alone_from_a_state_alone():
    core, inputs, state, starts = random_window((4, 2, 1, 2, 1, 1), scale=1.0)
    core.requires_grad_(False)
    gradients = []
    for unroll in (unroll_by_steps, NTM.unroll):
        memory, weights = (leaf.clone().requires_grad_() for leaf in state[:2])
        after = unroll(core, inputs, state._replace(memory=memory, weights=weights), starts).state
        after.read_vectors.square().sum().backward()
        gradients.append([memory.grad, weights.grad])
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


@pytest.mark.usefixtures("device")
def test_not_a_number_ends_at_a_start():
    interpreter.assert_not_a_number_ends_at_a_start(*random_window((3, 2, 1, 2, 1, 1)))


@pytest.mark.usefixtures("device")
def test_without_gradients_the_same(workspaces):
    interpreter.assert_the_same_without_gradients(*random_window((3, 2, 1, 2, 2, 1)))
    assert len(workspaces) == 2


@pytest.mark.gpu
@needs_a_gpu
@pytest.mark.parametrize("sizes", [(128, 20, 1, 100, 10, 16), (64, 32, 4, 64, 9, 33), (100, 50, 3, 48, 5, 5)], ids=str)
@pytest.mark.parametrize("chance_of_start", [0.0, 0.1])
def test_a_gpu_at_the_sizes_of_use(sizes, chance_of_start, monkeypatch):
    """In double precision; at the second and third turn by a graph."""
    interpreter.go_by(monkeypatch, kernel.ntm_window, "cuda")
    for seed in range(3):
        assert_equal_unrolls(*random_window(sizes, chance_of_start, seed=seed), tolerance=1e-8)


@pytest.mark.gpu
@needs_a_gpu
def test_a_core_on_a_gpu_goes_through_the_kernels(workspaces):
    window = random_window((5, 3, 2, 4, 3, 2), 0.3, dtype=torch.float32, scale=1.0)
    interpreter.assert_a_core_on_a_gpu_gives_the_same(*window)
    assert len(workspaces) == 1


# --- as a graph -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("device", DEVICES[:1], indirect=True)
def test_a_graph_does_with_new_numbers_what_the_launches_did(monkeypatch):
    interpreter.taped_graphs(monkeypatch)
    for seed in range(3):
        window = random_window((3, 2, 1, 2, 2, 1), chance_of_start=0.5, seed=seed)
        assert_equal_unrolls(*window)
    assert FakeGraph.made == 2, "forward and backward"


# --- which windows go through the kernels ---------------------------------------------------------------------------


def test_which_tensors_the_kernels_take(monkeypatch):
    interpreter.assert_takes("ntm", kernel.ntm_window, monkeypatch, slots=4, width=3, shifts=1)


@pytest.mark.parametrize("sizes", [(5000, 3, 1), (512, 3, 200)], ids=str)
def test_a_core_that_is_too_large_is_refused_once(sizes):
    slots, width, shifts = sizes
    match = f"slots={slots}, width={width}, shifts={shifts} is too much for the NTM"
    interpreter.assert_refused_once("ntm", match, slots=slots, width=width, shifts=shifts)


def test_without_triton_there_is_a_warning_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "memagents.kernels.cuda.ntm.window", None)
    interpreter.assert_refused_once("ntm", "pip install triton", slots=4, width=3, shifts=1)


@pytest.mark.usefixtures("device")
def test_shapes_that_do_not_belong_together_are_refused():
    core, inputs, state, starts = random_window((4, 3, 1, 4, 2, 2))
    with pytest.raises(ValueError, match=r"weights must be \(2, 2, 4\)"):
        core.unroll(inputs, state._replace(weights=state.weights[:, :1]), starts)


@pytest.mark.slow
def test_the_kernels_compile_for_a_gpu_and_nothing_else_imports_triton(tmp_path):
    modules = ["ntm.forward", "ntm.backward", "recurrent.lstm"]
    sizes = (5, 3, 1, 4, 3, 20.0)
    interpreter.assert_compiles_for_a_gpu("ntm", "ntm.window.NTMWorkspace", "ClippedNTMSizes", sizes, modules, tmp_path)
