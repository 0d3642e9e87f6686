"""Tables that scripts write into documents, between two marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memagents.runs.files import write_bytes


def marks(name: str) -> tuple[str, str]:
    """Return the lines before and after a table in a document."""
    return f"<!-- table {name} -->", f"<!-- end of {name} -->"


def write_between_marks(document: Path, name: str, lines: Sequence[str]) -> None:
    """Put lines into a document in place of what stands between the marks of a table.

    :param document: a Markdown file that has the marks
    :param name: of the table
    :param lines: without their ends
    :raises ValueError: if a mark is missing
    """
    begin, end = marks(name)
    before, first, rest = document.read_text().partition(begin)
    _, second, after = rest.partition(end)
    if not (first and second):
        raise ValueError(f"{document} lacks the lines {begin} and {end}, between which the table goes")
    write_bytes(document, "\n".join([before + begin, "", *lines, end + after]).encode())
