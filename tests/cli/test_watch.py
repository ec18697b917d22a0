"""``mirrord watch``: what is asked, what is shown, and where it goes on after a break."""

from __future__ import annotations

import json
from typing import Any

from mirrord.cli.main import INTERRUPTED, OK, REFUSED

from .asked import Asked, events, record
from .conftest import error

GONE = ("topic-deleted", {"topic": "t", "head_seq": 0, "reason": "deleted"})


def session(**topics: int) -> dict[str, Any]:
    told = {name: {"from_seq": seq, "head_seq": seq, "log_id": f"log-{name}"} for name, seq in topics.items()}
    return {"wid": "wid_1", "stream_url": "/v0/watch/wid_1", "topics": told}


def page(topic: str, *seqs: int) -> tuple[str, Any]:
    return "record", {"topic": topic, "to_seq": seqs[-1], "head_seq": 99, "records": [record(seq) for seq in seqs]}


def test_it_begins_at_the_end_or_where_is_said(shell: Any) -> None:
    """And passes on what is to be seen."""
    asked = Asked(shell, session(t=5), events(GONE), session(t=2), events(GONE))
    assert shell.run("watch", "t")[0] == OK
    shell.run("watch", "t", "--from", "2", "--match", "eu:*", "--drop-node", "fra")
    wanted = {"include_tags": True, "heartbeat_ms": 15_000}
    assert asked.calls[0] == ("POST", "/v0/watch", {"topics": {"t": {"tail": True}}, **wanted})
    assert asked.calls[1][:2] == ("GET", "/v0/watch/wid_1")
    assert asked.calls[2][2] == {"topics": {"t": {"from_seq": 2}}, "match": "eu:*", "node": ["fra"], **wanted}


def test_events_are_lines(shell: Any) -> None:
    """Records with their topic where there are several, losses, ends; machines get every event."""
    gap = ("tombstone", {"topic": "u", "reason": "cap", "gap_from": 1, "gap_to": 4})
    told = [page("t", 6, 7), gap, ("caught-up", {"topic": "t", "head_seq": 7}), GONE, ("topic-deleted", {"topic": "u"})]
    Asked(shell, session(t=5, u=0), events(*told), session(t=5, u=0), events(*told))
    lines = shell.run("watch", "t", "u")[1].splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["t", "t"]
    assert "of u are gone: cap (seq 1..4)" in lines[2]
    assert [line for line in lines if "was deleted" in line] == ["-- t was deleted", "-- u was deleted"]
    found = [json.loads(line) for line in shell.run("watch", "t", "u", "--json")[1].splitlines()]
    assert [event["event"] for event in found] == [name for name, _ in told]


def _interrupt(_: Any) -> Any:
    raise KeyboardInterrupt


def test_it_goes_on_where_it_stood(shell: Any) -> None:
    """A new session begins at the last record of each topic, in the log that it was of; a topic that was recreated
    is read from its beginning, one that is made while the node is away too."""
    recreated = ("tombstone", {"topic": "u", "reason": "recreated", "gap_from": 1, "gap_to": 3})
    asked = Asked(shell, session(t=5, u=3), events(page("t", 6, 7), recreated), error(503, "not_ready"),
                  session(t=7, u=0), events(page("u", 1)))  # fmt: skip
    shell.node.trouble.append(_interrupt)
    code, out, err = shell.run("watch", "t", "x*")
    assert (code, len(out.splitlines())) == (INTERRUPTED, 4)
    again = {"x*": {"from_seq": 0}, "t": {"from_seq": 7, "log_id": "log-t"}, "u": {"from_seq": 0}}
    assert asked.calls[0][2]["topics"] == {"x*": {"tail": True}, "t": {"tail": True}}
    assert [asked.calls[i][2]["topics"] for i in (2, 3)] == [again, again]
    assert next(iter(asked.calls[2][2]["topics"])) == "x*"
    assert err.startswith("mirrord: the stream ended; waiting for it\n")


def test_a_topic_that_never_was_is_refused(shell: Any) -> None:
    """A typo is not waited for."""
    Asked(shell, error(404, "topic_not_found", "no topic t"))
    assert shell.run("watch", "t")[::2] == (REFUSED, "mirrord: no topic t\n")
