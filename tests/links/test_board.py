"""One upstream per strand: who brings what, and who takes over."""

from __future__ import annotations

from mirrord.links.board.board import Board
from mirrord.links.board.line import Halt, Line, Side, Told
from mirrord.links.board.matrix import Matrix
from mirrord.records.gap import Cover
from mirrord.records.strand import Position

from ..topics.rig import Origin

STRAND = 5


class Table:
    """A board with links to some peers, and where our log stands."""

    def __init__(self, *peers: str) -> None:
        self.at = 0
        self.origin = Origin(STRAND, peers[0])
        self.board = Board(lambda *_: (self.at, 0), lambda *_: self.origin.descriptor)
        for peer in peers:
            origin_id = self.origin.descriptor.origin_id if peer == peers[0] else peer.encode().ljust(16)
            line = self.board.lines[peer] = Line(peer, 60.0, lambda _: True, origin_id)
            line.sides["orders"] = Side("orders")
            self.board.up(peer)

    def tell(self, peer: str, oseq: int, whole_from: int = 1, now: float = 0.0) -> None:
        self.board.hear(peer, "orders", STRAND, Told(oseq, None, whole_from, 0), now)
        self.board.rejudge("orders", STRAND)

    @property
    def upstream(self) -> str | None:
        return self.board.upstream("orders", STRAND)

    def serving(self) -> list[str]:
        return [p for p, line in self.board.lines.items() if line.up and self.board.serves(line, "orders", STRAND)]


def test_a_strand_comes_over_one_link() -> None:
    """In a mesh each record crosses the wire once per node."""
    table = Table("a", "b", "c")
    for peer in "abc":
        table.tell(peer, 9)
    assert table.serving() == ["a"]


def test_the_origin_itself_is_preferred_to_a_relay() -> None:
    """Direct before least lag."""
    table = Table("a", "b")
    table.tell("b", 9)
    table.tell("a", 8)
    table.tell("a", 8)
    assert table.upstream == "a"


def test_who_holds_our_next_record_is_preferred() -> None:
    """A peer whose retention took the range has only a cover to offer."""
    table = Table("a", "b")
    table.tell("a", 9, whole_from=5)
    table.tell("b", 9, whole_from=1)
    assert table.upstream == "b"
    table.at = 6
    table.tell("b", 9)
    assert table.upstream == "a"


def test_a_peer_that_refuses_the_topic_gives_way() -> None:
    """Its log cannot be read there: whoever else has it brings it, until the peer tells of the topic anew."""
    table = Table("a", "b")
    for peer in "ab":
        table.tell(peer, 9)
    assert table.serving() == ["a"]
    table.board.refuse("a", "orders", "orders", "corrupt")
    assert (table.upstream, table.serving()) == ("b", ["b"])
    table.board.down("b", 0.0)
    assert table.serving() == ["a"], "nobody is better: it is left to ask"
    table.board.lines["a"].sides["orders"].refused = None
    table.board.up("b")
    assert table.upstream == "a"


def test_equals_do_not_take_turns() -> None:
    """The upstream stays as long as nobody is of a better kind."""
    table = Table("x", "b", "c")
    table.tell("c", 9)
    table.tell("b", 9)
    assert table.upstream == "c"
    for oseq in range(10, 30):
        table.at = oseq - 1
        table.tell("b", oseq)  # hears of each record just before the upstream has brought it
        table.tell("c", oseq)
        assert table.upstream == "c"


def test_a_peer_that_stays_ahead_for_a_heartbeat_takes_over() -> None:
    """A strand that does not move any more is told once: the next heartbeat makes its teller the upstream, for else two
    nodes that take it from each other would stand still for ever."""
    table = Table("x", "b", "c")
    table.tell("b", 7)
    table.at = 7
    table.tell("c", 7)
    table.tell("c", 11)
    assert table.upstream == "b", "the heartbeat that told it is not yet over"
    table.board.beat("c")
    assert table.upstream == "c"


