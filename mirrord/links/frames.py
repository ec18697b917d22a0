"""How frames lie on the wire: ``[u32 header_len][u32 body_len][header msgpack][body]``, little-endian (docs/FEED.md).

Lengths are checked before anything is kept, so a peer that lies about them costs no memory. Unknown frames are skipped.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ..errors import ProtocolViolation
from .wire import KNOWN, UNREADABLE, Frame, encode

MOST_HEADER_BYTES = 4 << 20
_LENGTHS = struct.Struct("<II")
_decode_frame = msgspec.msgpack.Decoder(Frame).decode
_decode_tag = msgspec.msgpack.Decoder(dict[str, Any]).decode


class Piece(Struct, frozen=True):
    """A frame to send: its header, and the body's buffers."""

    header: Frame
    body: tuple[bytes | memoryview, ...] = ()


def frame(header: Frame, body: Sequence[bytes | memoryview] = ()) -> list[bytes | memoryview]:
    """A frame as buffers, so that chunks are sent from where they lie."""
    packed = encode(header)
    return [_LENGTHS.pack(len(packed), sum(map(len, body))) + packed, *body]


def _decode(packed: bytes) -> Frame | None:
    try:
        found: Frame = _decode_frame(packed)
        return found
    except msgspec.ValidationError as error:
        try:
            tag = _decode_tag(packed).get("f")
        except UNREADABLE:
            tag = None
        if isinstance(tag, str) and tag not in KNOWN:
            return None  # a frame of a later version: skipped
        raise ProtocolViolation(f"a frame cannot be read: {error}") from error
    except UNREADABLE as error:
        raise ProtocolViolation(f"a frame cannot be read: {error}") from error


class FrameReader:
    """Bytes in, frames out. Holds at most one frame of ``max_body_bytes`` besides what was just fed."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body = max_body_bytes
        self._parts: deque[bytes | memoryview] = deque()
        self._have = 0
        self._need = _LENGTHS.size
        self._lengths: tuple[int, int] | None = None

    def feed(self, data: bytes) -> Iterator[tuple[Frame, bytes]]:
        """All frames that are complete with ``data``. Raises ProtocolViolation at the first that cannot be."""
        at, end = 0, len(data)
        whole = self._lengths is None and not self._have  # nothing was left over: whole frames need no putting together
        while whole and end - at >= _LENGTHS.size:
            header_len, body_len = self._check(*_LENGTHS.unpack_from(data, at))
            begin = at + _LENGTHS.size
            middle = begin + header_len
            if middle + body_len > end:
                break
            at = middle + body_len
            if (header := _decode(data[begin:middle])) is not None:
                yield header, data[middle:at]
        if at < end:
            self._have += end - at
            self._parts.append(memoryview(data)[at:] if at else data)
            yield from self._put_together()

    @property
    def in_body(self) -> bool:
        """Whether a frame has come only in part, and it has a body."""
        return self._lengths is not None and self._lengths[1] > 0

    def _put_together(self) -> Iterator[tuple[Frame, bytes]]:
        """All frames that are complete in the parts."""
        while self._have >= self._need:
            if self._lengths is None:
                self._lengths = self._check(*_LENGTHS.unpack(self._pull(_LENGTHS.size)))
                self._need = sum(self._lengths)
                continue
            header_len, body_len = self._lengths
            header = _decode(self._pull(header_len))
            body = self._pull(body_len)
            self._lengths, self._need = None, _LENGTHS.size
            if header is not None:
                yield header, body

    def _check(self, header_len: int, body_len: int) -> tuple[int, int]:
        if header_len > MOST_HEADER_BYTES or body_len > self._max_body:
            raise ProtocolViolation(
                f"a frame tells a length of {header_len} + {body_len} bytes: more than a frame may have"
            )
        return header_len, body_len

    def _pull(self, size: int) -> bytes:
        """The next bytes. Parts are cut as views: a body is copied once."""
        parts, lacking = self._parts, size
        taken: list[bytes | memoryview] = []
        while lacking:
            part = parts.popleft()
            if len(part) > lacking:
                view = memoryview(part)
                parts.appendleft(view[lacking:])
                part = view[:lacking]
            taken.append(part)
            lacking -= len(part)
        self._have -= size
        return b"".join(taken)
