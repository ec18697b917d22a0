"""Producers of the client library write, watchers of every node read along: each record once, in order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import ClassVar

import httpx
import msgspec
import trio

from ...client.client import Client
from ...client.queues.events import EventReader
from ..cluster.ledger import Ledger, Mark, payload
from ..cluster.local import LocalCluster
from ..cluster.troubles import Work as Task
from .account import Account, Tables
from .seen import Seen

TOPIC = "events"
AT_ONCE = 50
GIVE_UP_AFTER_S = 90.0
SILENCE_S = 3.0  # three heartbeats
SEEN_WITHIN_S = 60.0


class Streams:
    """A producer and a watcher for each node."""

    topics: ClassVar[Tables] = {TOPIC: {"durability": "disk"}}
    tables: ClassVar[Tables] = {}

    def __init__(self, cluster: LocalCluster) -> None:
        self.account = Account()
        self._cluster, self._ledger = cluster, Ledger()
        self._seen = {node: Seen(self.account, node) for node in cluster.nodes}
        self._rngs = {node: Random(node) for node in cluster.nodes}  # drawn on and on: no watch is as short as the last

    def tasks(self) -> Sequence[Task]:
        """A producer and a watcher for each node."""
        nodes = self._cluster.nodes
        return [partial(self._produce, node) for node in nodes] + [partial(self._watch, node) for node in nodes]

    async def _produce(self, node: str, until: float) -> None:
        writer = self._ledger.new_writer(node)
        async with (
            Client(self._cluster.api(node).url, give_up_after_s=GIVE_UP_AFTER_S) as client,
            client.topic(TOPIC).producer(batch_records=7, waiting_records=AT_ONCE) as producer,
        ):
            while trio.current_time() < until:
                marks = self._ledger.next_marks(TOPIC, writer, AT_ONCE)
                receipts = [await producer.send(payload(mark)) for mark in marks]
                for mark, receipt in zip(marks, receipts, strict=True):
                    await receipt
                    self._ledger.acknowledge(TOPIC, node, [mark])
                self.account.done["written"] += AT_ONCE
                await trio.sleep(0.1)

    async def _watch(self, node: str, until: float) -> None:
        """Stream after stream; some resumed by the last id, some begun anew at the last seq."""
        rng = self._rngs[node]
        async with httpx.AsyncClient(base_url=self._cluster.api(node).url, trust_env=False, timeout=SILENCE_S) as http:
            while trio.current_time() < until:
                with trio.move_on_after(rng.uniform(0.5, 8.0)):
                    try:
                        await self._session(http, node, rng)
                    except (httpx.HTTPError, httpx.StreamError) as error:
                        self.account.done[f"broken by {type(error).__name__}"] += 1
                        await trio.sleep(0.1)

    async def _session(self, http: httpx.AsyncClient, node: str, rng: Random) -> None:
        ask = {
            "topics": {TOPIC: {"from_seq": self._seen[node].place}},
            "heartbeat_ms": 1000,
            "limit": rng.randint(1, 256),
        }
        made = await http.post("/v0/watch", json=ask)
        if made.status_code != 200:
            self.account.done[f"refused with {made.status_code}"] += 1
            await trio.sleep(0.1)
            return
        wid, last_id = made.json()["wid"], ""
        while True:
            with trio.move_on_after(rng.uniform(0.1, 3.0)):
                headers = {"accept": "text/event-stream"} | ({"last-event-id": last_id} if last_id else {})
                async with http.stream("GET", f"/v0/watch/{wid}", headers=headers) as stream:
                    if stream.status_code != 200:
                        self.account.done[f"refused with {stream.status_code}"] += 1
                        return
                    self.account.done["streams"] += 1
                    reader = EventReader()
                    async for piece in stream.aiter_raw():
                        for event in reader.feed(piece):
                            last_id = event.id or last_id
                            self._seen[node].take(event.name, event.data)
            if not last_id:  # what of the stream was sent and not read is nobody's
                return

    async def judge(self) -> None:
        """Every node holds each acknowledged record once, and its watcher has seen exactly that."""
        await self._cluster.converged(topics=self.topics)
        for node in self._cluster.nodes:
            dump = await self._cluster.dump(node, TOPIC)
            self.account.judged(self._ledger.judge(TOPIC, dump), node)
            held = {record.seq: msgspec.json.decode(record.data, type=Mark) for record in dump.records}
            with trio.move_on_after(SEEN_WITHIN_S):
                while self._seen[node].place < max(held, default=0):
                    await self._watch(node, trio.current_time() + 0.1)
            missed = held.items() ^ self._seen[node].records.items()
            self.account.broken("held and not shown, or otherwise", (node, sorted(missed)[:3]), len(missed))
