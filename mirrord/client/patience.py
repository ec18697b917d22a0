"""When a call is tried again, where, and when that is given up. Pure: time and chance come in as arguments.

A failure is one of three:

    refused     the node has not done it, and may later (429, 503 not_ready, a refused connection): any node may be next
    uncertain   the node may have done it (a lost answer, a node that stops): a write must be repeated where it was
    final       repeating does not help: told at once
"""

from __future__ import annotations

from enum import Enum, auto

from msgspec import Struct

from ..errors import (
    HomeUnreachable,
    MirrordError,
    NotReady,
    PeerUnreachable,
    StorageFailed,
    Throttled,
    Unacknowledged,
    Unavailable,
)

GIVE_UP_AFTER_S = 60.0  # well within the two minutes for which a node remembers idempotency keys
_REFUSED = (Throttled, NotReady, StorageFailed, HomeUnreachable)
_UNCERTAIN = (PeerUnreachable, Unavailable)  # but for those above


class Failure(Enum):
    """What a failed attempt means for the next one."""

    REFUSED = auto()
    UNCERTAIN = auto()
    FINAL = auto()


class Manner(Enum):
    """Where a call may be repeated. All may be repeated at the same node without harm."""

    READ = auto()  # anywhere
    WRITE = auto()  # elsewhere only while it is sure that nobody has kept it
    HERE = auto()  # only at the first node: what it changes is that node's own


class Patience(Struct, frozen=True):
    """How long and how often a call is tried. Durations in seconds."""

    give_up_after_s: float = GIVE_UP_AFTER_S
    first_s: float = 0.1
    longest_s: float = 5.0
    may_double: bool = False
    """Repeat a write at another node although the first one may have kept it."""

    def wait_s(self, rounds: int, told_s: float | None, chance: float) -> float:
        """Before the next round: doubled each time, a fifth more or less by ``chance`` (0 to 1), as the node told."""
        grown = min(self.longest_s, self.first_s * 2.0 ** min(rounds, 30))
        return max(told_s or 0.0, grown * (0.8 + 0.4 * chance))


def meaning(error: MirrordError) -> Failure:
    """Which of the three a failure is."""
    if isinstance(error, _REFUSED):
        return Failure.REFUSED
    if isinstance(error, PeerUnreachable) and not (error.detail or {}).get("sent", True):
        return Failure.REFUSED
    return Failure.UNCERTAIN if isinstance(error, _UNCERTAIN) else Failure.FINAL


class Trial:
    """One call on its way: where it is tried next, and after how long."""

    def __init__(self, manner: Manner, nodes: int, first: int, patience: Patience, now_s: float) -> None:
        self.node = 0 if manner is Manner.HERE else first
        self.attempts = 0
        self.doubtful = False
        self._manner = manner
        self._nodes = nodes
        self._patience = patience
        self._give_up_at_s = now_s + patience.give_up_after_s
        self._left_in_round = nodes - 1

    def after(self, error: MirrordError, now_s: float, chance: float) -> float | None:
        """Seconds to wait before trying at ``node`` again; None: tell the caller."""
        self.attempts += 1
        failure = meaning(error)
        if failure is Failure.FINAL:
            return None
        self.doubtful = self.doubtful or failure is Failure.UNCERTAIN
        elsewhere = self._may_go_elsewhere()
        if elsewhere:
            self.node = (self.node + 1) % self._nodes
        if elsewhere and self._left_in_round > 0:
            self._left_in_round -= 1
            wait_s = 0.0
        else:
            self._left_in_round = self._nodes - 1
            rounds = self.attempts // self._nodes if elsewhere else self.attempts - 1
            wait_s = self._patience.wait_s(rounds, error.retry_after_s, chance)
        return wait_s if now_s + wait_s < self._give_up_at_s else None

    def verdict(self, error: MirrordError, url: str, key: str | None) -> MirrordError:
        """What the caller is told at the end: the last error, or that a write's fate is unknown."""
        if self._manner is Manner.WRITE and self.doubtful and meaning(error) is not Failure.FINAL:
            message = (
                f"{url} may have kept this write: {error}. Repeat it there with the same key, before it forgets it"
            )
            return Unacknowledged(message, {"url": url, "key": key, "attempts": self.attempts})
        if self.attempts > 1:
            error.add_note(f"tried {self.attempts} times")
        return error

    def _may_go_elsewhere(self) -> bool:
        if self._nodes == 1 or self._manner is Manner.HERE:
            return False
        return self._manner is Manner.READ or self._patience.may_double or not self.doubtful
