"""Reader groups over HTTP (design 5.2): every field, limit and error, and what kill -9 leaves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .daemon import Api, Daemon, answered, refused


class Group:
    """One group of one topic, asked over HTTP."""

    def __init__(self, api: Api, topic: str, name: str = "g") -> None:
        self.api, self.topic = api, topic
        self.path = f"/v0/topics/{topic}/groups/{name}"

    def post(self, verb: str, **fields: Any) -> Any:
        return self.api.post(f"{self.path}/{verb}", json=fields)

    def read(self, consumer: str = "ann", **fields: Any) -> dict[str, Any]:
        return answered(self.post("read", consumer=consumer, **fields))

    def commit(self, *seqs: int, consumer: str = "ann", **fields: Any) -> dict[str, Any]:
        return answered(self.post("commit", consumer=consumer, **({"seqs": seqs} if seqs else {}), **fields))

    def reclaim(self, consumer: str = "bob", **fields: Any) -> dict[str, Any]:
        return answered(self.post("reclaim", consumer=consumer, **fields))

    def state(self) -> dict[str, Any]:
        return self.api.told("GET", self.path)


@pytest.fixture
def group(api: Api, topic: str) -> Group:
    """A group of a topic that has five records."""
    api.append(topic, *range(5))
    return Group(api, topic)


def seqs(page: dict[str, Any]) -> list[int]:
    return [record["$seq"] for record in page["records"]]


def test_a_read_has_all_of_a_record_and_of_the_group(api: Api, topic: str) -> None:
    """Records as diff shows them, how often they were handed out, and where the group stands."""
    api.told(
        "POST", f"/v0/topics/{topic}", {"records": [{"data": {"a": 1}, "tag": "x", "node": "w", "meta": {"m": 1}}]}
    )
    page = Group(api, topic).read(include_tags=True, include_origin=True)
    record = page["records"][0]
    assert {k: record[k] for k in ("$seq", "$node", "$tag", "data", "meta", "deliveries")} == {
        "$seq": 1, "$node": "w", "$tag": "x", "data": {"a": 1}, "meta": {"m": 1}, "deliveries": 1,
    }  # fmt: skip
    assert set(record["$origin"]) == {"node", "strand", "oseq"}
    facts = {k: v for k, v in page.items() if k not in ("records", "performance", "log_id")}
    assert facts == {
        "topic": topic, "group": "g", "consumer": "ann", "created": True, "cursor": 1, "head_seq": 1, "lag": 0,
        "caught_up": True, "pending": 1, "gone": [], "tombstone": None,
    }  # fmt: skip
    assert page["log_id"] == api.state(topic)["log_id"]


def test_records_are_shared_and_stay_until_they_are_committed(group: Group) -> None:
    """Two consumers never get the same record; each commits its own."""
    assert seqs(group.read("ann", limit=2)) == [1, 2]
    assert seqs(group.read("bob", limit=2)) == [3, 4]
    done = group.commit(1, 3)
    assert (done["committed"], done["skipped"], done["pending"]) == (1, [3], 3)
    assert group.commit(consumer="bob", up_to=99)["committed"] == 2
    assert seqs(group.read("ann")) == [5]


def test_idle_records_are_taken_over(group: Group) -> None:
    """By reclaim and by a read with min_idle_ms; who lost them cannot commit them any more."""
    group.read("ann", limit=3)
    assert seqs(group.reclaim("bob", min_idle_ms=3_600_000)) == []
    page = group.reclaim("bob", min_idle_ms=0, limit=2)
    assert (seqs(page), page["next_cursor"], page["gone"]) == ([1, 2], 2, [])
    assert [r["deliveries"] for r in page["records"]] == [2, 2]
    assert seqs(group.reclaim("bob", min_idle_ms=0, limit=2, cursor=page["next_cursor"], of="ann")) == [3]
    assert group.commit(1, 2, 3)["skipped"] == [1, 2, 3]
    assert seqs(group.read("cyd", min_idle_ms=0, limit=4)) == [1, 2, 3, 4]


def test_the_default_is_to_leave_alone_what_was_given_a_minute_ago(group: Group) -> None:
    """min_idle_ms of reclaim is 60 000."""
    group.read()
    assert seqs(group.reclaim()) == []


@pytest.mark.parametrize(("start", "first"), [("earliest", 1), ({"seq": 2}, 3), (3, 4), ("latest", None)], ids=str)
def test_where_a_group_begins(group: Group, start: Any, first: int | None) -> None:
    """At what is retained, after a seq, or with what comes."""
    assert seqs(group.read(start=start))[:1] == ([first] if first else [])
    assert group.read(start="earliest", consumer="bob")["created"] is False


def test_state_list_and_delete(group: Group) -> None:
    """Cursor, what is pending with whom, lag; groups by name, page by page; a dropped group begins anew."""
    group.read("bob", limit=2)
    group.read("ann", limit=1)
    group.commit(1, consumer="bob")
    state = group.state()
    assert {k: state[k] for k in ("topic", "group", "cursor", "committed_to", "pending", "lag")} == {
        "topic": group.topic, "group": "g", "cursor": 3, "committed_to": 1, "pending": 2, "lag": 2,
    }  # fmt: skip
    assert [(c["consumer"], c["pending"], c["first_seq"]) for c in state["consumers"]] == [("ann", 1, 3), ("bob", 1, 2)]
    assert all(0 <= c["idle_ms"] < 30_000 for c in state["consumers"])
    for name in ("h", "ga"):
        Group(group.api, group.topic, name).read()
    path = f"/v0/topics/{group.topic}/groups"
    first = group.api.told("GET", path, page_size=2)
    second = group.api.told("GET", path, page_size=2, cursor=first["next_cursor"])
    assert [g["group"] for g in first["groups"] + second["groups"]] == ["g", "ga", "h"]
    assert "next_cursor" not in second
    assert first["groups"][0] == {
        k: state[k] for k in ("group", "cursor", "committed_to", "pending", "lag", "created_ms")
    }
    assert [g["group"] for g in group.api.told("GET", path, prefix="ga")["groups"]] == ["ga"]
    assert group.api.told("DELETE", group.path)["deleted"] is True
    assert group.api.told("DELETE", group.path)["deleted"] is False
    assert seqs(group.read()) == [1, 2, 3, 4, 5]


def test_seek(group: Group) -> None:
    """The group stands elsewhere and nobody holds anything; a seek makes a group too."""
    group.read()
    response = group.post("seek", to={"seq": 3})
    assert response.status_code == 200
    assert {k: answered(response)[k] for k in ("cursor", "dropped", "created")} == {
        "cursor": 3, "dropped": 5, "created": False,
    }  # fmt: skip
    assert seqs(group.read("bob")) == [4, 5]
    other = Group(group.api, group.topic, "new").post("seek", to="latest")
    assert (other.status_code, answered(other)["cursor"]) == (201, 5)


def test_a_waiting_read_is_answered_by_an_append(api: Api, topic: str) -> None:
    """Long-poll as diff has it; one record wakes all who wait and goes to one of them."""
    api.append(topic, 0)
    group = Group(api, topic)
    group.read()
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(group.read, f"c{i}", wait_ms=3000) for i in range(2)]
        pool.submit(api.append, topic, 1).result()
        got = [seqs(one.result()) for one in waiting]
    assert sorted(got) == [[], [2]]


def test_a_waiting_read_takes_over_what_becomes_idle(group: Group) -> None:
    """With min_idle_ms a wait ends when somebody else's record is old enough."""
    group.read("ann")
    assert seqs(group.read("bob", min_idle_ms=200, wait_ms=20_000)) == [1, 2, 3, 4, 5]


