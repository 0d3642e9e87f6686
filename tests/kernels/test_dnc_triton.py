"""The DNC's GPU kernels against the plain loop of its steps: on the CPU in Triton's interpreter, on a GPU if there is
one. The interpreter takes half a second for a row's step, so the windows are tiny.
"""

import importlib
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch

from memagents.cores import dnc as dnc_core
from memagents.cores.core import Unrolled, map_state, state_leaves, unroll_by_steps
from memagents.kernels.dnc_tape import Sizes
from memagents.kernels.triton import graph
from tests.kernels.test_dnc import make, used_state, values_and_gradients

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # Triton looks at it when it is imported
triton = pytest.importorskip("triton")
kernel = importlib.import_module("memagents.kernels.triton.dnc")

INTERPRETED = triton.knobs.runtime.interpret
DEVICES = [
    pytest.param("cpu", marks=pytest.mark.skipif(not INTERPRETED, reason="Triton was imported for a GPU")),
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
    ),
]
on_every_device = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture(autouse=True)
def workspaces(monkeypatch):
    """New ones for every test."""
    fresh = graph.Workspaces(kernel.Workspace)
    monkeypatch.setattr(kernel, "_workspaces", fresh)
    return fresh


def window_of(core, inputs, state, starts, device):
    """The recurrence of a core's window by the kernels on a device, from and to the CPU."""
    weights = core.recurrent_gates.weight, core.interface.weight, core.interface.bias
    x, starts, *weights = (tensor.to(device) for tensor in (core.project(inputs), starts, *weights))
    features, leaves = kernel.dnc_window(x, starts, *weights, [leaf.to(device) for leaf in state_leaves(state)])
    return features.cpu(), [leaf.cpu() for leaf in leaves]


def unroll_on(device):
    """:meth:`DNC.unroll` by the kernels on a device."""

    def unroll(core, inputs, state, starts):
        features, leaves = window_of(core, inputs, state, starts, device)
        state = dnc_core.DNCState._make([*leaves[:7], dnc_core.LSTMState(*leaves[7:])])
        return Unrolled(core.readout(features), state, {}, {})

    return unroll


def random_window(sizes, chance_of_start=0.0, dtype=torch.float64, seed=0):
    *shape, steps, batch = sizes
    core = make(*shape, dtype=dtype)
    torch.manual_seed(seed)
    starts = torch.rand(steps, batch) < chance_of_start
    return core, torch.randn(steps, batch, core.input_size, dtype=dtype), used_state(core, batch), starts


def assert_equal_unrolls(window, device, tolerance=1e-10):
    by_state = not window[-1].any()
    expected = values_and_gradients(unroll_by_steps, *window, by_state)
    found = values_and_gradients(unroll_on(device), *window, by_state)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        absolute = tolerance * (1 + value.abs().max().item())
        torch.testing.assert_close(found[name], value, rtol=0, atol=absolute, msg=lambda m, n=name: f"{n}: {m}")


# --- equal to the plain loop ----------------------------------------------------------------------------------------


@on_every_device
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1, 1), (5, 3, 2, 4, 3, 2), (3, 6, 1, 5, 3, 1)], ids=str)
def test_values_and_gradients_equal_the_plain_loop(sizes, device):
    assert_equal_unrolls(random_window(sizes), device)


@on_every_device
def test_starts_at_any_step(device):
    window = random_window((3, 2, 1, 2, 3, 3))
    starts = torch.tensor([[True, False, False], [False, True, False], [False, False, True]])
    assert_equal_unrolls((*window[:3], starts), device)


@on_every_device
def test_links_and_allocation_block_by_block(device, monkeypatch):
    monkeypatch.setattr(kernel, "_TILE", 16)  # two of eight rows
    assert_equal_unrolls(random_window((5, 3, 2, 4, 2, 1)), device)


