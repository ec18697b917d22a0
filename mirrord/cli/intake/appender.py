"""Writes batches to one node and repeats what went unanswered: each batch is written once, come what may.

A batch carries its own idempotency key. The node remembers keys across its restarts for the topic's
``idempotency_window_ms`` (2 minutes by default): a repeat within ``PATIENCE_S`` can never be written twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...client import call
from ...client.answer import Answer
from ...client.call import Call, Draft
from ...errors import MirrordError, PeerUnreachable, Throttled, Unavailable
from ..doors import Doors
from ..main import complain

if TYPE_CHECKING:
    from ...client.api import Api

PATIENCE_S = 90.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0


class Appender:
    """One writer to one topic. ``node`` labels its records. ``patience_s``: how long a batch is repeated."""

    def __init__(
        self, api: Api, topic: str, doors: Doors, *, node: str | None = None, patience_s: float = PATIENCE_S
    ) -> None:
        self._api, self._topic, self._doors = api, topic, doors
        self._node, self._patience_s = node, patience_s
        self._token = doors.token()
        self._batches = 0
        self.records = 0
        self.repeats = 0

    def append(self, drafts: Sequence[Draft]) -> Answer:
        """Write one batch. Raises what the node refuses it with, or the last error when patience ends.

        An error that is no refusal leaves open whether the batch was written.
        """
        self._batches += 1
        key = f"{self._token}-{self._batches}"
        answer = self._until_answered(call.append(self._topic, drafts, node=self._node, key=key))
        self.records += len(drafts)
        return answer

    def _until_answered(self, request: Call) -> Answer:
        clock = self._doors.clock
        began = clock.monotonic()
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return self._api.ask(request)
            except (PeerUnreachable, Unavailable, Throttled) as error:
                wait_s = max(pause_s, min(error.retry_after_s or 0.0, self._patience_s))
                if clock.monotonic() - began + wait_s > self._patience_s:
                    raise _gave_up(error, self.records) from error
                if not self.repeats:
                    complain(f"{error}; repeated for up to {self._patience_s:.0f} s")
            self.repeats += 1
            self._doors.pause(wait_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _gave_up(error: MirrordError, written: int) -> MirrordError:
    message = f"{error}; gave up after {written:,} records were written, the next batch may or may not be"
    return type(error)(message, error.detail, error.retry_after_s)