def test_losses_are_told(api: Api, topic: str) -> None:
    """What nobody had yet is a tombstone; what was pending is named in gone; both once."""
    api.create(topic, cap_records=3)
    api.append(topic, *range(3))
    group = Group(api, topic)
    group.read(limit=2)
    api.append(topic, *range(3))
    page = group.read()
    assert (page["gone"], page["tombstone"]["gap_from"], page["tombstone"]["gap_to"]) == ([1, 2], 3, 3)
    assert seqs(page) == [4, 5, 6]
    assert api.told("POST", f"/v0/topics/{topic}/delete", {"before_seq": 6})["deleted"] == 2
    assert group.state()["pending"] == 1
    assert group.read("bob", min_idle_ms=0)["gone"] == [4, 5]


def test_deleted_records_are_passed_silently(group: Group) -> None:
    """What was deleted before anybody had it is no loss."""
    group.api.told("POST", f"/v0/topics/{group.topic}/delete", {"before_seq": 3})
    page = group.read()
    assert (seqs(page), page["tombstone"], page["gone"]) == ([3, 4, 5], None, [])


def test_who_asks_wrongly_is_told_what(group: Group) -> None:
    """Each mistake has its code and changes nothing."""
    far = refused(group.post("read", consumer="ann", start={"seq": 99}), 400, "invalid_request")
    assert far == {"head_seq": 5}
    for fields in ({}, {"consumer": ""}, {"consumer": "x" * 129}, {"consumer": "a", "limit": -1},
                   {"consumer": "a", "start": "newest"}, {"consumer": 1}):  # fmt: skip
        refused(group.post("read", **fields), 400, "invalid_request")
    group.read()
    wrong: list[dict[str, Any]] = [{}, {"seqs": [1], "up_to": 1}, {"seqs": ["1"]}, {"seqs": [-1]}]
    for fields in wrong:
        refused(group.post("commit", consumer="ann", **fields), 400, "invalid_request")
    many = refused(group.post("commit", consumer="ann", seqs=list(range(1001))), 400, "batch_too_large")
    assert many == {"seqs": 1001, "max": 1000}
    refused(group.post("seek"), 400, "invalid_request")
    refused(group.post("seek", to={"seq": -1}), 400, "invalid_request")
    refused(group.post("reclaim"), 400, "invalid_request")
    assert group.state()["pending"] == 5
    bad = Group(group.api, group.topic, "-g")
    refused(bad.post("read", consumer="ann"), 400, "invalid_request")
    refused(group.api.post(f"{group.path}/read", content=b"{"), 415, "unsupported_media_type")
    refused(group.api.get(f"{group.path}/read"), 405, "method_not_allowed")


