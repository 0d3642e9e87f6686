"""Finding cores by name, and adding one's own."""

import doctest
from typing import Any

import pytest

import memagents.cores
from memagents import core_names, make_core, register_core
from memagents.cores import core, core_class


@pytest.fixture
def registry(monkeypatch):
    """A catalogue that is put back afterwards, with the built-in cores: their modules register themselves but once."""
    for name in core_names():
        core_class(name)
    monkeypatch.setattr(memagents.cores, "_registered", dict(memagents.cores._registered))


def test_an_unknown_core_lists_those_that_exist():
    for wrong in ("lsmt", "memagents.cores.core:lsmt"):
        with pytest.raises(ValueError, match=r"there is no core 'lsmt'; there are: .*dnc.*lstm"):
            make_core(wrong, 4)
    with pytest.raises(ValueError, match="no module 'no_such_module'"):
        make_core("no_such_module:mine", 4)
    with pytest.raises(ValueError, match=r"core must be a name.*lstm"):
        make_core(None, 4)


@pytest.mark.usefixtures("registry")
def test_a_core_of_ones_own():
    @register_core("mine")
    class Mine(core_class("none")):
        pass

    assert "mine" in core_names()
    assert type(make_core("mine", 4, hidden_size=3)) is Mine
    register_core("mine")(Mine)


def test_a_core_that_no_policy_would_unroll_is_refused():
    with pytest.raises(TypeError, match="Mine must override recur"):

        class Mine(core_class("none")):
            def unroll(self, inputs, state, starts, trace=False):
                raise NotImplementedError


@pytest.mark.usefixtures("registry")
def test_a_core_from_a_module(tmp_path, monkeypatch):
    (tmp_path / "my_package.py").write_text(
        "from memagents.cores import core_class, register_core\n"
        "@register_core('from_a_module')\n"
        "class Mine(core_class('gru')):\n"
        "    pass\n"
    )
    (tmp_path / "broken_package.py").write_text("import a_module_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert make_core("my_package:from_a_module", 4, hidden_size=3).output_size == 3
    with pytest.raises(ValueError, match="there is no core 'other'"):
        make_core("my_package:other", 4)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_missing"):
        make_core("broken_package:mine", 4)


@pytest.mark.usefixtures("registry")
def test_names_that_cannot_be_registered():
    none: Any = core_class("none")

    @register_core("taken")
    class First(none):
        pass

    for name in ("taken", "lstm"):
        with pytest.raises(ValueError, match=f"a core named '{name}' exists already"):

            @register_core(name)
            class Second(none):
                pass

    for wrong in ("", "a:b", 3):
        with pytest.raises(ValueError, match="non-empty string without a colon"):
            register_core(wrong)(First)
    for thing in (dict, lambda: None):
        with pytest.raises(ValueError, match="must be a subclass of MemoryCore"):
            register_core("thing")(thing)


def test_the_example_in_the_contract_runs():
    assert doctest.testmod(core).attempted > 0
    assert doctest.testmod(core).failed == 0
