"""Writers for a cluster under faults: each goes on until its node has acknowledged all that it has to say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from ...errors import MirrordError, PeerError, StorageFailed
from .ledger import Ledger, Mark, Verdict, payload
from .local import LOOK_AGAIN_S, LocalCluster, NotSoInTime

BATCH = 5


async def write(
    cluster: LocalCluster,
    ledger: Ledger,
    node: str,
    topic: str,
    records: int,
    within_s: float = 120.0,
    copied_to: Sequence[str] = (),
) -> None:
    """Append so many records to a node in small keyed batches, repeated while the node is away.

    Several calls at once for one node and topic need no agreement: each is a writer of its own. The records of a batch
    have its key as their tag. What is acknowledged is owed in ``copied_to`` too.
    """
    writer = ledger.new_writer(node)
    for at in range(0, records, BATCH):
        marks = ledger.next_marks(topic, writer, min(BATCH, records - at))
        texts = [payload(mark) for mark in marks]
        await cluster.append(node, topic, *texts, key=f"{writer}-{at}", within_s=within_s)
        for name in (topic, *copied_to):
            ledger.acknowledge(name, node, marks)


async def write_once(cluster: LocalCluster, ledger: Ledger, node: str, topic: str) -> MirrordError | None:
    """Append one record without a key and without a second try; how the node refused it, if it did.

    A refusal by the disk goes into the ledger; a node that vanished leaves open whether it has the record.
    """
    marks = ledger.next_marks(topic, ledger.new_writer(node), 1)
    try:
        await cluster.append(node, topic, *map(payload, marks))
    except StorageFailed as refusal:
        ledger.refuse(topic, marks)
        return refusal
    except PeerError as lost:
        return lost
    ledger.acknowledge(topic, node, marks)
    return None


async def write_everywhere(
    cluster: LocalCluster, ledger: Ledger, records: int, nodes: Sequence[str] = (), within_s: float = 120.0
) -> None:
    """Two writers on every node (none named: all) and topic at once; returns when all is acknowledged."""
    async with trio.open_nursery() as nursery:
        for node in nodes or cluster.nodes:
            for topic in cluster.topics:
                for _ in range(2):
                    nursery.start_soon(write, cluster, ledger, node, topic, records, within_s)


async def until(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    """Wait for something that only others in this process change. Raises NotSoInTime."""
    with trio.move_on_after(within_s):
        while True:
            if holds():
                return
            await trio.sleep(LOOK_AGAIN_S)
    raise NotSoInTime("what was waited for did not happen")


async def verdicts(
    cluster: LocalCluster, ledger: Ledger, nodes: Sequence[str] = (), *, unsure: bool = False
) -> dict[tuple[str, str], Verdict]:
    """(node, topic) to what is wrong with what it shows; nothing of those that are right."""
    found = {}
    for node in nodes or cluster.nodes:
        for topic in cluster.topics:
            verdict = ledger.judge(topic, await cluster.dump(node, topic), unsure=unsure)
            if not verdict.right:
                found[node, topic] = verdict
    return found


def tag_of(mark: Mark) -> str:
    """The tag that ``write`` gave it."""
    return f"{mark.writer}-{(mark.number - 1) // BATCH * BATCH}"
