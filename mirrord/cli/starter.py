"""The configuration file that ``mirrord init`` writes: data through tomli-w, a comment above each part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tomli_w

from ..errors import ConfigError
from ..names import is_node

NODES = ("fra", "iad", "sin")


def starter_file(nodes: Sequence[str], port: int) -> str:
    """The text of a file: these nodes on this machine, each pulling from all others.

    Raises ConfigError when a name cannot be a node's or stands twice.
    """
    for name in nodes:
        if not is_node(name):
            raise ConfigError(f"{name!r} cannot be a node's name: use 1 to 63 of A-Z a-z 0-9 . _ -, the first no sign")
    if not nodes or len(set(nodes)) < len(nodes):
        raise ConfigError("give at least one node, and each its own name")
    parts = [_HEAD, _part(_CLUSTER, {"cluster": {"name": "shop"}})]
    for i, name in enumerate(nodes):
        node = {"listen": f"127.0.0.1:{port + i}", "data_dir": f"data/{name}"}
        parts.append(_part(_NODE if i == 0 else "", {"nodes": {name: node}}))
    parts.append(_part(_FSYNC, {"topics": {"orders": {"durability": "fsync"}}}))
    parts.append(_part(_PREFIX, {"topics": {"chat:*": {"cap_records": 100_000}}}))
    if len(nodes) > 1:
        parts.append(_link(nodes))
    return "\n".join(parts)


def _part(comment: str, data: dict[str, Any]) -> str:
    return comment + tomli_w.dumps(data)


def _link(nodes: Sequence[str]) -> str:
    link = {"links": [{"between": list(nodes), "topics": ["orders", "chat:*", "events"]}]}
    body = tomli_w.dumps(link, multiline_strings=False)
    return _LINK + body


_HEAD = """\
# One file describes the whole cluster; every node reads the same one.
#   mirrord check FILE              is it right, and what may surprise
#   mirrord up FILE                 all nodes on this machine, with a live table
#   mirrord run FILE --node NAME    one node, on the machine where it belongs
"""

_CLUSTER = """\
# Nodes of differently named clusters never speak to each other.
"""

_NODE = """\
# A node serves at `listen`; peers reach it at `url` (default: from listen). What it holds lies in `data_dir`
# (relative to this file).
"""

_FSYNC = """\
# A topic exists as soon as somebody writes to it; here stands only what is to differ from the defaults.
# durability: fsync (nothing acknowledged is ever lost), disk (the default: survives kill -9, a power cut may
# take the last second, which comes back from peers), memory, ephemeral.
"""

_PREFIX = """\
# A name that ends in * stands for all topics that begin so.
"""

_LINK = """\
# `between`: everyone pulls these topics from everyone else: a mesh. One direction only is written
# pull = "iad", from = "fra". Any graph works: each record arrives exactly once, no loop needs a setting.
"""
