"""Lease queues: claim, ack, nack, extend. On a node that is not the queue's home the call is passed on, one hop."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import Meta, Struct

from ...errors import BatchTooLarge, HomeUnreachable, InvalidRequest
from ...names import check_topic
from ...node import Node
from ...queues.home import PASSED_ON, Call, Home
from ...queues.leasing.leases import Claimant, lease_id
from ...queues.leasing.messages import Ack, Claim, Claimed, Done, Extend, Given, Nack, Settling
from ...topics.read.face import binary, quote
from ...topics.topic import Topic
from ..message import Request, Response
from .bodies import Count, decode, decoder
from .topics import reply, total_ms

Seq = Annotated[int, Meta(ge=0)]


class ClaimBody(Struct):
    """``POST .../claim``."""

    node: str
    max: Count = 0
    lease_ms: Count | None = None


class SettleBody(Struct, kw_only=True):
    """``POST .../ack``; what an ack, a nack and an extension have in common."""

    node: str
    seqs: list[Seq]
    lease_ids: list[str] | None = None


class NackBody(SettleBody, kw_only=True):
    """``POST .../nack``."""

    delay_ms: Count = 0


class ExtendBody(SettleBody, kw_only=True):
    """``POST .../extend``."""

    lease_ms: Count


_encode = msgspec.json.Encoder().encode
_claim_json, _ack_json = decoder(ClaimBody), decoder(SettleBody)
_nack_json, _extend_json = decoder(NackBody), decoder(ExtendBody)


async def claim(node: Node, request: Request, name: str) -> Response:
    """``POST /v0/topics/:topic/claim``: lease what may be claimed now."""
    began = perf_counter()
    body = decode(request, _claim_json)
    check_worker(node, body.node)
    if name in node.routers.into:
        await node.routers.into.catch_up(name)
    topic = await queue_of(node, name)
    if (home := elsewhere(node, request, topic)) is not None:
        return await _passed_on(home, request, topic)
    limits = node.config.limits
    claimant = Claimant(body.node, min(body.max or 1, limits.max_claim), lease_ms_of(node, topic, body.lease_ms))
    claimed: Claimed = await node.queues.ask(topic, Claim(claimant))
    await node.queues.buried(topic)
    given = ",".join([job_text(one) for one in claimed.given])
    ms = (perf_counter() - began) * 1000
    return Response(200, (
        f'{{"topic":"{name}","claimed":[{given}],"count":{len(claimed.given)},"ready":{claimed.ready},'
        f'"performance":{{"server_total_ms":{ms:.3f}}}}}'
    ).encode())  # fmt: skip


async def ack(node: Node, request: Request, name: str) -> Response:
    """``POST /v0/topics/:topic/ack``: done, for ever; k seqs are one commit."""
    began = perf_counter()
    body = decode(request, _ack_json)
    found = await _settle(node, request, name, body, lambda _, numbers: Ack(body.node, body.seqs, numbers))
    if isinstance(found, Response):
        return found
    topic, done = found
    told = {"topic": name, "acked": done.done, "skipped": done.skipped, **_counts(done)}
    if topic.config.durable:
        told["performance"] = total_ms(began) | {"fsync_ms": round(node.journal.fsync_ms, 3)}
        return Response(200, _encode(told))
    return reply(200, told, began)


async def nack(node: Node, request: Request, name: str) -> Response:
    """``POST /v0/topics/:topic/nack``: give back, at once or after a delay."""
    began = perf_counter()
    body = decode(request, _nack_json)
    delay_ms = min(body.delay_ms, node.config.limits.max_nack_delay_ms)
    found = await _settle(node, request, name, body, lambda _, numbers: Nack(body.node, body.seqs, numbers, delay_ms))
    if isinstance(found, Response):
        return found
    _, done = found
    return reply(200, {"topic": name, "nacked": done.done, "skipped": done.skipped, **_counts(done)}, began)


async def extend(node: Node, request: Request, name: str) -> Response:
    """``POST /v0/topics/:topic/extend``: hold for longer."""
    began = perf_counter()
    body = decode(request, _extend_json)

    def asked(topic: Topic, numbers: list[int]) -> Extend:
        return Extend(body.node, body.seqs, numbers, lease_ms_of(node, topic, body.lease_ms))

    found = await _settle(node, request, name, body, asked)
    if isinstance(found, Response):
        return found
    _, done = found
    deadlines = {str(seq): deadline for seq, deadline in done.deadlines.items()}
    told = {"topic": name, "extended": done.done, "skipped": done.skipped, "deadlines": deadlines}
    return reply(200, told, began)


async def _settle(
    node: Node, request: Request, name: str, body: SettleBody, asked: Callable[[Topic, list[int]], Settling]
) -> tuple[Topic, Done] | Response:
    """What became of it, and of which topic; what another home answered."""
    numbers = _checked(node, body)
    topic = await queue_of(node, name)
    if (home := elsewhere(node, request, topic)) is not None:
        return await _passed_on(home, request, topic)
    done: Done = await node.queues.ask(topic, asked(topic, numbers))
    return topic, done


# ---- what is asked -------------------------------------------------------------------------------


def check_worker(node: Node, name: str) -> None:
    """Raises InvalidRequest unless a worker may call itself so."""
    most = node.config.limits.max_node_bytes
    if not name or len(name.encode()) > most:
        raise InvalidRequest(f"node: say who works, in 1 to {most} bytes", {"field": "node"})


def lease_ms_of(node: Node, topic: Topic, asked: int | None) -> int:
    """How long a lease is, within [limits]; without a word the topic's."""
    limits = node.config.limits
    return min(max(topic.config.lease_ms if asked is None else asked, limits.min_lease_ms), limits.max_lease_ms)


