"""``mirrord delete`` and ``topics set``: nothing is deleted without a question or --yes, nothing set by a typo."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from mirrord.cli.main import USAGE

from .asked import Asked, record

DONE = {"deleted": 2, "count": 5, "bytes": 2048}


class Person(io.StringIO):
    """Somebody at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let a person answer."""
    return lambda text: monkeypatch.setattr("sys.stdin", Person(text))


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (("--before", "9"), {"before_seq": 9}),
        (("--tag", "X"), {"match": "X"}),
        (("--tag", "P*", "--before", "9"), {"before_seq": 9, "match": "P*"}),
    ],
)
def test_what_is_meant_is_passed_on(shell: Any, words: tuple[str, ...], body: dict[str, Any]) -> None:
    """By place, by tag, or both; what is left is told."""
    asked = Asked(shell, DONE)
    assert shell.run("delete", "t", *words, "--yes")[1] == "t: 2 records deleted; 5 records, 2.0 KiB left\n"
    assert asked.calls == [("POST", "/v0/topics/t/delete", body)]


def test_without_saying_which_nothing_is_deleted(shell: Any) -> None:
    """There is no `delete everything` by accident."""
    assert shell.run("delete", "t", "--yes")[0] == USAGE


def test_where_nobody_can_be_asked_it_takes_yes(shell: Any) -> None:
    """A script must say that it means it."""
    code, _, err = shell.run("delete", "t", "--before", "9")
    assert code == USAGE
    assert "--yes" in err


def test_the_question_tells_how_many(shell: Any, says: Any) -> None:
    """By tag they are counted, page by page; no is no."""
    pages = [{"records": [record(1), record(5)], "next_from_seq": 5, "caught_up": False},
             {"records": [record(12)], "next_from_seq": 20, "caught_up": True}]  # fmt: skip
    says("n\n")
    asked = Asked(shell, *pages)
    code, _, err = shell.run("delete", "t", "--tag", "X", "--before", "10")
    assert code != 0
    assert "delete 2 records of t for ever?" in err
    assert "nothing was deleted" in err
    assert [call[1] for call in asked.calls] == ["/v0/topics/t/diff"] * 2
    assert asked.calls[0][2]["match"] == "X"
    says("y\n")
    asked = Asked(shell, *pages, DONE)
    assert "deleted" in shell.run("delete", "t", "--tag", "X")[1]
    assert asked.calls[-1][1] == "/v0/topics/t/delete"


@pytest.mark.parametrize(("before", "words"), [("4", "up to 3 records"), ("99", "all 8 records"), ("1", "up to 0")])
def test_the_question_by_place(shell: Any, says: Any, before: str, words: str) -> None:
    """As far as the topic's state tells."""
    says("n\n")
    Asked(shell, {"count": 8, "earliest_seq": 1, "head_seq": 8})
    assert words in shell.run("delete", "t", "--before", before)[2]


def test_set_reads_values_as_the_file_does(shell: Any) -> None:
    """Durations, sizes, counts, flags, words, null: each key in its own notation."""
    config = {"ttl_ms": 604_800_000, "cap_bytes": 500_000_000, "cap_records": 7, "dedupe_node": False,
              "discard": "reject", "priority": None}  # fmt: skip
    asked = Asked(shell, {"config": config})
    out = shell.run("topics", "set", "t", "ttl_ms=7d", "cap_bytes=500MB", "cap_records=7", "dedupe_node=false",
                    "discard=reject", "priority=null")[1]  # fmt: skip
    assert asked.calls == [("PATCH", "/v0/topics/t", config)]
    assert out.startswith("t: ttl_ms = 604800000, ")
    Asked(shell, {"config": config})
    assert json.loads(shell.run("topics", "set", "t", "ttl_ms=7d", "--json")[1])["config"] == config


@pytest.mark.parametrize(("written", "hint"), [
    ("cap_recordz=1", 'did you mean "cap_records"'), ("ttl_ms", "KEY=VALUE"), ("ttl_ms=never", "a duration"),
])  # fmt: skip
def test_a_typo_sets_nothing(shell: Any, written: str, hint: str) -> None:
    """The known key, or the notation, is told before anything is asked."""
    code, _, err = shell.run("topics", "set", "t", written)
    assert code == USAGE
    assert hint in err
