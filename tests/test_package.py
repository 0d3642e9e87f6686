"""What gets installed: the wheel, its command, its data, its types."""

import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import memagents

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_both_packages_with_their_recipes_and_types(tmp_path):
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        points = archive.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "memagents").rglob("*") if path.is_file()}
    sources |= {
        path.relative_to(ROOT / "envs").as_posix() for path in (ROOT / "envs" / "memenvs").rglob("*") if path.is_file()
    }
    assert {name for name in sources if not {"__pycache__", "node_modules"} & set(name.split("/"))} == {
        name for name in names if "dist-info" not in name
    }
    assert "memagents/py.typed" in names and "memenvs/py.typed" in names
    assert any(name.startswith("memagents/experiments/recipes/") for name in names)
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {"memagents", "memenvs"}
    assert "memagents = memagents.__main__:main" in points


def test_the_version_is_said_once_and_everywhere_the_same():
    assert importlib.metadata.version("memagents") == memagents.__version__
    assert re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1] == memagents.__version__
    assert f"## {memagents.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_pins_lie_within_the_ranges():
    """``constraints.txt`` pins what ``pyproject.toml`` allows, all of it."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for words in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(words)
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, words


def test_public_names_are_there():
    for name in memagents.__all__:
        assert getattr(memagents, name) is not None
    assert set(memagents.__all__) <= set(dir(memagents))


def rooms():
    """The packages of memagents by their names, but for that which wants Ray."""
    packages = sorted((ROOT / "memagents").rglob("__init__.py"))
    named = {".".join(package.parent.relative_to(ROOT).parts): package.parent for package in packages}
    return {name: folder for name, folder in named.items() if name != "memagents.rllib"}


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_its_room_says_what_to_install():
    with pytest.raises(ImportError, match=r"pip install 'memagents\[rllib\]'"):
        importlib.import_module("memagents.rllib")


def test_public_names_of_every_room_load():
    for package in rooms():
        room = importlib.import_module(package)
        for name in getattr(room, "__all__", ()):
            assert getattr(room, name) is not None


def test_public_names_are_no_modules_whatever_was_imported_before():
    """``from memagents.inspection import examine, forgetting`` gives the function, not the module it lies in."""
    lines = []
    for name, folder in rooms().items():
        for module in sorted(folder.glob("*.py")):
            if module.stem in getattr(importlib.import_module(name), "__all__", ()):
                lines += [f"import {name}.{module.stem}", f"from {name} import {module.stem}"]
                lines.append(f"assert callable({module.stem}), '{name}.{module.stem}'")
    assert "from memagents.inspection import forgetting" in lines
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
