"""What happened in a run: the trace, which of it failed, and what the checker must know to judge the end."""

from __future__ import annotations

from collections import Counter
from math import inf

import trio
from msgspec import Struct, field
from xxhash import xxh3_128

from ...records.strand import Descriptor
from ..plan import Write

Place = tuple[int, int]  # strand and oseq


class Told(Struct):
    """What the client of one write was told."""

    write: Write
    unknown: bool = False  # at least one try ended without an answer
    refused: bool = False
    began: float = 0.0
    ended: float = 0.0
    acked_at: float = inf  # for the first time
    places: list[tuple[bytes, int]] = field(default_factory=list)  # log id and first seq of each answer

    @property
    def acked(self) -> bool:
        """Whether any try was acknowledged."""
        return self.acked_at < inf


class Story:
    """Written by the world and its clients while they live; read by the checker."""

    def __init__(self, keep_lines: bool = False) -> None:
        self._hash = xxh3_128()
        self.lines: list[str] | None = [] if keep_lines else None
        self.failures: dict[str, list[str]] = {}
        self.told: dict[int, Told] = {}
        self.descriptors: dict[int, Descriptor] = {}
        self.lost: set[str] = set()  # texts that no store held after some node's loss
        self.let_go: set[str] = set()  # texts that retention or a deletion took from some node
        self.struck: list[tuple[float, str, str]] = []  # when a node lost or rewound something, which, and how
        self.rewound: dict[str, set[bytes]] = {}  # node: log ids whose seqs may be given twice (memory snapshots)
        self.removed: dict[str, dict[Place, float]] = {}  # node: what was deleted there, and when that was told
        self.erased: dict[Place, str] = {}  # what is to go everywhere: the node that was asked
        self.ordered: set[Place] = set()  # what somebody tried to erase everywhere
        self.counts: Counter[str] = Counter()

    def note(self, *facts: object) -> None:
        """One event, into the trace."""
        line = f"{trio.current_time():.6f} " + " ".join(map(str, facts))
        self._hash.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    def fail(self, promise: str, what: str) -> None:
        """A promise is broken."""
        found = self.failures.setdefault(promise, [])
        if len(found) < 5 and what not in found:
            found.append(what)
            self.note("FAIL", promise, what)

    @property
    def trace_hash(self) -> str:
        """Of everything noted so far."""
        return self._hash.hexdigest()

    def remove(self, node: str, record: Place, *, everywhere: bool) -> None:
        """A node has said that a record is deleted."""
        self.removed.setdefault(node, {})[record] = trio.current_time()
        if everywhere:
            self.erased[record] = node

    def strike(self, node: str, how: str) -> None:
        """A node lost or rewound something now."""
        self.struck.append((trio.current_time(), node, how))
        if how not in ("start", "clock"):  # its store went back, or is another one: it may have forgotten
            self.removed.pop(node, None)
            self.erased = {place: who for place, who in self.erased.items() if who != node}

    def has_deletes(self) -> bool:
        """Whether any topic was deleted."""
        return any(how == "delete" for _, _, how in self.struck)

    def has_rewinds(self) -> bool:
        """Whether any machine went back in time without knowing it: only then may strands fork."""
        return any(how == "memory" for _, _, how in self.struck)

    def looks_older(self, node: str) -> bool:
        """Whether what a node says now may look older than what it said before: nothing in it can tell."""
        how = {what for _, who, what in self.struck if who == node}
        return "memory" in how or ("clock" in how and bool(how & {"wipe", "clone"}))

    def was_struck(self, node: str, since: float, until: float) -> bool:
        """Whether the node lost or rewound something in that time."""
        return any(
            who == node and since <= at <= until and how not in ("start", "clock") for at, who, how in self.struck
        )
