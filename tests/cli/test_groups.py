"""``mirrord groups``: what is asked, what people and machines see, and following through a restart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mirrord.cli.main import INTERRUPTED, REFUSED, USAGE

from .asked import Asked, record
from .conftest import error

HANDED = {"records": [record(3, deliveries=1), record(4, deliveries=2)], "pending": 2, "gone": [], "tombstone": None}
STATE = {"group": "g", "cursor": 7, "committed_to": 2, "pending": 3, "lag": 1, "created_ms": 0}


def _interrupt(_: Any) -> Any:
    raise KeyboardInterrupt


def test_read_passes_every_option_on(shell: Any) -> None:
    """Each option is the field of the endpoint, and what is not given is left to the node."""
    asked = Asked(shell, HANDED, HANDED)
    shell.run("groups", "read", "t", "g", "-c", "ann")
    shell.run("groups", "read", "t", "g", "-c", "ann", "--limit", "5", "--start", "17", "--min-idle", "2m")
    path = "/v0/topics/t/groups/g/read"
    assert asked.calls == [
        ("POST", path, {"consumer": "ann", "limit": 100, "include_tags": True}),
        ("POST", path, {"consumer": "ann", "limit": 5, "start": 17, "min_idle_ms": 120_000, "include_tags": True}),
    ]


def test_records_and_losses_are_lines(shell: Any) -> None:
    """How often a record came is said when it came before; what is gone is said; machines get objects."""
    told = HANDED | {"gone": [1, 2], "tombstone": {"reason": "cap", "gap_from": 1, "gap_to": 2, "missed_estimate": 2}}
    Asked(shell, told, told)
    out = shell.run("groups", "read", "t", "g", "-c", "ann")[1].splitlines()
    assert "2 records are gone: cap (seq 1..2)" in out[0]
    assert "2 records were pending and are gone: seq 1, 2" in out[1]
    assert out[2].split()[-1] == '"x"'
    assert "(2 times)" in out[3]
    lines = shell.run("groups", "read", "t", "g", "-c", "ann", "--json")[1].splitlines()
    assert [next(iter(json.loads(line))) for line in lines] == ["tombstone", "gone", "$seq", "$seq"]


def test_commit_follows_what_was_shown(shell: Any) -> None:
    """With --commit exactly the records that were printed are committed; nothing when nothing came."""
    asked = Asked(shell, HANDED, {"committed": 2, "skipped": [], "pending": 0}, HANDED | {"records": []})
    shell.run("groups", "read", "t", "g", "-c", "ann", "--commit")
    shell.run("groups", "read", "t", "g", "-c", "ann", "--commit")
    assert asked.calls[1] == ("POST", "/v0/topics/t/groups/g/commit", {"consumer": "ann", "seqs": [3, 4]})
    assert len(asked.calls) == 3


def test_following_outlives_a_restart(shell: Any) -> None:
    """A node that is away is waited for, in words."""
    asked = Asked(shell, HANDED, error(503, "shutting_down", "draining"), HANDED)
    shell.node.trouble.append(_interrupt)
    code, out, err = shell.run("groups", "read", "t", "g", "-c", "ann", "--follow")
    assert code == INTERRUPTED
    assert len(out.splitlines()) == 4
    assert err.splitlines() == ["mirrord: draining; waiting for it", "mirrord: t is there again"]
    assert [call[2]["wait_ms"] for call in asked.calls] == [30_000] * 3
    assert shell.time.pauses


def test_commit_by_seqs_or_up_to(shell: Any) -> None:
    """What was not the consumer's is named; saying both or nothing is the caller's mistake."""
    asked = Asked(shell, {"committed": 1, "skipped": [9], "pending": 4}, {"committed": 4, "skipped": [], "pending": 0})
    assert shell.run("groups", "commit", "t", "g", "8", "9", "-c", "ann")[1] == "1 committed, 4 pending; not ann's: 9\n"
    assert shell.run("groups", "commit", "t", "g", "--up-to", "12", "-c", "ann")[1] == "4 committed, 0 pending\n"
    assert [call[2] for call in asked.calls] == [{"consumer": "ann", "seqs": [8, 9]}, {"consumer": "ann", "up_to": 12}]
    assert shell.run("groups", "commit", "t", "g", "-c", "ann")[0] == USAGE
    assert shell.run("groups", "commit", "t", "g", "1", "--up-to", "2", "-c", "ann")[0] == USAGE


def test_reclaim_goes_on_until_nothing_is_idle(shell: Any) -> None:
    """All pages, each behind the one before."""
    asked = Asked(shell, HANDED | {"next_cursor": 4}, HANDED | {"next_cursor": 0})
    out = shell.run("groups", "reclaim", "t", "g", "-c", "bob", "--of", "ann", "--min-idle", "5s")[1]
    assert len(out.splitlines()) == 4
    assert [(call[2]["cursor"], call[2]["of"], call[2]["min_idle_ms"]) for call in asked.calls] == [
        (0, "ann", 5000), (4, "ann", 5000),
    ]  # fmt: skip


@pytest.mark.parametrize(("written", "sent"), [("latest", "latest"), ("earliest", "earliest"), ("12", 12)])
def test_seek(shell: Any, written: str, sent: Any) -> None:
    """A place by word or by seq, and what is pending no longer."""
    asked = Asked(shell, {"cursor": 12, "dropped": 3, "created": False})
    out = shell.run("groups", "seek", "t", "g", written)[1]
    assert out == "g goes on after seq 12; pending no longer: 3\n"
    assert asked.calls[0][2] == {"to": sent}


def test_what_is_no_place_is_said_before_anything_is_asked(shell: Any) -> None:
    """A typo moves no group."""
    code, _, err = shell.run("groups", "seek", "t", "g", "newest")
    assert code == USAGE
    assert "earliest, latest, or a seq" in err


def test_list_and_show(shell: Any) -> None:
    """All pages as one table; who holds what; machines get the node's words."""
    Asked(shell, {"groups": [STATE], "next_cursor": "c"}, {"groups": [STATE | {"group": "h"}]})
    out = shell.run("groups", "list", "t")[1]
    assert [line.split()[0] for line in out.splitlines() if line.strip()][-2:] == ["g", "h"]
    consumers = [{"consumer": "ann", "pending": 3, "first_seq": 3, "idle_ms": 61_000}]
    Asked(shell, STATE | {"consumers": consumers}, STATE | {"consumers": consumers})
    out = shell.run("groups", "show", "t", "g")[1]
    assert "ann" in out
    assert "1m01s" in out
    assert json.loads(shell.run("groups", "show", "t", "g", "--json")[1])["cursor"] == 7


def test_delete(shell: Any) -> None:
    """Whether there was one."""
    asked = Asked(shell, {"deleted": True}, {"deleted": False})
    assert shell.run("groups", "delete", "t", "g")[1] == "g of t: deleted\n"
    assert shell.run("groups", "delete", "t", "g")[1] == "g of t: was not there\n"
    assert asked.calls[0][:2] == ("DELETE", "/v0/topics/t/groups/g")


def test_a_refusal_is_in_the_nodes_words(shell: Any) -> None:
    """A group that is not there is exit code 4."""
    Asked(shell, error(404, "group_not_found", "no group g"))
    assert shell.run("groups", "show", "t", "g")[::2] == (REFUSED, "mirrord: no group g\n")
