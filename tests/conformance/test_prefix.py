"""Reads by tag, and reads of all topics that a prefix means (design 5.1)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .daemon import Api, refused


def tagged(api: Api, topic: str, *records: tuple[int, str | None]) -> None:
    for data, tag in records:
        record = {"data": data} | ({"tag": tag} if tag is not None else {})
        api.told("POST", f"/v0/topics/{topic}", {"records": [record]})


def found(page: dict[str, Any]) -> list[Any]:
    return [record["data"] for record in page["records"]]


def walk(api: Api, pattern: str, cursor: str | None = None, **fields: Any) -> tuple[list[tuple[str, Any]], str]:
    """All pages up to the end, as (topic, data), and the last cursor."""
    got: list[tuple[str, Any]] = []
    while True:
        page = api.diff(pattern, **({"cursor": cursor} if cursor else {}), **fields)
        assert len(page["records"]) <= fields.get("limit", 256)
        got += [(record["$topic"], record["data"]) for record in page["records"]]
        cursor = page["next_cursor"]
        if page["caught_up"]:
            assert page["lag"] == 0
            return got, cursor


# ---- match ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("match", "wanted"), [
    ("a:1", [1]), ("a:*", [1, 2]), (["tag", "Eq", "a:*"], []), (["tag", "Glob", "a:*"], [1, 2]), ("*", [1, 2, 3]),
    ("", []), (None, [1, 2, 3, 4]),
])  # fmt: skip
def test_a_match_shows_only_what_is_meant(api: Api, topic: str, match: Any, wanted: list[int]) -> None:
    """The cursor passes what is not meant, so the reader is caught up all the same."""
    tagged(api, topic, (1, "a:1"), (2, "a:2"), (3, "b"), (4, None))
    page = api.diff(topic, match=match)
    assert (found(page), page["next_from_seq"], page["caught_up"]) == (wanted, 4, True)


@pytest.mark.parametrize("match", [7, {}, [], ["tag", "Eq"], ["meta", "Eq", "x"], ["tag", "Like", "x"],
                                   ["tag", "Glob", "x"], ["tag", "Eq", 1], "x" * 300])  # fmt: skip
def test_what_no_match_can_be(api: Api, topic: str, match: Any) -> None:
    """A predicate that cannot be is refused, and says what one looks like."""
    api.append(topic, 1)
    refused(api.post(f"/v0/topics/{topic}/diff", json={"match": match}), 400, "invalid_request")


def test_a_rare_tag_in_a_long_log(api: Api, topic: str) -> None:
    """What a page costs goes by what is meant, not by how long the log is."""
    plain = [{"data": "x" * 100, "tag": f"t{n % 10}"} for n in range(1000)]
    for n in range(20):
        api.told("POST", f"/v0/topics/{topic}", {"records": plain})
        if n in (3, 15):
            tagged(api, topic, (n, "rare"))
    page = api.diff(topic, match="rare")
    assert (found(page), page["caught_up"]) == ([3, 15], True)
    assert page["performance"]["records_scanned"] < 20_000


def test_a_match_waits_for_what_is_meant(api: Api, topic: str) -> None:
    """A long poll is not answered by records that its reader does not mean."""
    tagged(api, topic, (1, "a"))
    with ThreadPoolExecutor(1) as aside:
        poll = aside.submit(lambda: api.diff(topic, match="b", wait_ms=25_000))
        tagged(api, topic, (2, "a"), (3, "b"))
        page = poll.result(30)
    assert found(page) in ([3], [])
    assert page["next_from_seq"] >= 1


# ---- prefixes ------------------------------------------------------------------------------------


def test_a_prefix_reads_all_its_topics(api: Api, topic: str) -> None:
    """Each record once, in the order of its topic, and none of others."""
    for name, count in (("a", 3), ("b", 1), ("c", 5)):
        api.append(f"{topic}:{name}", *range(count))
    api.append(topic, "not this")
    wanted = [(f"{topic}:{n}", i) for n, count in (("a", 3), ("b", 1), ("c", 5)) for i in range(count)]
    for limit in (1, 2, 4, 100):
        got, cursor = walk(api, f"{topic}:*", limit=limit)
        assert sorted(got) == wanted
        for name in "abc":
            assert [data for at, data in got if at.endswith(name)] == sorted(
                data for at, data in got if at.endswith(name)
            )
    api.append(f"{topic}:b", "more")
    api.append(f"{topic}:d", "new")
    got, _ = walk(api, f"{topic}:*", cursor)
    assert got == [(f"{topic}:d", "new"), (f"{topic}:b", "more")] or sorted(got) == [
        (f"{topic}:b", "more"), (f"{topic}:d", "new"),
    ]  # fmt: skip


def test_a_busy_topic_does_not_keep_the_others_back(api: Api, topic: str) -> None:
    """Pages take turns: the second one begins behind the topic of the first."""
    api.append(f"{topic}:a", *range(10))
    api.append(f"{topic}:b", "b")
    page = api.diff(f"{topic}:*", limit=2)
    assert found(page) == [0, 1]
    assert found(api.diff(f"{topic}:*", limit=2, cursor=page["next_cursor"])) == ["b", 2]


def test_fields_of_a_prefix_read(api: Api, topic: str) -> None:
    """Records carry their topic; losses are told with theirs."""
    api.create(f"{topic}:a", cap_records=1)
    api.append(f"{topic}:a", 1, 2)
    tagged(api, f"{topic}:b", (3, "t"))
    page = api.diff(f"{topic}:*", include_tags=True)
    assert set(page) == {
        "topic", "topics", "records", "next_cursor", "caught_up", "tombstones", "lag", "performance",
    }  # fmt: skip
    assert (page["topic"], page["topics"]) == (f"{topic}:*", 2)
    assert [(t["topic"], t["reason"], t["gap_to"]) for t in page["tombstones"]] == [(f"{topic}:a", "cap", 1)]
    assert [(r["$topic"], r["$seq"], r.get("$tag")) for r in page["records"]] == [
        (f"{topic}:a", 2, None), (f"{topic}:b", 1, "t"),
    ]  # fmt: skip
    assert found(api.diff(f"{topic}:*", match="t")) == [3]
    assert found(api.diff(f"{topic}:*", node="solo")) == []
    assert api.diff(f"{topic}:none:*")["records"] == []
    assert found(api.diff(f"{topic}:*", from_seq=1)) == [2]


def test_a_topic_that_was_made_anew(api: Api, topic: str) -> None:
    """The cursor carries log ids: the new log is read from its beginning, however long it is."""
    api.append(f"{topic}:a", 1, 2)
    _, cursor = walk(api, f"{topic}:*")
    api.delete(f"/v0/topics/{topic}:a")
    api.append(f"{topic}:a", *range(10, 15))
    page = api.diff(f"{topic}:*", cursor=cursor)
    assert ([t["reason"] for t in page["tombstones"]], found(page)) == (["recreated"], [10, 11, 12, 13, 14])


def test_a_prefix_is_waited_for(api: Api, topic: str) -> None:
    """A topic that is created answers a long poll, and so does an append."""
    cursor = api.diff(f"{topic}:*")["next_cursor"]
    for name, data in (("a", 1), ("a", 2), ("b", 3)):
        with ThreadPoolExecutor(1) as aside:
            poll = aside.submit(lambda at: api.diff(f"{topic}:*", cursor=at, wait_ms=25_000), cursor)
            api.append(f"{topic}:{name}", data)
            page = poll.result(30)
        assert found(page) == [data]
        cursor = page["next_cursor"]
    page = api.diff(f"{topic}:*", cursor=cursor, wait_ms=20)
    assert (page["records"], page["caught_up"]) == ([], True)


@pytest.mark.parametrize("fields", [
    {"cursor": "x"}, {"cursor": "é"}, {"cursor": "e30", "from_seq": 1}, {"log_id": "00"}, {"cursor": 7},
    {"cursor": "eyJhdCI6eyJ4IjpbLTEsIiJdfX0"},
])  # fmt: skip
def test_what_no_prefix_read_can_be(api: Api, topic: str, fields: dict[str, Any]) -> None:
    """A cursor that mirrord never gave out, or fields of the other kind of read."""
    refused(api.post(f"/v0/topics/{topic}:*/diff", json=fields), 400, "invalid_request")
    api.append(topic, 1)
    refused(api.post(f"/v0/topics/{topic}/diff", json={"cursor": "e30"}), 400, "invalid_request")
    refused(api.post("/v0/topics/-*/diff", json={}), 400, "invalid_request")
