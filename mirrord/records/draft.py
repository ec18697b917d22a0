"""Drafts: records as their writers sent them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw, Struct

NO_TEXT = Raw(b"")  # a record without meta: msgspec keeps a value raw only where nothing else may stand


if TYPE_CHECKING:
    Payload = Raw | bytes
else:
    Payload = Raw  # what a JSON decoder makes of it


class Draft(Struct, gc=False):
    """A record as its writer sent it. ``data`` and ``meta`` are JSON text, never parsed further; ``data`` of type
    ``bytes`` is opaque."""

    data: Payload
    tag: str | None = None
    node: str | None = None
    meta: Raw = NO_TEXT

    @property
    def text_bytes(self) -> int:
        """Its size as caps and limits count it."""
        return len(self.data) + len(self.meta)


class Via(Struct, frozen=True, array_like=True, gc=False):
    """Where a router's copy came from: the topics that the record has been through (the source last), the record's
    place there, and the router."""

    path: tuple[str, ...]
    strand: int
    oseq: int
    router: str


class Copy(Draft, gc=False):
    """A record that a router makes. No client can send one."""

    via: Via | None = None
