"""Where keys are read from: the environment, files beside the configuration, or the configuration itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from ...config.access.auth import AuthConfig, is_reference
from ...errors import ConfigError
from .keys import KeyLine, key_line
from .principal import Scope

PEER: frozenset[Scope] = frozenset({"peer"})
MOST_FILE_BYTES = 1 << 20
_REMARK = re.compile(r"(?:^|\s)#.*")  # a key itself may hold a #


def secret(reference: str, folder: str) -> str:
    """What ``env:NAME`` or ``file:PATH`` (relative to ``folder``) holds. Raises ConfigError when it holds nothing."""
    kind, _, where = reference.partition(":")
    found = os.environ.get(where) if kind == "env" else _content(os.path.join(folder, where))
    if found is None or not found.strip():
        raise ConfigError(f"[auth] {reference} holds no key; set it, or take it out of the configuration")
    return found.strip()


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(MOST_FILE_BYTES)
    except OSError as error:
        raise ConfigError(f"[auth] file:{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"[auth] file:{path}: not UTF-8") from None


def key_lines(auth: AuthConfig, folder: str) -> list[KeyLine]:
    """Every key that the section names. Raises ConfigError naming the source, and the entry by its number."""
    lines = [line for place, source in enumerate(auth.keys) for line in _of(source, place, folder)]
    if auth.peer_key:
        lines.append(peer_line(auth.peer_key, folder))
    return lines


def peer_line(reference: str, folder: str) -> KeyLine:
    """The key of a cluster's nodes, which opens feeds and nothing else. Raises ConfigError."""
    try:
        return KeyLine(key_line(secret(reference, folder)).key, PEER)
    except ConfigError as error:
        raise ConfigError(f"[auth] peer_key: {error}") from None


def _of(source: str, place: int, folder: str) -> Iterator[KeyLine]:
    """The keys of one source: entries end with a comma or a line; in a file # begins a remark."""
    text, name = (secret(source, folder), source) if is_reference(source) else (source, f"keys#{place + 1}")
    kept = ",".join(_REMARK.sub("", line) for line in text.splitlines())
    entries = [entry for entry in map(str.strip, kept.split(",")) if entry]
    if not entries:
        raise ConfigError(f"[auth] {name} holds no key; set it, or take it out of the configuration")
    for number, entry in enumerate(entries, 1):
        try:
            yield key_line(entry)
        except ConfigError as error:
            raise ConfigError(f"[auth] {name}, entry {number}: {error}") from None
