"""Safeguards that can be taken out: a checker that does not notice is no checker (``mirrord sim --without NAME``).

Each replaces one pure rule or one step by its broken variant, from here; the product knows no switches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from msgspec import Struct

from ..errors import MirrordError
from ..links.board import covers
from ..links.feeds import remains
from ..links.inlet import hearing
from ..node import Node
from ..queues.leasing import leases
from ..records.chunk import size_of
from ..routers.memory import Memory
from ..routers.position import Position
from ..storage import life
from ..storage.journal import Journal
from ..storage.store import Change, PutIdempotency, PutMark, PutPack, PutVector
from ..storage.turns import Turn
from ..topics.erasure import compaction
from ..topics.erasure.orders import Orders
from ..topics.log import arrival, rules

Swap = tuple[Any, str, Callable[..., Any]]  # where, the name there, the broken variant

_submit: Callable[[Journal, Turn], None] = Journal.submit


class Safeguard(Struct, frozen=True):
    """What the rule says, which menu of faults shows that it is missing, how it is taken out, and which promise is
    broken by that (any, if none is named)."""

    rule: str
    menu: str
    swaps: tuple[Swap, ...]
    breaks: str = ""

    def is_missed(self, failures: Iterable[str]) -> bool:
        """Whether these broken promises show that it was taken out."""
        return self.breaks in failures if self.breaks else bool(list(failures))


class _First(Turn):
    """What is committed by itself, before the rest of a turn."""

    __slots__ = ("_journal", "_rest")

    def __init__(self, journal: Journal, changes: Sequence[Change], rest: Turn) -> None:
        super().__init__(changes, sync=rest.sync, urgent=rest.urgent, size=rest.size, priority=rest.priority)
        self._journal, self._rest = journal, rest

    def settle(self, error: MirrordError | None) -> None:
        super().settle(error)
        try:
            if error is not None:
                raise error
            _submit(self._journal, self._rest)
        except MirrordError as refused:
            self._rest.settle(refused)


def _in_two(later: type) -> Callable[..., None]:
    """A journal that commits one kind of change by itself, after the rest."""

    def submit(journal: Journal, turn: Turn) -> None:
        second = [change for change in turn.changes if isinstance(change, later)]
        first = [change for change in turn.changes if not isinstance(change, later)]
        if second and any(isinstance(change, PutPack) for change in first):
            turn.changes = second
            turn = _First(journal, first, turn)
        _submit(journal, turn)

    return submit


def _then_first(journal: Journal, turn: Turn) -> None:
    """A journal that lets everybody see what it is about to commit."""
    if turn.then is not None:
        turn.then()
    _submit(journal, turn)


def _unsynced(journal: Journal, turn: Turn) -> None:
    """A journal that leaves records to the sync that is due some time."""
    turn.sync = turn.sync and not any(isinstance(change, PutPack) for change in turn.changes)
    _submit(journal, turn)


async def _forgets(_memory: Memory, _dest: Any, position: Position) -> Position:
    """A router that goes by its own store alone."""
    return position


SAFEGUARDS = {
    "vector-check": Safeguard(
        "a chunk is applied only if it begins where the log ends",
        "mixed",
        ((rules, "follows", lambda _last, _header: rules.NEXT), (rules, "chains", lambda _hash, _header: True)),
    ),
    # Both ends compare positions before anything is sent: the chain is a second line, shown with the first one out.
    "chain-check": Safeguard(
        "... and names the hash that the log has there",
        "fork",
        (
            (rules, "chains", lambda _hash, _header: True),
            (rules, "same_end", lambda _last, _hash, _header: True),
            (rules, "cover_chains", lambda _hash, _cover: True),
        ),
        breaks="always_chained",
    ),
    "one-transaction": Safeguard(
        "chunk and vector change in one transaction", "crash", ((Journal, "submit", _in_two(PutVector)),)
    ),
    "sync-first": Safeguard(
        "class `fsync` is on the disk before it is acknowledged",
        "power",
        ((Journal, "submit", _unsynced),),
        breaks="always_acked_is_kept",
    ),
    "idempotency-in-commit": Safeguard(
        "a key is committed with the records that it stands for",
        "keys",
        ((Journal, "submit", _in_two(PutIdempotency)),),
    ),
    "lease-fence": Safeguard(
        "who lost a lease settles nothing by it",
        "leases",
        ((leases, "fences", lambda _number, _lease: True),),
        breaks="always_fenced",
    ),
    "router-position": Safeguard(
        "a router's position is committed with the copies",
        "routers",
        ((Journal, "submit", _in_two(PutMark)),),
        breaks="finally_copied_once",
    ),
    "router-memory": Safeguard(
        "a life that lost its tail reads its old copies before it copies what comes back",
        "routers",
        ((Memory, "learn", _forgets),),
        breaks="finally_copied_once",
    ),
    "serve-only-durable": Safeguard(
        "nothing is readable or served before it is committed", "disk", ((Journal, "submit", _then_first),)
    ),
    "new-life": Safeguard(
        "another boot or another file begins a new life",
        "power",
        ((life, "why_new", lambda record, _found: None if record else "first start"),),
    ),
    "new-life-on-rewind": Safeguard(
        "a peer that proves a rewind begins a new life",
        "memory",
        ((Node, "_on_rewound", lambda _node, _evidence: None),),
    ),
    "both-ends-compare": Safeguard(
        "the caller compares what it is told with its own hashes",
        "memory",
        ((hearing, "contradicts", lambda *_: False),),
    ),
    "late-cover": Safeguard(
        "a cover is applied late",
        "late",
        ((covers, "applies_late", lambda _after, offer, _others: (offer.cover.last, [])),),
    ),
    "patience": Safeguard(
        "a node that is behind or unreachable is waited for", "late", ((covers, "patience_is_over", lambda *_: True),)
    ),
    "seq-ceiling": Safeguard(
        "a new life goes on above the ceiling", "power", ((rules, "after_ceiling", lambda head, _ceiling: head),)
    ),
    "stripped": Safeguard(
        "a feed leaves out what is deleted on its node",
        "erase",
        ((remains, "strip", lambda body, at, header, _gone: body[at : at + size_of(header)]),),
        breaks="always_deleted_never_served",
    ),
    "orders": Safeguard(
        "an order to erase is followed where it arrives",
        "erase",
        ((Orders, "follow", lambda *_: None),),
        breaks="finally_erased",
    ),
    "snapshot": Safeguard(
        "what is said anew is all that was said",
        "erase",
        ((compaction, "bridged", lambda ranges, _no_records: ranges[1:]),),
        breaks="finally_erased",
    ),
    "gap-seq": Safeguard(
        "an involuntary gap takes a seq, so that readers see it",
        "caps",
        ((arrival, "takes_a_seq", lambda _reason: False),),
    ),
}


@contextmanager
def without(name: str | None) -> Iterator[None]:
    """Run without the safeguard of this name; None: with all of them. Raises KeyError for one that there is not."""
    with ExitStack() as stack:
        for where, attribute, broken in SAFEGUARDS[name].swaps if name is not None else ():
            stack.enter_context(patch.object(where, attribute, broken))
        yield
