"""How much all topics of a node hold together, and how much writers may make of it."""

from __future__ import annotations

from ..errors import Throttled


class Quota:
    """Shared by all topics of a node. Bytes are the JSON text of live records; links are never refused."""

    __slots__ = ("held", "most")

    def __init__(self, most: int = 0) -> None:
        self.most = most
        """``[limits] max_total_bytes``; 0: no end."""
        self.held = 0
        """What is committed, over all topics."""

    def admit(self, size: int) -> None:
        """Raises Throttled when so much more would be too much."""
        if self.most and self.held + size > self.most:
            raise Throttled.beyond("max_total_bytes", self.most)
