"""Policies that come with the library: run folders within the package, named ``pretrained:NAME``, each with a card."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml

from memagents.runs.files import CheckpointError

PREFIX = "pretrained:"
FOLDER = Path(__file__).parents[1] / "pretrained"
CARD = "README.md"


def is_pretrained(path: str | Path) -> bool:
    """Return whether a path is the name of such a policy."""
    return str(path).startswith(PREFIX)


def names() -> list[str]:
    """Return the names of all such policies, without the prefix."""
    return sorted(card.parent.name for card in FOLDER.glob(f"*/{CARD}"))


def folder(name: str) -> Path:
    """Return the run folder of such a policy.

    :param name: with the prefix
    :raises CheckpointError: if there is none, with the names of those there are
    """
    known, wanted = names(), name.removeprefix(PREFIX)
    if wanted not in known:
        alike = difflib.get_close_matches(wanted, known, n=1)
        hint = f"; did you mean {PREFIX}{alike[0]}?" if alike else ""
        raise CheckpointError(f"there is no {PREFIX}{wanted}{hint}; there are: {', '.join(known)}")
    return FOLDER / wanted


def card(name: str) -> dict[str, Any]:
    """Return the facts of a policy's card: ``about``, ``command``, ``seed``, ``metric``, ``score``, ``version``.

    :param name: without the prefix
    """
    _, facts, _ = (FOLDER / name / CARD).read_text().split("---\n", 2)
    return yaml.safe_load(facts)
