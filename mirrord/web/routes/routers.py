"""Routers: define, read, list, delete."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from msgspec import Struct

from ...config.model import Forward
from ...errors import Forbidden
from ...names import check_router
from ...node import Node
from ...records.selector import selector
from ...routers.definition import Definition, Guarantee
from ...routers.routers import Define, Undefine
from ..auth.principal import Principal
from ..message import Request, Response
from .bodies import Match, decode, decoder
from .topics import cursor_after, cursor_for, page_size, reply


class RouterBody(Struct):
    """``PUT /v0/routers/:router``."""

    source: str
    dest: str
    filter: Match = None
    preserve_node: bool = True
    preserve_tag: bool = True
    create_dest: bool = True
    allow_cycle: bool = False
    guarantee: Guarantee = "at_least_once"
    backfill: bool = False
    forward: Forward = "all"


_router_json = decoder(RouterBody)


async def put(node: Node, request: Request, name: str) -> Response:
    """``PUT /v0/routers/:router``: make it, or change what may be changed; its position stays."""
    began = perf_counter()
    check_router(name)
    body = decode(request, _router_json)
    request.principal.require("admin", body.source, body.dest)
    router, created = await node.routers.mailbox.ask(Define(_definition(name, body), body.create_dest))
    return reply(201 if created else 200, router.definition.as_json() | {"created": created}, began)


def _definition(name: str, body: RouterBody) -> Definition:
    return Definition(
        name,
        body.source,
        body.dest,
        selector(body.filter) if body.filter is not None else None,
        body.preserve_node,
        body.preserve_tag,
        body.allow_cycle,
        body.guarantee,
        body.backfill,
        body.forward,
    )


async def state(node: Node, request: Request, name: str) -> Response:
    """``GET /v0/routers/:router``: as it is defined, and how far it is once it had time to catch up."""
    began = perf_counter()
    check_router(name)
    router = node.routers.find(name)
    definition = router.definition
    _check_ends(definition, request.principal)
    await node.routers.into.catch_up(definition.dest)
    return reply(200, router.definition.as_json() | router.statistics(), began)


def _check_ends(definition: Definition, principal: Principal) -> None:
    """Raises Forbidden, without the name, for a key that may not know of both topics of a router that is there."""
    if not (principal.sees(definition.source) and principal.sees(definition.dest)):
        raise Forbidden("this router leads from or to a topic outside the name prefixes of the key")


async def routers(node: Node, request: Request) -> Response:
    """``GET /v0/routers``: by name, those that the key may see."""
    began = perf_counter()
    args = request.query_args()
    size, after = page_size(args, node), cursor_after(args)
    listed: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    for router in node.routers.page(after):
        if not _is_meant(router.definition, args, request.principal):
            continue
        if len(listed) == size:
            more = {"next_cursor": cursor_for(listed[-1]["router"])}
            break
        definition = router.definition
        listed.append({
            "router": definition.name, "source": definition.source, "dest": definition.dest,
            "guarantee": definition.guarantee, **router.statistics(),
        })  # fmt: skip
    return reply(200, {"routers": listed, **more}, began)


def _is_meant(definition: Definition, args: dict[str, str], principal: Principal) -> bool:
    return (
        definition.name.startswith(args.get("prefix", ""))
        and args.get("source", definition.source) == definition.source
        and args.get("dest", definition.dest) == definition.dest
        and all(map(principal.sees, (definition.name, definition.source, definition.dest)))
    )


async def delete(node: Node, request: Request, name: str) -> Response:
    """``DELETE /v0/routers/:router``: what it has copied stays."""
    began = perf_counter()
    check_router(name)
    there = node.routers.known(name)
    if there is not None:
        _check_ends(there.definition, request.principal)
    deleted = await node.routers.mailbox.ask(Undefine(name))
    return reply(200, {"router": name, "deleted": deleted}, began)
