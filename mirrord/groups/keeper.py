"""The task of one topic's groups: takes all that waits, lets the turn decide, has it committed in the topic's own turn,
then answers all. It lives while it is used; what it knows lies in marks, so ending costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from ..actors.mailbox import Envelope, Mailbox
from ..clock import Clock
from ..errors import MirrordError, TopicNotFound
from ..topics import vectors
from ..topics.messages import Commit as CommitMarks
from ..topics.topic import Topic
from . import marks
from .group import Group
from .messages import Message
from .mirror import TELL_EVERY_MS, tell_in_ms
from .turn import Bounds, GroupTurn

MOST_AT_ONCE = 256
IDLE_S = 300.0  # unused for so long, it ends


class TopicGroups:
    """All groups of one topic. ``left`` is called when it ends because nobody used it."""

    def __init__(
        self, topic: Topic, clock: Clock, bounds: Bounds, room: int, left: Callable[[TopicGroups], None]
    ) -> None:
        self.name = f"groups:{topic.topic}"
        self.mailbox: Mailbox[Message] = Mailbox(room)
        self.topic = topic
        self._clock, self._bounds, self._left = clock, bounds, left
        self._groups: dict[str, Group] = {}
        self._log_id = ""

    async def live(self) -> None:
        """One life: read the marks back, then take turns."""
        self._read_back()
        while True:
            envelopes: list[Envelope[Message]] = []
            untold_s = self._untold_s()
            with trio.move_on_after(IDLE_S if untold_s is None else untold_s):
                envelopes = await self.mailbox.batch(MOST_AT_ONCE)
            if envelopes or untold_s is not None:
                await self._take_turn(envelopes)
            elif not self.mailbox.statistics().waiting:
                self._left(self)
                return

    def _read_back(self) -> None:
        """What is stored is all that there is: whoever dies, here or in the topic, dies while it decides, and never
        while a commit of its own is on its way."""
        tid = self.topic.tid
        self._groups = marks.groups(tid, self.topic.reads.marks(marks.prefix(tid)))
        self._log_id = self.topic.log_id_hex
        self._tell_later()

    def _tell_later(self) -> None:
        """After a birth or a refusal, so that a disk that refuses is not asked without a pause."""
        for group in self._groups.values():
            group.tell_from_ms = self._clock.wall_ms() + TELL_EVERY_MS

    def _untold_s(self) -> float | None:
        """Seconds until peers are to be told of a group that came further; None: of none."""
        if not self.topic.config.mirror_groups:
            return None
        now_ms = self._clock.wall_ms()
        waits = [tell_in_ms(group, now_ms) for group in self._groups.values() if group.committed_to > group.told_to]
        return min(waits) / 1000 if waits else None

    async def _take_turn(self, envelopes: list[Envelope[Message]]) -> None:
        try:
            await self._make_current()
        except MirrordError as error:
            self._tell_later()
            _refuse(envelopes, error)
            return
        turn = self._turn()
        answers = [(envelope, _decided(turn, envelope.message)) for envelope in envelopes]
        tells = turn.tells()
        changes = turn.changes()
        try:
            if changes:
                await self.topic.mailbox.ask(CommitMarks(tuple(changes), self._log_id, tuple(tells)))
        except MirrordError as error:  # nothing of the turn is kept
            self._read_back()
            _refuse(envelopes, error)
            return
        for envelope, answer in answers:
            if isinstance(answer, MirrordError):
                envelope.refuse(answer)
            else:
                envelope.answer(answer)

    def _turn(self) -> GroupTurn:
        topic = self.topic
        elsewhere = partial(vectors.heard, topic.reads, topic.tid) if topic.config.mirror_groups else None
        return GroupTurn(topic.tid, self._groups, topic, self._bounds, self._clock.wall_ms(), elsewhere)

    async def _make_current(self) -> None:
        """What has expired is not handed out, and a log that was deleted or put back took its marks along."""
        if self.topic.about.deleted:
            self._groups, self._log_id = {}, ""
            raise TopicNotFound(f"topic {self.topic.topic!r} was deleted", {"topic": self.topic.topic})
        await self.topic.expire()
        if self.topic.log_id_hex != self._log_id:
            self._read_back()

    def lags(self) -> list[tuple[str, int, int]]:
        """Every group with what it was not given yet (seqs) and what is pending (records)."""
        head = self.topic.head
        return [(name, max(0, head - g.cursor), g.pending) for name, g in sorted(self._groups.items())]


def _decided(turn: GroupTurn, message: Message) -> Any:
    try:
        return turn.on(message)
    except MirrordError as error:
        return error


def _refuse(envelopes: list[Envelope[Message]], error: MirrordError) -> None:
    for envelope in envelopes:
        envelope.refuse(error)
