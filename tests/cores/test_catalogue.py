"""The contract, asked of every core in the catalogue, present and future: see :mod:`memagents.testing`.

A new core is tested as soon as it has a name. If its defaults are too large for a quick test, give it small ones in
``SMALL`` of :mod:`tests.cores.support`; if some of its weightings must sum to exactly 1, name them in
``DISTRIBUTIONS`` there.
"""

import inspect

import pytest
import torch

from memagents import core_names, make_core
from memagents.cores import core_class
from memagents.testing import CORE_CHECKS, core_case
from tests.cores.support import DISTRIBUTIONS, SMALL, STOPPED_GRADIENTS

SIZE = 4
MARKS = {"gpu": [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]}
ASKED = [
    pytest.param(name, check, id=f"{check.name}-{name}", marks=MARKS.get(check.name, ()))
    for check in CORE_CHECKS
    for name in core_names()
    if not (check.name == "gradcheck" and name in STOPPED_GRADIENTS)
]

every_core = pytest.mark.parametrize("name", core_names())


def case_of(name):
    return core_case(name, input_size=SIZE, distributions=DISTRIBUTIONS.get(name, ()), **SMALL.get(name, {}))


@pytest.mark.parametrize(("name", "check"), ASKED)
def test_contract(name, check):
    check(case_of(name))


@every_core
def test_defaults_make_a_core(name):
    core = make_core(name, SIZE)
    assert core(torch.randn(2, SIZE), core.initial_state(2)).outputs.shape == (2, core.output_size)


@every_core
def test_autocast_is_seen(name):
    """So that the check of it can fail."""
    case = case_of(name)
    core, inputs = case.make(torch.float32), case.inputs(dtype=torch.float32)
    exact = core.unroll(inputs, core.initial_state(3), case.no_starts()).outputs
    with torch.autocast("cpu", torch.bfloat16):
        rough = core.unroll(inputs, core.initial_state(3), case.no_starts()).outputs
    assert not torch.equal(exact, rough.float())


@every_core
def test_wrong_parameters_are_refused(name):
    with pytest.raises(ValueError, match=f"core '{name}' has no parameter 'nonsense'; it has: "):
        make_core(name, SIZE, nonsense=1)
    for value in (0, -1, 2.5, True, "3"):
        with pytest.raises(ValueError, match="input_size must be a positive integer"):
            make_core(name, value)
    for parameter in inspect.signature(core_class(name)).parameters.values():
        if type(parameter.default) is int:
            with pytest.raises(ValueError, match=parameter.name):
                make_core(name, SIZE, **{parameter.name: -1})
        elif type(parameter.default) is bool:
            with pytest.raises(ValueError, match=f"{parameter.name} must be true or false, not 'no'"):
                make_core(name, SIZE, **{parameter.name: "no"})
