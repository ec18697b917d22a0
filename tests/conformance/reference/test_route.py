"""Reference 2.8, 3.8: routers between topics."""

from __future__ import annotations

from typing import Any

import pytest

from ..daemon import Api, refused, until


def route(api: Api, router: str, source: str, dest: str, **fields: Any) -> dict[str, Any]:
    return api.told("PUT", f"/v0/routers/{router}", {"source": source, "dest": dest, **fields})


def put(api: Api, router: str, **body: Any) -> Any:
    return api.put(f"/v0/routers/{router}", json=body)


def data(api: Api, topic: str) -> list[Any]:
    return [record["data"] for record in api.diff(topic)["records"]]


def test_the_answer_of_a_put(api: Api, topic: str) -> None:
    """2.8, 12.99: 201, then 200; every field at its default; both topics are made; `>` is legal."""
    got = put(api, f"{topic}->d", source=topic, dest=topic + "d")
    told = got.json()
    assert got.status_code == 201
    assert told.items() >= {
        "router": f"{topic}->d", "created": True, "source": topic, "dest": topic + "d", "preserve_node": True,
        "preserve_tag": True, "filter": None, "allow_cycle": False, "guarantee": "at_least_once",
    }.items()  # fmt: skip
    again = put(api, f"{topic}->d", source=topic, dest=topic + "d")
    assert (again.status_code, again.json()["created"]) == (200, False)
    assert {row["topic"] for row in api.told("GET", "/v0/topics", prefix=topic)["topics"]} == {topic, topic + "d"}


@pytest.mark.parametrize("body", [
    {}, {"source": "a"}, {"dest": "a"}, {"source": "a", "dest": "a"}, {"source": "", "dest": "b"},
    {"source": 1, "dest": "b"}, {"source": "a", "dest": None}, {"source": "a>b", "dest": "b"},
    {"source": "a", "dest": "b", "filter": ["tag", "Eq"]},
    {"source": "a", "dest": "b", "guarantee": "once"}, {"source": "a", "dest": "b", "preserve_node": "no"},
    {"source": "a", "dest": "b", "allow_cycle": 1}, {"source": "a", "dest": "b", "create_dest": "x"},
])  # fmt: skip
def test_wrong_bodies(api: Api, topic: str, body: dict[str, Any]) -> None:
    """2.8: bad names, the same name twice, missing ones, a bad filter: 400, and no phantom topics."""
    named = {k: f"{topic}{v}" if isinstance(v, str) and k in ("source", "dest") and v else v for k, v in body.items()}
    refused(put(api, topic, **named), 400, "invalid_request")
    assert api.told("GET", "/v0/topics", prefix=topic)["topics"] == []


def test_bad_router_names(api: Api) -> None:
    """1.2: as topics', and `>`."""
    for name in ("-a", ">a", "a b", "a%2A", "%C3%A9", "a" * 256):
        refused(put(api, name, source="a", dest="b"), 400, "invalid_request")


def test_filter_is_echoed_in_full(api: Api, topic: str) -> None:
    """2.8: whatever form it was sent in, it comes back as a tuple."""
    for sent, shown in (
        ("x", ["tag", "Eq", "x"]),
        ("x*", ["tag", "Glob", "x*"]),
        (["tag", "Eq", "x"], ["tag", "Eq", "x"]),
    ):
        assert route(api, topic, topic, topic + "d", filter=sent)["filter"] == shown
        assert api.told("GET", f"/v0/routers/{topic}")["filter"] == shown
    assert route(api, topic, topic, topic + "d", filter=None)["filter"] is None


def test_copies(api: Api, topic: str) -> None:
    """3.8, 12.107, 12.108, 12.111: in order; new $seq; data, meta, $node and $tag kept."""
    api.append(topic + "d", "there")
    route(api, topic, topic, topic + "d")
    records = [{"data": n, "tag": "t", "node": f"n{n}", "meta": {"m": n}} for n in range(3)]
    api.told("POST", f"/v0/topics/{topic}", {"records": records})
    copies = api.diff(topic + "d", include_tags=True)["records"][1:]
    assert [(c["$seq"], c["data"], c["$tag"], c["$node"], c["meta"]) for c in copies] == [
        (n + 2, n, "t", f"n{n}", {"m": n}) for n in range(3)
    ]
    told = api.told("GET", f"/v0/routers/{topic}")
    assert told.items() >= {"router": topic, "source": topic, "dest": topic + "d", "forwarded_total": 3}.items()


