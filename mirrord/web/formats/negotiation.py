"""What a client takes: its ``Accept`` and ``Accept-Encoding``, read once for each way of writing them."""

from __future__ import annotations

from functools import lru_cache

from .compression import CODINGS

JSON, MSGPACK = b"application/json", b"application/msgpack"
_MSGPACKS = (MSGPACK, b"application/x-msgpack", b"application/vnd.msgpack")
MOST_HEADER_BYTES = 1024


def is_msgpack(kind: bytes) -> bool:
    """Whether a ``Content-Type`` says msgpack."""
    return kind.partition(b";")[0].strip().lower() in _MSGPACKS


def wants_msgpack(accept: bytes | None) -> bool:
    """Whether msgpack is named, and JSON is not liked better. What is not understood is JSON."""
    if accept is None or accept == b"*/*" or len(accept) > MOST_HEADER_BYTES:
        return False
    return _wants_msgpack(accept)


@lru_cache(maxsize=64)
def _wants_msgpack(accept: bytes) -> bool:
    liked = _qualities(accept)
    packed = max((liked.get(kind, 0.0) for kind in _MSGPACKS), default=0.0)
    return packed > 0 and packed >= liked.get(JSON, 0.0)


def coding_for(accept_encoding: bytes | None) -> bytes | None:
    """The compression that the client likes best of those that are spoken; None for none."""
    if accept_encoding is None or len(accept_encoding) > MOST_HEADER_BYTES:
        return None
    return _coding_for(accept_encoding)


@lru_cache(maxsize=64)
def _coding_for(accept_encoding: bytes) -> bytes | None:
    liked = _qualities(accept_encoding)
    if b"*" in liked:
        liked.setdefault(b"gzip", liked[b"*"])
    known = [coding for coding in CODINGS if liked.get(coding, 0.0) > 0]
    best = max(known, key=lambda coding: liked[coding], default=None)
    return best if best is None or liked[best] >= liked.get(b"identity", 0.0) else None


def _qualities(header: bytes) -> dict[bytes, float]:
    """``name -> q``; what is not a number counts as 0."""
    found: dict[bytes, float] = {}
    for part in header.lower().split(b","):
        name, *params = [piece.strip() for piece in part.split(b";")]
        quality = 1.0
        for param in params:
            if param.startswith(b"q="):
                quality = _quality(param[2:])
        found[name] = quality
    return found


def _quality(text: bytes) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0