async def queue_of(node: Node, name: str) -> Topic:
    """The queue's topic. Raises InvalidRequest, TopicNotFound, NotAQueue."""
    if node.registry.known(name) is None:
        check_topic(name)
    return await node.queues.find(name)


def _checked(node: Node, body: SettleBody) -> list[int]:
    """The lease numbers that the call names, one for each seq (0: none); empty: it names none at all."""
    check_worker(node, body.node)
    most = node.config.limits.max_settle
    if len(body.seqs) > most:
        raise BatchTooLarge(f"{len(body.seqs)} seqs in one call; at most {most}", {"seqs": len(body.seqs), "max": most})
    if body.lease_ids is None:
        return []
    if len(body.lease_ids) != len(body.seqs):
        told = f"lease_ids has {len(body.lease_ids)} entries for {len(body.seqs)} seqs; send one for each"
        raise InvalidRequest(told, {"field": "lease_ids"})
    return [_number(place, text) for place, text in enumerate(body.lease_ids)]


def _number(place: int, text: str) -> int:
    if not text:
        return 0
    digits = text.removeprefix("lease_")
    try:
        number = int(digits, 16) if digits != text and digits.isalnum() and len(digits) <= 32 else 0
    except ValueError:
        number = 0
    if number and lease_id(number) == text:
        return number
    raise InvalidRequest(f"lease_ids[{place}] is no lease_id that a claim answered", {"field": "lease_ids"})


# ---- what is answered ----------------------------------------------------------------------------


def job_text(given: Given, lead: str = "") -> str:
    """A leased record as workers see it."""
    job = given.job
    tag = f'"$tag":{quote(job.tag)},' if job.tag is not None else ""
    meta = f',"meta":{job.meta}' if job.meta is not None else ""
    data = job.data if isinstance(job.data, str) else binary(job.data)
    return (
        f'{{{lead}"$seq":{job.seq},"lease_id":"{lease_id(given.number)}","deadline":{given.deadline},"$ts":{job.ts},'
        f'{tag}"deliveries":{given.deliveries},"data":{data}{meta}}}'
    )


def _counts(done: Done) -> dict[str, Any]:
    return {"ready": done.ready, "in_flight": done.in_flight}


# ---- another home --------------------------------------------------------------------------------


def elsewhere(node: Node, request: Request, topic: Topic) -> Home | None:
    """The way to the queue's home; None when that is this node. Raises HomeUnreachable for a call that was passed on
    before: the two nodes do not agree who the home is, and nobody passes it on twice."""
    home = node.queues.home(topic)
    if home is not None and request.header(PASSED_ON) is not None:
        name = node.queues.home_of(topic)
        told = f"{node.name} is not the home of {topic.topic}, but {name}: the nodes do not agree yet"
        raise HomeUnreachable(told, {"home": name}, 1.0)
    return home


def call_of(request: Request, topic: str) -> Call:
    """The request, to be passed on, with the name that the topic has where a link takes it from. A key in the query
    becomes a header: no URL between nodes holds one."""
    verb, args = request.path.rpartition("/")[2], parse_qsl(request.query, keep_blank_values=True)
    query = urlencode([(name, value) for name, value in args if name != "token"])
    keys = [value.encode() for name, value in args if name == "token"]
    token = {b"authorization": b"Bearer " + keys[0]} if keys else {}
    target = f"/v0/topics/{topic}/{verb}{'?' if query else ''}{query}".encode()
    return Call(request.method, target, token | request.headers, request.body)


async def _passed_on(home: Home, request: Request, topic: Topic) -> Response:
    told = await home.call(call_of(request, topic.source_name))
    return Response(told.status, told.body, told.content_type, told.headers)
