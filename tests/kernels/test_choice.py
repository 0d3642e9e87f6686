"""The choice of the window that a core's tensors go through, on the CPU."""

import subprocess
import sys

import pytest
import torch

from memagents import make_core
from memagents.cores.core import map_state, unroll_by_steps
from memagents.kernels import choice
from memagents.kernels.choice import supported, window_for

SIZES = {
    "dnc": {"slots": 4, "width": 3},
    "ntm": {"slots": 4, "width": 3, "shifts": 1},
    "rmc": {"heads": 2, "key_size": 8, "value_size": 8},
    "entnet": {},
    "shm": {},
    "lstm": {},
    "gru": {},
    "sparse": {},
    "attention": {"key_size": 8},
    "look": {"key_size": 8},
    "gate": {"key_size": 8},
    "dmn": {"hidden_size": 8},
    "episode": {"hidden_size": 8},
}
"""By core, or by part of a core, the sizes by which its kernels are chosen."""

PARTS = {"attention", "look", "gate", "dmn", "episode"}
"""Kernels that do not take a core's whole window, see :mod:`tests.kernels.cpu.test_attention`."""


def test_supported():
    x = torch.zeros(2)
    assert supported([x, x]) and supported([x.double(), x.double()])
    assert not supported([x, x.double()])
    assert not supported([x, x.to("meta")])
    assert not supported([x.half(), x.half()])
    with torch.autocast("cpu"):
        assert not supported([x, x])


@pytest.mark.parametrize("name", SIZES)
def test_every_core_with_kernels_has_its_own_window(name):
    x = torch.zeros(2, 1)
    assert window_for(name, [x, x], **SIZES[name]).__name__ == f"{name}_window"
    assert window_for(name, [x.double(), x.double()], **SIZES[name]).__name__ == f"{name}_window"
    assert window_for(name, [x, x.double()], **SIZES[name]) is None
    assert window_for(name, [x.to("meta")], **SIZES[name]) is None


def test_other_cores_have_none():
    assert window_for("gtrxl", [torch.zeros(2, 1)]) is None


def test_heads_of_the_rmc_are_whole_vectors_and_so_are_all_together():
    x = torch.zeros(2, 1)
    assert window_for("rmc", [x], heads=2, key_size=8, value_size=8) is not None
    assert window_for("rmc", [x], heads=2, key_size=4, value_size=8) is None
    assert window_for("rmc", [x], heads=4, key_size=8, value_size=4) is None
    assert window_for("rmc", [x], heads=3, key_size=8, value_size=8) is None
    assert window_for("rmc", [x.double()], heads=2, key_size=4, value_size=4) is not None


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_single_step_that_is_learned_from_goes_through_the_loop(name):
    assert window_for(name, [torch.zeros(1, 1)]) is None
    with torch.no_grad():
        assert window_for(name, [torch.zeros(1, 1)]) is not None


@pytest.mark.parametrize("name", [name for name in SIZES if name not in PARTS])
def test_a_core_asks_with_x_its_state_and_its_sizes(name, monkeypatch):
    asked = []
    monkeypatch.setattr(choice, "window_for", lambda *arguments, **sizes: asked.append((*arguments, sizes)))
    options = {"slots": 4, "width": 16} if name in ("dnc", "ntm", "rmc") else {}
    core = make_core({"sparse": "sam"}.get(name, name), 3, **options)
    state = core.initial_state(2)
    core.unroll(torch.randn(5, 2, 3), state, torch.zeros(5, 2, dtype=torch.bool))
    ((core_name, tensors, sizes),) = asked
    assert core_name == name and tensors[0].shape[:2] == (5, 2) and sizes.keys() == SIZES[name].keys()
    assert any(tensor is state[0] for tensor in tensors)
    assert all(number == getattr(core, size) for size, number in sizes.items() if hasattr(core, size))


# --- what a subclass overrides is what runs -------------------------------------------------------------------------

