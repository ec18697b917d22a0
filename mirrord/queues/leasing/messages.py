"""What can be said to a queue, and what it answers. Lease numbers fence: 0 means "under any lease of mine"."""

from __future__ import annotations

from msgspec import Struct

from ...actors.bell import Bell
from ...errors import MirrordError
from .leases import Claimant
from .stock import Job


class Given(Struct, frozen=True):
    """A record with its lease. ``deadline`` is wall time, ms since the epoch."""

    job: Job
    number: int
    deadline: int
    deliveries: int


class Claim(Struct, frozen=True):
    """Lease what may be claimed."""

    claimant: Claimant


class Claimed(Struct, frozen=True):
    given: list[Given]
    ready: int


class Ack(Struct, frozen=True):
    """These are done: delete them, for ever. One commit."""

    node: str
    seqs: list[int]
    numbers: list[int]


class Nack(Struct, frozen=True):
    """Give these back, claimable after ``delay_ms``."""

    node: str
    seqs: list[int]
    numbers: list[int]
    delay_ms: int = 0


class Extend(Struct, frozen=True):
    """Hold these for ``lease_ms`` from now on."""

    node: str
    seqs: list[int]
    numbers: list[int]
    lease_ms: int


class Done(Struct, frozen=True):
    """What became of the seqs of an ack, nack or extend. ``deadlines`` (wall, ms) of an extend alone."""

    done: int
    skipped: list[int]
    ready: int
    in_flight: int
    deadlines: dict[int, int] = {}


class Worker:
    """One push stream: what is on its way to it, and what it holds. ``bell`` rings when there is something to send."""

    def __init__(self, claimant: Claimant) -> None:
        self.claimant = claimant
        self.bell = Bell()
        self.given: list[Given] = []
        self.holds: set[int] = set()
        self.fault: MirrordError | None = None

    @property
    def room(self) -> int:
        """How many more it may hold."""
        return self.claimant.most - len(self.holds)

    @property
    def wants(self) -> Claimant:
        """The same as a claim for as many as there is room."""
        claimant = self.claimant
        return Claimant(claimant.node, self.room, claimant.lease_ms, claimant.stream)

    def hand(self, given: list[Given]) -> None:
        """These are its own now."""
        self.given += given
        self.bell.ring()

    def take(self) -> list[Given]:
        """What is to be sent now."""
        given, self.given = self.given, []
        return given

    def end(self, fault: MirrordError) -> None:
        """Nothing more comes, for this reason."""
        self.fault = fault
        self.bell.ring()


class Attach(Struct, frozen=True):
    """A push stream begins: keep it supplied. Answered with its Worker."""

    claimant: Claimant


class Detach(Struct, frozen=True):
    """It ended: what it holds is claimable at once. Of a worker that the queue has ended itself it is no news."""

    worker: Worker


class Look(Struct, frozen=True):
    """Something may have changed: the log, the time, or what was on its way to the disk."""


Message = Claim | Ack | Nack | Extend | Attach | Detach | Look
Settling = Ack | Nack | Extend


class Counts(Struct, frozen=True):
    """``queue`` of a topic's state."""

    ready: int
    in_flight: int
    dead_lettered: int