@on_every_device
def test_single_precision(device):
    assert_equal_unrolls(random_window((6, 4, 2, 5, 2, 1), dtype=torch.float32), device, tolerance=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("sizes", [(64, 32, 4, 64, 10, 16), (32, 24, 2, 64, 9, 33), (100, 50, 3, 48, 5, 5)], ids=str)
@pytest.mark.parametrize("chance_of_start", [0.0, 0.1])
def test_a_gpu_at_the_sizes_of_use(sizes, chance_of_start):
    """In double precision; at the second and third turn by a graph."""
    for seed in range(3):
        assert_equal_unrolls(random_window(sizes, chance_of_start, seed=seed), "cuda", tolerance=1e-8)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_core_on_a_gpu_goes_through_the_kernels(workspaces):
    core, inputs, state, starts = random_window((5, 3, 2, 4, 3, 2), dtype=torch.float32)
    expected = core.unroll(inputs, state, starts)
    found = core.cuda().unroll(inputs.cuda(), map_state(lambda leaf: leaf.cuda(), state), starts.cuda())
    assert len(workspaces) == 1
    torch.testing.assert_close(found.outputs.cpu(), expected.outputs, rtol=0, atol=1e-4)


@on_every_device
def test_of_unused_slots_the_first_is_written(device):
    core, inputs, _, starts = random_window((4, 2, 1, 2, 1, 1))
    assert_equal_unrolls((core, inputs, core.initial_state(1), starts), device)


@on_every_device
def test_not_a_number_ends_at_a_start(device):
    core, inputs, state, starts = random_window((3, 2, 1, 2, 1, 1))
    starts[0] = True
    gradients = []
    for before in (state, map_state(lambda leaf: torch.full_like(leaf, float("nan")), state)):
        window = inputs.clone().requires_grad_()
        features, leaves = window_of(core, window, before, starts, device)
        sum(result.sum() for result in (features, *leaves)).backward()
        gradients.append(window.grad)
    assert torch.equal(*gradients) and gradients[0].any()


@on_every_device
def test_without_gradients_the_same(device, workspaces):
    core, inputs, state, starts = random_window((3, 2, 1, 2, 2, 1))
    expected, _ = window_of(core, inputs, state, starts, device)
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            found, _ = window_of(core, inputs, state, starts, device)
        assert expected.requires_grad and not found.requires_grad
        assert torch.equal(found, expected)
    assert len(workspaces) == 2


# --- workspaces -----------------------------------------------------------------------------------------------------


@on_every_device
def test_windows_in_flight_do_not_disturb_one_another(device, workspaces):
    core, inputs, state, starts = random_window((2, 1, 1, 2, 1, 1))
    gradients = {}
    for order in ("one by one", "together"):
        windows = [(inputs * scale).requires_grad_() for scale in (1.0, -2.0)]
        features = []
        for window in windows:
            features.append(window_of(core, window, state, starts, device)[0])
            if order == "one by one":
                features[-1].sum().backward()
        if order == "together":
            features[0].sum().backward(retain_graph=True)
            features[1].sum().backward()
            features[0].sum().backward()
            windows[0].grad /= 2
        gradients[order] = [window.grad for window in windows]
        assert len(workspaces) == (1 if order == "one by one" else 2)
    torch.testing.assert_close(gradients["together"], gradients["one by one"], rtol=0, atol=1e-12)
    with pytest.raises(RuntimeError, match="second time"):
        features[0].sum().backward()


def test_a_workspace_is_borrowed_until_its_token_is_gone():
    made = []
    pool = graph.Workspaces(lambda key: made.append(key) or [key], spare=2)
    first, token = pool.borrow("a")
    second, other = pool.borrow("a")
    assert first is not second and made == ["a", "a"]
    del token
    third, token = pool.borrow("a")
    assert third is first and len(made) == 2
    del token, other
    for key in ("b", "c", "d"):
        pool.borrow(key)
    assert len(pool) == 2 and made == ["a", "a", "b", "c", "d"]
    pool.borrow("c")
    assert len(made) == 5, "the two that were used last are kept"


# --- graphs ---------------------------------------------------------------------------------------------------------


class FakeGraph:
    """What it was made to do, and how often."""

    made = 0

    def __init__(self):
        FakeGraph.made += 1
        self.replayed = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def replay(self):
        self.replayed += 1


@pytest.fixture
def cuda(monkeypatch):
    monkeypatch.setattr(FakeGraph, "made", 0)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", lambda made, **_: made)
    monkeypatch.setattr(graph, "_capture_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    return torch.device("cuda")


def test_the_second_call_is_captured_and_replayed(cuda):
    calls = []
    captured = graph.Captured(cuda)
    for _ in range(4):
        captured(lambda: calls.append(FakeGraph.made))
    assert calls == [0, 1], "once launched, once recorded"
    assert captured._graph.replayed == 3


def test_inside_another_capture_nothing_is_captured(cuda, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    calls = []
    captured = graph.Captured(cuda)
    for _ in range(3):
        captured(lambda: calls.append(1))
    assert len(calls) == 3 and not FakeGraph.made


def test_a_failed_capture_is_said_once_and_the_work_goes_on(cuda, monkeypatch):
    def refuse():
        raise RuntimeError("no memory for a graph")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", refuse)
    calls = []
    captured = graph.Captured(cuda)
    captured(lambda: calls.append(1))
    with pytest.warns(UserWarning, match="no memory for a graph"):
        captured(lambda: calls.append(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        captured(lambda: calls.append(1))
    assert len(calls) == 3


def test_elsewhere_every_call_is_made():
    calls = []
    captured = graph.Captured(torch.device("cpu"))
    for _ in range(3):
        captured(lambda: calls.append(1))
    assert len(calls) == 3


# --- which windows go through the kernels ---------------------------------------------------------------------------


def fake_tensors(dtype=torch.float32, other_dtype=torch.float32):
    device = torch.device("cuda")
    return [SimpleNamespace(is_cuda=True, device=device, dtype=d) for d in (dtype, other_dtype)]


def test_which_tensors_the_kernels_take(monkeypatch):
    core = make(4, 3, 1, 4, torch.float32)
    assert core._fused_window(fake_tensors()) is kernel.dnc_window
    assert core._fused_window(fake_tensors(torch.float64, torch.float64)) is kernel.dnc_window
    assert core._fused_window(fake_tensors(torch.float16, torch.float16)) is None
    assert core._fused_window(fake_tensors(torch.float32, torch.float64)) is None
    assert core._fused_window([torch.zeros(2, device="meta")]) is None
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device == "cuda")
    assert core._fused_window(fake_tensors()) is None


def test_a_trace_comes_from_the_plain_loop(monkeypatch):
    core, inputs, state, starts = random_window((4, 3, 1, 4, 2, 2))
    monkeypatch.setattr(dnc_core.DNC, "_fused_window", lambda *_: pytest.fail("a kernel was asked for"))
    assert core.unroll(inputs, state, starts, trace=True).trace["usage"].shape == (2, 2, 4)


def test_a_memory_that_is_too_large_is_refused_once():
    core = make(4, 3, 1, 4)
    core.slots = 5000
    with pytest.warns(UserWarning, match="5000 slots of 3 numbers are too many"):
        assert core._fused_window(fake_tensors()) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert core._fused_window(fake_tensors()) is None


def test_without_triton_there_is_a_warning(monkeypatch):
    monkeypatch.delattr("memagents.kernels.triton.dnc")
    monkeypatch.setitem(sys.modules, "memagents.kernels.triton.dnc", None)
    with pytest.warns(UserWarning, match="pip install triton"):
        assert dnc_core._triton_window.__wrapped__(4, 3) is None


def test_shapes_that_do_not_belong_together_are_refused():
    core, inputs, state, starts = random_window((4, 3, 1, 4, 2, 2))
    with pytest.raises(ValueError, match=r"link must be \(2, 4, 4\)"):
        window_of(core, inputs, state._replace(link=state.link[:, :3]), starts, "cpu")


# --- outside of the interpreter -------------------------------------------------------------------------------------


def compile_for_a_gpu():
    """What the interpreter takes and the compiler may not, for an H100 or H200, which need not be here."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    key = kernel.Key(Sizes(5, 3, 1, 4), 1, 1, True, torch.float32, torch.device("cpu"), 0)
    constants = kernel.Workspace(key).constants
    for function in (kernel.access, kernel.rebuild, kernel.access_backward, kernel.lstm, kernel.lstm_backward):
        own = {name: constants[name] for name in function.arg_names if name in constants}
        signature = dict.fromkeys(function.arg_names, "*fp32") | dict.fromkeys(own, "constexpr") | {"starts": "*u8"}
        signature |= {parameter.name: "i32" for parameter in function.params if parameter.do_not_specialize}
        triton.compile(ASTSource(function, signature, own), target=GPUTarget("cuda", 90, 32))


@pytest.mark.slow
def test_the_kernels_compile_for_a_gpu_and_nothing_else_imports_triton(tmp_path):
    code = """
import sys
import memagents
memagents.make_core("dnc", input_size=3)
assert "triton" not in sys.modules
from tests.kernels.test_dnc_triton import compile_for_a_gpu
compile_for_a_gpu()
"""
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
