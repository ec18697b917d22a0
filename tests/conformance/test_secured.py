"""Nodes that know each other by key and by certificate, as real daemons."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from mirrord.testing.cluster.local import free_ports

from ..certificates import Authority
from .daemon import Daemon, until

PAIR = """
[cluster]
name = "pair"
[nodes.fra]
listen = "127.0.0.1:{0}"
data_dir = "fra"
{fra}
[nodes.iad]
listen = "127.0.0.1:{1}"
data_dir = "iad"
{iad}
[[links]]
pull = "iad"
from = "fra"
topics = ["m:*"]
{link}
[mirroring]
backoff_min_ms = 50
backoff_max_ms = 200
[auth]
keys = ["file:keys.txt"]
{auth}
"""
KEYS = "root\niad-key:peer:m:\nelsewhere:peer:x\n"
TLS = 'tls = {{cert = "certs/{0}.crt", key = "certs/{0}.key", ca = "certs/ca.crt", client_ca = "certs/ca.crt"}}'
WITH_ROOT = {"authorization": "Bearer root"}


class Pair:
    """``iad`` pulls from ``fra``; clients of both with the key of everything."""

    def __init__(self, folder: Path, trust: ssl.SSLContext | None = None, **parts: str) -> None:
        self.file = folder / "mirrord.toml"
        ports = free_ports(2)
        self.file.write_text(PAIR.format(*ports, **{"fra": "", "iad": "", "link": "", "auth": "", **parts}))
        folder.joinpath("keys.txt").write_text(KEYS)
        folder.joinpath("peer.txt").write_text("between-nodes\n")
        folder.joinpath("iad.txt").write_text("iad-key\n")
        folder.joinpath("elsewhere.txt").write_text("elsewhere\n")
        self.daemons = [Daemon(self.file, node) for node in ("fra", "iad")]
        scheme = "http" if trust is None else "https"
        self.fra, self.iad = (
            httpx.Client(
                base_url=f"{scheme}://127.0.0.1:{port}", headers=WITH_ROOT, trust_env=False, timeout=30.0,
                verify=trust if trust is not None else True,
            )
            for port in ports
        )  # fmt: skip

    def append(self, topic: str) -> None:
        self.fra.post(f"/v0/topics/{topic}", json={"records": [{"data": 1}]}).raise_for_status()

    def link(self) -> dict[str, object]:
        found: dict[str, object] = self.iad.get("/v0/links/fra").json()
        return found

    def arrived(self, topic: str) -> bool:
        answer = self.iad.get(f"/v0/topics/{topic}")
        return answer.status_code == 200 and answer.json()["count"] == 1

    def close(self) -> None:
        for client in (self.fra, self.iad):
            client.close()
        for daemon in self.daemons:
            daemon.kill()


PairOf = Callable[..., Pair]


@pytest.fixture
def pair_of(tmp_path: Path) -> Iterator[PairOf]:
    """Makes pairs whose ``fra`` has written ``m:1``."""
    made: list[Pair] = []

    def make(trust: ssl.SSLContext | None = None, **parts: str) -> Pair:
        made.append(Pair(tmp_path, trust, **parts))
        made[-1].append("m:1")
        return made[-1]

    yield make
    for pair in made:
        pair.close()


@pytest.mark.parametrize(
    "parts", [{"auth": 'peer_key = "file:peer.txt"'}, {"link": 'key = "file:iad.txt"'}], ids=["cluster", "link"]
)
def test_a_link_shows_its_key(pair_of: PairOf, parts: dict[str, str]) -> None:
    """That of the cluster, or its own; what is written on one node comes to the other."""
    pair = pair_of(**parts)
    until(lambda: pair.arrived("m:1"))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [({}, "unauthorized"), ({"link": 'key = "file:elsewhere.txt"'}, "forbidden")],
    ids=["none", "other"],
)
def test_a_link_without_the_right_key_is_refused_by_name(pair_of: PairOf, parts: dict[str, str], reason: str) -> None:
    """Its state tells why; nothing comes, and no name is told."""
    pair = pair_of(**parts)
    until(lambda: pair.link()["state"] == "refused")
    assert reason in str(pair.link()["reason"])
    assert not pair.arrived("m:1")
    for secret in ("between-nodes", "iad-key", "elsewhere\n", "Bearer"):
        assert not any(secret in daemon.log_text() for daemon in pair.daemons)
    topology = pair.iad.get("/v0/topology").text + pair.iad.get("/v0/links").text
    assert "elsewhere" not in topology


def test_a_peer_key_that_is_renewed_is_shown_at_the_next_try(tmp_path: Path, pair_of: PairOf) -> None:
    """Both ends read their keys again; nobody starts anew."""
    pair = pair_of(link='key = "file:elsewhere.txt"')
    until(lambda: pair.link()["state"] == "refused")
    tmp_path.joinpath("elsewhere.txt").write_text("iad-key")
    pair.daemons[1].reload()
    until(lambda: "reloaded" in pair.daemons[1].log_text())
    pair.iad.post("/v0/links/fra/retry").raise_for_status()
    until(lambda: pair.arrived("m:1"))


@pytest.mark.parametrize(
    ("keys", "reason"), [("root\n", "unauthorized"), ("root\niad-key:peer:other\n", "forbidden")], ids=["gone", "less"]
)
def test_a_feed_ends_when_its_key_may_it_no_more(tmp_path: Path, pair_of: PairOf, keys: str, reason: str) -> None:
    """Not only the next one: what runs is ended, and the link tells why; it goes on when the key may again."""
    pair = pair_of(link='key = "file:iad.txt"')
    until(lambda: pair.arrived("m:1"))
    tmp_path.joinpath("keys.txt").write_text(keys)
    pair.daemons[0].reload()
    until(lambda: pair.link()["state"] == "refused")
    assert reason in str(pair.link()["reason"])
    tmp_path.joinpath("keys.txt").write_text("root\niad-key:peer:m\n")
    pair.daemons[0].reload()
    pair.append("m:2")
    until(lambda: pair.arrived("m:2"))


def test_nodes_that_know_each_other_by_certificate(tmp_path: Path, pair_of: PairOf) -> None:
    """Mutual TLS: the link shows the node's own certificate; a key opens no feed any more, only a certificate does."""
    authority = Authority(tmp_path / "certs")
    for node in ("fra", "iad"):
        authority.sign(node)
    trust = ssl.create_default_context(cafile=str(authority.ca))
    pair = pair_of(trust, fra=TLS.format("fra"), iad=TLS.format("iad"))
    until(lambda: pair.arrived("m:1"))
    refused = pair.fra.post("/v0/feed", headers={"authorization": "Bearer iad-key"})
    assert refused.json()["error"]["code"] == "unauthorized"
    assert "client certificate" in refused.json()["error"]["message"]


