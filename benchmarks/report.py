"""How the benchmarks show their tables: as Markdown, which reads well in a terminal and in docs/benchmarks.md."""

from __future__ import annotations

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table


def table(title: str, *heads: str) -> Table:
    """An empty table; its first column holds names, the others numbers."""
    made = Table(title=title, box=MARKDOWN)
    for head in heads:
        made.add_column(head, justify="left" if head == heads[0] else "right", no_wrap=True)
    return made


def show(made: Table) -> None:
    """Print a table below its title, in lines as long as they are; nothing where it has no rows."""
    if not made.rows:
        return
    title, made.title = made.title, None
    console = Console(width=1000, highlight=False)
    console.print(f"{title}\n", markup=False)
    console.print(made, markup=False)
    made.title = title
