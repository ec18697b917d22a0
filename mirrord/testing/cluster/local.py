"""A cluster of real nodes on this machine, for tests: any graph, faulty lines, and proof of what it holds.

topics = {"orders": "fsync"}
async with local_cluster(folder, graph("mesh", 3), topics) as cluster:
    await cluster.start()
    await cluster.append("ada", "orders", '{"item": "tea"}')
    await cluster.converged()
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import trio

from ...client import call
from ...client.api import AsyncApi
from ...client.call import Call, DiffQuery, Draft
from ...client.comparison import Digest, Finding, compare
from ...errors import MirrordError, PeerError, TopicNotFound, Unavailable
from ..graphs import Link
from .daemon import Daemon
from .graph import Graph, Tables, file_of
from .ledger import Dump, Held
from .proxy import Proxy

READY_WITHIN_S = 60.0
LOOK_AGAIN_S = 0.05
ANSWER_WITHIN_S = 5.0
QUICK: Tables = {"mirroring": {"backoff_max_ms": 1000, "settle_ms": 300}, "store": {"ballast_bytes": 0}}


class NotSoInTime(AssertionError):
    """What was waited for did not come; the message says what was seen last."""


class LocalCluster:
    """Nodes of one file. Make one with ``local_cluster``, which ends all of them however the block ends."""

    def __init__(self, folder: Path, graph: Graph, topics: Mapping[str, str], lines: Mapping[Link, Proxy]) -> None:
        self.folder, self.graph, self.topics, self.lines = folder, graph, topics, lines
        self.file = folder / "mirrord.toml"
        self.ports: dict[str, int] = {}
        self.daemons: dict[str, Daemon] = {}
        self._apis: dict[str, AsyncApi] = {}

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of all nodes."""
        return self.graph.nodes

    def api(self, node: str) -> AsyncApi:
        """The node's door."""
        return self._apis[node]

    def data_dir(self, node: str) -> Path:
        """Where the node's store is."""
        return self.folder / "data" / node

    @property
    def run_dir(self) -> Path:
        """What a reboot of the machine takes: the start marks of all nodes."""
        return self.folder / "run"

    def draw(self, ports: Mapping[str, int], via: Mapping[Link, str], tables: Tables) -> None:
        """Write the file, and make what stands for each node."""
        self.ports.update(ports)
        self.file.write_text(file_of(self.graph, ports, self.topics, via, tables))
        for node in self.nodes:
            environment = {"XDG_RUNTIME_DIR": str(self.run_dir)}
            self.daemons[node] = Daemon(self.file, node, self.folder / f"{node}.log", environment)
            self._apis[node] = AsyncApi(f"http://127.0.0.1:{ports[node]}", timeout_s=ANSWER_WITHIN_S)

    async def close(self) -> None:
        """End all nodes, now."""
        for daemon in self.daemons.values():
            daemon.kill()
        for api in self._apis.values():
            await api.aclose()

    # ---- nodes -----------------------------------------------------------------------------------

    async def start(self, *nodes: str, under: Sequence[str] = ()) -> None:
        """Start nodes (none named: all that do not run) and wait until they are ready."""
        names = nodes or tuple(name for name in self.nodes if not self.daemons[name].running)
        for name in names:
            self.daemons[name].start(under)
        for name in names:
            await self.ready(name)

    async def ready(self, node: str, within_s: float = READY_WITHIN_S) -> None:
        """Wait until the node is ready. Raises NotSoInTime, also when it ends instead."""
        await self._answers(node, call.ready(), within_s)

    async def alive(self, node: str, within_s: float = READY_WITHIN_S) -> None:
        """Wait until the node answers, ready or not: one with a full disk is not. Raises NotSoInTime."""
        await self._answers(node, call.health(), within_s)

    async def _answers(self, node: str, question: Call, within_s: float) -> None:
        daemon = self.daemons[node]
        with trio.move_on_after(within_s):
            while daemon.running:
                try:
                    await self._apis[node].ask(question)
                except (PeerError, Unavailable):
                    await trio.sleep(LOOK_AGAIN_S)
                else:
                    return
        raise NotSoInTime(f"{node} does not come up (exit code {daemon.exit_code}): {daemon.last_words}")

    def kill(self, node: str) -> None:
        """kill -9."""
        self.daemons[node].kill()

    def wipe(self, node: str) -> None:
        """Take all that a node that does not run ever knew."""
        shutil.rmtree(self.data_dir(node))

    def copy(self, node: str, name: str = "copy") -> Path:
        """A copy of the data directory of a node that does not run."""
        copy = self.folder / name / node
        shutil.copytree(self.data_dir(node), copy)
        return copy

    def restore(self, node: str, copy: Path) -> None:
        """Put a copy in place of what a node that does not run has."""
        self.wipe(node)
        shutil.copytree(copy, self.data_dir(node))

    # ---- records ---------------------------------------------------------------------------------

    async def append(
        self, node: str, topic: str, *texts: str | msgspec.Raw, key: str | None = None, within_s: float = 60.0
    ) -> dict[str, Any]:
        """Append JSON texts as one; with a ``key`` again and again until the node, which may be away, has it.

        A key is the records' tag as well. Raises the error that the node names (without a key the first one), or
        NotSoInTime.
        """
        raws = [text if isinstance(text, msgspec.Raw) else msgspec.Raw(text) for text in texts]
        drafts = [Draft(raw, tag=key or msgspec.UNSET) for raw in raws]
        last: MirrordError | None = None
        with trio.move_on_after(within_s):
            while True:
                try:
                    return (await self._apis[node].ask(call.append(topic, drafts, key=key))).object()
                except (PeerError, Unavailable) as error:
                    if key is None:
                        raise
                    last = error
                await trio.sleep(LOOK_AGAIN_S)
        raise NotSoInTime(f"{node} does not take {key}: {last}")

    async def dump(self, node: str, topic: str) -> Dump:
        """All that a node shows of a topic; nothing of one that it does not have."""
        records: list[Held] = []
        tombstones: list[dict[str, Any]] = []
        from_seq = 0
        while True:
            query = DiffQuery(from_seq, limit=1000, include_origin=True)
            try:
                page = (await self._apis[node].ask(call.diff(topic, query))).page()
            except TopicNotFound:
                return Dump()
            records += [msgspec.json.decode(raw, type=Held) for raw in page.records]
            tombstones += [page.tombstone] if page.tombstone is not None else []
            from_seq = page.next_from_seq
            if page.caught_up:
                return Dump(tuple(records), tuple(tombstones))

    async def digest(self, node: str, topic: str) -> Digest:
        """What a node tells of its strands."""
        try:
            answer = await self._apis[node].ask(call.digest(topic))
        except TopicNotFound:
            return Digest(topic)
        return msgspec.json.decode(answer.raw, type=Digest)

    async def links(self, node: str) -> dict[str, dict[str, Any]]:
        """What the node tells of its links, by peer."""
        told = (await self._apis[node].ask(call.links())).object()
        return {link["peer"]: link for link in told["links"]}

    # ---- waiting ---------------------------------------------------------------------------------

    async def differences(self, nodes: Sequence[str] = (), topics: Collection[str] = ()) -> list[Finding]:
        """How the nodes (none named: all) differ from the first of them in topics (all), proven by hashes."""
        first, *others = nodes or self.nodes
        found: list[Finding] = []
        for topic in topics or self.topics:
            mine = await self.digest(first, topic)
            for other in others:
                found += compare(mine, await self.digest(other, topic))
        return found

    async def converged(
        self,
        within_s: float = 60.0,
        nodes: Sequence[str] = (),
        topics: Collection[str] = (),
        but_for: Collection[str] = (),
    ) -> None:
        """Wait until the nodes (none named: all) hold the same of topics (all), but for gaps with these reasons.

        Raises NotSoInTime with what differs.
        """
        found: list[Finding] | str = "nothing was compared"
        with trio.move_on_after(within_s):
            while True:
                try:
                    found = [one for one in await self.differences(nodes, topics) if not _forgiven(one, but_for)]
                except (PeerError, Unavailable) as error:
                    found = str(error)
                if not found:
                    return
                await trio.sleep(LOOK_AGAIN_S)
        raise NotSoInTime(f"nodes differ after {within_s} s: {found[:20]}")

    async def link_state(self, node: str, peer: str, *words: str, within_s: float = 30.0) -> dict[str, Any]:
        """Wait until the node's link to the peer is in one of these states; what it tells then.

        Raises NotSoInTime.
        """
        told: dict[str, Any] = {}
        with trio.move_on_after(within_s):
            while True:
                told = (await self.links(node))[peer]
                if told["state"] in words:
                    return told
                await trio.sleep(LOOK_AGAIN_S)
        raise NotSoInTime(f"the link {node} from {peer} is not {' or '.join(words)}: {told}")


