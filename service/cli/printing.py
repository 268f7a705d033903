"""How commands print: with rich where a person reads, as plain lines where a program does.

rich looks at the stream and at NO_COLOR itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text


def console(*, err: bool = False) -> Console:
    """Prints text as it stands: no markup, no highlighting, no line breaks of its own."""
    return Console(stderr=err, markup=False, highlight=False, emoji=False, soft_wrap=True)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns under `head` for a person; aligned lines without it for a program."""
    out = console()
    if out.is_terminal:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for title in head:
            table.add_column(title, overflow="fold")
        for row in rows:
            table.add_row(*[Text(cell) for cell in row])
        out.print(table, soft_wrap=False)
        return
    widths = [max([len(cell) for cell in column], default=0) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join([cell.ljust(width) for cell, width in zip(row, widths, strict=True)]).rstrip())


def print_json(value: object) -> None:
    """`value` on standard output, indented."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
