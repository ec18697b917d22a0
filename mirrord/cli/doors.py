"""What a command reaches the world through, handed in so that a test can hand in its own."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from ..clock import Clock, SystemClock

if TYPE_CHECKING:  # httpx takes a quarter of a second to import: only commands that speak to a node do
    import ssl

    import httpx

    from ..client.api import Api


def _token() -> str:
    return secrets.token_hex(16)


class Trust(Struct, frozen=True):
    """PEM files for https: whose certificates are believed (none: the system's), and who we say that we are."""

    ca: str | None = None
    cert: str | None = None
    cert_key: str | None = None

    def context(self) -> ssl.SSLContext | None:
        """The same as TLS takes it; None when no file is named. Raises ConfigError."""
        if self.ca is None and self.cert is None:
            return None
        from ..client.api import trust

        return trust(self.ca, self.cert, self.cert_key)


class Doors(Struct, frozen=True):
    """Network, time, randomness and standard input."""

    transport: httpx.BaseTransport | None = None
    clock: Clock = SystemClock()
    pause: Callable[[float], None] = time.sleep  # seconds
    token: Callable[[], str] = _token
    stdin_fd: int = 0

    def api(self, url: str, key: str | None, trust: ssl.SSLContext | None = None) -> Api:
        """A connection to one node. ``trust``: for https; None: the system's authorities."""
        from ..client.api import Api

        return Api(url, key=key, transport=self.transport, trust=trust)
