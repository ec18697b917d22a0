"""Watches what a feed sends: a caller must never be sent what it wrote in its present life."""

from __future__ import annotations

from ...links.wire import FeedRequest
from ...records.chunk import COUNT, FIRST, STRAND, chunks_in, missing
from ..removals import check_sent
from .story import Story
from .stream import Stream


class Echo:
    """The line of one feed."""

    def __init__(self, node: str, request: FeedRequest, story: Story, stream: Stream) -> None:
        self._node, self._request, self._story, self._stream = node, request, story, stream

    async def send(self, buffers: list[bytes | memoryview]) -> None:
        """Look at a frame, and send it. Raises Gone."""
        self._look(buffers)
        data = b"".join(buffers)
        self._story.note("sent", self._node, self._request.node, len(data))
        await self._stream.send(data)

    def unacknowledged(self) -> int:
        """The callers of this world confirm at once."""
        return 0

    def low_latency(self, unsent_bytes: int) -> None:
        """They have no kernel in between."""

    def sees(self, _: str) -> bool:
        """Nodes of this world show no keys."""
        return True

    def _look(self, buffers: list[bytes | memoryview]) -> None:
        """One frame: its header, and perhaps the chunks behind it."""
        for body in buffers[1:]:
            packed = bytes(body)
            for at, _, header in chunks_in(packed):
                if self._story.removed.get(self._node):
                    gone, first = missing(packed, at, header), header[FIRST]
                    sent = [(header[STRAND], first + i) for i in range(header[COUNT]) if not gone >> i & 1]
                    check_sent(self._story, self._node, sent)
                descriptor = self._story.descriptors.get(header[STRAND])
                self._story.counts["chunks sent"] += 1
                if descriptor is None:
                    self._story.fail("always_known_strands", f"a chunk of {header[STRAND]:016x}, which nobody opened")
                elif descriptor.origin_id == self._request.origin_id and descriptor.life == self._request.life:
                    what = f"{self._request.node} is sent its own {header[STRAND]:016x}/{header[FIRST]}"
                    self._story.fail("always_echo_free", what)
