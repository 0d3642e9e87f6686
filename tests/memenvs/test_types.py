"""Types: functions of plain Python are annotated; those that Numba compiles work on records, which have no type."""

import ast
import re
import tomllib
from pathlib import Path

import memenvs

ROOT = Path(memenvs.__file__).parent
SETTINGS = Path(__file__).parents[2] / "pyproject.toml"
COMPILED = re.compile(r"\b(njit|intrinsic)\b")


def functions(node, compiled=False):
    """All functions below a node, with whether Numba compiles them or what stands around them."""
    for child in ast.iter_child_nodes(node):
        here = compiled
        if isinstance(child, ast.FunctionDef):
            here = compiled or any(COMPILED.search(ast.unparse(decorator)) for decorator in child.decorator_list)
            yield child, here
        yield from functions(child, here)


def is_annotated(function):
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    named = [one for one in every if one is not None and one.arg not in ("self", "cls")]
    constructor = function.name == "__init__" and bool(named)
    return all(one.annotation for one in named) and (function.returns is not None or constructor)


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
        yield name, list(functions(ast.parse(path.read_text())))


def test_every_function_of_plain_python_is_annotated():
    found = [(name, function.name) for name, all_of in modules() for function, compiled in all_of if not compiled]
    assert len(found) > 300
    bare = [
        f"{name}.{function.name}"
        for name, all_of in modules()
        for function, compiled in all_of
        if not compiled and not is_annotated(function)
    ]
    assert not bare


def test_only_modules_with_compiled_functions_are_let_off_by_mypy():
    overrides = tomllib.loads(SETTINGS.read_text())["tool"]["mypy"]["overrides"]
    let_off = [set(o["module"]) for o in overrides if o.get("disallow_untyped_defs") is False and o["module"]]
    (let_off,) = [names for names in let_off if any(name.startswith("memenvs.") for name in names)]
    compiled = {name for name, all_of in modules() if any(c and not is_annotated(f) for f, c in all_of)}
    assert let_off == compiled
