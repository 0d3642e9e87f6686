"""Every core of the catalogue has a step that can be exported, which is the policy's own to a rounding."""

import pytest

from memagents import core_names
from memagents.export import export_run
from memagents.export.check import TOLERANCE
from tests.export.support import opened, saved

QUICK = ("dnc", "ffm", "hopfield", "lstm", "none", "sam", "s5", "stack")  # between them all that ONNX has no word for
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in core_names() if name not in QUICK]
# What a core does only where it is asked to.
VARIANTS = [
    ("memn2n", {"length": 4, "hidden_size": 5, "selection": "sampled"}),
    ("memn2n", {"length": 4, "hidden_size": 5, "selection": "top_k", "top_k": 2}),
    ("sam", {"slots": 6, "width": 4, "read_heads": 2, "reads": 3, "controller_size": 5, "search": "lsh"}),
]


@pytest.mark.parametrize("core", core_names())
def test_every_core_as_a_program_of_torch(core, tmp_path):
    _, run = saved(tmp_path, core=core)
    path, difference = export_run(run, tmp_path / "policy.pt2")
    assert difference.size <= TOLERANCE
    assert opened(path)[1]["core"] == core


@pytest.mark.parametrize(("core", "kwargs"), VARIANTS)
def test_what_a_core_does_where_it_is_asked_to(core, kwargs, tmp_path):
    _, run = saved(tmp_path, core=core, policy_kwargs={"core_kwargs": kwargs})
    assert export_run(run, tmp_path / "policy.pt2").difference.size <= TOLERANCE


@pytest.mark.parametrize("core", [*QUICK, *OTHERS])
def test_every_core_in_onnx(core, tmp_path):
    _, run = saved(tmp_path, core=core)
    path, difference = export_run(run, tmp_path / "policy.onnx")
    assert difference.size <= TOLERANCE
    assert opened(path)[1]["core"] == core
