"""Running the Triton kernels in tests: on the CPU in Triton's interpreter, and on a GPU if there is one.

The interpreter takes half a second for a row's step, so the windows are tiny.
"""

import importlib
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map_only

from memagents.cores.core import map_state, state_leaves
from memagents.kernels import choice
from memagents.kernels.cuda import graph
from tests.support.tape import Tape

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # Triton looks at it when it is imported
triton = pytest.importorskip("triton")
workspace = importlib.import_module("memagents.kernels.cuda.workspace")

INTERPRETED = triton.knobs.runtime.interpret
needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = [
    pytest.param("cpu", marks=pytest.mark.skipif(not INTERPRETED, reason="Triton was imported for a GPU")),
    pytest.param("cuda", marks=[pytest.mark.gpu, needs_a_gpu]),
]


def on_device(window, device):
    """A kernel's window that works on a device, from and to the CPU."""

    def moved(*operands):
        results = window(*tree_map_only(torch.Tensor, lambda tensor: tensor.to(device), operands))
        return tree_map_only(torch.Tensor, lambda tensor: tensor.cpu(), results)

    return moved


def go_by(monkeypatch, window, device):
    """Every core's windows go through a kernel on a device."""
    moved = on_device(window, device)
    monkeypatch.setattr(choice, "window_for", lambda core, tensors, **sizes: moved)


def new_workspaces(monkeypatch, module, name, kind):
    """In place of those of a module, which other tests have used."""
    fresh = graph.Workspaces(kind)
    monkeypatch.setattr(module, name, fresh)
    return fresh


def random_window(core, used_state, steps, batch, chance_of_start=0.0, seed=0):
    """A core, and the inputs, the state and the starts of a window."""
    torch.manual_seed(seed)
    dtype = next(core.parameters()).dtype
    starts = torch.rand(steps, batch) < chance_of_start
    return core, torch.randn(steps, batch, core.input_size, dtype=dtype), used_state(core, batch), starts


# --- true of every core --------------------------------------------------------------------------------------------


def assert_not_a_number_ends_at_a_start(core, inputs, state, starts):
    starts[0] = True
    gradients = []
    for before in (state, map_state(lambda leaf: torch.full_like(leaf, float("nan")), state)):
        window = inputs.clone().requires_grad_()
        unrolled = core.unroll(window, before, starts)
        sum(result.sum() for result in (unrolled.outputs, *state_leaves(unrolled.state))).backward()
        gradients.append(window.grad)
    assert torch.equal(*gradients) and gradients[0].any()


def assert_the_same_without_gradients(core, inputs, state, starts):
    expected = core.unroll(inputs, state, starts).outputs
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            found = core.unroll(inputs, state, starts).outputs
        assert expected.requires_grad and not found.requires_grad
        assert torch.equal(found, expected)


def assert_a_core_on_a_gpu_gives_the_same(core, inputs, state, starts):
    expected = core.unroll(inputs, state, starts)
    found = core.cuda().unroll(inputs.cuda(), map_state(lambda leaf: leaf.cuda(), state), starts.cuda())
    torch.testing.assert_close(found.outputs.cpu(), expected.outputs, rtol=0, atol=1e-4)


# --- without a device -----------------------------------------------------------------------------------------------


def fake_tensors(dtype=torch.float32, other_dtype=torch.float32):
    """Stand-ins for tensors on a GPU, with all that a kernel is chosen by."""
    device = torch.device("cuda")
    return [SimpleNamespace(device=device, dtype=d) for d in (dtype, other_dtype)]


def assert_takes(core, window, monkeypatch, **sizes):
    """Assert which tensors the kernel of a core is chosen for."""

    def chosen(tensors):
        return choice.window_for(core, tensors, **sizes)

    assert chosen(fake_tensors()) is window
    assert chosen(fake_tensors(torch.float64, torch.float64)) is window
    assert chosen(fake_tensors(torch.float16, torch.float16)) is None
    assert chosen(fake_tensors(torch.float32, torch.float64)) is None
    assert chosen([torch.zeros(2, device="meta")]) is None
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device == "cuda")
    assert chosen(fake_tensors()) is None


