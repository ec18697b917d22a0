"""One structured line per fact on standard error, ``action`` first: JSON for machines, ``key=value`` for a terminal."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

from ..clock import Clock
from ..errors import MirrordError

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Log:
    """Writes facts. What cannot be written (standard error is gone) is dropped: a log must not end a node."""

    def __init__(self, node: str, clock: Clock, out: TextIO) -> None:
        self._node, self._clock, self._out = node, clock, out
        self._render: Callable[[dict[str, Any]], str] = _as_text if out.isatty() else _as_json

    def __call__(self, action: str, *, level: str = "info", exc: BaseException | None = None, **facts: object) -> None:
        """Tell one fact. An exception that mirrord does not name comes with its traceback, as an error."""
        line: dict[str, Any] = {"action": action, "level": level, "ts": self._now(), "node": self._node, **facts}
        if exc is not None and not isinstance(exc, MirrordError):
            line["level"] = "error"
            line["traceback"] = "".join(traceback.format_exception(exc))
        try:
            print(self._render(line), file=self._out, flush=True)
        except OSError:
            return

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock.wall_ms() / 1000, UTC).isoformat(timespec="milliseconds")


def _as_json(line: dict[str, Any]) -> str:
    return _encode(line).decode()


def _as_text(line: dict[str, Any]) -> str:
    told = {key: value for key, value in line.items() if key not in ("ts", "action", "level", "node", "traceback")}
    facts = " ".join(f"{key}={value}" for key, value in told.items())
    text = f"{line['ts'][11:23]} {line['level']:7} {line['node']} {line['action']} {facts}"
    return f"{text}\n{line['traceback']}" if "traceback" in line else text
