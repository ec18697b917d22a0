"""What people and machines see of a node: tables with every fact in them, JSON unchanged."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from mirrord.cli.figures import count, duration, harmless, rate, size
from mirrord.cli.main import UNREACHABLE, USAGE

TOPIC = {
    "topic": "orders", "head_seq": 1234567, "earliest_seq": 5, "count": 1234563, "bytes": 3250585,
    "durable": True, "effective_priority": 0,
}  # fmt: skip
LINK = {
    "peer": "iad", "url": "http://iad", "state": "stalled", "since_ms": 1500, "reason": "disk full",
    "lag_records": 1200, "lag_bytes": 2048, "lag_seconds": 75, "rate_records_s": 1234.5,
    "eta_s": 0.004, "connects": 3,
    "same_topology": False, "topics": {
        "orders": {"state": "catching-up", "lag_records": 1200},
        "forked": {"state": "halted", "lag_records": 0, "halted": [
            {"strand": "00aa", "kind": "fork", "mine": {"oseq": 5}, "theirs": {"oseq": 7}}]},
    },
}  # fmt: skip
LAG = {
    "node": "fra",
    "holders": ["fra", "iad", "sin"],
    "origins": {
        "fra": {
            "fra": {"records": 0, "seconds": 0},
            "iad": {"records": 17, "seconds": 2.5},
            "sin": {"records": None, "seconds": None},
        }
    },
    "topics": {"orders": {"fra": {"iad": {"records": 16, "seconds": None}}}},
}
ACTORS = {
    "actors": [
        {"name": "topic orders", "state": "alive", "deaths": 0, "mailbox": {"waiting": 3, "handled": 99}},
        {"name": "link iad", "state": "dead", "deaths": 6, "last_error": "OSError: [Errno 5]\x1b[31m"},
    ]
}


@pytest.fixture
def told(shell: Any) -> Any:
    """A shell whose node has all of it."""
    shell.node.fixed = {
        "/v0/topics": {"topics": [TOPIC], "performance": {"server_total_ms": 0.1}},
        "/v0/links": {"links": [LINK]},
        "/v0/lag": LAG,
        "/v0/actors": ACTORS,
    }
    return shell


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("topics",), ["orders", "1,234,563", "3.1", "MiB", "5", "1234567", "yes"]),
        (("links",), ["iad", "stalled", "(disk", "1,200", "2.0", "1m15s", "1,234/s", "4", "ms", "3"]),
        (("links", "--topics"), ["orders", "catching-up", "(fork", "00aa:", "5", "7", "file)"]),
        (("lag",), ["fra", "iad", "0", "17", "(2.5", "?"]),
        (("lag", "--topic", "orders"), ["?", "16"]),
        (("actors",), ["topic", "link", "dead", "6", "99", "[Errno"]),
    ],
)
def test_tables_show_every_fact(told: Any, words: tuple[str, ...], shown: list[str]) -> None:
    """Figures with units, and nothing left out."""
    code, out, _ = told.run(*words)
    assert code == 0
    assert [word for word in shown if word not in out.split()] == []
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("verb", "path"),
    [("topics", "/v0/topics"), ("links", "/v0/links"), ("lag", "/v0/lag"), ("actors", "/v0/actors")],
)
def test_json_is_the_nodes_answer(told: Any, verb: str, path: str) -> None:
    """Machines get what the API says, unchanged."""
    assert json.loads(told.run(verb, "--json")[1]) == told.node.fixed[path]


def test_json_is_unchanged_to_the_byte(shell: Any) -> None:
    """Not even a float is written anew."""
    shell.node.trouble = [lambda _: httpx.Response(200, content=b'{ "links":[],"x":1.10 }')]
    assert shell.run("links", "--json")[1] == '{ "links":[],"x":1.10 }\n'


def test_topics_pages_to_the_end(shell: Any) -> None:
    """A node with more topics than a page holds shows them all."""
    pages = {None: (["a", "b"], "c1"), "c1": (["c"], "c2"), "c2": (["d"], None)}

    def page(request: httpx.Request) -> httpx.Response:
        names, following = pages[request.url.params.get("cursor")]
        told: dict[str, Any] = {"topics": [{**TOPIC, "topic": name} for name in names]}
        return httpx.Response(200, json={**told, "next_cursor": following} if following else told)

    shell.node.trouble = [page] * 3
    _, out, _ = shell.run("topics")
    assert [line.split()[0] for line in out.splitlines() if "MiB" in line] == ["a", "b", "c", "d"]


def test_one_topic_by_its_name(shell: Any) -> None:
    """`mirrord topics orders` shows its state and what its configuration sets."""
    state = {
        "topic": "orders",
        "head_seq": 7,
        "last_write_ts": 0,
        "bytes": 2048,
        "config": {"ttl_ms": 60000, "cap_bytes": 0},
    }
    shell.node.trouble = [lambda _: httpx.Response(200, json=state)]
    words = shell.run("topics", "orders")[1].split()
    assert {"orders", "head_seq", "7", "1970-01-01", "2.0", "ttl_ms", "60000"} <= set(words)
    assert "cap_bytes" not in words


def test_create_reads_sizes_and_durations_as_people_write_them(shell: Any) -> None:
    """7d and 2GiB become what the API takes; only what was given is sent."""
    sent: list[Any] = []

    def put(request: httpx.Request) -> httpx.Response:
        sent.append((request.method, request.url.path, json.loads(request.content)))
        return httpx.Response(201, json={"topic": "orders", "created": True})

    shell.node.trouble = [put, put, put]
    words = ("--ttl", "7d", "--cap-bytes", "2GiB", "--cap-records", "5", "--durability", "fsync")
    assert shell.run("topics", "create", "orders", *words)[1] == "orders: created\n"
    shell.run("topics", "create", "orders", "--ttl", "1000")
    body = {"ttl_ms": 604_800_000, "cap_bytes": 2 << 30, "cap_records": 5, "durability": "fsync"}
    assert sent == [("PUT", "/v0/topics/orders", body), ("PUT", "/v0/topics/orders", {"ttl_ms": 1000})]
    shell.run("topics", "create", "mails", "type=queue", "lease_ms=1m", "leases_durable=true")
    assert sent[2][2] == {"type": "queue", "lease_ms": 60_000, "leases_durable": True}


def test_a_duration_that_is_none_is_a_usage_error(shell: Any) -> None:
    """The option is named."""
    code, _, err = shell.run("topics", "create", "orders", "--ttl", "7 years")
    assert code == USAGE
    assert "--ttl" in err


def test_delete_says_what_it_did(shell: Any) -> None:
    """--forget and --if-empty reach the node; a topic that was not there is told apart."""
    asked: list[Any] = []

    def delete(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        return httpx.Response(200, json={"topic": "t", "deleted": len(asked) == 1})

    shell.node.trouble = [delete, delete]
    assert shell.run("topics", "delete", "t", "--forget", "--if-empty")[1] == "t: deleted\n"
    assert shell.run("topics", "delete", "t")[1] == "t: was not there\n"
    assert asked == [{"if_empty": "true", "forget": "true"}, {}]


def test_matrix_views_go_through_all_nodes(told: Any) -> None:
    """Several --url: one table each, under the URL."""
    other = "http://127.0.0.1:4002"
    told.nodes[other] = told.node
    _, out, _ = told.run("links", "--url", other, "--url", "http://127.0.0.1:4001")
    assert out.index(f"{other} pulls") < out.index("http://127.0.0.1:4001 pulls")


def test_status_of_an_absent_node_says_so(shell: Any) -> None:
    """Real sockets here: a port of loopback at which nobody listens."""
    code, out, _ = shell.run("status", "--url", "http://127.0.0.1:9")
    assert code == UNREACHABLE
    assert "unreachable" in out


def test_figures() -> None:
    """Numbers as people read them."""
    assert [count(1234567), size(512), size(3250585), size(5 << 40)] == [
        "1,234,567",
        "512 B",
        "3.1 MiB",
        "5.0 TiB",
    ]
    assert [duration(None), duration(0.0042), duration(5.25), duration(75), duration(3700)] == [
        "-",
        "4 ms",
        "5.2 s",
        "1m15s",
        "1h01m",
    ]
    assert [duration(59.99), duration(3600 * 49), rate(0), rate(2.34), rate(1234.5)] == [
        "60.0 s",
        "2d1h",
        "0/s",
        "2.3/s",
        "1,234/s",
    ]


def test_harmless_keeps_what_is_printable() -> None:
    """Letters of any script stay; what commands a terminal does not."""
    assert harmless("héllo 漢字 🎉") == "héllo 漢字 🎉"
    assert harmless("a\x1b[2Jb\nc") == "a\\x1b[2Jb\\nc"


def test_a_topic_that_no_link_carries_has_no_lag(told: Any) -> None:
    """Said by name, with where to look, instead of an empty table."""
    code, out, err = told.run("lag", "--topic", "nope")
    assert (code, out) == (USAGE, "")
    assert "nope" in err
    assert "links --topics" in err
