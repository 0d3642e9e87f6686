"""The DNC's GPU kernels against the plain loop of its steps, see :mod:`tests.kernels.support.interpreter`."""

import importlib
import sys

import pytest
import torch

from memagents.kernels import choice
from tests.kernels.support import interpreter
from tests.kernels.support.dnc import assert_equal_unrolls, make, used_state
from tests.kernels.support.interpreter import DEVICES, needs_a_gpu

kernel = importlib.import_module("memagents.kernels.cuda.dnc.window")


@pytest.fixture(autouse=True)
def workspaces(monkeypatch):
    """New ones for every test."""
    return interpreter.new_workspaces(monkeypatch, kernel, "_workspaces", kernel.DNCWorkspace)


@pytest.fixture(params=DEVICES)
def device(request, monkeypatch):
    """One whose kernels every window goes by."""
    interpreter.go_by(monkeypatch, kernel.dnc_window, request.param)
    return request.param


def random_window(sizes, chance_of_start=0.0, dtype=torch.float64, seed=0):
    *shape, steps, batch = sizes
    return interpreter.random_window(make(*shape, dtype=dtype), used_state, steps, batch, chance_of_start, seed)


# --- equal to the plain loop ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1, 1), (5, 3, 2, 4, 3, 2), (3, 6, 1, 5, 3, 1)], ids=str)
def test_values_and_gradients_equal_the_plain_loop(sizes):
    assert_equal_unrolls(*random_window(sizes))


@pytest.mark.usefixtures("device")
def test_starts_at_any_step():
    window = random_window((3, 2, 1, 2, 3, 3))
    starts = torch.tensor([[True, False, False], [False, True, False], [False, False, True]])
    assert_equal_unrolls(*window[:3], starts=starts)


@pytest.mark.usefixtures("device")
def test_links_and_allocation_block_by_block(monkeypatch):
    monkeypatch.setattr(kernel, "_TILE", 16)  # two of eight rows
    assert_equal_unrolls(*random_window((5, 3, 2, 4, 2, 1)))


@pytest.mark.usefixtures("device")
def test_single_precision():
    assert_equal_unrolls(*random_window((6, 4, 2, 5, 2, 1), dtype=torch.float32), tolerance=1e-4)


@pytest.mark.gpu
@needs_a_gpu
@pytest.mark.parametrize("sizes", [(64, 32, 4, 64, 10, 16), (32, 24, 2, 64, 9, 33), (100, 50, 3, 48, 5, 5)], ids=str)
@pytest.mark.parametrize("chance_of_start", [0.0, 0.1])
def test_a_gpu_at_the_sizes_of_use(sizes, chance_of_start, monkeypatch):
    """In double precision; at the second and third turn by a graph."""
    interpreter.go_by(monkeypatch, kernel.dnc_window, "cuda")
    for seed in range(3):
        assert_equal_unrolls(*random_window(sizes, chance_of_start, seed=seed), tolerance=1e-8)


@pytest.mark.gpu
@needs_a_gpu
def test_a_core_on_a_gpu_goes_through_the_kernels(workspaces):
    interpreter.assert_a_core_on_a_gpu_gives_the_same(*random_window((5, 3, 2, 4, 3, 2), dtype=torch.float32))
    assert len(workspaces) == 1


@pytest.mark.usefixtures("device")
def test_of_unused_slots_the_first_is_written():
    core, inputs, _, starts = random_window((4, 2, 1, 2, 1, 1))
    assert_equal_unrolls(core, inputs, core.initial_state(1), starts)


@pytest.mark.usefixtures("device")
def test_not_a_number_ends_at_a_start():
    interpreter.assert_not_a_number_ends_at_a_start(*random_window((3, 2, 1, 2, 1, 1)))


@pytest.mark.usefixtures("device")
def test_without_gradients_the_same(workspaces):
    interpreter.assert_the_same_without_gradients(*random_window((3, 2, 1, 2, 2, 1)))
    assert len(workspaces) == 2


@pytest.mark.usefixtures("device")
def test_windows_in_flight_do_not_disturb_one_another(workspaces):
    core, inputs, state, starts = random_window((2, 1, 1, 2, 1, 1))
    gradients = {}
    for order in ("one by one", "together"):
        windows = [(inputs * scale).requires_grad_() for scale in (1.0, -2.0)]
        outputs = []
        for window in windows:
            outputs.append(core.unroll(window, state, starts).outputs)
            if order == "one by one":
                outputs[-1].sum().backward()
        if order == "together":
            outputs[0].sum().backward(retain_graph=True)
            outputs[1].sum().backward()
            outputs[0].sum().backward()
            windows[0].grad /= 2
        gradients[order] = [window.grad for window in windows]
        assert len(workspaces) == (1 if order == "one by one" else 2)
    torch.testing.assert_close(gradients["together"], gradients["one by one"], rtol=0, atol=1e-12)
    with pytest.raises(RuntimeError, match="second time"):
        outputs[0].sum().backward()


# --- which windows go through the kernels ---------------------------------------------------------------------------


def test_which_tensors_the_kernels_take(monkeypatch):
    interpreter.assert_takes("dnc", kernel.dnc_window, monkeypatch, slots=4, width=3)


def test_a_trace_comes_from_the_plain_loop(monkeypatch):
    core, inputs, state, starts = random_window((4, 3, 1, 4, 2, 2))
    monkeypatch.setattr(choice, "window_for", lambda *_, **__: pytest.fail("a kernel was asked for"))
    assert core.unroll(inputs, state, starts, trace=True).trace["usage"].shape == (2, 2, 4)


def test_a_memory_that_is_too_large_is_refused_once():
    match = "slots=5000, width=3 is too much for the DNC"
    interpreter.assert_refused_once("dnc", match, slots=5000, width=3)


def test_without_triton_there_is_a_warning_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "memagents.kernels.cuda.dnc.window", None)
    interpreter.assert_refused_once("dnc", "pip install triton", slots=4, width=3)


@pytest.mark.usefixtures("device")
def test_shapes_that_do_not_belong_together_are_refused():
    core, inputs, state, starts = random_window((4, 3, 1, 4, 2, 2))
    with pytest.raises(ValueError, match=r"link must be \(2, 4, 4\)"):
        core.unroll(inputs, state._replace(link=state.link[:, :3]), starts)


@pytest.mark.slow
def test_the_kernels_compile_for_a_gpu_and_nothing_else_imports_triton(tmp_path):
    modules = ["dnc.forward", "dnc.backward", "recurrent.lstm"]
    interpreter.assert_compiles_for_a_gpu("dnc", "dnc.window.DNCWorkspace", "DNCSizes", (5, 3, 1, 4), modules, tmp_path)