def test_an_upstream_that_has_brought_all_it_has_gives_way() -> None:
    """Another peer told more while the upstream was still ahead: it must not be forgotten when that one is done."""
    table = Table("x", "b", "c")
    table.tell("b", 9)
    table.tell("c", 9)
    table.tell("c", 12)
    table.board.beat("c")
    assert table.upstream == "b"
    table.at = 9
    table.board.delivered("b", "orders", STRAND, 9)
    assert table.upstream == "c"


def test_what_was_told_beyond_our_log_is_given_for_comparison_once_we_come_there() -> None:
    """A fork between two nodes is named even when both were told of it before the one had any of the strand."""
    table = Table("x", "b", "c")
    table.board.hear("c", "orders", STRAND, Told(9, b"h" * 16, 1, 0), 0.0)
    table.at = 8
    assert table.board.reached("orders", STRAND, 8) == []
    table.at = 9
    assert table.board.reached("orders", STRAND, 9) == [("c", Position(9, b"h" * 16))]
    assert table.board.reached("orders", STRAND, 9) == []


def test_what_a_peer_has_no_longer_is_not_waited_for() -> None:
    """A wiped peer, or one that deleted its topic, tells all that it has: what it told before would look like lag for
    ever."""
    table = Table("a", "b")
    table.tell("b", 9)
    table.board.tells_only("b", "orders", {STRAND})
    assert STRAND in table.board.lines["b"].sides["orders"].told
    table.board.tells_only("b", "orders", ())
    assert not table.board.lines["b"].sides["orders"].told
    assert not table.board.lines["b"].sides["orders"].behind


def test_a_lost_link_is_replaced_at_once() -> None:
    """A cut link costs no record and no operator."""
    table = Table("a", "b", "c")
    for peer in "abc":
        table.tell(peer, 9)
    table.board.down("a", 1.0)
    assert table.serving() == ["b"]
    table.board.down("b", 2.0)
    assert table.serving() == ["c"]
    table.board.up("a")
    assert table.serving() == ["a"]


def test_an_answer_with_a_cover_makes_the_next_one_upstream() -> None:
    """Another holder may still have what the first one covered."""
    table = Table("a", "b")
    table.tell("a", 9)
    table.tell("b", 9)
    table.board.offer("a", "orders", Cover(STRAND, 1, 5, "evicted", None, None), 0.0)
    assert table.upstream == "b"


def test_a_strand_that_is_halted_here_comes_over_another_link() -> None:
    """A fork halts the strand on its link; others go on."""
    table = Table("a", "b")
    table.tell("a", 9)
    table.tell("b", 9)
    table.board.halt("a", "orders", STRAND, Halt("fork", Position(1, b"x"), Position(1, b"y")))
    assert table.upstream == "b"


def test_a_strand_that_nobody_told_may_come_from_anybody() -> None:
    """New strands are never kept waiting for a decision: only known strands are in ``not_from``."""
    table = Table("a", "b")
    assert table.serving() == ["a", "b"]
    table.board.delivered("b", "orders", STRAND, 3)
    assert table.serving() == ["b"]


def test_links_whose_feed_must_be_told_hear_it() -> None:
    """Each change of the upstream rings just the links that it concerns."""
    table = Table("a", "b")
    rung = {p: line.bell for p, line in table.board.lines.items()}
    from mirrord.actors.bell import Ear

    ears = {p: bell.attach(Ear(), p) for p, bell in rung.items()}
    table.tell("a", 9)
    table.tell("b", 9)
    assert ears["b"].take() == ["b"]
    assert ears["a"].take() == []
    assert ("orders", STRAND) in table.board.lines["b"].dirty


def test_what_a_peer_covered_is_forgotten_with_its_feed() -> None:
    """Remembered until its next hello, not longer; its position is remembered."""
    table = Table("a", "b")
    table.tell("a", 9)
    table.board.offer("a", "orders", Cover(STRAND, 1, 5, "evicted", None, None), 0.0)
    (witness,) = table.board.witnesses("orders", STRAND, but="b")
    assert (witness.covered, witness.told) == (5, 9)
    table.board.down("a", 7.0)
    (witness,) = table.board.witnesses("orders", STRAND, but="b")
    assert (witness.up, witness.covered, witness.told, witness.down_since) == (False, 0, None, 7.0)
    assert list(table.board.offers()) == []
    assert table.board.lines["a"].sides["orders"].told[STRAND].oseq == 9


