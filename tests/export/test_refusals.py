"""What cannot be exported: one error that says why, and no file."""

import importlib.util
from typing import NamedTuple

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional

from memagents import NEC, CheckpointError, Imitation, MemoryCore, cores, register_core
from memagents.cores.core import Step
from memagents.export import check, export_run
from memagents.export import run as run_file
from memagents.export.programs import torch_runner, traced
from memagents.export.step import PolicyStep
from tests.export.support import saved, worlds


class LookingState(NamedTuple):
    hidden: Tensor


class Looking(MemoryCore):
    def __init__(self, input_size):
        super().__init__(input_size, input_size)
        self.weight = torch.nn.Parameter(torch.ones(input_size))

    def initial_state(self, batch_size):
        return LookingState(self.weight.new_zeros(batch_size, self.input_size))

    def step(self, x, state):
        if x.sum() > 0:
            state = LookingState(state.hidden + self.weight * x)
        return Step(state.hidden, state, {}, {})


class Departing(Looking):
    def step(self, x, state):
        hidden = state.hidden + (2 if torch.compiler.is_exporting() else 1) * x
        return Step(hidden, LookingState(hidden), {}, {})


class Choosing(Looking):
    """Adds to the smaller of two numbers, and where they are alike to the first, but as a graph to the second."""

    def initial_state(self, batch_size):
        return LookingState(self.weight.new_tensor([0.5, 0.0]).repeat(batch_size, 1))

    def step(self, x, state):
        hidden = state.hidden
        place = 1 - hidden.flip(1).argmin(1) if torch.compiler.is_exporting() else hidden.argmin(1)
        hidden = hidden + 0.5 * functional.one_hot(place, 2)
        return Step(hidden, LookingState(hidden), {}, {})


@pytest.fixture(autouse=True)
def own_cores():
    """Put them into the catalogue for a test: the tests of all cores ask for what these do not keep."""
    own = {"looks_at_numbers": Looking, "departs": Departing, "chooses": Choosing}
    for name, core in own.items():
        register_core(name)(core)
    yield
    for name in own:
        del cores._registered[name]  # and no other: those of modules that the test has imported stay


def test_a_step_that_looks_at_numbers(tmp_path):
    _, folder = saved(tmp_path, core="looks_at_numbers")
    with pytest.raises(ValueError, match=r"core 'looks_at_numbers' cannot be exported as \.onnx: its step is no graph"):
        export_run(folder, tmp_path / "policy.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_other_numbers_leave_no_file(tmp_path):
    _, folder = saved(tmp_path, core="departs")
    (tmp_path / "policy.pt2").write_text("as it was")
    with pytest.raises(ValueError, match=r"is not written: over 200 steps the exported step departs from the policy"):
        export_run(folder, tmp_path / "policy.pt2")
    assert (tmp_path / "policy.pt2").read_text() == "as it was"


def test_what_is_no_number_is_seen(tmp_path):
    agent, _ = saved(tmp_path)
    agent.policy.set_training_mode(False)
    step = PolicyStep(agent.policy, None)

    def run(inputs):
        outputs = step({name: torch.from_numpy(array) for name, array in inputs.items()})
        found = {name: tensor.detach().numpy() for name, tensor in outputs.items()}
        return found | {"value": found["value"] * np.where(inputs["episode_start"], 1, np.nan).astype(np.float32)}

    assert check.largest_difference(step, run, steps=10) == ("value", np.inf, 0)


def test_steps_in_which_rounding_decides_are_told_apart(tmp_path):
    agent, folder = saved(tmp_path, core="chooses")
    agent.policy.set_training_mode(False)
    step = PolicyStep(agent.policy, None)
    found = check.largest_difference(step, torch_runner(traced(step)), steps=20, rows=2)
    assert found.size <= check.TOLERANCE and 10 <= found.ties <= 20
    with pytest.raises(ValueError, match=r"is not written: in \d+ of 800 steps rounding decides what the memory does"):
        export_run(folder, tmp_path / "policy.pt2")


def test_episodic_control(tmp_path):
    agent = NEC("MlpPolicy", worlds(spaces.Box(-1, 1, (3,), np.float32), n=1), device="cpu")
    agent.save(tmp_path / "run")
    with pytest.raises(
        ValueError, match=r"a policy of NEC has no step .* RecurrentPPO, Imitation and Distillation can"
    ):
        export_run(tmp_path / "run", tmp_path / "policy.onnx")


def test_imitation_can(tmp_path):
    agent = Imitation("MlpPolicy", worlds(), policy_kwargs={"core": "gru"}, device="cpu")
    agent.save(tmp_path / "run")
    assert export_run(tmp_path / "run", tmp_path / "policy.pt2").difference.size < 1e-5


def test_bad_paths(tmp_path):
    with pytest.raises(ValueError, match=r"path must be a path that ends in \.onnx or \.pt2, not .*policy\.pth"):
        export_run(tmp_path, tmp_path / "policy.pth")
    with pytest.raises(CheckpointError, match="there is no run folder"):
        export_run(tmp_path / "none", tmp_path / "policy.onnx")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"path must be a path in a folder that can be written"):
        export_run(tmp_path, tmp_path / "file" / "policy.onnx")
    with pytest.raises(CheckpointError, match="there is no pretrained:nobody"):
        export_run("pretrained:nobody", tmp_path / "policy.onnx")


def test_an_entry_with_the_name_of_another_input(tmp_path):
    space = spaces.Dict({"episode_start": spaces.Discrete(2), "x": spaces.Discrete(3)})
    _, folder = saved(tmp_path, worlds(space))
    with pytest.raises(ValueError, match="an entry of the observation is called 'episode_start'"):
        export_run(folder, tmp_path / "policy.pt2")


def test_an_entry_with_the_name_of_an_output(tmp_path):
    space = spaces.Dict({"action": spaces.Discrete(2), "x": spaces.Discrete(3)})
    _, folder = saved(tmp_path, worlds(space))
    with pytest.raises(ValueError, match="an entry of the observation is called 'action', as an output"):
        export_run(folder, tmp_path / "policy.onnx")
    assert not (tmp_path / "policy.onnx").exists()
    assert export_run(folder, tmp_path / "policy.pt2").path.is_file()


def test_missing_packages(tmp_path, monkeypatch):
    _, folder = saved(tmp_path)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(ValueError, match=r"an \.onnx file needs onnxscript: pip install 'memagents\[export\]'"):
        export_run(folder, tmp_path / "policy.onnx")
    assert export_run(folder, tmp_path / "policy.pt2").path.is_file()


def test_without_a_runtime_it_says_that_nothing_was_checked(tmp_path, monkeypatch):
    _, folder = saved(tmp_path)
    monkeypatch.setattr(run_file, "onnx_runner", lambda data: None)
    assert export_run(folder, tmp_path / "policy.onnx").difference is None
