"""What can be asked of a topic's groups, and what is answered."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ..topics.read.face import View


class After(Struct, frozen=True):
    """A place in a log: the next record is the first after ``seq``."""

    seq: Annotated[int, Meta(ge=0, le=(1 << 40) - 1)]


Start = Literal["earliest", "latest"] | After


class Read(Struct, frozen=True):
    """Records for a consumer. With ``min_idle_ms`` first those that were handed out so long ago and not committed.

    ``start`` counts when this read makes the group. ``view.limit`` and ``view.max_bytes`` bound the answer.
    """

    group: str
    consumer: str
    view: View
    min_idle_ms: int | None = None
    start: Start = "earliest"


class Handed(Struct, frozen=True):
    """Records as JSON text, from now on pending for the consumer."""

    records: list[str]
    gone: list[int]  # were pending, and are not in the log any more
    tombstone: str | None
    cursor: int
    head: int
    log_id: str
    pending: int  # of the whole group
    created: bool = False
    next_idle_ms: int | None = None  # when the next pending record is idle for ``min_idle_ms``

    @property
    def caught_up(self) -> bool:
        """Whether there is nothing new behind this."""
        return self.cursor >= self.head

    @property
    def worth_telling(self) -> bool:
        """Whether a long poll must not wait on."""
        return bool(self.records or self.gone or self.tombstone) or not self.caught_up


class Commit(Struct, frozen=True):
    """These records (or all that the consumer holds up to a seq) are done with."""

    group: str
    consumer: str
    seqs: tuple[int, ...] = ()
    up_to: int | None = None


class Committed(Struct, frozen=True):
    """How many were committed, and which were not the consumer's (any more)."""

    committed: int
    skipped: list[int]
    pending: int


class Reclaim(Struct, frozen=True):
    """Take over records that are pending for so long, in seq order behind ``after``; ``of``: of one consumer only."""

    group: str
    consumer: str
    view: View
    min_idle_ms: int
    after: int = 0
    of: str | None = None


class Reclaimed(Struct, frozen=True):
    """``next_after``: where to go on; 0 when nothing more is idle behind it."""

    records: list[str]
    gone: list[int]
    next_after: int
    pending: int


class Seek(Struct, frozen=True):
    """Stand somewhere else, and hold nothing. Makes the group when there is none."""

    group: str
    start: Start


class Sought(Struct, frozen=True):
    """Where the group stands now; ``dropped`` records are pending no longer."""

    cursor: int
    dropped: int
    created: bool


class Drop(Struct, frozen=True):
    """The group goes. Answers whether there was one."""

    group: str


class Tell(Struct, frozen=True):
    """How a group stands."""

    group: str


class ConsumerState(Struct, frozen=True):
    """One consumer that holds something."""

    consumer: str
    pending: int
    first_seq: int
    idle_ms: int  # since its longest held record was handed out


class GroupState(Struct, frozen=True):
    """How a group stands. ``lag``: seqs behind the cursor that were not handed out yet."""

    group: str
    cursor: int
    committed_to: int
    pending: int
    lag: int
    created_ms: int
    consumers: list[ConsumerState]


class ListGroups(Struct, frozen=True):
    """Groups by name, behind ``after``. Answers a list of GroupState without their consumers."""

    prefix: str
    after: str
    size: int


Message = Read | Commit | Reclaim | Seek | Drop | Tell | ListGroups
