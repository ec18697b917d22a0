"""A link: pulls from one peer what this node lacks, for ever. Carries out what the board says; decides nothing else.

While a feed runs five tasks share it: the reader (bytes to frames), the two of the intake (frames to topics), the
teller (what the feed must be told) and the watchdog.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from random import Random
from typing import Any

import trio
from msgspec import Struct

from ..actors.bell import Ear
from ..clock import Clock
from ..config.topology import LinkPlan
from ..errors import MirrordError, PeerError, PeerRefused, PeerUnreachable
from ..topics.messages import Applied
from .board.board import Board
from .board.line import Line
from .frames import FrameReader
from .inlet.inlet import Inlet
from .inlet.intake import CARGO, Intake
from .peer import Peer
from .state import Backoff, Facts, LinkState, Meter, compute
from .wire import FeedRequest, encode

SILENCE_S = 5.0
SLOW_LINE_BYTES_S = 5_000  # 50 kbit/s, less what else passes: a long request takes its time there


class LinkRules(Struct, frozen=True):
    """What a link must know of the configuration."""

    heartbeat_ms: int
    max_frame_bytes: int
    largest_body_bytes: int
    buffer_bytes: int
    backoff_min_ms: int
    backoff_max_ms: int


class Link:
    """One peer's link. ``inlet`` holds what is particular to the feed in progress."""

    def __init__(
        self,
        plan: LinkPlan,
        peer: Peer,
        inlet: Inlet,
        board: Board,
        rules: LinkRules,
        clock: Clock,
        rng: Random,
    ) -> None:
        self.plan, self.name = plan, f"link:{plan.peer}"
        self._peer, self.inlet, self._board, self._rules = peer, inlet, board, rules
        self._clock, self._rng = clock, rng
        self.facts, self.meter = Facts(), Meter()
        self.connects = 0
        self.tried = trio.Event()  # the first try has come to a hello, or failed
        self._backoff = Backoff(rules.backoff_min_ms / 1000, rules.backoff_max_ms / 1000)
        self._poke = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._failure: MirrordError | None = None
        self._intake = self._new_intake()
        self._retry_after_s = 0.0

    # ---- life ------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Try, and try again; never gives up, never dies of what a peer does."""
        self.facts.has_feed = self.facts.hello = False  # as far as an earlier life had one
        self.facts.since = self._clock.monotonic()
        self._board.down(self.plan.peer, self.facts.since)
        while True:
            await self._while_paused()
            try:
                await self._run_feed()
            except PeerRefused as no:
                self._lost(no, refused=no.reason)
            except MirrordError as error:
                self._lost(error)
            self.tried.set()
            await self._wait()

    async def _while_paused(self) -> None:
        while self.facts.paused:
            self.tried.set()
            self._poke = trio.Event()
            await self._poke.wait()

    def _lost(self, error: MirrordError, refused: str | None = None) -> None:
        now = self._clock.monotonic()
        facts = self.facts
        if facts.has_feed or facts.error is None:
            facts.since = now
        facts.has_feed = facts.hello = False
        facts.error, facts.refused = str(error), refused
        facts.waiting_for = None if isinstance(error, PeerError) else error.code
        self._retry_after_s = error.retry_after_s or 0.0
        self._board.down(self.plan.peer, now)
        self.inlet.note("lost", str(error))

    async def _wait(self) -> None:
        if self.inlet.again_at_once:
            self.inlet.again_at_once = False
            return
        self._poke = trio.Event()
        longest_s = self._rules.backoff_max_ms / 1000
        with trio.move_on_after(max(self._backoff.wait_s(self._rng), min(self._retry_after_s, longest_s))):
            await self._poke.wait()

    def poke(self) -> None:
        """Try now (a person asked, or another life began)."""
        self._backoff.reset()
        self._poke.set()

    def restart(self, why: str) -> None:
        """Close the feed in progress, if there is one, and open another at once."""
        self._fail(PeerUnreachable(why))
        self.poke()

    # ---- one feed --------------------------------------------------------------------------------

    async def _run_feed(self) -> None:
        self._failure, self._intake = None, self._new_intake()
        request = await self.inlet.request(self._rules.heartbeat_ms, self._rules.max_frame_bytes)
        asked = encode(request)
        patience_s = self._patience_s() + len(asked) / SLOW_LINE_BYTES_S
        with trio.CancelScope(deadline=trio.current_time() + patience_s) as opening:
            async with self._peer.feed(asked) as stream:
                opening.deadline = inf
                self._contact()
                await self._share_feed(stream, request)
        if opening.cancelled_caught:
            raise _silent(patience_s)
        raise self._failure or PeerUnreachable("the peer closed the feed")

    def _new_intake(self) -> Intake:
        return Intake(self.inlet, self._rules.buffer_bytes, self._settled)

    def _patience_s(self) -> float:
        return max(SILENCE_S, 20 * self._peer.round_trip_s, 3 * self._rules.heartbeat_ms / 1000)

    def _contact(self) -> None:
        self.connects += 1
        facts = self.facts
        facts.has_feed, facts.hello, facts.error, facts.refused, facts.waiting_for = (
            True,
            False,
            None,
            None,
            None,
        )
        facts.since = facts.byte_at = self._clock.monotonic()

    async def _share_feed(self, stream: Any, request: FeedRequest) -> None:
        if self._failure is not None:
            return  # who we are has changed while we were connecting: the request is not true any more
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._guard, lambda: self._read(stream))
            nursery.start_soon(self._guard, self._intake.apply)
            nursery.start_soon(self._guard, self._intake.settle)
            nursery.start_soon(self._guard, lambda: self._tell(request.feed_no))
            nursery.start_soon(self._guard, self._watch)
        self._nursery = None

    async def _guard(self, part: Callable[[], Awaitable[None]]) -> None:
        """A part that fails ends the feed; the reason is kept for ``live``."""
        try:
            await part()
        except MirrordError as error:
            self._fail(error)

    def _fail(self, error: MirrordError) -> None:
        if self._failure is None:
            self._failure = error
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    async def _read(self, stream: Any) -> None:
        reader = FrameReader(self._rules.largest_body_bytes)
        async for data in stream:
            self.facts.byte_at = self._clock.monotonic()
            self.meter.bytes += len(data)
            for header, body in reader.feed(data):
                if isinstance(header, CARGO):
                    if await self._intake.put(header, body):
                        self.facts.byte_at = self._clock.monotonic()
                else:
                    await self.inlet.on_frame(header)
                    self._look_at_hello()
            if self.facts.behind_since and reader.in_body:
                self.facts.progress_at = self.facts.byte_at
        raise PeerUnreachable("the peer closed the feed")

    async def _watch(self) -> None:
        """The watchdog: any bytes are a sign of life, and a peer is not silent while we are busy."""
        while True:
            seen_at = self.facts.byte_at
            # The past, where the machine stood still for longer than that.
            await trio.sleep(max(0.0, seen_at + self._patience_s() - self._clock.monotonic()))
            if self._intake.busy:
                self.facts.byte_at = self._clock.monotonic()
            elif self.facts.byte_at == seen_at:
                raise _silent(self._patience_s())

    def _look_at_hello(self) -> None:
        if self.inlet.complete and not self.facts.hello:
            self.facts.hello = True
            self._backoff.reset()  # not before: what answers and then refuses must not be asked ten times a second
            self.inlet.forget_untold()
            self._board.up(self.plan.peer)
            self.line.bell.ring()
            self.inlet.note("connected", f"feed {self.inlet.asking.feed_no}")
            self.tried.set()

    def _settled(self, applied: Applied) -> None:
        self.facts.waiting_for = None
        if applied.taken:
            self.facts.progress_at = self._clock.monotonic()
            self.meter.add(applied.taken)

    async def _tell(self, feed_no: int) -> None:
        """Covers whose time has come, and what the feed must serve or leave out; looked at when the board rings and
        at every heartbeat."""
        ear = self.line.bell.attach(Ear())
        try:
            while True:
                with trio.move_on_after(self._rules.heartbeat_ms / 1000):
                    await ear.wait()
                if self.facts.behind_since or self.line.may_be_behind:
                    self._notice_lag()
                self._judge_silence()
                await self.inlet.apply_covers()
                change = self.inlet.change()
                if change is not None:
                    await self._peer.change(feed_no, encode(change))
        finally:
            ear.close()

    def _judge_silence(self) -> None:
        """Heartbeats that fail to come cost this link its strands before the watchdog costs it the feed."""
        line = self.line
        quiet_s = self._clock.monotonic() - self.facts.byte_at
        if line.up and not self._intake.busy and quiet_s > 2.5 * self._rules.heartbeat_ms / 1000:
            line.up = False
            line.down_since = self._clock.monotonic()
            self._board.rejudge_all()
        elif not line.up and self.facts.hello and quiet_s < self._rules.heartbeat_ms / 1000:
            self._board.up(self.plan.peer)

    # ---- for others ------------------------------------------------------------------------------

    @property
    def line(self) -> Line:
        """What the others see of this one."""
        return self._board.lines[self.plan.peer]

    def pause(self) -> None:
        """Stop pulling until ``resume``."""
        if not self.facts.paused:
            self.facts.paused = self.line.paused = True
            self.facts.since = self._clock.monotonic()
            self.restart("paused by hand")

    def resume(self) -> None:
        """Pull again, at once; also when only the back-off holds it up."""
        if self.facts.paused:
            self.facts.paused = self.line.paused = False
            self.facts.error, self.facts.refused, self.facts.since = None, None, self._clock.monotonic()
        self.poke()

    def state(self) -> LinkState:
        """What the link is doing now."""
        now, facts = self._clock.monotonic(), self.facts
        self._notice_lag()
        facts.halted, facts.rate = sum(len(side.halted) for side in self.line.sides.values()), self.meter.tick(now)
        return compute(facts, now)

    def _notice_lag(self) -> None:
        """Since when there is something to bring is known whether anybody asks or not."""
        facts = self.facts
        facts.lag_records = sum(self._board.lag(self.plan.peer, topic)[0] for topic in self.line.sides)
        self.line.may_be_behind = facts.lag_records > 0
        if not facts.lag_records:
            facts.behind_since = 0.0
        elif not facts.behind_since:
            facts.behind_since = self._clock.monotonic()


def _silent(for_s: float) -> PeerUnreachable:
    return PeerUnreachable(f"no byte came for {for_s:.0f} s")
