"""A real daemon for the library's cases, and one that a case may kill."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from mirrord.testing.cluster.local import free_ports

from ..conformance.daemon import Daemon, daemons

_numbers = count(1)

ONE = """
[cluster]
name = "one"
[nodes.solo]
listen = "127.0.0.1:{0}"
data_dir = "data"
[limits]
max_record_bytes = "4KiB"
max_meta_bytes = "1KiB"
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


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A node that is never restarted."""
    with daemons(tmp_path_factory.mktemp("solo"), ONE.format(*free_ports(1)), "solo") as (daemon,):
        yield daemon.url


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Daemon]:
    """A node that the case may kill and start again, at the same port."""
    with daemons(tmp_path, ONE.format(*free_ports(1)), "solo") as (daemon,):
        yield daemon


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[Daemon]]:
    """Two nodes that mirror every topic ``m:*``, and that the case may kill."""
    with daemons(tmp_path, PAIR.format(*free_ports(2)), "fra", "iad") as both:
        yield both


@pytest.fixture
def name() -> str:
    """A topic that no other case uses."""
    return f"t{next(_numbers)}"
