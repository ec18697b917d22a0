"""One turn of a topic's groups: what each message does to them, and the one list of changes that comes of all. Pure,
given reads of the committed log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, assert_never

from msgspec import Struct, structs

from ..errors import GroupNotFound, InvalidRequest, Throttled
from ..storage.store import Change
from ..topics.read.face import View
from ..topics.read.reading import Found, LogReads, read
from ..topics.vectors import Vector
from . import marks
from .group import Delivery, Group
from .messages import (
    After,
    Commit,
    Committed,
    ConsumerState,
    Drop,
    GroupState,
    Handed,
    ListGroups,
    Message,
    Read,
    Reclaim,
    Reclaimed,
    Seek,
    Sought,
    Start,
    Tell,
)
from .mirror import MOST_PAGES, done_elsewhere, is_done, news, without_origin
from .texts import seq_of, texts_of, with_deliveries

Elsewhere = Callable[[str], Vector]  # of a group: how far other nodes are done with each strand


class Bounds(Struct, frozen=True):
    """[limits] of one topic's groups."""

    groups: int
    consumers: int  # that hold something, per group
    pending: int  # per group


class GroupLog(LogReads, Protocol):
    """The committed log, and how many records went from it since somebody looked first."""

    removed: int


class GroupTurn:
    """All that waited, decided one after the other."""

    def __init__(
        self,
        tid: int,
        groups: dict[str, Group],
        log: GroupLog,
        bounds: Bounds,
        now_ms: int,
        elsewhere: Elsewhere | None,
    ) -> None:
        self._tid, self._groups, self._log = tid, groups, log
        self._bounds, self._now_ms, self._elsewhere = bounds, now_ms, elsewhere
        self._changed: dict[str, Group] = {}
        self._drops: list[Change] = []

    def on(self, message: Message) -> Any:
        """Decide one message; its answer, to be given after the commit. Raises what it must be refused with."""
        match message:
            case Read():
                return self._read(message)
            case Commit():
                return self._commit(message)
            case Reclaim():
                return self._reclaim(message)
            case Seek():
                return self._seek(message)
            case Drop():
                return self._drop(message)
            case Tell():
                return self._tell(message)
            case ListGroups():
                return self._list(message)
            case _:
                assert_never(message)

    def tells(self) -> list[tuple[str, bytes]]:
        """What peers are to be told of groups that are mirrored. To be asked before ``changes``."""
        if self._elsewhere is None:
            return []
        told = [(group, news(group, self._log, self._now_ms)) for group in self._groups.values()]
        self._changed |= {group.name: group for group, _ in told if group.place_moved}
        return [content for _, content in told if content is not None]

    def changes(self) -> list[Change]:
        """What must be committed before anybody is answered."""
        return self._drops + [c for group in self._changed.values() for c in marks.changes(self._tid, group)]

    # ---- reading ---------------------------------------------------------------------------------

    def _read(self, message: Read) -> Handed:
        group, created = self._find_or_make(message.group, message.start)
        self._check_consumer(group, message.consumer)
        records: list[str] = []
        told, view = None, message.view
        if message.min_idle_ms is not None:
            idle = group.idle(message.min_idle_ms, self._now_ms, view.limit)
            records, _ = self._take_over(group, message.consumer, idle, view)
        size = sum(map(len, records))
        if len(records) < view.limit and (not records or size < view.max_bytes):
            some = structs.replace(view, limit=view.limit - len(records), max_bytes=max(1, view.max_bytes - size))
            fresh, told = self._hand_out(group, message.consumer, some, full_is_fine=bool(records))
            records += fresh
        next_idle_ms = group.next_idle_ms(message.min_idle_ms) if message.min_idle_ms is not None else None
        return Handed(
            records, group.take_gone(), told, group.cursor, self._log.head, self._log.log_id_hex, group.pending,
            created, next_idle_ms,
        )  # fmt: skip

    def _hand_out(self, group: Group, consumer: str, view: View, *, full_is_fine: bool) -> tuple[list[str], str | None]:
        """What nobody was given yet, and the loss that stands before it."""
        room = self._bounds.pending - group.pending
        if room <= 0 and group.cursor < self._log.head:
            if full_is_fine:
                return [], None
            raise _too_many("max_pending_per_group", self._bounds.pending, "commit or reclaim what is pending")
        found = self._fresh(group, structs.replace(view, limit=min(view.limit, max(room, 1))))
        if found.next_from_seq != group.cursor:
            group.hand_out(consumer, [seq_of(text) for text in found.records], self._now_ms)
            group.cursor = found.next_from_seq
            self._changed[group.name] = group
        return [with_deliveries(text, 1) for text in found.records], found.tombstone

    def _fresh(self, group: Group, view: View) -> Found:
        """The next page of what no group of this name is done with."""
        vector = self._vector(group)
        if not vector:
            return read(self._log, group.cursor, None, view)
        cursor, wider = group.cursor, structs.replace(view, origin=True)
        for _ in range(MOST_PAGES):
            found = read(self._log, cursor, None, wider)
            texts = [text for text in found.records if not is_done(vector, text)]
            if texts or found.tombstone is not None or found.caught_up:
                break
            cursor = found.next_from_seq
        return structs.replace(found, records=texts if view.origin else list(map(without_origin, texts)))

    def _vector(self, group: Group) -> Vector | None:
        return None if self._elsewhere is None else self._elsewhere(group.name)

    def _reclaim(self, message: Reclaim) -> Reclaimed:
        group = self._find(message.group)
        self._check_consumer(group, message.consumer)
        most = message.view.limit + 1  # one more tells whether there is more
        idle = group.idle(message.min_idle_ms, self._now_ms, most, after=message.after, of=message.of)
        records, taken = self._take_over(group, message.consumer, idle, message.view)
        next_after = idle[taken - 1] if 0 < taken < len(idle) else 0
        return Reclaimed(records, group.take_gone(), next_after, group.pending)

    def _take_over(self, group: Group, consumer: str, seqs: list[int], view: View) -> tuple[list[str], int]:
        """The first of these that fit, from now on the consumer's, and how many seqs were looked at. Those that the log
        has not any more are let go."""
        seqs = seqs[: view.limit]
        texts, looked_at = texts_of(self._log, seqs, view)
        group.take_over(consumer, texts, self._now_ms)
        group.lose([seq for seq in seqs[:looked_at] if seq not in texts])
        if looked_at:
            self._changed[group.name] = group
        return [with_deliveries(text, group.holders[seq].times) for seq, text in texts.items()], looked_at

    # ---- letting go ------------------------------------------------------------------------------

    def _commit(self, message: Commit) -> Committed:
        group = self._find(message.group)
        committed, skipped = group.commit(message.consumer, message.seqs)
        if message.up_to is not None:
            committed += group.commit_to(message.consumer, message.up_to)
        if committed:
            self._changed[group.name] = group
        return Committed(committed, skipped, group.pending)

    def _lose(self, group: Group) -> Group:
        """Pending records that were deleted or that retention took meanwhile: nobody can be given them again."""
        log, vector = self._log, self._vector(group)
        if vector != group.vector and vector:
            finished = list(done_elsewhere(group, log, vector))
            group.finish(finished)
            group.vector = vector
            self._changed |= {group.name: group} if finished else {}
        if group.removed == log.removed:
            return group
        group.removed = log.removed
        gone = group.up_to(log.floor) + [s for s in group.deleted(log.masks) if s > log.floor]
        if gone:
            group.lose(gone)
            self._changed[group.name] = group
        return group

    # ---- groups ----------------------------------------------------------------------------------

    def _find(self, name: str) -> Group:
        group = self._groups.get(name)
        if group is None:
            told = f"topic {self._log.topic!r} has no group {name!r}; its first read makes it"
            raise GroupNotFound(told, {"topic": self._log.topic, "group": name})
        return self._lose(group)

    def _find_or_make(self, name: str, start: Start) -> tuple[Group, bool]:
        group = self._groups.get(name)
        if group is not None:
            return self._lose(group), False
        if len(self._groups) >= self._bounds.groups:
            raise _too_many("max_groups_per_topic", self._bounds.groups, "delete groups that nobody uses")
        place = self._place(start)
        group = Group(name, self._now_ms, place, told_to=place)
        self._groups[name] = self._changed[name] = group
        return group, True

    def _place(self, start: Start) -> int:
        match start:
            case "earliest":
                return self._log.floor
            case "latest":
                return self._log.head
            case After(seq):
                if seq > self._log.head:
                    told = f'seq {seq} is behind the head ({self._log.head}); begin at "latest" or further down'
                    raise InvalidRequest(told, {"head_seq": self._log.head})
                return seq

    def _check_consumer(self, group: Group, consumer: str) -> None:
        if consumer not in group.consumers and len(group.consumers) >= self._bounds.consumers:
            raise _too_many("max_consumers_per_group", self._bounds.consumers, "reclaim what dead consumers hold")

    def _seek(self, message: Seek) -> Sought:
        cursor = self._place(message.start)
        group, created = self._find_or_make(message.group, message.start)
        dropped = group.seek(cursor)
        self._changed[group.name] = group
        return Sought(cursor, dropped, created)

    def _drop(self, message: Drop) -> bool:
        group = self._groups.pop(message.group, None)
        if group is None:
            return False
        self._changed.pop(message.group, None)
        self._drops += marks.dropped(self._tid, group)
        return True

    def _tell(self, message: Tell) -> GroupState:
        group = self._find(message.group)
        first: dict[str, Delivery] = {}
        for delivery in group.deliveries:
            first.setdefault(delivery.consumer, delivery)
        lowest: dict[str, int] = {}
        for seq, delivery in group.holders.items():
            lowest.setdefault(delivery.consumer, seq)
        consumers = [
            ConsumerState(name, count, lowest[name], max(0, self._now_ms - first[name].at_ms))
            for name, count in sorted(group.consumers.items())
        ]
        return self._state(group, consumers)

    def _list(self, message: ListGroups) -> list[GroupState]:
        names = sorted(n for n in self._groups if n.startswith(message.prefix) and n > message.after)
        return [self._state(self._lose(self._groups[name]), []) for name in names[: message.size]]

    def _state(self, group: Group, consumers: list[ConsumerState]) -> GroupState:
        lag = max(0, self._log.head - group.cursor)
        return GroupState(group.name, group.cursor, group.committed_to, group.pending, lag, group.created_ms, consumers)


def _too_many(limit: str, most: int, what_to_do: str) -> Throttled:
    return Throttled(f"[limits] {limit} = {most} is reached; {what_to_do}", {"limit": limit, "max": most}, 1.0)
