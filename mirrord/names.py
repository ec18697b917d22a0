"""What a node, a topic or a router may be called. Names never become file paths."""

from __future__ import annotations

import re

from .errors import InvalidRequest

_TOPIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,254}\Z")
_ROUTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:>-]{0,254}\Z")
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


def is_topic(name: str) -> bool:
    """1 to 255 of ``A-Z a-z 0-9 . _ : -``, the first a letter or digit."""
    return _TOPIC.match(name) is not None


def is_node(name: str) -> bool:
    """1 to 63 of ``A-Z a-z 0-9 . _ -``, the first a letter or digit."""
    return _NODE.match(name) is not None


def check_topic(name: str) -> str:
    """The name itself. Raises InvalidRequest when it cannot be a topic's."""
    if not is_topic(name):
        raise InvalidRequest(
            f"{name[:80]!r} cannot be a topic's name: use 1 to 255 of A-Z a-z 0-9 . _ : - "
            "and begin with a letter or digit"
        )
    return name


def is_router(name: str) -> bool:
    """As a topic's name, and ``>`` may be in it: ``orders->audit``."""
    return _ROUTER.match(name) is not None


def check_group(name: str) -> str:
    """The name itself, by the rule for topics. Raises InvalidRequest when it cannot be a reader group's."""
    if not is_topic(name):
        raise InvalidRequest(
            f"{name[:80]!r} cannot be a group's name: use 1 to 255 of A-Z a-z 0-9 . _ : - "
            "and begin with a letter or digit"
        )
    return name


def check_router(name: str) -> str:
    """The name itself. Raises InvalidRequest when it cannot be a router's."""
    if not is_router(name):
        raise InvalidRequest(
            f"{name[:80]!r} cannot be a router's name: use 1 to 255 of A-Z a-z 0-9 . _ : - > "
            "and begin with a letter or digit"
        )
    return name


def is_prefix(pattern: str) -> bool:
    """A pattern such as ``chat:*`` that stands for all topics that begin so."""
    return pattern.endswith("*") and (pattern == "*" or is_topic(pattern[:-1]))


def matches(pattern: str, name: str) -> bool:
    """Whether a name or prefix pattern means this topic."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
