"""What each message does to a turn. Pure, given reads of what is committed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

from msgspec import structs

from ...errors import (
    ChunkCorrupt,
    Conflict,
    IdempotencyConflict,
    RecordTooLarge,
    TopicExistsIncompatible,
    TopicFull,
    TopicNotEmpty,
    TopicNotFound,
)
from ...records.gap import DELETED
from ...storage.life import Life
from ...storage.store import (
    DropIdempotency,
    DropLog,
    DropMark,
    Gap,
    IdempotencyRow,
    PutGap,
    PutIdempotency,
    PutMark,
    PutTopic,
    Store,
    marks_of_log,
)
from ..erasure.compaction import Compactor
from ..erasure.contents import erase_orders
from ..erasure.eraser import Eraser
from ..erasure.orders import Orders
from ..erasure.sight import Memory, Sight
from ..erasure.trimming import Trimmer
from ..messages import (
    Append,
    Appended,
    Applied,
    Apply,
    ApplyCover,
    BeginLife,
    Commit,
    Configure,
    Created,
    Delete,
    Deleted,
    DropTopic,
    Erase,
    Erased,
    Introduce,
    Message,
    Miss,
    Sweep,
)
from ..quota import Quota
from . import retention, rules
from .arrival import Arrival
from .log import Identities, Log, Strand
from .sources import Sources
from .turn import Sizes, Turn


class Decisions:
    """The messages of a topic's turn, one after the other."""

    _turn: Turn
    _log: Log
    _keys: dict[str, IdempotencyRow]

    def __init__(self, store: Store, life: Life, sizes: Sizes, sources: Sources, quota: Quota) -> None:
        self._store, self._life, self._sizes, self._sources, self._quota = store, life, sizes, sources, quota
        self._memory = Memory()

    def begin(self, log: Log, now_ms: int, *, reborn: bool = False) -> Turn:
        """A turn. Before anything else of it the node's life is entered: nothing may be written into a strand of a
        life that is over. ``reborn``: the log of an ephemeral topic began with this process."""
        turn = self._turn = Turn(log, self._life, self._sizes, now_ms, self._sources)
        self._log, self._keys = log, {}
        if log.about.life_no != self._life.record.number or reborn:
            self._begin_life(self._life.record.number)
        return turn

    def on(self, message: Message) -> Any:
        """Decide one message; its answer, to be given after the commit. Raises what it must be refused with."""
        match message:
            case Append():
                return self._append(message)
            case Apply():
                return self._apply(message)
            case Erase():
                return self._erase(message)
            case Delete():
                return self._delete(message)
            case Commit():
                return self._commit(message)
            case Miss():
                self._turn.miss(message.records)
                self._turn.marks += message.changes
                return None
            case Introduce():
                return Arrival(self._turn).introduce(message.descriptor)
            case ApplyCover():
                return Arrival(self._turn).cover(message.cover)
            case Configure():
                return self._configure(message)
            case Created():
                return self._created(message)
            case DropTopic():
                return self._drop(message)
            case BeginLife() | Sweep():
                return None  # every turn begins with the one and ends with the other
            case _:
                assert_never(message)

    # ---- appends ---------------------------------------------------------------------------------

    def _append(self, message: Append) -> Appended:
        key, log, turn = message.key, self._log, self._turn
        about = log.about
        if about.deleted:
            raise TopicNotFound(f"topic {log.name!r} was deleted; append again to make it anew", {"topic": log.name})
        if key is not None:
            row = self._remembered(key.name)
            if row is not None:
                if about.config.idempotency_check and row.digest != key.digest:
                    raise IdempotencyConflict(detail={"topic": log.name, "first_seq": row.first, "last_seq": row.last})
                turn.marks += message.changes
                return Appended(row.first, row.last, row.head, deduped=True)
        if about.config.discard == "reject":
            self._admit(message.records, message.text_bytes)
        if self._quota.most:
            self._quota.admit(log.bytes - turn.before.bytes + message.text_bytes)
        first, last = turn.append(message.batches)
        if message.changes:
            turn.marks += message.changes
        if key is not None:
            row = IdempotencyRow(log.tid, key.name, first, last, last, key.digest, turn.now_ms)
            self._keys[key.name] = row
            turn.changes.append(PutIdempotency(row))
        return Appended(first, last, last)

    def _admit(self, records: int, size: int) -> None:
        """A topic that rejects takes what fits beside what is live. Raises RecordTooLarge, TopicFull."""
        log, config = self._log, self._log.about.config
        if 0 < config.cap_records < records or 0 < config.cap_bytes < size:
            raise RecordTooLarge("the batch is larger than the whole topic may be; send less at once")
        if config.ttl_ms and not rules.has_room(log, config, records, size):
            self._sweep()
        if not rules.has_room(log, config, records, size):
            earliest = log.floor + 1 if log.count else log.head + 1
            raise TopicFull(detail={
                "topic": log.name, "cap_records": config.cap_records, "cap_bytes": config.cap_bytes,
                "head_seq": log.head, "earliest_seq": earliest,
            })  # fmt: skip

    def _remembered(self, name: str) -> IdempotencyRow | None:
        row = self._keys.get(name)
        if row is None and not self._turn.cleared:
            row = self._store.idempotency(self._log.tid, name)
        window = self._log.about.config.idempotency_window_ms
        return row if row is not None and self._turn.now_ms - row.ts <= window else None

    # ---- deletes ---------------------------------------------------------------------------------

    @property
    def _eraser(self) -> Eraser:
        sight = Sight(self._log.tid, self._store, self._memory, self._turn.closed_packs())
        return Eraser(self._turn, self._store, sight)

    def _erase(self, message: Erase) -> Erased:
        erased, places = self._eraser.erase(message)
        self._turn.marks += message.changes
        if message.travels:
            for strand, oseq in places:
                self._turn.removal.settled.setdefault(strand, []).append((oseq, oseq))
        return erased

    def _delete(self, message: Delete) -> Deleted:
        deleted = self._eraser.delete(message)
        self._turn.sync |= bool(deleted.records)  # what somebody wanted gone stays so when power fails, in every class
        return deleted

    def _apply(self, message: Apply) -> Applied:
        turn = self._turn
        applied = Arrival(turn, lacks=message.lacks).apply(message.chunks)
        came = turn.removal.orders if turn.removes else []
        if came or self._log.awaited:
            orders = Orders(turn, self._store, self._eraser)
            while came:
                orders.follow(came.pop(0))
            for number, last in applied.moved:
                orders.came(number, last)
        return applied

    def _commit(self, message: Commit) -> None:
        log = self._log
        if message.log_id is not None and message.log_id != log.about.log_id.hex():
            raise TopicNotFound(f"topic {log.name!r} is another log by now", {"topic": log.name})
        self._turn.marks += message.changes
        if message.tells:
            self._turn.tell(message.tells)

    # ---- configuration and lives -----------------------------------------------------------------

    def _configure(self, message: Configure) -> None:
        log, about, config = self._log, self._log.about, message.config
        if message.fields:
            if about.deleted:
                raise TopicNotFound(f"topic {log.name!r} was deleted", {"topic": log.name})
            config = structs.replace(about.config, **{name: getattr(config, name) for name in message.fields})
        if about.config.type != config.type and not about.deleted:
            detail = {
                "topic": log.name,
                "existing_type": about.config.type,
                "requested_type": config.type,
            }
            raise TopicExistsIncompatible(detail=detail)
        if "ephemeral" in {about.config.durability, config.durability} and about.config.durability != config.durability:
            how = "DELETE it with ?forget=true, without a link that names it" if about.deleted else "delete it first"
            raise Conflict(f"a topic cannot become ephemeral, nor stop being so: {how} (its log lives elsewhere)")
        changed = structs.replace(about, config=config, put=about.put or message.put, deleted=False)
        self._rewrite(changed)

    def _created(self, message: Created) -> None:
        about = self._log.about
        if (message.at_ms, message.by) < (about.created_ms, about.creator):
            self._rewrite(structs.replace(about, created_ms=message.at_ms, creator=message.by))

    def _rewrite(self, about: Identities) -> None:
        log = self._log
        if about != log.about:
            log.about = about
            self._turn.changes.append(PutTopic(log.topic_row))
            self._turn.sync = True

    def _begin_life(self, life_no: int) -> None:
        """Our strand is closed, seqs go on above the ceiling (the jump is one `lost` tombstone), and the log id is made
        anew when the store may have been put back."""
        log, turn = self._log, self._turn
        log.own = None
        if log.ceiling:
            turn.lose(rules.after_ceiling(log.head, log.ceiling))
        fresh = self._life.needs_log_id(log.about.life_no) or log.about.config.durability == "ephemeral"
        log_id = turn.sources.log_id() if fresh else log.about.log_id
        self._rewrite(structs.replace(log.about, life_no=life_no, log_id=log_id))

    def _drop(self, message: DropTopic) -> None:
        log, turn = self._log, self._turn
        if message.if_empty and log.count:
            raise TopicNotEmpty(detail={"topic": log.name, "count": log.count})
        turn.forget_packs()
        self._keys.clear()
        turn.changes.append(DropLog(log.tid))
        self._drop_marks(marks_of_log(log.tid))
        turn.marks += message.changes
        for strand in log.strands.values():
            if strand.last:
                turn.changes.append(PutGap(_deleted(log.tid, strand)))
                strand.whole_from = strand.last + 1
                turn.touch(strand)
        log.own = log.spoken = None
        log.head = log.ceiling = log.floor = log.count = log.bytes = log.last_ts = log.oldest_last = 0
        log.forget_front()
        log.awaited = {}
        self._memory.clear()
        closed = max((s.sid for s in log.strands.values()), default=0)
        self._rewrite(
            structs.replace(log.about, deleted=True, log_id=turn.sources.log_id(), closed_sid=closed, put=False)
        )

    def _drop_marks(self, prefix: str) -> None:
        """Readers that live with the log have no place in another one."""
        turn = self._turn
        turn.marks = [m for m in turn.marks if not (isinstance(m, PutMark) and m.reader.startswith(prefix))]
        turn.marks += [DropMark(reader) for reader, _ in self._store.marks(prefix)]

    # ---- retention -------------------------------------------------------------------------------

    def let_go(self, oldest_ts: Callable[[], int]) -> None:
        """Enforce the topic's limits in this same turn, give back what holds nothing live, and forget idempotency keys
        that are past their window. ``oldest_ts``: when the oldest live record was committed, ms; asked if it counts."""
        log, turn = self._log, self._turn
        config = log.about.config
        if turn.removes and turn.removal.settled:
            turn.tell(list(erase_orders(turn.removal.settled)))
        if self._keys:
            turn.changes.append(DropIdempotency(log.tid, max(0, turn.now_ms - config.idempotency_window_ms)))
        try:
            if retention.has_limits(config) and retention.due(log, turn.now_ms, oldest_ts()):
                self._sweep()
            if turn.removes:
                self._close_up()
            if log.floor and log.floor >= log.oldest_last:
                Trimmer(turn, self._store).front()
            if turn.told:
                Compactor(turn, self._store).run()
        except ChunkCorrupt:
            pass  # what can neither be read nor counted stops no writer: limits stand still until it is fetched again

    def _close_up(self) -> None:
        """Something went, or may have: the floor moves over what is deleted, and packs go of which nothing is left."""
        log, turn = self._log, self._turn
        if turn.cleared:
            return  # what is stored is of the log before
        if turn.masks.oldest is not None or (log.floor != turn.before.floor and turn.masks):
            self._eraser.advance_front()
        if wounded := turn.removal.wounded:
            Trimmer(turn, self._store).wounded(sorted(wounded))

    def _sweep(self) -> None:
        log, turn = self._log, self._turn
        if turn.cleared:
            return  # what is stored is of the log before: the next turn looks at what came behind it
        swept = retention.sweep(log, turn.masks, turn.now_ms, self._store, turn.closed_packs())
        log.floor, log.count, log.bytes = swept.floor, swept.count, swept.bytes
        if swept.taken:
            log.take_front(swept.taken)


def _deleted(tid: int, strand: Strand) -> Gap:
    return Gap(tid, strand.sid, 1, strand.last, DELETED, strand.descriptor.id_hash, strand.hash)
