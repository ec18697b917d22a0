"""gzip and zstd in small steps, so that whoever drives them can let others run, and stop a body that swells."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from ...errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STEP_BYTES = 256 * 1024
"""What is read or written between two chances for others: a millisecond or two."""
MOST_FRAMES = 1024
"""Compressed streams one behind the other in one body; each can be empty and cost time."""
_WINDOW_LOG = 23
_GZIP_WBITS = 16 + zlib.MAX_WBITS
_GZIP_LEVEL = _ZSTD_LEVEL = 1
_NOTHING = memoryview(b"")
CODINGS = (b"zstd", b"gzip")  # the one that is read fastest first


class _Inflator(Protocol):
    """As the decompressors of the standard library are, all but zlib's."""

    @property
    def needs_input(self) -> bool: ...

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: memoryview, max_length: int) -> bytes:
        """``data`` is for one who needs input only."""
        ...


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(_GZIP_WBITS)
        self._full = False

    def decompress(self, data: memoryview, max_length: int) -> bytes:
        piece = self._inner.decompress(self._inner.unconsumed_tail or data, max_length)
        self._full = len(piece) >= max_length
        return piece

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail and not self._full

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


def _zstd() -> _Inflator:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})


_INFLATORS: dict[bytes, Callable[[], _Inflator]] = {b"gzip": _Gzip, b"x-gzip": _Gzip, b"zstd": _zstd}


def inflate(coding: bytes, body: bytes, most_bytes: int) -> Iterator[bytes]:
    """The body behind a ``Content-Encoding``, in pieces of at most STEP_BYTES, some of them empty.

    Raises UnsupportedMediaType for another coding, InvalidRequest when the bytes are not of that coding or end
    too early, PayloadTooLarge as soon as more than ``most_bytes`` came out.
    """
    made = _INFLATORS.get(coding.strip().lower())
    if made is None:
        told = coding.decode("latin-1")[:80]
        raise UnsupportedMediaType(f"content-encoding {told!r} is not read; send gzip, zstd or plain")
    total = 0
    try:
        for piece in _frames(made, body):
            total += len(piece)
            if total > most_bytes:
                raise PayloadTooLarge(
                    f"the body inflates to more than [limits] max_body_bytes ({most_bytes}); send less at once",
                    {"max": most_bytes},
                )
            yield piece
    except (zlib.error, zstd.ZstdError) as error:
        raise InvalidRequest(f"the body is not {coding.decode('latin-1')}: {error}") from error


def _frames(made: Callable[[], _Inflator], body: bytes) -> Iterator[bytes]:
    view, at = memoryview(body), 0
    for _ in range(MOST_FRAMES):
        inflator = made()
        while not inflator.eof:
            food = view[at : at + STEP_BYTES] if inflator.needs_input else _NOTHING
            if inflator.needs_input and not food:
                raise InvalidRequest("the compressed body ends too early")
            at += len(food)
            yield inflator.decompress(food, STEP_BYTES)
        at -= len(inflator.unused_data)
        if at >= len(view):
            return
    raise InvalidRequest(f"the body is more than {MOST_FRAMES} compressed streams; send it as one")


def deflate(coding: bytes, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """An answer's body under one of CODINGS; takes and gives small pieces, some of them empty."""
    if coding == b"zstd":
        yield from _fed(zstd.ZstdCompressor(level=_ZSTD_LEVEL), pieces)
    else:
        yield from _fed(zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WBITS), pieces)


class _Deflator(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def _fed(deflator: _Deflator, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        for at in range(0, len(piece), STEP_BYTES):
            yield deflator.compress(piece[at : at + STEP_BYTES] if len(piece) > STEP_BYTES else piece)
    yield deflator.flush()
