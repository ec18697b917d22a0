"""What a client may say over a WebSocket, as types. The words of replies are in docs/HTTP.md."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field, structs

from ....errors import InvalidJson, InvalidRequest, MirrordError
from ..bodies import AppendBody, Count, check_numbers
from .watch import TopicFrom, WatchFields

SUBSCRIBE_LIMIT, SUBSCRIBE_BYTES = 1000, 1 << 20


class Subscribe(WatchFields, kw_only=True, tag="subscribe", tag_field="op"):
    """Push what comes in these topics. Topics that are subscribed already begin anew."""

    request_id: Any = None
    topic: str | None = None
    from_seq: Count = 0
    tail: bool = False
    log_id: str | None = None
    topics: dict[str, TopicFrom] = field(default_factory=dict)
    limit: Count = SUBSCRIBE_LIMIT
    max_batch_bytes: Count = SUBSCRIBE_BYTES
    lenient: bool = False

    def wanted(self) -> dict[str, TopicFrom]:
        """All topics that it names. Raises InvalidRequest for none."""
        found = dict(self.topics)
        if self.topic is not None:
            found[self.topic] = TopicFrom(self.from_seq, self.tail, self.log_id)
        if not found:
            raise InvalidRequest("subscribe needs topic or topics")
        return found


class Unsubscribe(Struct, kw_only=True, tag="unsubscribe", tag_field="op"):
    """No more of these."""

    request_id: Any = None
    topic: str | None = None
    topics: list[str] = field(default_factory=list)

    def names(self) -> list[str]:
        """All topics and prefixes that it names."""
        return sorted({*self.topics, *([self.topic] if self.topic is not None else [])})


class Publish(AppendBody, kw_only=True, tag="publish", tag_field="op"):
    """An append."""

    topic: str
    request_id: Any = None
    return_seqs: bool = True


class PingOrder(Struct, kw_only=True, tag="ping", tag_field="op"):
    """Are you there?"""

    request_id: Any = None


Order = Subscribe | Unsubscribe | Publish | PingOrder
_order: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
_encode = msgspec.json.Encoder().encode


class _Head(Struct):
    request_id: Any = None


_head = msgspec.json.Decoder(_Head)


def parse(text: str) -> Order:
    """One order. Raises InvalidJson, InvalidRequest with the place of the fault."""
    try:
        order = _order.decode(text)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"the message cannot be read: {error}") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidJson(f"the message is not JSON: {error}") from error
    except RecursionError as error:
        raise InvalidJson("the message is nested too deeply") from error
    if isinstance(order, Subscribe):
        check_numbers(msgspec.to_builtins(structs.replace(order, request_id=None)))  # the id is the client's business
    return order


def request_id_of(text: str) -> Any:
    """The request_id of a message that cannot be read otherwise; None when it has none."""
    try:
        return _head.decode(text).request_id
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def told(op: str, request_id: Any, **fields: Any) -> bytes:
    """A reply."""
    return _encode({"op": op, "request_id": request_id} | fields)


def refusal(error: MirrordError, request_id: Any, code: str | None = None) -> bytes:
    """Why an order was not followed."""
    detail = {"detail": error.detail} if error.detail is not None else {}
    return told("error", request_id, code=code or error.code, message=str(error), **detail)
