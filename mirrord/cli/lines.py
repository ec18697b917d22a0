"""Records, losses and jobs as one line each, for people. Payloads are foreign text: a terminal must not obey them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click
import msgspec
from msgspec import Raw

from .figures import harmless, moment


def record_line(raw: Raw, text: bool, *, topic: str = "") -> str:
    """seq, time, node, tag, payload; the topic before them where there are several. ``text``: strings are bare."""
    record = msgspec.json.decode(raw)
    parts = [click.style(harmless(topic), fg="blue")] if topic else []
    parts += [
        click.style(f"{record['$seq']:>8}", fg="cyan"),
        click.style(moment(record["$ts"]), dim=True),
        click.style(harmless(str(record.get("$node", ""))), fg="green"),
    ]
    if record.get("$tag"):
        parts.append(click.style(harmless(record["$tag"]), fg="yellow"))
    if record.get("deliveries", 1) > 1:
        parts.append(click.style(f"({record['deliveries']} times)", fg="magenta"))
    return "  ".join([*parts, payload(record.get("data"), text)])


def gap_line(tombstone: Mapping[str, Any], *, topic: str = "") -> str:
    """What is gone, and why."""
    of = f" of {harmless(topic)}" if topic else ""
    reason, first, last = tombstone.get("reason"), tombstone.get("gap_from"), tombstone.get("gap_to")
    if reason == "recreated":
        return click.style(f"-- the topic{of} was recreated; reading on from its beginning", fg="magenta")
    missed = tombstone.get("missed_estimate")
    what = f"{missed:,} records" if isinstance(missed, int) else "records"
    return click.style(f"-- {what}{of} are gone: {reason} (seq {first}..{last})", fg="red")


def payload(data: Any, text: bool) -> str:
    """A payload as it is shown."""
    bare = text and isinstance(data, str)
    return harmless(data if bare else json.dumps(data, ensure_ascii=False, separators=(",", ":")))
