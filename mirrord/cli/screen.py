"""Prints tables for people, through rich, imported only when a table is drawn, and JSON for machines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..client.answer import Answer
from .cells import Cell
from .figures import harmless

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_WIDE = 400  # columns when nobody looks: a pipe gets every cell whole


def say(answer: Answer, as_json: bool, seen: Callable[[dict[str, Any]], RenderableType]) -> None:
    """The node's own words, or the line or table that people see of them."""
    if as_json:
        say_json(answer)
        return
    found = seen(answer.object())
    if isinstance(found, str):
        print(found, flush=True)
    else:
        show(found)


def say_list(
    pages: Iterable[Answer], as_json: bool, word: str, columns: Sequence[str], row: Callable[[Any], Sequence[Cell]]
) -> None:
    """The pages of a list: each as the node's own words, or all as one table."""
    if as_json:
        for page in pages:
            say_json(page)
    else:
        show(table(None, columns, [row(found) for page in pages for found in page.object()[word]]))


def say_json(answer: Answer) -> None:
    """The node's own words."""
    sys.stdout.write(answer.raw.decode() + "\n")
    sys.stdout.flush()


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> RenderableType:
    """A table; a column whose name begins with ``#`` holds numbers: to the right, and never broken (it loses the mark).

    A column that tells nothing in any row is left out: a terminal has 80 columns.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    given = [tuple(row) for row in rows]
    told = [i for i in range(len(columns)) if not given or any(_tells(row[i]) for row in given)]
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, header_style="bold", show_header=any(columns))
    for column in (columns[i] for i in told):
        number = column.startswith("#")
        drawn.add_column(column.removeprefix("#"), justify="right" if number else "left", no_wrap=number)
    for row in given:
        drawn.add_row(*(_text(row[i]) for i in told))
    return Group(Text(harmless(title), style="bold"), drawn) if title else drawn


def show(*things: RenderableType) -> None:
    """Draw tables or lines on stdout. Raises BrokenPipeError, for which rich itself would leave with an exit code."""
    out = console()
    with out.capture() as drawn:
        for thing in things:
            out.print(thing, highlight=False)
    print(drawn.get(), end="", flush=True)


def console() -> Console:
    """Stdout as rich sees it."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_WIDE)


def _tells(cell: Cell) -> bool:
    return (cell if isinstance(cell, str) else cell[0]) not in ("", "-")


def _text(cell: Cell) -> RenderableType:
    from rich.text import Text

    text, style = cell if isinstance(cell, tuple) else (cell, "")
    return Text(harmless(text), style=style)
