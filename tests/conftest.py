"""How the tests are shared between processes."""

from pathlib import Path

import pytest

WORLDS = Path(__file__).parent / "memenvs"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests of one environment stay in one process (``--dist loadgroup``), so that no two compile the same code."""
    for item in items:
        if item.path.parent == WORLDS:
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            name = parameters.get("name", "")
            of_engine = isinstance(name, str) and item.path.name == "test_engine.py" and "/" in name
            item.add_marker(pytest.mark.xdist_group(name if of_engine else item.path.stem))
