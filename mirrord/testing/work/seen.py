"""What one watcher has seen of one topic. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from ..cluster.ledger import Mark
from .account import Account


class Shown(Struct):
    """A ``record`` event."""

    from_seq: int
    to_seq: int
    records: list[dict[str, Any]]


class Seen:
    """Seq to record; what must not be shown goes to the account."""

    def __init__(self, account: Account, who: str) -> None:
        self._account, self._who = account, who
        self.place = 0
        """Everything up to this seq was shown."""
        self.records: dict[int, Mark] = {}

    def take(self, event: str, data: bytes) -> None:
        """One event of a stream that goes on at ``place``."""
        if event == "tombstone":
            self._account.broken("told as gone", (self._who, data))
        if event != "record":
            return
        shown = msgspec.json.decode(data, type=Shown)
        self._account.broken("not where it was", (self._who, self.place, shown.from_seq), shown.from_seq != self.place)
        for record in shown.records:
            seq = int(record["$seq"])
            self._account.broken("shown twice, or turned round", (self._who, record), seq <= self.place)
            self.place = seq
            self.records[seq] = msgspec.convert(record["data"], Mark)
        self.place = shown.to_seq
        self._account.done["shown"] += len(shown.records)
