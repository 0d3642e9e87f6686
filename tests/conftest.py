"""Distribution of the tests over processes; the environments that they all may name."""

import re
from pathlib import Path

import pytest

import memenvs  # noqa: F401  # registers its environments, also where one file is run alone

WORLDS = Path(__file__).parent / "memenvs"
# Cores whose kernels take long to compile.
KERNEL = re.compile(r"(?<![a-z])(sdnc|dnc|ntm|rmc|entnet|sam|sparse)(?![a-z])")
SAME_KERNELS = {"sam": "sparse", "sdnc": "sparse"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Keep tests that compile the same environment or kernel in one process (``--dist loadgroup``)."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        name, kernel = parameters.get("name", ""), KERNEL.search(item.nodeid)
        if item.path.name == "test_engine.py" and isinstance(name, str) and "/" in name:
            item.add_marker(pytest.mark.xdist_group(name))
        elif WORLDS in item.path.parents:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(WORLDS))))
        elif kernel:
            item.add_marker(pytest.mark.xdist_group(SAME_KERNELS.get(kernel[1], kernel[1])))