def test_the_command_line_speaks_tls(tmp_path: Path, pair_of: PairOf) -> None:
    """With the file it knows whom to believe; with a URL it is told; else it does not send its key to anybody."""
    authority = Authority(tmp_path / "certs")
    authority.sign("fra")
    trust = ssl.create_default_context(cafile=str(authority.ca))
    pair = pair_of(trust, fra=TLS.format("fra"), iad='tls = {ca = "certs/ca.crt"}')
    url = str(pair.fra.base_url)

    def topics(*where: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "mirrord", "topics", "--key", "root", "--json", *where)
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert '"m:1"' in topics("--file", str(pair.file), "--node", "fra").stdout
    assert '"m:1"' in topics("--url", url, "--ca", str(authority.ca)).stdout
    unknown = topics("--url", url)
    assert unknown.returncode != 0
    assert "CERTIFICATE_VERIFY_FAILED" in unknown.stderr
    plain = topics("--url", url.replace("https", "http"))
    assert "use https://" in plain.stderr


def test_a_node_without_our_certificate_pulls_nothing(tmp_path: Path, pair_of: PairOf) -> None:
    """It reads over TLS like anybody, and is refused as a peer."""
    authority, other = Authority(tmp_path / "certs"), Authority(tmp_path / "other")
    authority.sign("fra")
    other.sign("iad")
    trust = ssl.create_default_context(cafile=str(authority.ca))
    trust.load_verify_locations(str(other.ca))
    iad = 'tls = {cert = "other/iad.crt", key = "other/iad.key", ca = "certs/ca.crt"}'
    pair = pair_of(trust, fra=TLS.format("fra"), iad=iad)
    until(lambda: pair.link()["state"] in ("refused", "unreachable"))
    assert not pair.arrived("m:1")
