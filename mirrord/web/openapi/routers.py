"""Routers."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from ...config.model import Forward
from ...errors import Conflict, DeclaredInFile, RouterCycle, RouterNotFound
from ...routers.definition import Guarantee
from ..routes.bodies import Match
from ..routes.routers import RouterBody
from .operation import PAGES, WRITES, Operation, Operations, Query, made, ok
from .shapes import Performance, Seq, Told

ROUTER = "/v0/routers/{name}"


class Definition(Struct, kw_only=True):
    """A router as it is defined. ``declared``: by the file."""

    router: str
    source: str
    dest: str
    preserve_node: bool
    preserve_tag: bool
    filter: Match
    allow_cycle: bool
    guarantee: Guarantee
    backfill: bool
    forward: Forward
    declared: bool


class RouterPut(Definition, kw_only=True):
    """The router as it is now."""

    created: bool
    performance: Performance


class RouterState(Definition, kw_only=True):
    """How a router stands. ``lag``: seqs of the source that it has not looked at yet."""

    state: str
    lag: Seq
    forwarded_total: Seq
    missed_total: Seq
    long_paths_total: Seq
    waiting_for: str | UnsetType = UNSET
    performance: Performance


class RouterEntry(Struct, kw_only=True):
    """A router in the list."""

    router: str
    source: str
    dest: str
    guarantee: Guarantee
    state: str
    lag: Seq
    forwarded_total: Seq
    missed_total: Seq
    long_paths_total: Seq
    waiting_for: str | UnsetType = UNSET


class Routers(Told, kw_only=True):
    """One page of routers, by name."""

    routers: list[RouterEntry]
    next_cursor: str | UnsetType = UNSET


class RouterDropped(Told, kw_only=True):
    """Whether there was one."""

    router: str
    deleted: bool


OPERATIONS: Operations = {
    ("PUT", ROUTER): Operation(
        name="put_router",
        summary="create, or change what may be changed",
        body=RouterBody,
        answers=made(RouterPut),
        errors=(*WRITES, Conflict, RouterCycle, DeclaredInFile),
    ),
    ("GET", ROUTER): Operation(
        name="get_router", summary="how a router stands", answers=ok(RouterState), errors=(*WRITES, RouterNotFound)
    ),
    ("DELETE", ROUTER): Operation(
        name="delete_router",
        summary="drop; its copies stay",
        answers=ok(RouterDropped),
        errors=(*WRITES, DeclaredInFile),
    ),
    ("GET", "/v0/routers"): Operation(
        name="list_routers",
        summary="routers, by name",
        query=(*PAGES, Query("source", str, "only from this topic"), Query("dest", str, "only into this topic")),
        answers=ok(Routers),
        errors=WRITES,
    ),
}