def _forgiven(one: Finding, reasons: Collection[str]) -> bool:
    return one.kind == "gap" and set(one.reason.split(", ")) <= set(reasons)


@asynccontextmanager
async def local_cluster(
    folder: Path,
    graph: Graph,
    topics: Mapping[str, str],
    *,
    faulty: bool = False,
    via: Mapping[Link, str] | None = None,
    tables: Tables = QUICK,
) -> AsyncIterator[LocalCluster]:
    """A cluster in ``folder``; nothing of it runs yet, and nothing of it runs when the block is left.

    With ``faulty`` there is a Proxy on every link, in ``lines``; ``via`` names links that lead elsewhere.
    """
    ports = dict(zip(graph.nodes, free_ports(len(graph.nodes)), strict=True))
    lines = {link: Proxy(ports[link[1]], Random(str(link))) for link in graph.pulls} if faulty else {}
    cluster = LocalCluster(folder, graph, topics, lines)
    cluster.draw(ports, {**{link: line.url for link, line in lines.items()}, **(via or {})}, tables)
    async with trio.open_nursery() as nursery:
        for line in lines.values():
            await nursery.start(line.run)
        try:
            yield cluster
        finally:
            with trio.CancelScope(shield=True):
                await cluster.close()
            nursery.cancel_scope.cancel()


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
