"""Markdown tables, and the places between two marks where scripts put them into documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from memagents.runs.files import write_bytes


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]], align: str = "") -> list[str]:
    """Return the lines of a table, its columns padded so that it also reads well in a terminal.

    :param heads: of the columns
    :param rows: of as many cells; a ``|`` in a cell is escaped
    :param align: a letter for each column, ``l`` or ``r``; by default all to the left
    :raises ValueError: if a row has another number of cells, or ``align`` of letters
    """
    align = align or "l" * len(heads)
    if len(align) != len(heads) or set(align) - {"l", "r"}:
        raise ValueError(f"align must be a letter l or r for each of {len(heads)} columns, not {align!r}")
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (heads, *rows)]
    for row in cells:
        if len(row) != len(heads):
            raise ValueError(f"rows must have a cell for each of {len(heads)} columns, not {len(row)}: {row}")
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padding = [f"{'<' if side == 'l' else '>'}{width}" for side, width in zip(align, widths, strict=True)]
    head, *body = (" | ".join(map(format, row, padding)) for row in cells)
    rule = ["-" * (width + 1) + ("-" if side == "l" else ":") for side, width in zip(align, widths, strict=True)]
    return [f"| {head} |", f"|{'|'.join(rule)}|", *(f"| {row} |" for row in body)]


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