OWN_SIZES = {
    "lstm": {"hidden_size": 4},
    "gru": {"hidden_size": 4},
    "dnc": {"slots": 4, "width": 3, "read_heads": 1, "controller_size": 4},
    "ntm": {"slots": 4, "width": 3, "read_heads": 1, "controller_size": 4},
    "rmc": {"slots": 2, "width": 16, "heads": 2},
    "entnet": {"slots": 3, "width": 4},
    "shm": {"width": 4},
    "sam": {"slots": 6, "width": 4, "reads": 2, "controller_size": 4},
    "sdnc": {"slots": 6, "width": 4, "reads": 2, "controller_size": 4},
}
every_core = pytest.mark.parametrize("name", OWN_SIZES)


def parent_of(name):
    return type(make_core(name, 3, **OWN_SIZES[name]))


def assert_runs_its_own_steps(name, fused, **methods):
    """A subclass with these methods equals its plain loop, and so does one that inherits from that."""
    own = type("Own", (parent_of(name),), methods)
    for kind in (own, type("Heir", (own,), {})):
        core, starts = kind(3, **OWN_SIZES[name]).double(), torch.tensor([[0, 0], [0, 1], [0, 0]]).bool()
        inputs, state = torch.randn(3, 2, 3).double(), core.initial_state(2)
        found = core.unroll(inputs, state, starts).outputs
        torch.testing.assert_close(found, unroll_by_steps(core, inputs, state, starts).outputs)
    assert not fused


@every_core
def test_a_step_of_its_own_goes_through_no_kernel(name, fused):
    parent = parent_of(name)

    def step(self, x, state):
        made = parent.step(self, x, state)
        return made._replace(features=made.features + 1)

    assert_runs_its_own_steps(name, fused, step=step)


@every_core
def test_an_initial_state_of_its_own_goes_through_no_kernel(name, fused):
    parent = parent_of(name)

    def initial_state(self, batch_size):
        state = parent.initial_state(self, batch_size)
        return map_state(lambda leaf: leaf + 0.25 if leaf.is_floating_point() else leaf, state)

    assert_runs_its_own_steps(name, fused, initial_state=initial_state)


@pytest.mark.parametrize("name", ["sam", "sdnc"])
def test_a_read_of_its_own_goes_through_no_kernel(name, fused):
    parent = parent_of(name)

    def read(self, *arguments):
        reading = parent.read(self, *arguments)
        return reading._replace(vectors=2 * reading.vectors)

    assert_runs_its_own_steps(name, fused, read=read)


@every_core
def test_a_subclass_that_overrides_neither_keeps_the_faster_way(name):
    parent = parent_of(name)
    own = type("Own", (parent,), {"project": lambda self, inputs: parent.project(self, inputs)})
    assert own.recur is parent.recur
    assert getattr(own, "kernel", None) == getattr(parent, "kernel", None)


def test_neither_numba_nor_triton_is_imported_before_a_window_is_chosen():
    code = """
import sys
import torch
from memagents.kernels import choice
import memagents.cores.dnc
assert not any(name.startswith(("memagents.kernels.cpu", "memagents.kernels.cuda")) for name in sys.modules)
choice.window_for("dnc", [torch.zeros(1, 1, device="meta")])
assert not any(name.startswith("memagents.kernels.cpu") for name in sys.modules)
assert choice.window_for("lstm", [torch.zeros(2, 1)]).__name__ == "lstm_window"
assert "memagents.kernels.cpu.dnc" not in sys.modules and "triton" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_warning_points_at_the_line_that_called_into_the_library(monkeypatch):
    """Through ``torch.nn.Module.__call__``, and once."""
    monkeypatch.setattr(choice, "_cpu_window", choice._cuda_window)
    monkeypatch.setitem(sys.modules, "memagents.kernels.cuda.recurrent.window", None)
    choice._cuda_window.cache_clear()
    core = make_core("lstm", 3)
    core.forward = core.unroll  # type: ignore[assignment]
    with pytest.warns(UserWarning, match="pip install triton") as warned:
        for _ in range(2):
            core(torch.zeros(2, 1, 3), core.initial_state(1), torch.zeros(2, 1, dtype=torch.bool))
    choice._cuda_window.cache_clear()
    assert [warning.filename for warning in warned] == [__file__]
