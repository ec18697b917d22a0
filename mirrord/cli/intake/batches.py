"""Turns input into batches of drafts: lines of text or of JSON. Pure but for ``blocks``, which reads.

Input that pauses (a pipe from ``tail -f``) is not held back: a batch ends where nothing more is there.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterable, Iterator

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from ...client.call import Draft
from ...errors import InvalidRequest

MAX_LINE_BYTES = 8 << 20  # a node's limit is 1 MiB unless its [limits] say more
_BLOCK_BYTES = 256 << 10
_LINGER_S = 0.05  # so long input may pause before what is there is sent


class Batch(Struct, frozen=True):
    """Records that are written as one, and how many bytes of input they were."""

    drafts: tuple[Draft, ...]
    input_bytes: int


class _JsonLine(Struct, frozen=True):
    """A line of JSONL that is a record rather than a bare payload: it has ``data``."""

    data: Raw
    tag: str | UnsetType = UNSET
    node: str | UnsetType = UNSET
    meta: Raw | UnsetType = UNSET


def text_draft(line: bytes, tag: str | None) -> Draft:
    """A line of text as a JSON string. Raises InvalidRequest when it is not UTF-8."""
    try:
        return _draft(msgspec.json.encode(line.decode()), tag)
    except UnicodeDecodeError:
        raise InvalidRequest("this is not UTF-8 text") from None


def json_draft(line: bytes, tag: str | None) -> Draft:
    """JSON text as a payload, byte for byte. Raises InvalidRequest when it is no JSON."""
    _checked(line)
    return _draft(line.strip(), tag)


def record_draft(line: bytes, tag: str | None) -> Draft:
    """A line ``{"data": ..., "tag"?, "node"?, "meta"?}`` as a record, any other JSON as a payload.

    Raises InvalidRequest when it is no JSON.
    """
    _checked(line)
    try:
        found = msgspec.json.decode(line, type=_JsonLine)
    except msgspec.ValidationError:
        return _draft(line.strip(), tag)
    own_tag = found.tag if found.tag is not UNSET else tag if tag is not None else UNSET
    return Draft(found.data, own_tag, found.node, found.meta)


def blocks(fd: int) -> Iterator[bytes]:
    """What the file descriptor gives, as it comes; an empty block where nothing came for a moment."""
    while True:
        if not select.select([fd], [], [], _LINGER_S)[0]:
            yield b""
            select.select([fd], [], [])
        block = os.read(fd, _BLOCK_BYTES)
        if not block:
            return
        yield block


def lines(source: Iterable[bytes]) -> Iterator[bytes | None]:
    """Whole lines without their ends, and None where the source paused. InvalidRequest: an endless line."""
    rest = b""
    for block in source:
        if not block:
            yield None
            continue
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
        if len(rest) > MAX_LINE_BYTES:
            raise InvalidRequest(f"a line has more than {MAX_LINE_BYTES:,} bytes; records are one to a line")
    if rest:
        yield rest


def batches(
    source: Iterable[bytes | None], draft: Callable[[bytes], Draft], most: int, most_bytes: int = 4 << 20
) -> Iterator[Batch]:
    """Drafts of the lines, up to ``most`` together; empty lines are no records.

    Raises InvalidRequest naming a line that makes no draft, after those before it.
    """
    drafts: list[Draft] = []
    taken = number = 0
    for line in source:
        wrong: InvalidRequest | None = None
        if line is not None:
            number += 1
            taken += len(line) + 1
            try:
                drafts += [draft(line.rstrip(b"\r"))] if line.strip() else []
            except InvalidRequest as error:
                wrong = error
        if drafts and (line is None or wrong or len(drafts) >= most or taken >= most_bytes):
            yield Batch(tuple(drafts), taken)
            drafts, taken = [], 0
        if wrong is not None:
            raise InvalidRequest(f"line {number}: {wrong}; the records before it are written")
    if drafts:
        yield Batch(tuple(drafts), taken)


def _draft(data: bytes, tag: str | None) -> Draft:
    return Draft(Raw(data), tag if tag is not None else UNSET)


def _checked(line: bytes) -> None:
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"this is no JSON ({error})") from None
