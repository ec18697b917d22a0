"""``mirrord bench``: real daemons on loopback, measured against what is required of them."""

from __future__ import annotations

from collections.abc import Sequence


def main(args: Sequence[str]) -> int:
    """Measure what the arguments name; the exit code: 1 when a requirement is missed.

    Raises click's UsageError for wrong arguments, PeerError when a node does not do what it is asked.
    """
    from .command import measure

    return measure(args)
