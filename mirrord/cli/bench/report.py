"""Results as a table for people and as one JSON object for machines. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from ..cells import Cell
from ..figures import count
from .figure import Bound, Figure, Result

COLUMNS = (
    "row",
    "figure",
    "#measured",
    "#lowest",
    "#highest",
    "#required",
    "#goal",
    "verdict",
    "#slow-down",
    "#others",
)
_STYLES = {"goal": "green", "ok": "green", "missed": "red"}


class Machine(Struct, frozen=True):
    """Where and when a run took place."""

    started: str  # UTC
    processor: str
    processors: int
    awake: bool  # kept from sleeping
    kernel: str
    python: str
    sqlite: str
    version: str


def cells(result: Result) -> list[tuple[Cell, ...]]:
    """The lines of one row, under COLUMNS."""
    lines: list[tuple[Cell, ...]] = []
    for figure in result.figures:
        first = not lines
        lines.append(
            (
                result.row if first else "",
                figure.what,
                f"{number(figure.value)} {figure.unit}".rstrip(),
                number(min(figure.values)),
                number(max(figure.values)),
                *_bounds(figure.bound),
                (figure.verdict, _STYLES.get(figure.verdict, "")),
                f"x{result.conditions.slowdown:.2f}" if first else "",
                f"{result.conditions.others:.2f}" if first else "",
            )
        )
    return lines


def number(value: float) -> str:
    """Three figures that matter: ``1,234,567``, ``12.3``, ``0.630``."""
    if abs(value) >= 100:
        return count(value)
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _bounds(bound: Bound | None) -> tuple[str, str]:
    if bound is None:
        return "", ""
    sign = ">=" if bound.more else "<="
    return f"{sign} {number(bound.required)}", f"{sign} {number(bound.goal)}" if bound.goal is not None else ""


def missed(results: Sequence[Result]) -> int:
    """How many figures stay below what is required."""
    return sum(figure.verdict == "missed" for result in results for figure in result.figures)


def as_json(machine: Machine, results: Sequence[Result]) -> bytes:
    """Everything: the machine, and per row the conditions and each figure with all repeats."""
    return msgspec.json.encode({"machine": machine, "rows": [_plain(result) for result in results]})


def _plain(result: Result) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(result)
    plain["figures"] = [_figure(figure) for figure in result.figures]
    return plain


def _figure(figure: Figure) -> dict[str, object]:
    told: dict[str, object] = msgspec.to_builtins(figure)
    return told | {"value": figure.value, "verdict": figure.verdict}


def lines(result: Result) -> list[str]:
    """A row's figures as lines of progress."""
    return [f"{f.what}: {number(f.value)} {f.unit} {f.verdict}".rstrip() for f in result.figures]
