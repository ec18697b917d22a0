"""Numbers as people read them, and foreign text made safe for a terminal. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")


def count(number: float) -> str:
    """12345 -> ``12,345``"""
    return f"{number:,.0f}"


def fact(value: object) -> str:
    """What a node tells, as one cell: ``yes`` and ``no``, ``-`` for nothing, a list's words one after the other."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else " ".join(map(str, value)) if isinstance(value, list) else str(value)


def size(number_bytes: float) -> str:
    """3250585 -> ``3.1 MiB``"""
    for unit in _SIZES[:-1]:
        if number_bytes < 1024:
            return f"{number_bytes:.0f} B" if unit == "B" else f"{number_bytes:.1f} {unit}"
        number_bytes /= 1024
    return f"{number_bytes:.1f} {_SIZES[-1]}"


def duration(seconds: float | None) -> str:
    """0.0042 -> ``4 ms``, 75 -> ``1m15s``; nothing known -> ``-``"""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{left:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours < 48 else f"{hours // 24}d{hours % 24}h"


def rate(per_s: float) -> str:
    """1234.5 -> ``1,234/s``"""
    return f"{per_s:,.0f}/s" if per_s >= 10 or per_s == 0 else f"{per_s:.1f}/s"


def moment(ts_ms: int) -> str:
    """Milliseconds since the epoch as UTC time with date."""
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def harmless(text: str) -> str:
    """Text of others with everything that a terminal would obey written out as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
