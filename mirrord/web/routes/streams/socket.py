"""``GET /v0/ws``: subscribe, unsubscribe, publish and ping as JSON messages over one connection."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import assert_never

import trio
from starlette.websockets import WebSocket, WebSocketDisconnect

from ....errors import InvalidRequest, MirrordError, ShuttingDown, UnsupportedMessage
from ....node import Node
from ....streams.dialect import MESSAGES
from ....streams.place import Place
from ....streams.streams import From, start_of
from ....streams.watcher import Pace, Prefix, Watcher
from ...auth.permit import Permit
from ...message import Request
from ..topics import appended, hand_over, message_of, topic_to_append
from .orders import (
    Order,
    PingOrder,
    Publish,
    Subscribe,
    Unsubscribe,
    parse,
    refusal,
    request_id_of,
    told,
)
from .outbox import Outbox
from .watch import LAST_WORDS_S, begins, counted, over, view_of

GOING_AWAY, TRY_LATER = 1001, 1013
BEAT_S = 15.0  # how often the key is looked at again, and the node's state


async def socket(node: Node, request: Request, websocket: WebSocket) -> None:
    """``GET /v0/ws``. Raises Throttled."""
    node.streams.check_seat(counted(request.principal))
    with node.streams.seat(counted(request.principal)):
        conversation = _Conversation(node, request, websocket)
        await websocket.accept()
        await conversation.run()


class _Conversation:
    """One WebSocket: a task that listens, one that sends, and the watcher that pushes."""

    def __init__(self, node: Node, request: Request, websocket: WebSocket) -> None:
        limits = node.config.limits
        self._node, self._request, self._websocket = node, request, websocket
        self._outbox = Outbox(limits.watch_buffer_bytes)
        pace = Pace(BEAT_S, limits.slow_consumer_timeout_ms / 1000)
        self._permit = Permit(request.principal, ("read",), self._watched)
        self._watcher = Watcher(node.streams.ground, self._outbox, MESSAGES, pace, self._over)

    def _over(self) -> MirrordError | None:
        return over(self._node, self._permit)

    def _watched(self) -> Iterator[str]:
        yield from self._watcher.places
        yield from (prefix + "*" for prefix in self._watcher.prefixes)

    async def run(self) -> None:
        """Until one of the two sides has had enough."""
        self._permit.attach(self._node.drain_bell.attach(self._watcher.ear))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, nursery.cancel_scope)
                nursery.start_soon(self._push, nursery.cancel_scope)
                await self._listen()
                nursery.cancel_scope.cancel()
        finally:
            self._watcher.close()

    async def _send(self, over: trio.CancelScope) -> None:
        try:
            while True:
                message = await self._outbox.next()
                await self._websocket.send({"type": "websocket.send", "text": message.decode()})
                self._outbox.sent(message)
        except (WebSocketDisconnect, OSError):
            over.cancel()

    async def _push(self, over: trio.CancelScope) -> None:
        try:
            await self._watcher.run(lasting=True)
        except MirrordError as error:
            await self._say_goodbye(error)
        finally:
            over.cancel()

    async def _say_goodbye(self, error: MirrordError) -> None:
        stops = isinstance(error, ShuttingDown)
        with trio.move_on_after(LAST_WORDS_S):
            await self._outbox.say(refusal(error, None, "server_shutting_down" if stops else None))
            await self._outbox.drained()
            await self._websocket.close(GOING_AWAY if stops else TRY_LATER, error.code)

    # ---- orders ----------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            event = await self._websocket.receive()
            if event["type"] != "websocket.receive":
                return
            text = event.get("text")
            if text is None:
                await self._outbox.say(refusal(UnsupportedMessage("send JSON as text"), None))
                continue
            try:
                await self._follow(parse(text))
            except MirrordError as error:
                await self._outbox.say(refusal(error, request_id_of(text)))

    async def _follow(self, order: Order) -> None:
        if (over := self._over()) is not None:
            raise over
        match order:
            case Subscribe():
                await self._subscribe(order)
            case Unsubscribe():
                watcher = self._watcher
                gone = [name for name in order.names() if watcher.unwatch_prefix(name[:-1]) or watcher.unwatch(name)]
                await self._outbox.say(told("unsubscribed", order.request_id, topics=gone))
            case Publish():
                await self._publish(order)
            case PingOrder():
                await self._outbox.say(told("pong", order.request_id))
            case _:
                assert_never(order)

    async def _subscribe(self, order: Subscribe) -> None:
        wanted, streams, view = order.wanted(), self._node.streams, view_of(self._node, order, order.max_batch_bytes)
        self._request.principal.require("read", *wanted)
        places: dict[str, Place] = {}
        for name, where in wanted.items():
            begin = From(where.from_seq, where.tail, where.log_id)
            for topic in await streams.meant_by(name, lenient=order.lenient):
                if name == topic.topic or topic.topic not in wanted:
                    start = start_of(topic, begin)
                    places[topic.topic] = Place(topic, view, start.seq, start.log_id)
        self._check_count(places, {name[:-1] for name in wanted if name.endswith("*")})
        starts = {name: begins(place.topic, place.seq) for name, place in sorted(places.items())}
        await self._outbox.say(told("subscribed", order.request_id, topics=starts))
        for name in wanted:
            if name.endswith("*"):
                self._watcher.watch_prefix(Prefix(name[:-1], view))
        for place in places.values():
            self._watcher.watch(place)

    def _check_count(self, places: dict[str, Place], prefixes: set[str]) -> None:
        limits, watcher = self._node.config.limits, self._watcher
        for limit, most, count in (
            ("max_prefix_topics", limits.max_prefix_topics, len(watcher.places.keys() | places)),
            ("max_watch_topics", limits.max_watch_topics, len(watcher.prefixes | prefixes)),
        ):
            if count > most:
                what = "topics" if limit == "max_prefix_topics" else "prefixes"
                told_most = {"limit": limit, "max": most}
                raise InvalidRequest(f"more than {most} {what} on one WebSocket; open another one", told_most)

    async def _publish(self, order: Publish) -> None:
        began, node, name = perf_counter(), self._node, order.topic
        self._request.principal.require("write", name)
        if order.inline_config() is not None:
            self._request.principal.require("admin", name)
        message = message_of(order, order.idempotency_key, node)
        topic, created = await topic_to_append(node, self._request, name, order)
        done = await hand_over(node, topic, message, patient=order.disable_backpressure)
        fsync_ms = node.journal.fsync_ms if topic.config.durable else 0.0
        answer = appended(name, done, created, order.return_seqs, began, fsync_ms)
        head = told("ack", order.request_id)[:-1] + (b"," if order.return_seqs else b',"seqs":null,')
        await self._outbox.say(head + answer[1:])
