"""The nodes that a client was given, as one: calls are repeated and fail over as ``patience.py`` decides."""

from __future__ import annotations

import logging
import random
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio

from ..errors import InvalidRequest, MirrordError
from .answer import Answer
from .api import AsyncApi
from .call import Call
from .patience import Manner, Patience, Trial

MOST_PAGES = 10_000  # of a list; a node that goes on longer goes round in circles
log = logging.getLogger("mirrord.client")


class Nodes:
    """Some nodes, in order of preference, spoken to with one key. Tasks may share it."""

    def __init__(self, urls: Sequence[str], key: str | None, trust: ssl.SSLContext | None, patience: Patience) -> None:
        if not urls:
            raise InvalidRequest("a client needs the URL of a node: Client('http://HOST:PORT')")
        self._apis = [AsyncApi(url, key=key, trust=trust) for url in urls]
        self.patience = patience
        self._preferred = 0  # where the last call went well

    @property
    def several(self) -> bool:
        """Whether there is another node to go to."""
        return len(self._apis) > 1

    async def ask(self, call: Call, manner: Manner, key: str | None = None) -> Answer:
        """Send the call until a node answers it. ``key``: of a WRITE, told when its fate stays unknown.

        Raises what the node names, at once where repeating does not help, else after ``give_up_after_s``:
        PeerUnreachable, Throttled, Unavailable; Unacknowledged for a write that may have been kept.
        """
        trial = self.trial(manner)
        while True:
            at = trial.node
            try:
                answer = await self._apis[at].ask(call)
            except MirrordError as error:
                wait_s = trial.after(error, anyio.current_time(), random.random())
                if wait_s is None:
                    raise trial.verdict(error, self._apis[at].url, key) from error
                level = logging.WARNING if trial.attempts == 1 else logging.DEBUG  # said once of a call
                log.log(level, "%s; trying %s in %.1f s", error, self._apis[trial.node].url, wait_s)
                await anyio.sleep(wait_s)
            else:
                if manner is not Manner.HERE:
                    self._preferred = at
                return answer

    async def every(self, first: Call, word: str) -> list[Mapping[str, Any]]:
        """All entries of a list of the first node, page after page."""
        found: list[Mapping[str, Any]] = []
        asked = first
        for _ in range(MOST_PAGES):
            told = (await self.ask(asked, Manner.HERE)).object()
            found += told[word]
            if not told.get("next_cursor"):
                break
            asked = first.after(told["next_cursor"])
        return found

    def trial(self, manner: Manner) -> Trial:
        """A new call's way, from where the last one went well."""
        return Trial(manner, len(self._apis), self._preferred, self.patience, anyio.current_time())

    def stream(self, at: int, call: Call, silence_s: float) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """An endless answer of one node, by its place in the list. Not repeated."""
        return self._apis[at].stream(call, silence_s)

    async def aclose(self) -> None:
        """Let all connections go."""
        for api in self._apis:
            await api.aclose()
