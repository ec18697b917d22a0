"""Facts of the API as cells of tables. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .figures import count, duration, rate, size

Cell = str | tuple[str, str]  # text, or text and a style of rich
Matrix = Mapping[str, Mapping[str, Mapping[str, Any]]]  # origin -> holder -> {records, seconds}

STATE_STYLES = {
    "caught-up": "green", "ready": "green", "alive": "green", "up": "green",
    "catching-up": "cyan", "connecting": "yellow", "starting": "yellow", "paused": "yellow",
    "stalled": "yellow", "unreachable": "red", "refused": "red", "halted": "red", "dead": "red",
    "died": "red", "not ready": "red",
}  # fmt: skip


def state(word: str) -> Cell:
    """A state in its colour; what stands behind the word in brackets does not matter."""
    return word, STATE_STYLES.get(word.split("(")[0].strip(), "")


LINK_COLUMNS = ("state", "since", "#behind", "#bytes", "#time", "#rate", "#eta", "#connects")


def link_cells(link: Mapping[str, Any]) -> tuple[Cell, ...]:
    """A link of ``GET /v0/links``, under LINK_COLUMNS."""
    notes = [link["reason"]] if link.get("reason") else []
    if link.get("same_topology") is False:
        notes.append("runs another file")
    word = link["state"] + (f" ({', '.join(notes)})" if notes else "")
    since_ms = link.get("since_ms")
    return (
        state(word),
        duration(since_ms / 1000 if since_ms is not None else None),
        count(link.get("lag_records") or 0),
        size(link.get("lag_bytes") or 0),
        duration(link.get("lag_seconds")),
        rate(link.get("rate_records_s") or 0),
        duration(link.get("eta_s")),
        count(link.get("connects") or 0),
    )


def topic_cells(told: Mapping[str, Any]) -> tuple[Cell, ...]:
    """One topic of a link, under LINK_COLUMNS: a halted strand with both positions."""
    notes = [told["reason"]] if told.get("reason") else []
    notes += [
        f"{halt['kind']} of {halt['strand']}: at {halt['mine']['oseq']} here, {halt['theirs']['oseq']} there"
        for halt in told.get("halted", ())
    ]
    word = str(told.get("state", "")) + (f" ({', '.join(notes)})" if notes else "")
    behind = count(told.get("lag_records") or 0)
    return state(word), "", behind, "", duration(told.get("lag_seconds")), "", "", ""


def lag_rows(matrix: Matrix, holders: Sequence[str]) -> list[list[Cell]]:
    """Origins down, holders across."""
    return [[origin, *(_lag(held.get(name)) for name in holders)] for origin, held in sorted(matrix.items())]


def _lag(found: Mapping[str, Any] | None) -> Cell:
    """What a holder lacks of an origin's records, and for how long; ``?`` where nothing is known or nothing brought."""
    if found is None or found["records"] is None:
        return "?", "dim"
    if not found["records"]:
        return "0", "green"
    age = f" ({duration(found['seconds'])})" if found.get("seconds") is not None else ""
    return count(found["records"]) + age, "yellow"
