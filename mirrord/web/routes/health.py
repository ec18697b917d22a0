"""Health, readiness, numbers, the tree of actors."""

from __future__ import annotations

from time import perf_counter

import msgspec

from ... import __version__
from ...errors import NotReady, ShuttingDown
from ...node import Node
from ...observe.metrics import exposition, numbers
from ..message import Request, Response
from .topics import reply, shown

TEXT = b"text/plain; version=0.0.4; charset=utf-8"


async def health(node: Node, _: Request) -> Response:
    """``GET /v0/health``: the process answers."""
    began = perf_counter()
    uptime_ms = int((node.clock.monotonic() - node.started_at) * 1000)
    return reply(200, {"status": "ok", "version": __version__, "node": node.name, "uptime_ms": uptime_ms}, began)


async def ready(node: Node, _: Request) -> Response:
    """``GET /v0/ready``: the node can do its work; else 503 with the reasons."""
    began = perf_counter()
    if node.draining:
        raise ShuttingDown()
    reasons = node.unwell()
    if reasons:
        raise NotReady("; ".join(reasons), {"reasons": reasons}, 1.0)
    return reply(200, {"status": "ready", "wal_replay_complete": True, "topics": len(node.registry)}, began)


async def metrics(node: Node, request: Request) -> Response:
    """``GET /v0/metrics``: Prometheus text, or JSON when ``Accept`` asks for it."""
    if b"application/json" in request.headers.get(b"accept", b""):
        began = perf_counter()
        return reply(200, numbers(node, request.principal.sees_some), began)
    return Response(200, exposition(node, request.principal.sees_some), TEXT)


async def actors(node: Node, request: Request) -> Response:
    """``GET /v0/actors``."""
    began = perf_counter()
    told = {"actors": node.supervisor.statistics(), "feeds": node.feeds.statistics(), "unwell": node.unwell()}
    told["journal"] = msgspec.to_builtins(node.journal.statistics())
    return reply(200, shown(told, request), began)
