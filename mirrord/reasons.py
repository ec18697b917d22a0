"""Why a connection came to nothing, in the machine's own words."""

from __future__ import annotations

import os


def reason_of(error: BaseException) -> str:
    """What the system said, which may lie deep in what led to the error; else the first words on the way there."""
    words = ""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, ConnectionError) and at.errno:
            return os.strerror(at.errno)
        words = words or (at.strerror if isinstance(at, OSError) and at.strerror else str(at))
        at = at.exceptions[0] if isinstance(at, BaseExceptionGroup) else at.__cause__ or at.__context__
    return words or type(error).__name__
