"""A queue on two nodes (design 6.1): one of them grants, both take records and calls, settlements travel."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from mirrord.client.comparison import Digest, compare
from mirrord.testing.cluster.local import free_ports

from .daemon import Api, Daemon, daemons, refused, until

FILE = """
[cluster]
name = "pair"
[nodes.fra]
listen = "127.0.0.1:{0}"
data_dir = "fra"
[nodes.iad]
listen = "127.0.0.1:{1}"
data_dir = "iad"
[[links]]
between = ["fra", "iad"]
topics = ["m:*"]
[topics."m:file:*"]
type = "queue"
home = "iad"
[mirroring]
backoff_max_ms = 200
home_patience_ms = 1500
[store]
control_chunks = 20
[limits]
max_sse = 4
"""
_numbers = count(1)


class Two(NamedTuple):
    """Two daemons that cases may kill."""

    fra: Daemon
    iad: Daemon
    folder: Path


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("homes")
    with daemons(folder, FILE.format(*free_ports(2)), "fra", "iad") as (fra, iad):
        yield Two(fra, iad, folder)


@pytest.fixture
def jobs(two: Two) -> str:
    """A queue that was made at fra and is known at iad."""
    name = f"m:jobs{next(_numbers)}"
    two.fra.api.create(name, type="queue")
    until(lambda: _state(two.iad.api, name))
    return name


def _state(api: Api, name: str) -> dict[str, Any] | None:
    response = api.get(f"/v0/topics/{name}")
    return response.json() if response.status_code == 200 else None


def _post(api: Api, name: str, verb: str, **body: Any) -> dict[str, Any]:
    return api.told("POST", f"/v0/topics/{name}/{verb}", {"node": "w", **body})


def _data(api: Api, name: str) -> list[Any]:
    return [record["data"] for record in api.diff(name, limit=1000)["records"]]


def _seen(api: Api, name: str, *data: Any) -> None:
    until(lambda: sorted(_data(api, name)) == sorted(data))


def test_calls_at_another_node_are_passed_on(two: Two, jobs: str) -> None:
    """Records go in anywhere; claims, acks, nacks and extensions work anywhere; what is done goes away everywhere."""
    fra, iad = two.fra.api, two.iad.api
    assert _state(iad, jobs)["queue"]["home"] == "fra"  # type: ignore[index]
    fra.append(jobs, "a")
    iad.append(jobs, "b", "c")
    _seen(fra, jobs, "a", "b", "c")
    claimed = {job["data"]: job for job in _post(iad, jobs, "claim", max=5)["claimed"]}
    assert set(claimed) == {"a", "b", "c"}
    assert _post(fra, jobs, "claim")["claimed"] == []
    assert fra.state(jobs)["queue"] == {"ready": 0, "in_flight": 3, "dead_lettered": 0, "home": "fra"}
    assert _post(iad, jobs, "extend", seqs=[claimed["a"]["$seq"]], lease_ms=60_000)["extended"] == 1
    assert _post(iad, jobs, "ack", seqs=[claimed["a"]["$seq"], claimed["b"]["$seq"]])["acked"] == 2
    assert _post(iad, jobs, "nack", seqs=[claimed["c"]["$seq"]])["nacked"] == 1
    _seen(fra, jobs, "c")
    _seen(iad, jobs, "c")
    assert [job["data"] for job in _post(fra, jobs, "claim", max=5)["claimed"]] == ["c"]


def test_refusals_of_the_home_are_passed_on_too(two: Two, jobs: str) -> None:
    """What the home says is the answer."""
    for body in ({"node": "w", "seqs": [1], "lease_ids": ["nonsense"]}, {"seqs": [1]}):
        refused(two.iad.api.post(f"/v0/topics/{jobs}/ack", json=body), 400, "invalid_request")


def test_a_full_home_tells_when_to_come_again(two: Two, jobs: str) -> None:
    """``Retry-After`` goes on with the refusal that it is of."""
    path = f"/v0/topics/{jobs}/work?node=w"
    with ExitStack() as open_streams:
        while (stream := open_streams.enter_context(two.fra.api.stream("GET", path))).status_code == 200:
            next(stream.iter_lines())
        response = two.iad.api.get(path)
        assert refused(response, 429, "throttled") == {"limit": "max_sse", "max": 4}
        assert response.headers["retry-after"] == "1"
    until(lambda: two.fra.api.get("/v0/metrics", headers={"accept": "application/json"}).json()["sse_connections"] == 0)


def test_nobody_passes_on_twice(two: Two, jobs: str) -> None:
    """One hop: a call that was passed on to a node that is not the home is refused, and names whom it knows."""
    headers = {"mirrord-passed-on": "somebody"}
    response = two.iad.api.post(f"/v0/topics/{jobs}/claim", json={"node": "w"}, headers=headers)
    assert refused(response, 503, "home_unreachable") == {"home": "fra"}


def test_work_is_pushed_through_another_node(two: Two, jobs: str) -> None:
    """The stream of the home, through iad; when its reader goes, its leases end at the home."""
    with two.iad.api.stream("GET", f"/v0/topics/{jobs}/work", params={"node": "w", "max": 2}) as response:
        lines = response.iter_lines()
        assert next(lines) == "retry: 2000"
        two.iad.api.append(jobs, "pushed")
        found = next(line for line in lines if line.startswith("data: "))
        assert '"data":"pushed"' in found
        assert two.fra.api.state(jobs)["queue"]["in_flight"] == 1
    until(lambda: two.fra.api.state(jobs)["queue"]["ready"] == 1)


@pytest.mark.parametrize(
    ("ends", "reason"),
    [(("iad", "stop"), "shutting_down"), (("fra", "kill"), "home_unreachable")],
    ids=["here", "home"],
)
def test_a_stream_that_is_passed_on_tells_why_it_ends(two: Two, jobs: str, ends: tuple[str, str], reason: str) -> None:
    """The node between stops, or the home is lost: the last frame says so, and nobody calls it a fault."""
    daemon: Daemon = getattr(two, ends[0])
    two.fra.api.append(jobs, "x")
    try:
        with Api(two.iad.api.address) as own, own.stream("GET", f"/v0/topics/{jobs}/work?node=w") as response:
            lines = response.iter_lines()
            next(line for line in lines if line.startswith("data: "))
            getattr(daemon, ends[1])()
            *_, event, data, end = lines
        assert (event, end) == ("event: error", "")
        assert f'"reason":"{reason}"' in data
        assert "connection_fault" not in two.iad.log_text()
    finally:
        daemon.start()
    until(lambda: _post(two.iad.api, jobs, "claim")["claimed"])


def test_the_head_of_a_stream_takes_no_job(two: Two, jobs: str) -> None:
    """Also at another node than the home."""
    two.fra.api.append(jobs, "x")
    for api in (two.fra.api, two.iad.api):
        response = api.head(f"/v0/topics/{jobs}/work", params={"node": "w"})
        assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream")
    assert two.fra.api.state(jobs)["queue"]["in_flight"] == 0


def test_settlements_are_no_records(two: Two, jobs: str) -> None:
    """They travel in the queue's strand; a digest tells how many of its oseqs they are, at the home and elsewhere."""
    two.fra.api.append(jobs, 1, 2, 3)
    claimed = two.fra.api.told("POST", f"/v0/topics/{jobs}/claim", {"node": "w", "max": 2})["claimed"]
    two.fra.api.told("POST", f"/v0/topics/{jobs}/ack", {"node": "w", "seqs": [job["$seq"] for job in claimed]})

    def written(api: Api) -> list[tuple[int, int]]:
        strands = api.told("GET", f"/v0/topics/{jobs}/digest")["strands"]
        return [(strand["oseq"] - strand["controls"], strand["controls"]) for strand in strands]

    assert [records for records, controls in written(two.fra.api) if controls] == [3]
    until(lambda: written(two.iad.api) == written(two.fra.api))


