"""The API describes itself."""

from __future__ import annotations

from functools import cache

from ...node import Node
from ..message import Request, Response


async def openapi(_: Node, _request: Request) -> Response:
    """``GET /v0/openapi.json``."""
    return Response(200, _document())


@cache
def _document() -> bytes:
    """Made at the first request: most nodes are never asked, and what describes is not loaded before."""
    from ..openapi.document import document
    from .table import ENDPOINTS, SOCKETS  # the table names this handler

    return document([*ENDPOINTS, *SOCKETS])
