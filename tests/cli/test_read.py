"""``mirrord tail`` and ``diff``: nothing shown twice or left out, and no terminal obeys foreign bytes."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from mirrord.cli.main import INTERRUPTED, REFUSED, USAGE


def _filled(shell: Any, number: int) -> None:
    for i in range(1, number + 1):
        shell.run("append", "t", str(i))


def _seqs(out: str) -> list[int]:
    return [json.loads(line)["$seq"] for line in out.splitlines() if "$seq" in line]


def _stop(_: httpx.Request) -> httpx.Response:
    """As Ctrl-C does, while the node is waited for."""
    raise KeyboardInterrupt


def test_tail_begins_with_the_last_records(shell: Any) -> None:
    """-n counts from the end; --from from the beginning."""
    _filled(shell, 15)
    assert _seqs(shell.run("tail", "t", "--no-follow", "--json")[1]) == list(range(6, 16))
    assert _seqs(shell.run("tail", "t", "-n", "2", "--no-follow", "--json")[1]) == [14, 15]
    assert _seqs(shell.run("tail", "t", "--from", "12", "--no-follow", "--json")[1]) == [13, 14, 15]


def test_tail_reads_every_page(shell: Any) -> None:
    """More records than one page holds."""
    shell.node.records["t"] = [{"$seq": i, "$ts": 0, "data": i} for i in range(1, 2502)]
    assert _seqs(shell.run("tail", "t", "--from", "0", "--no-follow", "--json")[1]) == list(range(1, 2502))


def test_following_survives_a_restart_of_the_node(shell: Any, refusal: Any) -> None:
    """While the node is away nothing is lost or shown twice; people see that it is away, and back."""
    _filled(shell, 3)

    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused", request=request)

    def back_with_more(_: httpx.Request) -> None:
        shell.node.records["t"].append({"$seq": 4, "$ts": 0, "data": 4})

    ok = [lambda _: None] * 2  # the state, the first page
    busy = [lambda _: refusal(503, "not_ready", retry_after="1")]
    shell.node.trouble = [*ok, away, away, *busy, back_with_more, _stop]
    code, out, err = shell.run("tail", "t", "--json")
    assert (code, _seqs(out)) == (INTERRUPTED, [1, 2, 3, 4])
    assert err.count("waiting for it") == 1
    assert "is there again" in err


def test_pauses_between_tries_grow_and_are_bounded(shell: Any) -> None:
    """A node that stays away is not hammered, one that comes back is noticed within seconds."""
    _filled(shell, 1)

    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused", request=request)

    shell.node.trouble = [lambda _: None, *[away] * 12, _stop]
    shell.run("tail", "t")
    assert shell.time.pauses == sorted(shell.time.pauses)
    assert shell.time.pauses[-1] == 5.0


def test_a_topic_that_is_not_there_is_an_error_at_once(shell: Any) -> None:
    """A typo is not waited for."""
    assert shell.run("tail", "nothing")[0] == REFUSED
    assert shell.run("tail", "nothing", "--from", "0")[0] == REFUSED


def test_a_topic_that_is_deleted_meanwhile_is_waited_for(shell: Any, refusal: Any) -> None:
    """Who follows a topic wants to see its next life."""
    _filled(shell, 1)
    gone = refusal(404, "topic_not_found", "gone")
    shell.node.trouble = [lambda _: None, lambda _: None, lambda _: gone, _stop]
    code, _, err = shell.run("tail", "t", "--json")
    assert code == INTERRUPTED
    assert "gone; waiting for it" in err


def test_a_reader_keeps_the_log_id(shell: Any) -> None:
    """It goes back with the cursor, so that the node can tell a recreated topic exactly."""
    _filled(shell, 1)
    asked: list[Any] = []

    def listen(request: httpx.Request) -> None:
        asked.append(json.loads(request.content or b"{}").get("log_id"))

    shell.node.trouble = [lambda _: None, listen, listen, _stop]
    shell.run("tail", "t")
    assert asked == [None, "aa"]


@pytest.mark.parametrize(
    ("tombstone", "words"),
    [
        (
            {"reason": "cap", "gap_from": 1, "gap_to": 5, "missed_estimate": 5},
            "5 records are gone: cap (seq 1..5)",
        ),
        ({"reason": "recreated", "gap_from": 1, "gap_to": 5}, "the topic was recreated"),
    ],
)
def test_what_is_gone_is_said(shell: Any, tombstone: dict[str, Any], words: str) -> None:
    """Nothing is lost silently: in words for people, as an object for machines."""
    page = {"records": [], "next_from_seq": 5, "head_seq": 5, "caught_up": True, "tombstone": tombstone}
    shell.node.trouble = [lambda _: httpx.Response(200, json=page)] * 2
    assert words in shell.run("tail", "t", "--from", "0", "--no-follow")[1]
    assert json.loads(shell.run("tail", "t", "--from", "0", "--no-follow", "--json")[1]) == {"tombstone": tombstone}


def test_a_line_has_all_of_a_record(shell: Any) -> None:
    """seq, time, node, tag, payload."""
    shell.run("append", "t", '{"a":"é"}', "--tag", "eu:1")
    out = shell.run("tail", "t", "--no-follow")[1]
    assert out.split() == ["1", "2023-11-14", "22:13:20.000", "fra", "eu:1", '{"a":"é"}']


def test_text_shows_strings_bare(shell: Any) -> None:
    """Log lines read as log lines."""
    shell.run("append", "t", "hello  world", "--text")
    assert shell.run("tail", "t", "--no-follow", "--text")[1].endswith("hello  world\n")


def test_a_terminal_obeys_no_payload(shell: Any) -> None:
    """Escape sequences in data, tag and node are written out, in both notations."""
    evil = "\x1b]0;owned\x07\x9b31m\u202e"
    record = {"$seq": 1, "$ts": 0, "$node": evil, "$tag": evil, "data": evil}
    shell.node.records["t"] = [record]
    for words in ((), ("--text",)):
        out = shell.run("tail", "t", "--no-follow", *words)[1]
        assert "owned" in out
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(out)


def test_diff_passes_every_option_on(shell: Any) -> None:
    """Each option is the field of the endpoint, and what is not given is left to the node."""
    _filled(shell, 3)
    asked: list[Any] = []
    shell.node.trouble = [lambda request: asked.append(json.loads(request.content))] * 2
    shell.run("diff", "t")
    shell.run(
        "diff", "t", "--from", "1", "--limit", "5", "--log-id", "aa", "--drop-node", "x", "--drop-node", "y",
        "--tags", "--no-meta", "--origin", "--max-batch-bytes", "9", "--wait-ms", "1", "--match", "eu:*",
    )  # fmt: skip
    assert asked[0] == {}
    assert asked[1] == {
        "from_seq": 1, "limit": 5, "log_id": "aa", "node": ["x", "y"], "include_tags": True,
        "include_meta": False, "include_origin": True, "max_batch_bytes": 9, "wait_ms": 1, "match": "eu:*",
    }  # fmt: skip


def test_diff_tells_where_the_next_page_begins(shell: Any) -> None:
    """A person can page by hand."""
    _filled(shell, 3)
    _, out, err = shell.run("diff", "t", "--limit", "2")
    assert len(out.splitlines()) == 2
    assert "--from 2 (1 more)" in err


def test_diff_of_many_topics_is_for_machines(shell: Any) -> None:
    """A page of a prefix has no one seq to go on from: people are told what shows many topics."""
    code, out, err = shell.run("diff", "t*")
    assert (code, out) == (USAGE, "")
    assert "mirrord watch" in err


def test_a_match_is_passed_on(shell: Any) -> None:
    """Only what is wanted travels: the node does the looking."""
    _filled(shell, 1)
    asked: list[Any] = []
    shell.node.trouble = [lambda _: None, lambda request: asked.append(json.loads(request.content))]
    shell.run("tail", "t", "--no-follow", "--match", "eu:*")
    assert asked[0]["match"] == "eu:*"