def test_read_your_writes(api: Api, topic: str) -> None:
    """3.8, 12.111: state and claim of a destination, and the router, show all that was written."""
    api.create(topic + "d", type="queue")
    route(api, topic, topic, topic + "d")
    for n in range(1, 6):
        api.append(topic, n)
        assert api.state(topic + "d")["count"] == n
        api.append(topic + "x", n)
    api.append(topic, 6)
    assert api.told("GET", f"/v0/routers/{topic}")["forwarded_total"] == 6
    api.append(topic, 7)
    assert api.told("POST", f"/v0/topics/{topic}d/claim", {"node": "w", "max": 10})["count"] == 7


def test_preserve_off(api: Api, topic: str) -> None:
    """3.8, 12.107 with 5.1: no tag, and $node is this node's again."""
    route(api, topic, topic, topic + "d", preserve_node=False, preserve_tag=False)
    api.told("POST", f"/v0/topics/{topic}", {"records": [{"data": 1, "tag": "t", "node": "n"}]})
    (copy,) = api.diff(topic + "d", include_tags=True)["records"]
    assert (copy["$node"], "$tag" in copy) == ("solo", False)


def test_filter(api: Api, topic: str) -> None:
    """3.8: what does not match is passed by."""
    route(api, topic, topic, topic + "d", filter="a*")
    api.told(
        "POST", f"/v0/topics/{topic}", {"records": [{"data": t, "tag": t} for t in ("a", "b", "ab")] + [{"data": 0}]}
    )
    assert data(api, topic + "d") == ["a", "ab"]


def test_no_backfill_unless_asked(api: Api, topic: str) -> None:
    """3.8, 12.106 with 5.1: only what comes after the router; with backfill what is there too."""
    api.append(topic, 1)
    route(api, topic, topic, topic + "d")
    route(api, topic + "b", topic, topic + "bd", backfill=True)
    api.append(topic, 2)
    assert (data(api, topic + "d"), data(api, topic + "bd")) == ([2], [1, 2])


def test_fan_out_and_fan_in(api: Api, topic: str) -> None:
    """12.100, 12.101 with 5.1: many from a source; and many into a destination, which the reference refuses."""
    for n in range(3):
        route(api, f"{topic}o{n}", topic, f"{topic}d{n}")
        route(api, f"{topic}i{n}", f"{topic}d{n}", f"{topic}e")
    api.append(topic, 1)
    assert [data(api, f"{topic}d{n}") for n in range(3)] == [[1]] * 3
    assert until(lambda: data(api, f"{topic}e") == [1] * 3 or None)


def test_re_pointing_is_refused(api: Api, topic: str) -> None:
    """2.8, 12.102: another source or destination is 409; other fields may change."""
    route(api, topic, topic, topic + "d")
    api.append(topic, 1)
    for pair in ((topic + "x", topic + "d"), (topic, topic + "y")):
        told = refused(put(api, topic, source=pair[0], dest=pair[1]), 409, "topic_exists_incompatible")
        assert told["reason"] == "router_repoint_forbidden"
    told = route(
        api, topic, topic, topic + "d", filter="t", preserve_tag=False, guarantee="exactly_once", allow_cycle=True
    )
    assert (told["guarantee"], told["preserve_tag"], told["allow_cycle"]) == ("exactly_once", False, True)
    assert data(api, topic + "d") == [1]
    refused(api.get(f"/v0/topics/{topic}x"), 404, "topic_not_found")


