"""The benchmarks whose tables stand in a document."""

from pathlib import Path

import pytest

from memagents.experiments.documents import marks
from tests.support.scripts import names_in

ROOT = Path(__file__).parents[2]
SCRIPT = names_in("run_all.py", ROOT / "benchmarks")
NAMES = [*SCRIPT["CPU"], *(f"{name} on a GPU" for name in SCRIPT["GPU"])]


@pytest.mark.parametrize("name", NAMES)
def test_the_document_has_a_place_for_each(name):
    """Else `make bench` ends there, after the minutes that the benchmark took."""
    begin, end = marks(name)
    assert SCRIPT["DOCUMENT"].read_text().count(begin) == SCRIPT["DOCUMENT"].read_text().count(end) == 1
    assert (SCRIPT["HERE"] / f"{name.removesuffix(' on a GPU')}.py").is_file()
