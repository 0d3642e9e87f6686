"""Every core of the catalogue has a step that can be exported, which is the policy's own to a rounding."""

import pytest

from memagents import core_names
from memagents.export import export_run
from memagents.export.check import TOLERANCE, largest_difference
from memagents.export.programs import torch_runner, traced
from memagents.export.step import PolicyStep
from tests.export.support import opened, saved

# Between them they have most of what ONNX has no word for.
QUICK = [("dnc", ".onnx"), ("ffm", ".onnx"), ("hopfield", ".onnx"), ("none", ".pt2")]
OTHERS = [(core, ending) for core in core_names() for ending in (".onnx", ".pt2") if (core, ending) not in QUICK]
# What a core does only where it is asked to.
VARIANTS = [
    ("memn2n", {"length": 4, "hidden_size": 5, "selection": "sampled"}),
    ("memn2n", {"length": 4, "hidden_size": 5, "selection": "top_k", "top_k": 2}),
    ("sam", {"slots": 6, "width": 4, "read_heads": 2, "reads": 3, "controller_size": 5, "search": "lsh"}),
]


@pytest.mark.parametrize("core", core_names())
def test_the_step_of_every_core_is_a_static_graph(core, tmp_path):
    agent, _ = saved(tmp_path, core=core)
    agent.policy.set_training_mode(False)
    step = PolicyStep(agent.policy, None)
    assert largest_difference(step, torch_runner(traced(step)), steps=20, rows=2).size <= TOLERANCE


@pytest.mark.parametrize(
    ("core", "ending"), [*QUICK, *(pytest.param(*other, marks=pytest.mark.slow) for other in OTHERS)]
)
def test_every_core_as_a_file(core, ending, tmp_path):
    _, run = saved(tmp_path, core=core)
    path, difference = export_run(run, tmp_path / f"policy{ending}")
    assert difference.size <= TOLERANCE
    assert opened(path)[1]["core"] == core


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".onnx", ".pt2"])
@pytest.mark.parametrize(("core", "kwargs"), VARIANTS)
def test_what_a_core_does_where_it_is_asked_to(core, kwargs, ending, tmp_path):
    _, run = saved(tmp_path, core=core, policy_kwargs={"core_kwargs": kwargs})
    assert export_run(run, tmp_path / f"policy{ending}").difference.size <= TOLERANCE
