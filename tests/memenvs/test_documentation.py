"""docs/environments.md says what the docstrings say, of every environment that there is."""

import inspect
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from PIL import Image

from memenvs.catalogue import describe, environment_class, environments
from memenvs.maze.tmaze import TMaze

DOCS = Path(__file__).parent.parent.parent / "docs"
EVERYWHERE = {"split", "render_mode"}  # parameters that all have


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(DOCS / "make_environments.py"))


@pytest.fixture(scope="module")
def document():
    return (DOCS / "environments.md").read_text()


def test_the_document_is_what_the_docstrings_say_now(script, document):
    parts = re.split(f"{re.escape(script['BEGIN'])}|{re.escape(script['END'])}", document)
    assert len(parts) == 3
    many = {spec.id for specs in script["groups"]().values() if len(specs) > 1 for spec in specs}
    assert many == script["kept_facts"]().keys(), "run python docs/make_environments.py"
    assert parts[1].strip() == script["generated"](), "run python docs/make_environments.py"


@pytest.mark.slow
def test_the_facts_that_are_kept_are_still_true(script):
    kept = script["kept_facts"]()
    assert kept == {name: script["find_out"](spec) for name, spec in environments().items() if name in kept}


def test_every_environment_is_there_with_a_small_picture(document):
    pictures = {path.stem: path for path in (DOCS / "environments").glob("*.png")}
    wanted = {name: name.removeprefix("memenvs/").rsplit("-v", 1)[0] for name in environments()}
    assert set(wanted.values()) == pictures.keys(), "run python docs/make_environments.py"
    for name, stem in wanted.items():
        assert f"`{name}`" in document
        path = pictures[stem]
        assert path.relative_to(DOCS).as_posix() in document
        assert path.stat().st_size < 60_000
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert 90 <= image.width <= 480
            assert len(np.unique(np.asarray(image.convert("L")))) > 1


@pytest.mark.parametrize("cls", dict.fromkeys(map(environment_class, environments().values())))
def test_docstrings_tell_every_parameter(cls):
    told = describe(cls)
    own = inspect.signature(cls.define).parameters.keys()
    assert told.parameters.keys() == own | EVERYWHERE
    assert all(told.parameters.values())
    assert told.summary.endswith((".", "?"))
    for what in ("Observation", "Action", "Reward", "End", "``info``"):
        # A paragraph or an entry of a list that begins with the word, or with two of them: "Reward, and end: ...".
        found = re.search(rf"^(- )?(\w+, and )?{what}(?!\w)", told.body, re.MULTILINE | re.IGNORECASE)
        assert found, f"{cls.__name__} does not tell its {what}"


def test_what_the_document_shows_runs(document):
    blocks = re.findall(r"^```python\n(.*?)^```", document, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "docs/environments.md", "exec"), {})


def test_several_ids_of_one_class_share_a_section(script):
    specs = [
        EnvSpec(id=f"memenvs/Corridor-{length}-v0", entry_point="memenvs.maze.tmaze:TMaze", kwargs={"length": length})
        for length in (3, 5)
    ]
    facts = [script["find_out"](spec) for spec in specs]
    section = script["section"](TMaze, specs, facts)
    assert section.count("## TMaze") == 1
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.split("\n") if line.startswith("|")]
    for length in (3, 5):
        row = next(row for row in rows if row[0] == f"`memenvs/Corridor-{length}-v0`")
        assert row[1:4] == [f"`length={length}`", "yes", "no"]
        assert f'"environments/Corridor-{length}.png"' in row[4]
    assert [
        "`length`",
        "as the id says",
        "steps from the start to the junction; as `(least, most)` it is drawn anew in every episode",
    ] in rows
    assert "[TMaze: 2 ids](#tmaze)" in script["overview_row"](TMaze, specs, facts)


def test_from_restructuredtext_to_markdown(script):
    body = (
        "See :class:`~memenvs.batched.Env`, ``a | b``::\n\n    first\n\n      second\n\n"
        "- Reward: 1\n- ``info``: ``x``\n- other: 3"
    )
    assert script["paragraphs"](body) == (
        "See `Env`, `a | b`:\n\n```text\nfirst\n\n  second\n```\n\n- **Reward**: 1\n- **`info`**: `x`\n- other: 3"
    )