def test_settlements_are_said_anew(two: Two, jobs: str) -> None:
    """However many there were, a bounded number is kept at the home and elsewhere; a node that was away for most of
    them, and one that lost its disk, come to the same, and the home that lost its own gives nothing out again."""

    def work_off(times: int) -> None:
        for _ in range(times):
            (job,) = _post(two.fra.api, jobs, "claim")["claimed"]
            _post(two.fra.api, jobs, "ack", seqs=[job["$seq"]])

    def digest(daemon: Daemon) -> Digest:
        return msgspec.convert(daemon.api.told("GET", f"/v0/topics/{jobs}/digest", deep="true"), Digest)

    def are_one() -> bool:
        there = digest(two.fra), digest(two.iad)
        return compare(*there) == [] and max(map(_controls, there)) <= 25

    two.fra.api.append(jobs, *range(100))
    _seen(two.iad.api, jobs, *range(100))
    work_off(15)
    two.iad.kill()
    work_off(60)
    two.iad.start()
    _seen(two.iad.api, jobs, *range(75, 100))
    until(are_one)
    for daemon, name in ((two.iad, "iad"), (two.fra, "fra")):
        daemon.kill()
        shutil.rmtree(two.folder / name)
        daemon.start()
        until(partial(_state, daemon.api, jobs))
        _seen(daemon.api, jobs, *range(75, 100))
        until(are_one)
    until(lambda: two.fra.api.post(f"/v0/topics/{jobs}/claim", json={"node": "w", "max": 1}).status_code == 200)
    work_off(24)
    until(lambda: len(_data(two.iad.api, jobs)) == 1)


