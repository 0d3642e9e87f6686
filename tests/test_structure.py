"""The arrows of the house: which room may import which, and no circles."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = {"checks", "compilation", "lazy", "moved", "ranks"}  # what every room may use
# Beside SHARED. Adding a word here changes the plan of the house: docs/architecture.md says why each stands here.
MAY_IMPORT = {
    "checks": set(),
    "compilation": {"memenvs"},
    "lazy": set(),
    "moved": set(),
    "ranks": set(),
    "memory": set(),
    "kernels": {"memory"},
    "cores": {"memory", "kernels"},
    "environments": {"memenvs"},
    "runs": set(),
    "policies": {"cores", "environments", "runs"},
    "bonuses": {"policies", "environments"},
    "algorithms": {"bonuses", "policies", "cores", "environments", "runs", "kernels"},
    "nec": {"algorithms", "policies", "cores", "environments", "runs"},
    "experiments": {"nec", "algorithms", "policies", "cores", "environments", "runs"},
    "inspection": {"experiments", "nec", "algorithms", "policies", "cores", "memory", "environments", "runs"},
    "export": {"experiments", "policies", "cores", "environments", "runs"},
    "rllib": {"policies", "cores"},
    "testing": {"cores"},
    "command_line": {"inspection", "export", "experiments", "cores", "runs", "memenvs"},
    "__main__": {"command_line"},
}


@pytest.fixture(scope="module")
def structure():
    """The project's own command that reads the imports."""
    spec = importlib.util.spec_from_file_location("structure", ROOT / "docs" / "structure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_arrows_between_rooms_go_one_way(structure):
    graph = structure.arrows(ROOT)
    faces = {"memagents", "memagents.__main__"}  # which hand names on
    seen = {room.removeprefix("memagents."): others for room, others in graph.items() if room not in faces}
    for room, others in seen.items():
        allowed = set() if room == "memenvs" else MAY_IMPORT[room] | SHARED
        assert {other.removeprefix("memagents.") for other in others} <= allowed, room
    assert structure.circles(graph) == []


def test_no_files_import_one_another_in_a_circle(structure):
    assert structure.circles(structure.imports(ROOT)) == []


def test_the_top_floor_holds_rooms_and_little_else():
    files = {path.name for path in (ROOT / "memagents").glob("*.py")}
    assert files <= {"__init__.py", "__main__.py", "checks.py", "compilation.py", "lazy.py", "moved.py", "ranks.py"}


def test_a_circle_is_seen(structure, tmp_path):
    (tmp_path / "memagents" / "cores").mkdir(parents=True)
    (tmp_path / "memagents" / "cores" / "__init__.py").write_text("")
    (tmp_path / "memagents" / "cores" / "a.py").write_text("from memagents.memory import b")
    (tmp_path / "memagents" / "memory.py").write_text("def b():\n    from memagents.cores.a import c")
    (tmp_path / "envs" / "memenvs").mkdir(parents=True)
    assert structure.arrows(tmp_path)["memagents.memory"] == {"memagents.cores"}
    assert structure.circles(structure.arrows(tmp_path)) == [["memagents.cores", "memagents.memory"]]
    assert structure.circles(structure.imports(tmp_path)) == [["memagents.cores.a", "memagents.memory"]]
