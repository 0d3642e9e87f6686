"""Tables of the benchmarks, printed as Markdown: for a terminal and for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Sequence

from memagents.experiments.documents import markdown_table


def show(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table below its title; nothing where it has no rows.

    :param title: a line
    :param heads: of the columns; the first holds names, the others numbers
    :param rows: their cells
    """
    if rows:
        print("\n".join([title, "", *markdown_table(heads, rows, "l" + "r" * (len(heads) - 1)), ""]), flush=True)
