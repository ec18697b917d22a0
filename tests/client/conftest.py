"""A real daemon for the library's cases, and one that a case may kill."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from ..conformance.daemon import Daemon, free_ports

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


class Node:
    """A daemon on a port of its own, which it has again after a restart."""

    def __init__(self, file: Path, name: str) -> None:
        self.daemon = Daemon(file, name)
        self.url = f"http://{self.daemon.api.address}"

    def crash(self) -> None:
        """kill -9."""
        self.daemon.kill()

    def start(self) -> None:
        """Returns when it is ready."""
        self.daemon.start()


def _file(folder: Path, text: str, ports: int) -> Path:
    file = folder / "mirrord.toml"
    file.write_text(text.format(*free_ports(ports)))
    return file


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A node that is never restarted."""
    node = Node(_file(tmp_path_factory.mktemp("solo"), ONE, 1), "solo")
    yield node.url
    node.crash()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Node]:
    """A node that the case may kill and start again."""
    node = Node(_file(tmp_path, ONE, 1), "solo")
    yield node
    node.crash()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Two nodes that mirror every topic ``m:*``, and that the case may kill."""
    file = _file(tmp_path, PAIR, 2)
    nodes = Node(file, "fra"), Node(file, "iad")
    yield nodes
    for node in nodes:
        node.crash()


@pytest.fixture
def name() -> str:
    """A topic that no other case uses."""
    return f"t{next(_numbers)}"
