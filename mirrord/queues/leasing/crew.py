"""The push streams of a queue: who has room for how many more, and whose turn it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from ...errors import MirrordError
from .leases import Claimant, Lease
from .messages import Worker


class Crew:
    """Streams by number. Those with room stand in line; who was served goes behind the others."""

    def __init__(self) -> None:
        self._workers: dict[int, Worker] = {}
        self._hungry: dict[int, Worker] = {}
        self._number = 0

    def __bool__(self) -> bool:
        return bool(self._workers)

    @property
    def hungry(self) -> bool:
        """Whether any has room."""
        return bool(self._hungry)

    def attach(self, claimant: Claimant) -> Worker:
        """A stream begins."""
        self._number += 1
        worker = Worker(Claimant(claimant.node, claimant.most, claimant.lease_ms, self._number))
        self._workers[self._number] = self._hungry[self._number] = worker
        return worker

    def detach(self, worker: Worker) -> set[int]:
        """It ended; the seqs that it holds. A worker of an earlier crew may have had the number of one of these."""
        stream = worker.claimant.stream
        if self._workers.get(stream) is not worker:
            return set()
        del self._workers[stream]
        self._hungry.pop(stream, None)
        return worker.holds

    def first(self, number: int) -> list[Worker]:
        """The first in line, at most so many."""
        return list(islice(self._hungry.values(), number)) if self._hungry else []

    def holds(self, worker: Worker, leases: Iterable[Lease]) -> None:
        """It was given these."""
        worker.holds.update(lease.seq for lease in leases)
        stream = worker.claimant.stream
        if self._hungry.pop(stream, None) is not None and worker.room > 0:
            self._hungry[stream] = worker

    def ended(self, leases: Iterable[Lease]) -> None:
        """Leases ended, whoever had them: there is room again."""
        for lease in leases:
            worker = self._workers.get(lease.stream) if lease.stream else None
            if worker is not None:
                worker.holds.discard(lease.seq)
                self._hungry.setdefault(lease.stream, worker)

    def end_all(self, fault: MirrordError) -> None:
        """Nobody is served any more, for this reason."""
        for worker in self._workers.values():
            worker.end(fault)
        self._workers.clear()
        self._hungry.clear()
