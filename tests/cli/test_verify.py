"""``mirrord verify``: what it asks of two nodes, what it says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from mirrord.cli.main import REFUSED, UNREACHABLE, USAGE

A, B = "http://fra:1", "http://iad:2"
HASHES = {1: "h1", 2: "h2", 3: "h3"}


class Holder:
    """A node with one topic that answers digests."""

    def __init__(self, oseq: int, hashes: dict[int, str] | None = None, topic: str = "orders") -> None:
        self.oseq, self.hashes, self.topic = oseq, hashes or HASHES, topic
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v0/topics":
            return httpx.Response(200, json={"topics": [{"topic": self.topic}], "performance": {}})
        if request.url.path != f"/v0/topics/{self.topic}/digest":
            return httpx.Response(404, json={"error": {"code": "topic_not_found", "message": "none"}})
        self.asked.append(request.url.query.decode())
        strand = {
            "strand": "5a",
            "origin": "fra",
            "oseq": self.oseq,
            "hash": self.hashes.get(self.oseq),
            "gaps": [],
        }
        at = request.url.params.get("at")
        if at:
            oseq = int(at.split(":")[1])
            strand["at"] = {"oseq": oseq, "hash": self.hashes.get(oseq)}
        return httpx.Response(200, json={"topic": self.topic, "node": "x", "strands": [strand], "unverified": False})


def test_equal_nodes_are_said_equal_with_exit_code_0(shell: Any) -> None:
    """The one case with exit code 0."""
    shell.nodes.update({A: Holder(3), B: Holder(3)})
    code, out, _ = shell.run("verify", A, B)
    assert code == 0
    assert "hold the same (1 topic, 3 records)" in out


def test_a_node_behind_is_told_apart_from_a_fork(shell: Any) -> None:
    """The node ahead is asked for its hash where the other stands; equal there means: behind."""
    ahead = Holder(3)
    shell.nodes.update({A: ahead, B: Holder(2)})
    code, out, _ = shell.run("verify", A, B)
    assert code == 1
    assert ahead.asked[-1] == "at=5a%3A2"
    assert "missing" in out
    assert "3..3" in out
    assert "different" not in out


def test_a_fork_is_named(shell: Any) -> None:
    """The same position with another hash."""
    shell.nodes.update({A: Holder(3), B: Holder(2, {2: "other"})})
    code, out, _ = shell.run("verify", A, B)
    assert code == 1
    assert "different" in out


def test_json_tells_the_findings(shell: Any) -> None:
    """For scripts: one object."""
    shell.nodes.update({A: Holder(3), B: Holder(2)})
    code, out, _ = shell.run("verify", A, B, "--json")
    told = json.loads(out)
    assert (code, told["equal"], told["findings"][0]["side"]) == (1, False, B)


def test_wait_gives_them_time_to_become_equal(shell: Any) -> None:
    """Nodes that are still catching up are looked at again, as long as wanted and no longer."""
    behind = Holder(2)
    shell.nodes.update({A: Holder(3), B: behind})
    assert shell.run("verify", A, B, "--wait", "5")[0] == 1
    assert shell.time.now_s == pytest.approx(5, abs=1)
    shell.time.at_pause = lambda: setattr(behind, "oseq", 3)
    assert shell.run("verify", A, B, "--wait", "60")[0] == 0
    assert shell.time.now_s < 10


def test_wait_bears_a_node_that_is_away(shell: Any) -> None:
    """A node that is just starting again is no verdict while there is time left."""
    shell.nodes.update({A: Holder(3)})
    shell.time.at_pause = lambda: shell.nodes.update({B: Holder(3)})
    assert shell.run("verify", A, B, "--wait", "5")[0] == 0


def test_a_topic_that_neither_has_is_not_equal(shell: Any) -> None:
    """A typo must not look like a proof."""
    shell.nodes.update({A: Holder(3), B: Holder(3)})
    code, _, err = shell.run("verify", A, B, "--topic", "ordres")
    assert code == REFUSED
    assert "neither node has the topic ordres" in err


def test_a_topic_that_one_lacks_is_missing_there(shell: Any) -> None:
    """Also when only one of them lists it."""
    shell.nodes.update({A: Holder(3), B: Holder(3, topic="other")})
    code, out, _ = shell.run("verify", A, B)
    assert code == 1
    assert out.count("missing") == 2


def test_what_no_link_brings_is_told_as_that(shell: Any, tmp_path: Path) -> None:
    """Waiting for it would be in vain: with the file it is known. What a link does bring is only behind."""
    file = tmp_path / "mirrord.toml"
    nodes = f'[nodes.fra]\nlisten = "127.0.0.1:1"\nurl = "{A}"\n[nodes.iad]\nlisten = "127.0.0.1:2"\nurl = "{B}"\n'
    file.write_text(f'{nodes}[[links]]\nbetween = ["fra", "iad"]\ntopics = ["orders"]\n')
    shell.nodes.update({A: Holder(3, topic="mails"), B: Holder(3)})
    out = " ".join(shell.run("verify", "fra", "iad", "--file", str(file))[1].split())
    assert "mails fra 5a 1..3 iad no link of the file brings it to iad" in out
    assert "orders fra 5a 1..3 fra has not come so far" in out


def test_renamed_topics_can_be_compared(shell: Any) -> None:
    """ON_A=ON_B, where a link renames."""
    shell.nodes.update({A: Holder(3), B: Holder(3, topic="orders-eu")})
    assert shell.run("verify", A, B, "--topic", "orders=orders-eu")[0] == 0


def test_an_absent_node_is_no_verdict(shell: Any) -> None:
    """Neither equal nor different."""
    shell.nodes.update({A: Holder(3)})
    assert shell.run("verify", A, B)[0] == UNREACHABLE


def test_a_bare_name_needs_the_file_that_explains_it(shell: Any) -> None:
    """`verify fra iad` says what is missing."""
    code, _, err = shell.run("verify", "fra", "iad")
    assert code == USAGE
    assert "--file" in err


def test_a_digest_that_is_none_is_named(shell: Any) -> None:
    """A node of another kind is not compared with."""
    shell.nodes.update({A: Holder(3), B: lambda _: httpx.Response(200, json={"strands": 7})})
    code, _, err = shell.run("verify", A, B, "--topic", "orders")
    assert code == UNREACHABLE
    assert "digest" in err
