"""Works off a queue: one job at a time as the node pushes them, its lease kept while a command runs for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click
import msgspec
from msgspec import Raw, Struct, field

from ....client.queues import call
from ....client.queues.events import EventReader, named
from ....errors import PeerError, PeerUnreachable, Throttled, Unavailable
from ...main import complain
from ...patience import Patience
from .child import run

if TYPE_CHECKING:
    from ....client.api import Api

_SILENCE_S = 40.0  # heartbeats come each 15 s


class Job(Struct, rename={"seq": "$seq", "tag": "$tag"}):
    """One leased record, as the stream tells it."""

    topic: str
    seq: int
    lease_id: str
    deliveries: int
    data: Raw
    tag: str = ""
    meta: Raw = field(default_factory=lambda: Raw(b"null"))


class Worker:
    """One worker of a queue. ``stream`` is the connection that jobs come by, ``api`` the one that settles them."""

    def __init__(self, api: Api, stream: Api, queue: str, name: str, lease_ms: int, retry_delay_ms: int) -> None:
        self._api, self._stream = api, stream
        self._queue, self._name = queue, name
        self._lease_ms, self._retry_delay_ms = lease_ms, retry_delay_ms

    def work(self, command: Sequence[str], patience: Patience, most: int | None) -> None:
        """Until ``most`` jobs were done; without, for ever. A node that is away is waited for."""
        done = 0
        while most is None or done < most:
            try:
                for told in self._jobs():
                    patience.answered()
                    self._do(told, command)
                    done += 1
                    if done == most:
                        return
                patience.wait("the stream of jobs ended")
            except (PeerUnreachable, Unavailable, Throttled) as error:
                patience.wait(str(error), error.retry_after_s)

    def _jobs(self) -> Iterator[bytes]:
        reader = EventReader()
        asked = call.work(self._queue, self._name, max_jobs=1, lease_ms=self._lease_ms)
        with self._stream.stream(asked, _SILENCE_S) as pieces:
            for piece in pieces:
                for event in reader.feed(piece):
                    if event.name == "job":
                        yield event.data
                    elif event.name == "error":
                        raise named(event.data)

    def _do(self, told: bytes, command: Sequence[str]) -> None:
        job = msgspec.json.decode(told, type=Job)
        if not command:
            click.echo(told)
            sys.stdout.flush()
            self._settle(job, ok=True)
            return
        facts = {
            "MIRRORD_TOPIC": job.topic, "MIRRORD_SEQ": str(job.seq), "MIRRORD_TAG": job.tag,
            "MIRRORD_META": bytes(job.meta).decode(), "MIRRORD_DELIVERIES": str(job.deliveries),
        }  # fmt: skip
        code = run(command, bytes(job.data), facts, self._lease_ms / 3000, lambda: self._keep(job))
        if code is None:
            complain(f"job {job.seq} went to another worker while the command ran; it was ended")
        else:
            self._settle(job, ok=code == 0, code=code)

    def _keep(self, job: Job) -> bool:
        """Hold the job for longer; a node that is away may still come back before the lease is over."""
        asked = call.extend(self._queue, self._name, [job.seq], [job.lease_id], lease_ms=self._lease_ms)
        try:
            return not self._api.ask(asked).object()["skipped"]
        except (PeerError, Unavailable, Throttled):
            return True

    def _settle(self, job: Job, *, ok: bool, code: int = 0) -> None:
        seqs, leases = [job.seq], [job.lease_id]
        if ok:
            asked = call.ack(self._queue, self._name, seqs, leases)
        else:
            asked = call.nack(self._queue, self._name, seqs, leases, delay_ms=self._retry_delay_ms)
        lost = self._api.ask(asked).object()["skipped"]
        if lost:
            complain(f"job {job.seq} was not ours any more when it was to be settled; somebody does it again")
        elif not ok:
            complain(f"job {job.seq} was given back: the command ended with {code}")