def _controls(digest: Digest) -> int:
    return sum(gap.last - gap.first + 1 for s in digest.strands for gap in s.gaps if gap.reason == "control")


def test_the_file_says_who_is_home(two: Two) -> None:
    """``home`` of the file counts wherever the queue is made; and it cannot be changed by PUT."""
    name = f"m:file:{next(_numbers)}"
    two.fra.api.append(name, "x")
    until(lambda: _state(two.iad.api, name))
    assert two.fra.api.state(name)["queue"]["home"] == "iad"
    _seen(two.iad.api, name, "x")
    assert [job["data"] for job in _post(two.fra.api, name, "claim")["claimed"]] == ["x"]
    assert two.iad.api.state(name)["queue"]["in_flight"] == 1
    refused(two.fra.api.put(f"/v0/topics/{name}", json={"home": "fra"}), 409, "declared_in_file")


def test_a_home_that_is_away(two: Two, jobs: str) -> None:
    """Records are taken, leases are not granted by anybody else; when the home is back everything is there."""
    two.fra.kill()
    try:
        two.iad.api.append(jobs, "meanwhile")
        response = two.iad.api.post(f"/v0/topics/{jobs}/claim", json={"node": "w"})
        assert refused(response, 503, "home_unreachable")["home"] == "fra"
        assert response.headers["retry-after"] == "1"
        stream = two.iad.api.get(f"/v0/topics/{jobs}/work", params={"node": "w"})
        refused(stream, 503, "home_unreachable")
    finally:
        two.fra.start()
    until(lambda: _post(two.iad.api, jobs, "claim")["claimed"])


@pytest.mark.parametrize("wiped", [False, True])
def test_what_was_acknowledged_never_comes_again(two: Two, jobs: str, wiped: bool) -> None:
    """kill -9 of the home, also with its disk lost: a mirror that has the settlements gives them back before anything
    is granted, whoever wrote the records."""
    fra, iad = two.fra.api, two.iad.api
    fra.append(jobs, *[f"fra{i}" for i in range(20)])
    iad.append(jobs, *[f"iad{i}" for i in range(20)])
    until(lambda: fra.state(jobs)["count"] == iad.state(jobs)["count"] == 40)
    claimed = _post(fra, jobs, "claim", max=40)["claimed"]
    done = {job["data"] for job in claimed if int(job["data"][3:]) % 2}
    _post(fra, jobs, "ack", seqs=[job["$seq"] for job in claimed if job["data"] in done])
    until(lambda: iad.state(jobs)["count"] == 20)
    two.fra.kill()
    if wiped:
        shutil.rmtree(two.folder / "fra")
    two.fra.start()
    left = {job["data"] for job in claimed} - done
    found: set[str] = set()

    def all_came() -> bool:
        response = two.iad.api.post(f"/v0/topics/{jobs}/claim", json={"node": "x", "max": 100, "lease_ms": 600_000})
        if response.status_code == 200:
            found.update(job["data"] for job in response.json()["claimed"])
        assert not found & done
        return found == left

    until(all_came)
    assert two.iad.api.state(jobs)["queue"]["home"] == "fra"


def test_a_queue_that_two_nodes_made(two: Two) -> None:
    """Made at both while they did not see each other: the earlier one is the home on both, and nothing is lost."""
    name = f"m:both{next(_numbers)}"
    two.fra.kill()
    two.iad.api.create(name, type="queue")
    two.iad.api.append(name, "iad")
    two.iad.kill()
    two.fra.start()
    two.fra.api.create(name, type="queue")
    two.fra.api.append(name, "fra")
    two.iad.start()
    for daemon in (two.fra, two.iad):
        until(partial(_is_home, daemon.api, name, "iad"))
        _seen(daemon.api, name, "fra", "iad")
    assert {job["data"] for job in _post(two.fra.api, name, "claim", max=5)["claimed"]} == {"fra", "iad"}


def _is_home(api: Api, name: str, node: str) -> bool:
    return bool(api.state(name)["queue"]["home"] == node)
