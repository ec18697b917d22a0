"""Prints tables for people, through rich, imported only when a table is drawn, and JSON for machines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..client.answer import Answer
from .cells import Cell
from .figures import harmless

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_WIDE = 400  # columns when nobody looks: a pipe gets every cell whole


def say_json(answer: Answer) -> None:
    """The node's own words."""
    sys.stdout.write(answer.raw.decode() + "\n")
    sys.stdout.flush()


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> RenderableType:
    """A table; a column whose name begins with ``#`` is right-aligned (and loses the mark)."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", show_header=any(columns))
    for column in columns:
        drawn.add_column(column.removeprefix("#"), justify="right" if column.startswith("#") else "left")
    for row in rows:
        drawn.add_row(*(_text(cell) for cell in row))
    return Group(Text(harmless(title), style="bold"), drawn) if title else drawn


def show(*things: RenderableType) -> None:
    """Draw tables or lines on stdout."""
    out = console()
    for thing in things:
        out.print(thing, highlight=False)


def console() -> Console:
    """Stdout as rich sees it."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_WIDE)


def _text(cell: Cell) -> RenderableType:
    from rich.text import Text

    text, style = cell if isinstance(cell, tuple) else (cell, "")
    return Text(harmless(text), style=style)
