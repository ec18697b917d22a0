"""What answers at a peer's address is not that peer: named, bounded in memory, and nobody else is disturbed."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from mirrord.errors import PeerUnreachable
from mirrord.links.peer import HttpPeer
from mirrord.testing.cluster.graph import graph
from mirrord.testing.cluster.ledger import Ledger
from mirrord.testing.cluster.local import QUICK, LocalCluster, local_cluster
from mirrord.testing.cluster.writers import verdicts, write_everywhere

from . import nonsense

TOPICS = {"orders": "fsync"}
ROOM_BYTES = 64 << 20  # what one peer may cost: a frame or two, and buffers


async def _most_rss(cluster: LocalCluster, node: str, seconds: float) -> int:
    most = 0
    with trio.move_on_after(seconds):
        while True:
            most = max(most, cluster.daemons[node].rss_bytes())
            await trio.sleep(0.02)
    return most


@pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")  # of an answer not read to its end
async def test_an_endless_answer_that_is_no_feed() -> None:
    """A peer reads as much of a refusal as can be one, whether it asks for a feed or changes one, and goes."""
    async with nonsense.served(nonsense.endless_error) as url:
        peer = HttpPeer(url, 5.0)
        with trio.fail_after(10):
            with pytest.raises(PeerUnreachable, match="no mirrord node"):
                async with peer.feed(b""):
                    pass
            with pytest.raises(PeerUnreachable, match="no mirrord node"):
                await peer.change(1, b"")
        await peer.aclose()


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [
        nonsense.not_http,
        nonsense.web_page,
        nonsense.not_found,
        nonsense.endless_header,
        nonsense.endless_error,
        nonsense.lying_lengths,
        nonsense.endless_frames,
        nonsense.unknown_frames,
        nonsense.silence,
    ],
    ids=lambda answer: answer.__name__,
)
async def test_a_peer_that_talks_nonsense(tmp_path: Path, answer: nonsense.Answer) -> None:
    """Its link says unreachable and why; memory stays bounded; the way over the third node is as fast as ever."""
    ledger = Ledger()
    async with (
        nonsense.served(answer) as url,
        local_cluster(tmp_path, graph("mesh", 3), TOPICS, via={("ada", "bob"): url}) as cluster,
    ):
        await cluster.start()
        await write_everywhere(cluster, ledger, 20)
        await cluster.converged(within_s=20)
        before = cluster.daemons["ada"].rss_bytes()
        most = await _most_rss(cluster, "ada", 3.0)
        assert most - before < ROOM_BYTES
        told = await cluster.link_state("ada", "bob", "unreachable", "connecting")
        assert told["state"] == "connecting" or told["reason"]
        assert (await cluster.links("ada"))["cyd"]["state"] == "caught-up"
        await write_everywhere(cluster, ledger, 20)
        await cluster.converged(within_s=10)
        assert await verdicts(cluster, ledger) == {}


@pytest.mark.slow
async def test_a_peer_of_another_cluster(tmp_path: Path) -> None:
    """Two clusters whose addresses got mixed up: `refused` with wrong-cluster, and no record crosses."""
    other_tables = {**QUICK, "cluster": {"name": "other"}}
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    async with local_cluster(tmp_path / "other", graph("pair", 2), TOPICS, tables=other_tables) as other:
        url = f"http://127.0.0.1:{other.ports['bob']}"
        async with local_cluster(tmp_path / "one", graph("pair", 2), TOPICS, via={("ada", "bob"): url}) as one:
            await other.start()
            await one.start()
            await other.append("bob", "orders", '"not for them"')
            told = await one.link_state("ada", "bob", "refused")
            assert "wrong-cluster" in told["reason"]
            await one.append("ada", "orders", '"for us"')
            await one.link_state("bob", "ada", "caught-up")
            await one.converged()
            for node in one.nodes:
                assert [bytes(record.data) for record in (await one.dump(node, "orders")).records] == [b'"for us"']


@pytest.mark.slow
async def test_another_node_at_a_peers_address(tmp_path: Path) -> None:
    """The address of bob leads to cyd: `refused` with wrong-node, which names both; the rest goes on."""
    ledger = Ledger()

    async with local_cluster(tmp_path, graph("mesh", 3), TOPICS, faulty=True) as cluster:
        text = cluster.file.read_text()
        cluster.file.write_text(
            text.replace(cluster.lines["ada", "bob"].url, f"http://127.0.0.1:{cluster.ports['cyd']}")
        )
        await cluster.start()
        told = await cluster.link_state("ada", "bob", "refused")
        assert "wrong-node" in told["reason"]
        await write_everywhere(cluster, ledger, 20)
        await cluster.converged()
        assert await verdicts(cluster, ledger) == {}
