"""Real daemons, started once for all cases; each case has topics of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import pytest

from mirrord.testing.cluster.local import free_ports

from .daemon import Api, Daemon, daemons

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


@pytest.fixture(scope="session")
def solo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One node with the built-in limits; never restarted."""
    with daemons(tmp_path_factory.mktemp("solo"), SOLO, "solo") as (daemon,):
        yield daemon


@pytest.fixture(scope="session")
def api(solo: Daemon) -> Api:
    return solo.api


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One node with low limits and topics that its file declares."""
    with daemons(tmp_path_factory.mktemp("narrow"), NARROW, "narrow") as (daemon,):
        yield daemon


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One node that the module's cases may kill and start again."""
    with daemons(tmp_path_factory.mktemp("solo"), SOLO, "solo") as (daemon,):
        yield daemon


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with daemons(tmp_path_factory.mktemp("pair"), PAIR.format(*free_ports(2)), "fra", "iad") as (fra, iad):
        yield Pair(fra.api, iad.api)


@pytest.fixture
def topic() -> str:
    """A name that no other case uses."""
    return f"t{next(_numbers)}"


@pytest.fixture
def mirrored() -> str:
    """A name that no other case uses, of a topic that the pair mirrors."""
    return f"m:{next(_numbers)}"