def assert_refused_once(core, match, **sizes):
    """A window on a GPU, with a warning at this call that comes no second time."""
    choice._cuda_window.cache_clear()
    with pytest.warns(UserWarning, match=match) as warned:
        assert choice.window_for(core, fake_tensors(), **sizes) is None
    assert warned[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choice.window_for(core, fake_tensors(), **sizes) is None
    choice._cuda_window.cache_clear()


class FakeGraph:
    """Counts how many were made, and how often one was replayed."""

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


class TapedGraph(FakeGraph):
    """One of torch's operations and our launches. Recording them does them, so that the first replay has nothing to do.

    It repeats neither what Python decided nor what lies outside of the buffers: that would stay as it was.
    """

    recording: "Tape | None" = None

    def __init__(self):
        super().__init__()
        self._tape = Tape()

    def __enter__(self):
        TapedGraph.recording = self._tape
        return self._tape.__enter__()

    def __exit__(self, *error):
        TapedGraph.recording = None
        return self._tape.__exit__(*error)

    def replay(self):
        super().replay()
        if self.replayed > 1:
            self._tape.replay()


def taped_graphs(monkeypatch):
    """In place of CUDA's graphs those of a tape, on the CPU."""
    cuda, launch = fake_graphs(monkeypatch, TapedGraph), workspace.Workspace._launch

    def taped(*arguments):
        with _disable_current_modes():
            launch(*arguments)
        if TapedGraph.recording:
            TapedGraph.recording.operations.append((launch, arguments, {}, None))

    monkeypatch.setattr(workspace.Workspace, "_launch", taped)
    monkeypatch.setattr(workspace, "Captured", lambda device: graph.Captured(cuda))


def fake_graphs(monkeypatch, kind=FakeGraph):
    """Graphs of a kind in place of CUDA's."""
    monkeypatch.setattr(FakeGraph, "made", 0)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", kind)
    monkeypatch.setattr(torch.cuda, "graph", lambda made, **_: made)
    monkeypatch.setattr("memagents.kernels.cuda.graph.side_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    return torch.device("cuda")


# --- outside of the interpreter -------------------------------------------------------------------------------------


def compile_for_a_gpu(workspace, sizes_type, sizes, modules):
    """Compile for an H100 or H200, which need not be here: the compiler may refuse what the interpreter takes.

    :param workspace: module and class of a workspace, for whose constants its kernels are compiled
    :param sizes_type: of the core's sizes, a name in that module
    :param sizes: of the core
    :param modules: modules of the kernels; each kernel takes ``starts`` first
    """
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from memagents.kernels.cuda.workspace import Key

    package, (module, name) = "memagents.kernels.cuda", workspace.rsplit(".", 1)
    kernel = importlib.import_module(f"{package}.{module}")
    key = Key(getattr(kernel, sizes_type)(*sizes), 1, 1, True, torch.float32, torch.device("cpu"), 0)
    constants = getattr(kernel, name)(key).constants
    found = [
        function for module in modules for function in vars(importlib.import_module(f"{package}.{module}")).values()
    ]
    functions = [f for f in found if isinstance(f, triton.JITFunction) and f.arg_names[0] == "starts"]
    assert len(functions) >= 2 * len(modules) - 1
    for function in functions:
        own = {name: constants[name] for name in function.arg_names if name in constants}
        signature = dict.fromkeys(function.arg_names, "*fp32") | dict.fromkeys(own, "constexpr") | {"starts": "*u8"}
        signature |= {parameter.name: "i32" for parameter in function.params if parameter.do_not_specialize}
        triton.compile(ASTSource(function, signature, own), target=GPUTarget("cuda", 90, 32))


def assert_compiles_for_a_gpu(core, workspace, sizes_type, sizes, modules, cache):
    """The kernels compile, and a core on the CPU imports no Triton."""
    code = f"""
import sys
import memagents
memagents.make_core("{core}", input_size=3)
assert "triton" not in sys.modules
from tests.kernels.support.interpreter import compile_for_a_gpu
compile_for_a_gpu("{workspace}", "{sizes_type}", {sizes}, {modules})
"""
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
