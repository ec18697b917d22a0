"""A key that may less than before, while something of it goes on (SIGHUP): streams end, others are let alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .daemon import Api, Daemon, refused, until
from .events import EventStream
from .frames import UPGRADE, Wire

FILE = """
[cluster]
name = "narrowed"
[nodes.a]
listen = "127.0.0.1:0"
data_dir = "data"
[auth]
keys = ["file:keys.txt"]
"""
KEY = {"authorization": "Bearer client"}


class Keyed(Daemon):
    """A node whose one key can be told anew."""

    def __init__(self, folder: Path) -> None:
        (folder / "mirrord.toml").write_text(FILE)
        self.keys = folder / "keys.txt"
        self.keys.write_text("client\n")
        super().__init__(folder / "mirrord.toml", "a")

    def tell(self, line: str) -> None:
        """From now on the key may this."""
        self.keys.write_text(line)
        seen = self.log_text().count('"reloaded"')
        self.reload()
        until(lambda: self.log_text().count('"reloaded"') > seen)


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[Keyed]:
    daemon = Keyed(tmp_path)
    for name, kind in (("in:a", "log"), ("out:a", "log"), ("out:q", "queue")):
        daemon.api.put(f"/v0/topics/{name}", json={"type": kind}, headers=KEY).raise_for_status()
    yield daemon
    daemon.kill()


def watch(api: Api, *names: str) -> EventStream:
    """A stream of these that is caught up."""
    wid = api.post("/v0/watch", json={"topics": {name: {} for name in names}}, headers=KEY).raise_for_status()
    stream = EventStream(api, wid.json()["stream_url"], authorization="Bearer client")
    for _ in names:
        stream.until("caught-up")
    return stream


@pytest.mark.parametrize("names", [("out:a",), ("in:a", "out:a"), ("ou*", "in:a")])
@pytest.mark.parametrize("line", ["client:r:in:", "client:w", "other"])
def test_a_watch_ends(keyed: Keyed, names: tuple[str, ...], line: str) -> None:
    """At once, and says why: what the key may no longer hear it hears no more."""
    with watch(keyed.api, *names) as stream:
        keyed.tell(line)
        last = stream.until("error")[-1]
        assert last.data["code"] == ("unauthorized" if line == "other" else "forbidden")
        assert stream.next() is None


def test_work_ends_and_is_given_back(keyed: Keyed) -> None:
    """A worker that may no longer work holds nothing."""
    with EventStream(keyed.api, "/v0/topics/out:q/work?node=w", authorization="Bearer client") as stream:
        keyed.api.post("/v0/topics/out:q", json={"records": [{"data": 1}]}, headers=KEY).raise_for_status()
        stream.until("job")
        keyed.tell("client:r\nroot\n")
        last = stream.until("error")[-1]
        assert (last.data["code"], last.data["reason"]) == (403, "forbidden")
    root = {"authorization": "Bearer root"}
    until(lambda: keyed.api.get("/v0/topics/out:q", headers=root).json()["queue"]["ready"] == 1)


def test_a_websocket_ends(keyed: Keyed) -> None:
    """With the topics that it has come to watch, not with those of its first order."""
    with Wire(keyed.api, *UPGRADE, "authorization: Bearer client") as wire:
        for name in ("in:a", "out:a"):
            wire.order(op="subscribe", topic=name)
            assert [wire.told()["op"], wire.told()["op"]] == ["subscribed", "caught_up"]
        keyed.tell("client:r:in:")
        assert wire.told()["code"] == "forbidden"
        assert wire.next()[0] == 8


def test_what_is_still_allowed_goes_on(keyed: Keyed) -> None:
    """Streams of names that the key keeps hear of nothing; a WebSocket that watches nothing is asked when it orders."""
    with watch(keyed.api, "in:a") as stream, Wire(keyed.api, *UPGRADE, "authorization: Bearer client") as wire:
        keyed.tell("client:r+w:in:")
        keyed.api.post("/v0/topics/in:a", json={"records": [{"data": 1}]}, headers=KEY).raise_for_status()
        assert [record["data"] for record in stream.until("record")[-1].data["records"]] == [1]
        wire.order(op="publish", topic="in:a", records=[{"data": 2}])
        assert wire.told()["op"] == "ack"
        wire.order(op="publish", topic="out:a", records=[{"data": 2}])
        assert wire.told()["code"] == "forbidden"
    refused(keyed.api.get("/v0/topics/out:a", headers=KEY), 403, "forbidden")
