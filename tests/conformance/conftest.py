"""Real daemons, started once for all cases; each case has topics of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import pytest

from .daemon import Api, Daemon, free_ports

_numbers = count(1)

SOLO = """
[cluster]
name = "solo"
[nodes.solo]
listen = "127.0.0.1:0"
data_dir = "data"
"""

NARROW = """
[cluster]
name = "narrow"
[nodes.narrow]
listen = "127.0.0.1:0"
data_dir = "data"
[topics.fixed]
durability = "fsync"
cap_records = 5
[topics."kept:*"]
ttl_ms = "1h"
[limits]
max_body_bytes = "64KiB"
max_batch_records = 10
max_record_bytes = "2KiB"
max_meta_bytes = "1KiB"
max_topics = 6
"""

PAIR = """
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
"""


class Pair(NamedTuple):
    """Two nodes that pull every topic ``m:*`` from each other."""

    fra: Api
    iad: Api


def _daemons(folder: pytest.TempPathFactory, text: str, *nodes: str) -> Iterator[list[Daemon]]:
    file = folder.mktemp(nodes[0]) / "mirrord.toml"
    file.write_text(text)
    daemons = [Daemon(file, node) for node in nodes]
    yield daemons
    for daemon in daemons:
        daemon.kill()


@pytest.fixture(scope="session")
def solo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One node with the built-in limits; never restarted."""
    for (daemon,) in _daemons(tmp_path_factory, SOLO, "solo"):
        yield daemon


@pytest.fixture(scope="session")
def api(solo: Daemon) -> Api:
    return solo.api


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One node with low limits and topics that its file declares."""
    for (daemon,) in _daemons(tmp_path_factory, NARROW, "narrow"):
        yield daemon


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One node that the module's cases may kill and start again."""
    for (daemon,) in _daemons(tmp_path_factory, SOLO, "solo"):
        yield daemon


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    for fra, iad in _daemons(tmp_path_factory, PAIR.format(*free_ports(2)), "fra", "iad"):
        yield Pair(fra.api, iad.api)


@pytest.fixture
def topic() -> str:
    """A name that no other case uses."""
    return f"t{next(_numbers)}"


@pytest.fixture
def mirrored() -> str:
    """A name that no other case uses, of a topic that the pair mirrors."""
    return f"m:{next(_numbers)}"
