"""Names of modules before the library had rooms."""

import importlib
import sys

import pytest

from memagents.moved import MOVED, new_name


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_imports_the_same_module_and_says_so(old):
    sys.modules.pop(f"memagents.{old}", None)
    with pytest.warns(DeprecationWarning, match=f"memagents.{old} is now memagents.{MOVED[old]}"):
        module = importlib.import_module(f"memagents.{old}")
    assert module is importlib.import_module(f"memagents.{MOVED[old]}")
    assert module.__name__ == f"memagents.{MOVED[old]}" and module.__spec__.name == module.__name__


def test_other_names_are_left_alone():
    assert new_name("memagents.nec.policy") == "memagents.nec.policy"
    assert new_name("other.policy") == "other.policy"
    with pytest.raises(ModuleNotFoundError, match=r"memagents\.nonsense"):
        importlib.import_module("memagents.nonsense")
