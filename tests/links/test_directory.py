"""The directory: which topics a peer has, and what is kept of those that it does not tell of."""

from __future__ import annotations

from typing import Any, cast

from mirrord.config.topology import LinkPlan
from mirrord.links.board.board import Board
from mirrord.links.board.line import Line, Side, Told
from mirrord.links.ground import Ground
from mirrord.links.inlet.directory import Directory

STRAND = 5
PLAN = LinkPlan("peer", "http://peer", ())


class Bare:
    """A ground of which only the board is looked at."""

    def __init__(self) -> None:
        self.board = Board(lambda *_: (0, 0), lambda *_: None)
        self.board.lines["peer"] = Line("peer", 60.0, lambda _: True)


def test_who_was_turned_away_is_still_known_to_be_when_its_hello_names_nothing() -> None:
    """It was wiped, and the request left a strand to another link: forgotten here, that would be held to for ever once
    it has the topic again. All else that it does not name is forgotten."""
    ground, unused = Bare(), cast(Any, None)
    sides = ground.board.lines["peer"].sides
    sides["orders"] = Side("orders", {STRAND: Told(3, None, 1, 0)}, asked={STRAND: False})
    sides["events"] = Side("events", {STRAND: Told(3, None, 1, 0)}, asked={STRAND: True})
    directory = Directory(PLAN, cast(Ground, ground), unused, unused, unused)
    directory.begin()
    directory.forget_untold()
    assert sides == {"orders": Side("orders", asked={STRAND: False})}
