"""Who may still bring back what earlier lives of a node wrote: asked before what they may have done is done again."""

from __future__ import annotations

from mirrord.config.load import parse
from mirrord.config.topology import Flow
from mirrord.links.board.board import Board
from mirrord.links.board.holders import Holders
from mirrord.links.board.line import Line, Side, Told
from mirrord.links.board.matrix import Matrix
from mirrord.records.strand import Identity
from mirrord.topics.log.log import Strand

from ..topics.rig import Origin

NODES = "".join(f"[nodes.{name}]\nlisten = '127.0.0.1:{port}'\n" for port, name in enumerate("abcd", 4001))
# b pulls from a, c from b, a from c: what b writes comes to c, then to a, then back. Nothing comes back from d.
RING = "".join(
    f"[[links]]\npull = '{puller}'\nfrom = '{source}'\ntopics = ['orders']\n"
    for puller, source in ("ba", "cb", "ac", "db")
)
OURS, THEIRS = 5, 6
PATIENCE_S = 60.0


class Place:
    """Node b, which has just started: it holds 8 records that an earlier life wrote, and pulls from a alone."""

    def __init__(self) -> None:
        descriptors = {OURS: Origin(OURS, "b").descriptor, THEIRS: Origin(THEIRS, "c").descriptor}
        self.board = Board(lambda *_: (8, 0), lambda _, strand: descriptors[strand])
        self.line = self.board.lines["a"] = Line("a", PATIENCE_S, lambda topic: topic == "orders")
        self.matrix = Matrix("b")
        strands = {number: Strand(number, descriptors[number], 8, durable_last=8) for number in (OURS, THEIRS)}
        self.holders = Holders(
            lambda: Identity("b", b"b".ljust(16, b"."), b"this life"), self.board, self.matrix,
            Flow(parse(NODES + RING)), lambda topic: strands if topic == "orders" else {}, since=0.0,
        )  # fmt: skip

    def tell(self, oseq: int) -> None:
        """The peer is there, and tells where it stands."""
        self.line.sides["orders"] = Side("orders", {OURS: Told(oseq, None, 1, 0)})
        self.board.up("a")
        self.matrix.see("a", "orders", OURS, oseq, 0, (1, 1, 0))


def test_a_peer_that_was_not_heard_is_waited_for_as_long_as_its_link_is_patient() -> None:
    """It may hold whatever was lost here."""
    place = Place()
    assert place.holders.peers("orders", now=PATIENCE_S - 1) == ["a"]
    assert place.holders.peers("orders", now=PATIENCE_S) == []
    assert place.holders.peers("orders", now=9.0, patience_s=5.0) == []


def test_a_peer_that_tells_more_is_waited_for() -> None:
    """It has what this node lost, and is about to bring it; of what others wrote nothing was lost here."""
    place = Place()
    place.tell(9)
    assert place.holders.peers("orders", now=0.0) == ["a"]
    place.tell(8)
    assert place.holders.peers("orders", now=0.0) == []


def test_a_node_behind_a_peer_that_was_not_heard_of_is_waited_for() -> None:
    """The peer has only just started itself, and tells nothing of what it is yet to pull: c holds it all."""
    place = Place()
    place.tell(8)
    assert place.holders.everywhere("orders", now=0.0) == ["c"]
    assert place.holders.everywhere("orders", now=PATIENCE_S) == []
    place.matrix.see("c", "orders", OURS, 8, 0, (1, 1, 0))
    assert place.holders.everywhere("orders", now=0.0) == []


def test_nodes_behind_peers_are_waited_for_no_longer_than_is_asked() -> None:
    """A queue's home grants leases again at some time, whatever a node that may never come again is known to hold."""
    place = Place()
    place.tell(8)
    assert place.holders.everywhere("orders", now=4.0, patience_s=5.0) == ["c"]
    place.matrix.see("c", "orders", OURS, 9, 0, (1, 1, 0))
    assert place.holders.everywhere("orders", now=4.0, patience_s=5.0) == ["c"]
    assert place.holders.everywhere("orders", now=5.0, patience_s=5.0) == []


def test_a_new_life_of_a_node_that_runs_hears_of_all_anew() -> None:
    """Its store was put back, and its memory perhaps with it: what it heard before is no news, and may be from before
    others pulled what was lost."""
    place = Place()
    place.tell(8)
    place.matrix.see("c", "orders", OURS, 8, 0, (1, 1, 0))
    later = 10 * PATIENCE_S
    assert place.holders.everywhere("orders", now=later) == []
    place.holders.begin_life(later)
    assert place.holders.everywhere("orders", now=later + 1) == ["c"]
    place.matrix.see("c", "orders", OURS, 8, 0, (1, 1, 9))
    assert place.holders.everywhere("orders", now=later + 1) == []


def test_a_node_behind_a_peer_that_is_known_to_hold_more_is_waited_for() -> None:
    """The peer lags: what it has not got yet is on its way. What c wrote itself is no matter of ours."""
    place = Place()
    place.tell(8)
    place.matrix.see("c", "orders", OURS, 8, 0, (1, 1, 0))
    place.matrix.see("c", "orders", THEIRS, 20, 0, (1, 1, 0))
    assert place.holders.everywhere("orders", now=0.0) == []
    place.matrix.see("c", "orders", OURS, 9, 0, (1, 1, 1))
    assert place.holders.everywhere("orders", now=0.0) == ["c"]


def test_what_is_known_of_a_node_and_is_less_than_is_here_is_too_old() -> None:
    """The relay cannot reach c now: what it knows is from before c pulled what is here, and perhaps what was lost."""
    place = Place()
    place.tell(8)
    place.matrix.see("c", "orders", THEIRS, 8, 0, (1, 1, 0))
    assert place.holders.everywhere("orders", now=0.0) == ["c"]
    place.matrix.see("c", "orders", OURS, 7, 0, (1, 1, 1))
    assert place.holders.everywhere("orders", now=0.0) == ["c"]
    assert place.holders.everywhere("orders", now=PATIENCE_S) == []


def test_nodes_from_which_nothing_comes_back_are_not_waited_for() -> None:
    """d pulls, and nobody pulls from it; a topic that no link carries is here alone."""
    place = Place()
    place.tell(8)
    place.matrix.see("c", "orders", OURS, 8, 0, (1, 1, 0))
    place.matrix.see("d", "orders", OURS, 9, 0, (1, 1, 0))
    assert place.holders.everywhere("orders", now=0.0) == []
    assert place.holders.everywhere("other", now=0.0) == []
