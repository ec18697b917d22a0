"""Queues over kill -9 and SIGTERM of a real daemon (reference 3.10): what is lost by design, and what never is."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from .daemon import Api, Daemon, until

LONG_MS = 600_000


def _post(api: Api, name: str, verb: str, **body: Any) -> dict[str, Any]:
    return api.told("POST", f"/v0/topics/{name}/{verb}", {"node": "w", **body})


def _claim(api: Api, name: str, **body: Any) -> list[dict[str, Any]]:
    claimed: list[dict[str, Any]] = _post(api, name, "claim", lease_ms=LONG_MS, **body)["claimed"]
    return claimed


def _restart(daemon: Daemon) -> Api:
    daemon.kill()
    daemon.start()
    return daemon.api


@pytest.mark.parametrize("durability", ["disk", "fsync"])
def test_acknowledged_stays_away_and_leases_are_lost(mortal: Daemon, topic: str, durability: str) -> None:
    """By default everything that was not acknowledged is claimable at once, counted anew, under new lease ids."""
    api = mortal.api
    api.create(topic, type="queue", durability=durability)
    api.append(topic, *range(10))
    jobs = _claim(api, topic, max=6)
    assert _post(api, topic, "ack", seqs=[1, 3, 5])["acked"] == 3
    _post(api, topic, "nack", seqs=[2], delay_ms=LONG_MS)
    api = _restart(mortal)
    assert api.state(topic)["queue"] == {"ready": 7, "in_flight": 0, "dead_lettered": 0, "home": "solo"}
    again = _claim(api, topic, max=20)
    assert [(job["$seq"], job["deliveries"]) for job in again] == [(seq, 1) for seq in (2, 4, 6, 7, 8, 9, 10)]
    assert not {job["lease_id"] for job in again} & {job["lease_id"] for job in jobs}
    assert _post(api, topic, "ack", seqs=[4], lease_ids=[jobs[3]["lease_id"]])["skipped"] == [4]


def test_durable_leases_stay(mortal: Daemon, topic: str) -> None:
    """``leases_durable``: leases with their ids and deadlines, deliveries, delays, and how many were set aside."""
    api, dead = mortal.api, topic + ".dead"
    api.create(topic, type="queue", leases_durable=True, max_deliveries=2, dead_letter=dead)
    api.append(topic, "held", "back", "delayed", "poison", "fresh")
    held, *_ = _claim(api, topic, max=4)
    _post(api, topic, "nack", seqs=[2, 4])
    _post(api, topic, "nack", seqs=[3], delay_ms=LONG_MS)
    _claim(api, topic, max=2)
    _post(api, topic, "nack", seqs=[2, 4])
    assert [job["data"] for job in _claim(api, topic)] == ["fresh"]
    until(lambda: api.state(topic)["queue"]["dead_lettered"] == 2)
    api = _restart(mortal)
    until(lambda: api.state(topic)["queue"] == {"ready": 0, "in_flight": 2, "dead_lettered": 2, "home": "solo"})
    assert _claim(api, topic, max=9) == []
    assert _post(api, topic, "ack", seqs=[1], lease_ids=[held["lease_id"]])["acked"] == 1
    assert sorted(record["data"] for record in api.diff(dead)["records"]) == ["back", "poison"]


def test_dead_letters_are_moved_once_over_any_kill(mortal: Daemon, topic: str) -> None:
    """kill -9 while many are moved: each is in one of the two topics at least, and in the end once among the dead."""
    dead, total = topic + ".dead", 300
    mortal.api.create(topic, type="queue", max_deliveries=1, dead_letter=dead)
    mortal.api.append(topic, *range(total))

    def spend(api: Api) -> None:
        """Claim and give back until nothing is left: the second claim of each moves it."""
        while api.state(topic)["count"]:
            seqs = [job["$seq"] for job in _claim(api, topic, max=40)]
            if seqs:
                _post(api, topic, "nack", seqs=seqs)

    for _ in range(3):
        with Api(mortal.api.address) as own:
            working = threading.Thread(target=_until_killed, args=(spend, own))
            working.start()
            until(lambda: mortal.api.state(topic)["count"] < total)
            mortal.kill()
            working.join()
        mortal.start()
    spend(mortal.api)
    moved: list[int] = []
    while len(page := mortal.api.diff(dead, from_seq=len(moved), limit=1000)["records"]):
        moved += [record["data"] for record in page]
    assert sorted(moved) == list(range(total))


def _until_killed(work: Any, api: Api) -> None:
    try:
        work(api)
    except (httpx.HTTPError, AssertionError):
        return


def test_a_stream_is_told_that_the_node_stops(mortal: Daemon, topic: str) -> None:
    """SIGTERM: the last frame says so, and what the stream held is free after the start."""
    api = mortal.api
    api.create(topic, type="queue", leases_durable=True)
    api.append(topic, "x")
    args: dict[str, str | int] = {"node": "w", "lease_ms": LONG_MS}
    with Api(api.address) as own, own.stream("GET", f"/v0/topics/{topic}/work", params=args) as response:
        lines = response.iter_lines()
        next(line for line in lines if line.startswith("data: "))
        mortal.stop()
        assert "event: error" in (rest := list(lines))
        assert '"code":"server_shutting_down"' in rest[rest.index("event: error") + 1]
    mortal.start()
    assert [job["data"] for job in _claim(mortal.api, topic)] == ["x"]
