"""When a cover may be applied: late, so that what any reachable holder still has arrives (design §3.3, "applied late").

Pure functions over what the links of a topic are known to say. The simulator switches ``applies_late`` and
``patience_is_over`` off and must notice; `../shared/examples/replication_model.py` has the same rules as an oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from ...records.gap import ERASED, EXPIRED, Cover


class Witness(Struct, frozen=True):
    """Another link of the topic, as it bears on one strand."""

    link: str
    up: bool
    told: int | None  # the peer's position; None: it never told one
    covered: int  # up to where it has covered since its hello
    stripped: int  # up to where it has told, since its hello, that chunks lack records there
    halted: bool  # halted, refused or paused there: it will not bring the range
    pending: tuple[int, int] | None  # a cover that the peer itself holds back
    patience_s: float
    down_since: float


class Offer(Struct, frozen=True):
    """A cover that a link offers and that is not applied yet. ``stripped``: there is something left, which may be taken
    when nobody has more; for the records that are gone that is as good as a cover."""

    cover: Cover
    since: float  # monotonic
    stripped: bool = False

    def answered(self, witness: Witness) -> int:
        """Up to where another link has said that it will not bring more than this one."""
        return max(witness.covered, witness.stripped) if self.stripped else witness.covered


class Judgement(Struct, frozen=True):
    """Up to where the cover may be applied now (None: not yet), and which links are being waited for."""

    through: int | None
    waits_for: tuple[str, ...] = ()


def needs_no_waiting(cover: Cover, own_ttl_expired: bool) -> bool:
    """A travelling deletion, or what our own ttl would have let go as well, is applied at once."""
    return cover.reason == ERASED or (cover.reason == EXPIRED and own_ttl_expired)


def applies_late(after: int, offer: Offer, others: Sequence[Witness]) -> tuple[int, list[Witness]]:
    """How far the cover could be applied as far as *live* links are concerned, and which links must be waited for.

    A link that is up, ahead of us and has not covered the range may still bring it: the cover ends before. A link that
    is down, or behind, is waited for.
    """
    through, waits = offer.cover.last, []
    for other in others:
        if other.halted:
            continue
        if other.up and other.told is not None and other.told > after:
            # It has covered up to here; what it told beyond may still come as records.
            through = min(through, max(offer.answered(other), after))
        else:
            waits.append(other)
    return through, waits


def patience_is_over(waits: Iterable[Witness], now: float, since: float, moved_at: float) -> bool:
    """Whether every link that is waited for was waited for long enough, counted from the last move of any node that
    is behind in the range (or from the moment the link went down, or the cover was offered)."""
    return all(now - max(since, moved_at, w.down_since) >= w.patience_s for w in waits)


def goes_first(after: int, waits: Iterable[Witness]) -> bool:
    """Whether a peer with a lower position holds back a cover itself: then it goes first."""
    return any(w.up and w.pending is not None and w.told is not None and w.told < after for w in waits)


def pending_end(after: int, through: int, waits: Iterable[Witness]) -> int:
    """A waited cover ends where the pending range of a peer behind ends."""
    ends = [w.pending[1] for w in waits if w.up and w.pending is not None and w.pending[1] > after]
    return min([through, *ends])


def judge(
    after: int,
    offer: Offer,
    others: Sequence[Witness],
    worth_waiting: Callable[[Witness], bool],
    now: float,
    moved_at: float,
) -> Judgement:
    """Whether, and how far, the offered cover may be applied to a log that stands at ``after``."""
    through, waits = applies_late(after, offer, others)
    if through <= after:
        return Judgement(None)
    waits = [w for w in waits if worth_waiting(w)]
    if not waits:
        return Judgement(through)
    names = tuple(w.link for w in waits)
    if goes_first(after, waits) or not patience_is_over(waits, now, offer.since, moved_at):
        return Judgement(None, names)
    return Judgement(pending_end(after, through, waits), names)


def could_get(peer: str, me: str, may_hold: Iterable[str], edges: Iterable[tuple[str, str]]) -> bool:
    """Whether a node that may hold the range reaches ``peer`` along links that do not lead through us."""
    seen = set(may_hold) - {me}
    grew = True
    links = [e for e in edges if me not in e]
    while grew:
        grew = False
        for source, puller in links:
            if source in seen and puller not in seen:
                seen.add(puller)
                grew = True
    return peer in seen