def test_cycles(api: Api, topic: str) -> None:
    """2.8, 12.103, 12.105, 7.3 with 5.1: refused with the cycle; allowed ones end with one copy per topic, not five."""
    route(api, topic + "1", topic + "a", topic + "b")
    body = {"source": topic + "b", "dest": topic + "a"}
    told = refused(put(api, topic + "2", **body), 409, "router_cycle")
    assert {topic + "a", topic + "b"} <= set(told["cycle"])
    assert put(api, topic + "2", **body, allow_cycle=True).status_code == 201
    api.append(topic + "a", 1)
    api.append(topic + "b", 2)
    assert until(lambda: sorted(data(api, topic + "a")) == sorted(data(api, topic + "b")) == [1, 2] or None)
    api.append(topic + "a", 3)
    assert until(lambda: 3 in data(api, topic + "b") or None)
    assert (api.state(topic + "a")["count"], api.state(topic + "b")["count"]) == (3, 3)


def test_what_the_source_lost_first(api: Api, topic: str) -> None:
    """3.8, 12.110: records that went before the router came to them are told as source_trim, one run of them a page."""
    api.create(topic, cap_records=1)
    api.create(topic + "d", cap_records=1, discard="reject")
    route(api, topic, topic, topic + "d")
    api.append(topic, 1)
    assert data(api, topic + "d") == [1]
    for n in range(2, 6):
        api.append(topic, n)
    api.told("POST", f"/v0/topics/{topic}d/delete", {"before_seq": 2})
    until(lambda: api.told("GET", f"/v0/routers/{topic}")["forwarded_total"] == 2)
    page, missed = api.diff(topic + "d"), 0
    while (loss := page["tombstone"]) is not None:
        assert loss["reason"] == "source_trim"
        missed += loss["missed_estimate"]
        if page["records"]:
            break
        page = api.diff(topic + "d", from_seq=page["next_from_seq"])
    assert (missed, [record["data"] for record in page["records"]]) == (3, [5])


def test_a_delete_is_not_routed(api: Api, topic: str) -> None:
    """3.5, 12.64: copies stay when their records go; and when the router goes."""
    route(api, topic, topic, topic + "d")
    api.append(topic, 1)
    assert data(api, topic + "d") == [1]
    api.told("POST", f"/v0/topics/{topic}/delete", {"before_seq": 9})
    assert api.told("DELETE", f"/v0/routers/{topic}")["deleted"] is True
    assert api.told("DELETE", f"/v0/routers/{topic}")["deleted"] is False
    api.append(topic, 2)
    assert data(api, topic + "d") == [1]
    refused(api.get(f"/v0/routers/{topic}"), 404, "router_not_found")


def test_lists_of_routers(api: Api, topic: str) -> None:
    """2.8, 1.3: by prefix, source, dest; pages; sorted."""
    for n in range(5):
        route(api, f"{topic}>{n}", f"{topic}s{n % 2}", f"{topic}d{n}")
    told = api.told("GET", "/v0/routers", prefix=topic, page_size=2)
    row = {
        "router": f"{topic}>0",
        "source": f"{topic}s0",
        "dest": f"{topic}d0",
        "guarantee": "at_least_once",
        "forwarded_total": 0,
    }
    assert told["routers"][0].items() >= row.items()
    seen = [one["router"] for one in told["routers"]]
    while "next_cursor" in told:
        told = api.told("GET", "/v0/routers", prefix=topic, page_size=2, cursor=told["next_cursor"])
        seen += [one["router"] for one in told["routers"]]
    assert seen == [f"{topic}>{n}" for n in range(5)]
    assert len(api.told("GET", "/v0/routers", source=f"{topic}s1")["routers"]) == 2
    assert [one["router"] for one in api.told("GET", "/v0/routers", dest=f"{topic}d3")["routers"]] == [f"{topic}>3"]
    assert api.told("GET", "/v0/routers", source=f"{topic}s1", dest=f"{topic}d0")["routers"] == []


def test_404_names_the_router(api: Api, topic: str) -> None:
    """1.1: detail router."""
    assert refused(api.get(f"/v0/routers/{topic}"), 404, "router_not_found") == {"router": topic}
