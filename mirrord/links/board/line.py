"""What one link has told the others: where its peer stands in each strand, what it covers, and what stands still."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct, field

from ...actors.bell import Bell
from ...records.strand import Position
from .covers import Offer


class Told(Struct, frozen=True):
    """A peer's position in a strand, as it told it."""

    oseq: int
    hash: bytes | None
    whole_from: int
    ts: int
    before: int = 0  # the oseq that it told one heartbeat earlier


class Halt(Struct, frozen=True):
    """Why a strand stands still on one link, with both positions."""

    kind: str  # "fork" or "gap"
    mine: Position
    theirs: Position


class Side(Struct):
    """One link's view of one local topic."""

    source: str
    told: dict[int, Told] = field(default_factory=dict)
    covered: dict[int, int] = field(default_factory=dict)
    stripped: dict[int, int] = field(default_factory=dict)  # up to where chunks lack records at the peer
    offers: dict[int, Offer] = field(default_factory=dict)
    halted: dict[int, Halt] = field(default_factory=dict)
    pending: dict[int, tuple[int, int]] = field(default_factory=dict)
    asked: dict[int, bool] = field(default_factory=dict)  # what the feed was told: True serve, False not from here
    refused: str | None = None
    behind: dict[int, int] = field(default_factory=dict)  # strand: commit time (ms) of about the first record we lack
    ttl_ms: int = 0  # the topic's at the peer
    average_bytes: float = 0.0  # of a record at the peer, to tell lag in bytes


class Line(Struct):
    """One link as the others see it."""

    peer: str
    patience_s: float
    wants: Callable[[str], bool]  # whether the link brings a local topic of this name
    origin_id: bytes = b""
    up: bool = False  # hello is complete and bytes came within the last heartbeats
    paused: bool = False
    down_since: float = 0.0
    sides: dict[str, Side] = field(default_factory=dict)
    dirty: dict[tuple[str, int], None] = field(default_factory=dict)  # strands whose feed may have to be told
    offered: dict[tuple[str, int], None] = field(default_factory=dict)  # strands with a cover held back
    fresh: dict[tuple[str, int], None] = field(default_factory=dict)  # strands that moved since the last heartbeat
    bell: Bell = field(default_factory=Bell)  # rung when what its feed should be told may have changed
    may_be_behind: bool = False  # something was told that was not here then: whoever looks and finds none says so
