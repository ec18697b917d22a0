"""Watches what a feed sends: a caller must never be sent what it wrote in its present life."""

from __future__ import annotations

from ...links.wire import FeedRequest
from ...records.chunk import FIRST, STRAND, chunks_in
from .story import Story


class Echo:
    """Of one feed."""

    def __init__(self, request: FeedRequest, story: Story) -> None:
        self._request, self._story = request, story

    def look(self, buffers: list[bytes | memoryview]) -> None:
        """One frame: its header, and perhaps the chunks behind it."""
        for body in buffers[1:]:
            for _, _, header in chunks_in(bytes(body)):
                descriptor = self._story.descriptors.get(header[STRAND])
                self._story.counts["chunks sent"] += 1
                if descriptor is None:
                    self._story.fail("always_known_strands", f"a chunk of {header[STRAND]:016x}, which nobody opened")
                elif descriptor.origin_id == self._request.origin_id and descriptor.life == self._request.life:
                    what = f"{self._request.node} is sent its own {header[STRAND]:016x}/{header[FIRST]}"
                    self._story.fail("always_echo_free", what)