def test_what_is_behind_moves_as_long_as_somebody_tells_more() -> None:
    """Patience counts from the last move of anybody."""
    table = Table("a", "b")
    table.tell("b", 3, now=10.0)
    table.tell("b", 3, now=20.0)
    assert table.board.moved_at["orders", STRAND] == 10.0
    table.tell("b", 4, now=30.0)
    assert table.board.moved_at["orders", STRAND] == 30.0


# ---- the matrix


def test_the_newest_word_of_a_node_wins() -> None:
    """Gossip overtakes itself; a node that was wiped is believed, an old rumour of it is not."""
    matrix = Matrix("me")
    assert matrix.see("a", "orders", STRAND, 9, 0, stamp=(0, 0, 100))
    assert not matrix.see("a", "orders", STRAND, 12, 0, stamp=(0, 0, 99))
    assert not matrix.see("a", "orders", STRAND, 9, 0, stamp=(0, 0, 101))
    assert matrix.see("a", "orders", STRAND, 2, 0, stamp=(0, 0, 102))
    assert matrix.place("a", "orders", STRAND) == 2
    assert matrix.place("b", "orders", STRAND) is None


def test_a_node_that_started_anew_is_believed() -> None:
    """What a node told before it was wiped, put back or restarted is void, however late it comes by gossip."""
    matrix = Matrix("me")
    matrix.see("a", "orders", STRAND, 9, 0, (7, 1, 500))
    assert matrix.see("a", "orders", 2, 1, 0, (7, 2, 0))
    assert matrix.place("a", "orders", STRAND) is None
    assert not matrix.see("a", "orders", STRAND, 9, 0, (7, 1, 900))
    assert matrix.place("a", "orders", STRAND) is None


def test_of_two_words_of_one_moment_the_further_is_the_newer() -> None:
    """Between two heartbeats a node's stamp does not move: gossip of the first one must not undo what came since."""
    matrix = Matrix("me")
    matrix.see("b", "orders", STRAND, 9, 0, (1, 1, 50))
    assert not matrix.see("b", "orders", STRAND, 8, 0, (1, 1, 50))
    assert matrix.place("b", "orders", STRAND) == 9


def test_the_matrix_is_bounded() -> None:
    """What changed longest ago goes first."""
    matrix = Matrix("me", room=3)
    for number in (1, 2, 3):
        matrix.see("a", "orders", number, 1, 0, (1, 1, 1))
    matrix.see("a", "orders", 1, 2, 0, (1, 1, 2))
    matrix.see("a", "orders", 4, 1, 0, (1, 1, 1))
    assert sorted(key[2] for key, _ in matrix.rows()) == [1, 3, 4]


def test_gossip_tells_what_changed_and_nobody_of_himself() -> None:
    """Each sight once, oldest change first, in pieces that the line can carry."""
    matrix = Matrix("me")
    for node, number in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        matrix.see(node, "orders", number, 7, 8, (1, 1, 9))
    first, at = matrix.since(0, 2, but="b")
    assert [(s[0], s[2]) for s in first] == [("a", 1), ("a", 3)]
    rest, at = matrix.since(at, 9, but="b")
    assert [(s[0], s[2]) for s in rest] == [("c", 4)]
    assert matrix.since(at, 9, but="b") == ([], at)


def test_gossip_of_strangers_and_of_ourselves_is_not_taken() -> None:
    """Nobody fills the matrix with nodes that are not there, or with names that cannot be topics."""
    matrix = Matrix("me")
    nodes = frozenset({"me", "a"})
    matrix.take(
        [
            ("me", "t", 1, 1, 1, (1, 1, 1)),
            ("x", "t", 1, 1, 1, (1, 1, 1)),
            ("a", "t", 1, 1, 1, (1, 1, 1)),
            ("a", "n" * 999, 1, 1, 1, (1, 1, 1)),
        ],
        nodes,
    )
    assert [key for key, _ in matrix.rows()] == [("a", "t", 1)]