def test_what_is_not_there(api: Api, group: Group, topic: str) -> None:
    """No topic and no group are different things; reading makes a group, nothing else does but seek."""
    nobody = Group(api, group.topic, "nobody")
    for response in (api.get(nobody.path), nobody.post("commit", consumer="a", seqs=[1]),
                     nobody.post("reclaim", consumer="a")):  # fmt: skip
        assert refused(response, 404, "group_not_found") == {"topic": group.topic, "group": "nobody"}
    for method, path in (("GET", ""), ("GET", "/g"), ("DELETE", "/g"), ("POST", "/g/read")):
        response = api.request(
            method, f"/v0/topics/none-{topic}/groups{path}", json={"consumer": "a"} if method == "POST" else None
        )
        refused(response, 404, "topic_not_found")


def test_what_is_committed_survives_kill_9(mortal: Daemon) -> None:
    """Committed never comes again, not committed does, to whoever reclaims it; in every class that keeps records."""
    for durability in ("disk", "fsync"):
        mortal.api.create(durability, durability=durability)
        mortal.api.append(durability, *range(6))
        group = Group(mortal.api, durability)
        group.read("ann", limit=4)
        group.commit(2, 3)
    mortal.kill()
    mortal.start()
    for durability in ("disk", "fsync"):
        group = Group(mortal.api, durability)
        state = group.state()
        assert (state["cursor"], state["pending"], state["committed_to"]) == (4, 2, 0)
        assert seqs(group.read("ann")) == [5, 6]
        page = group.reclaim("bob", min_idle_ms=0, limit=2)
        assert (seqs(page), [r["deliveries"] for r in page["records"]]) == ([1, 4], [2, 2])
        assert group.commit(1, 4, consumer="bob")["committed"] == 2


def test_a_topic_takes_its_groups_along(group: Group) -> None:
    """After DELETE and a new beginning nothing of the old place counts."""
    group.read()
    group.api.told("DELETE", f"/v0/topics/{group.topic}")
    refused(group.api.get(group.path), 404, "topic_not_found")
    group.api.append(group.topic, "new")
    page = group.read()
    assert (seqs(page), page["created"]) == ([1], True)
