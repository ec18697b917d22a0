"""The topic's task: takes all that waits, lets the turn decide, commits once, answers all, rings once.

Readers never ask it: what is committed they find in ``shown.py``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import trio
from msgspec import structs

from ..actors.bell import Bell
from ..actors.mailbox import Envelope, Mailbox
from ..errors import MirrordError, StorageFailed, StoreCorrupt
from ..records.gap import LOST
from ..storage.store import Change, DropMark, PutHead, PutMark, PutTopic, marks_of_log
from ..storage.turns import Turn as JournalTurn
from .erasure.masks import Masks
from .erasure.orders import awaited_prefix, load_awaited
from .ground import Ground
from .log import retention
from .log.decisions import Decisions
from .log.log import Identities, Log, load_strands, load_taken, own_open
from .log.turn import Turn
from .messages import Append, Apply, Commit, Delete, Erase, Message, Miss, Sweep
from .shown import Shown

MOST_AT_ONCE = 256
MOST_LONE, LONE_BYTES = 16, 4 << 10  # what may be decided in its asker's task: records, and their text
NEAR_CEILING = 64  # seqs: a small message may pass the ceiling, and then waits for the disk
Answer = tuple[Envelope[Message], Any]  # an envelope, and what it is answered (or refused) with after the commit


class Topic(Shown):
    """One topic of this node. ``ready`` is set once its state is read back; then its numbers may be read."""

    def __init__(self, tid: int, name: str, about: Identities, ground: Ground, room: int) -> None:
        super().__init__(tid, name, about, ground)
        self.name = f"topic:{name}"
        self.mailbox: Mailbox[Message] = Mailbox(room)
        self.bell = Bell()
        self.ready = trio.Event()
        self._raised_at, self._raised_head = ground.clock.monotonic(), 0
        self._decide = Decisions(self._store, ground.life, ground.sizes, ground.sources, ground.quota)
        self._in_doubt = False  # a turn of an asker's task failed: the state is read back before the next one

    # ---- life ------------------------------------------------------------------------------------

    async def live(self) -> None:
        """One life: read back what is stored, come into the node's life if it is a new one, then take turns."""
        self._read_back()
        await self._come_into_life()
        self.ready.set()
        self.bell.ring()  # whoever slept through a death must look again
        self.mailbox.at_once = None if self._ephemeral else self._take_lone
        while True:
            await self._take_turn(await self.mailbox.batch(MOST_AT_ONCE))

    async def kept(self, message: Append | Miss) -> Any:
        """The answer, once what was asked is committed: to an append of class `memory` it is given before. For senders
        who have one message on its way, so that the mailbox need not bound them."""
        told: list[Envelope[Message]] = [self.mailbox.put(message, bounded_elsewhere=True)]
        if self.config.durability == "memory":
            told.append(self.mailbox.put(Commit(()), bounded_elsewhere=True))  # of the same turn, answered behind it
        answers = [await envelope.wait() for envelope in told]
        return answers[0]

    async def expire(self) -> None:
        """Let go of what its limits forbid by now, or hide it if the disk refuses. To be asked before it is shown."""
        if self.has_expired():
            try:
                await self.mailbox.ask(Sweep())
            except StorageFailed:
                self._hide_expired()

    def _read_back(self) -> None:
        ground, log, store = self._ground, self._log, self._store
        log = self._log = Log(log.tid, log.name, self.about)
        head = store.head(log.tid)
        if head is None and (kept := ground.store.head(log.tid)) is not None:
            log.ceiling = log.head = log.floor = kept.ceiling  # ephemeral: the seqs of the lost stay used
            log.take_front({LOST: log.floor})
        elif head is not None:
            log.head, log.ceiling, log.floor = head.head, head.ceiling, head.floor
            log.count, log.bytes, log.last_ts = head.count, head.bytes, head.last_ts
            log.take_front(load_taken(head.taken) if head.taken else retention.taken_before(self.config, log.floor))
            log.masks = Masks.load(store.masks(log.tid))
            log.awaited = load_awaited(store.marks(awaited_prefix(log.tid)))
        log.strands = load_strands(store.strands(log.tid), store.vectors(log.tid))
        log.own = own_open(log.strands, ground.life.identity, self.about.closed_sid)
        self._sids = {}
        self.last_gap = store.last_seq_gap(log.tid)
        self._in_doubt = False
        self._show()

    async def _come_into_life(self) -> None:
        reborn = self._ephemeral and not self.ready.is_set()
        turn = self._decide.begin(self._log, self._ground.clock.wall_ms(), reborn=reborn)
        await self._commit(turn, [], urgent=True)

    def _take_lone(self, envelope: Envelope[Message]) -> bool:
        """A small message while nothing else is going on: decided and committed where it was asked, which spares two
        rounds of the event loop (decision 0023). Whether it was; else it takes the usual way. The law stands that only
        this topic's turn decides: no turn is in flight while the task sleeps at its mailbox, and nothing here waits."""
        ground, message = self._ground, envelope.message
        if not ground.asks.lone() or not _is_small(message) or not ground.settled.is_set():
            return False
        log = self._log
        sync = log.about.config.durability == "fsync" or log.head + NEAR_CEILING > log.ceiling
        if self._in_doubt or not ground.journal.take_desk(sync=sync):
            return False
        self._in_doubt = True
        try:
            turn = self._decide.begin(log, ground.clock.wall_ms())
            answers = [(envelope, self._answer(message))]
            self._decide.let_go(self._oldest_ts)
            commit = self._turn_to_commit(turn, answers, urgent=True)
            if commit is not None:
                ground.journal.submit(commit)
                if commit.error is not None:
                    return False
            self._in_doubt = False
        finally:
            ground.journal.leave_desk()
        return True

    async def _take_turn(self, envelopes: list[Envelope[Message]]) -> None:
        if self._in_doubt:
            self._read_back()
        if not self._ground.settled.is_set() and any(_writes_own_strand(e.message) for e in envelopes):
            await self._ground.settled.wait()  # bounded: the node sets it after [mirroring] settle_ms at the latest
        try:
            await self._try_turn(envelopes)
        except StoreCorrupt:
            # Packs are the store's own: it merged two that this turn wanted to drop. Nothing of the turn is kept, so
            # it is taken once more against what is there now; a second time it is a fault, and the topic dies of it.
            self._read_back()
            await self._try_turn(envelopes)

    async def _try_turn(self, envelopes: list[Envelope[Message]]) -> None:
        turn = self._decide.begin(self._log, self._ground.clock.wall_ms())
        answers = [(envelope, self._answer(envelope.message)) for envelope in envelopes]
        urgent = any(isinstance(e.message, Append | Erase | Delete | Commit) for e in envelopes)
        if self._log.about.config.durability == "memory":  # appends are acknowledged when they are queued
            _give([(envelope, answer) for envelope, answer in answers if isinstance(envelope.message, Append)])
        try:
            self._decide.let_go(self._oldest_ts)
            await self._commit(turn, answers, urgent=urgent)
        except StoreCorrupt:
            raise
        except MirrordError as error:  # the disk refused, or the journal takes nothing more: nothing of it is kept
            self._read_back()
            for envelope, _ in answers:
                envelope.refuse(error)

    def _answer(self, message: Message) -> Any:
        try:
            return self._decide.on(message)
        except MirrordError as error:
            return error

    async def _commit(self, turn: Turn, answers: list[Answer], *, urgent: bool) -> None:
        """Commit the turn; the moment it stands, all are answered and the bell rings once."""
        commit = self._turn_to_commit(turn, answers, urgent=urgent)
        if commit is not None:
            commit.priority = self.priority(turn.now_ms)
            self._ground.journal.submit(commit)
            await commit.wait()

    def _turn_to_commit(self, turn: Turn, answers: list[Answer], *, urgent: bool) -> JournalTurn | None:
        """What the journal is to commit; None when nothing is to be: then the turn stands already."""
        changes = turn.finish(self._appends_per_second)
        kept = self._kept(changes, turn) if self._ephemeral else changes
        if not kept:
            self._stands(turn, answers)
            return None
        sync = turn.sync or self._log.about.config.durability == "fsync"
        return JournalTurn(kept, sync=sync, urgent=urgent, size=turn.size, then=partial(self._stands, turn, answers))

    def _stands(self, turn: Turn, answers: list[Answer]) -> None:
        if self._ephemeral:
            self._store.commit(turn.changes, sync=True)  # in memory: nothing is to be kept for undoing
        if turn.changes:
            self._settle(turn)
        _give(answers)
        if turn.packs or turn.last_gap is not None:
            self.bell.ring()

    def _kept(self, changes: list[Change], turn: Turn) -> list[Change]:
        """What an ephemeral topic keeps on disk: its identity, marks of readers who live elsewhere, and its ceiling
        when that moves."""
        own, moved = marks_of_log(self._log.tid), self._log.ceiling != turn.before.ceiling

        def is_kept(change: Change) -> bool:
            if isinstance(change, PutMark | DropMark):
                return not change.reader.startswith(own)
            return isinstance(change, PutTopic) or (isinstance(change, PutHead) and moved)

        return [change for change in changes if is_kept(change)]

    def _settle(self, turn: Turn) -> None:
        turn.settle()
        log, shelf = self._log, self._ground.shelf
        if turn.cleared:
            shelf.clear(log.tid)
            self.last_gap, self._oldest = 0, (0, 0)
        for pack in turn.packs:
            shelf.put(pack)
        if turn.begins_at:
            shelf.trim(log.tid, turn.begins_at)
        if turn.last_gap:
            self.last_gap = max(self.last_gap, turn.last_gap)
        self._move_no += 1
        for strand in turn.touched.values():
            number = strand.descriptor.strand
            self._moves.pop(number, None)
            self._moves[number] = self._move_no
        if turn.removes:
            came = sum([pack.records for pack in turn.packs])
            self.removed += max(0, self.count + came - log.count)
        if log.ceiling != turn.before.ceiling:
            self._raised_at, self._raised_head = self._ground.clock.monotonic(), log.head
        self._show()

    def _appends_per_second(self) -> float:
        passed = self._ground.clock.monotonic() - self._raised_at
        return (self._log.head - self._raised_head) / passed if passed > 0.05 else 0.0

    def statistics(self) -> dict[str, Any]:
        """Numbers for metrics."""
        return {
            "head_seq": self.head,
            "records_live": self.count,
            "bytes_live": self.bytes,
            "strands": len(self._log.strands),
            **structs.asdict(self.mailbox.statistics()),
        }


def _is_small(message: Message) -> bool:
    if isinstance(message, Append):
        first, *more = message.batches
        return not more and first.records <= MOST_LONE and first.text_bytes <= LONE_BYTES
    if isinstance(message, Apply):
        return len(message.chunks) <= LONE_BYTES
    return isinstance(message, Commit) or (isinstance(message, Erase) and len(message.seqs) <= MOST_LONE)


def _writes_own_strand(message: Message) -> bool:
    if isinstance(message, Commit):
        return bool(message.tells)
    return isinstance(message, Append) or (isinstance(message, Erase) and message.travels)


def _give(answers: list[Answer]) -> None:
    for envelope, answer in answers:
        if isinstance(answer, MirrordError):
            envelope.refuse(answer)
        else:
            envelope.answer(answer)
