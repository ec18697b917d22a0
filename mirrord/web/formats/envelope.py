"""Around every handler: a request's body is unpacked before it, its answer is packed behind it, as the client said."""

from __future__ import annotations

from msgspec.structs import replace
from trio.lowlevel import checkpoint

from ...errors import NotAcceptable
from ..message import JSON, Request, Response
from . import packed
from .compression import deflate, inflate
from .negotiation import MSGPACK, coding_for, wants_msgpack

WORTH_BYTES = 1024
"""Smaller answers leave as they are: they fit into one packet anyway."""
VARY = (b"vary", b"accept, accept-encoding")


async def opened(request: Request, most_bytes: int) -> Request:
    """The request with its body inflated. Others run between its pieces.

    Raises UnsupportedMediaType, InvalidRequest, PayloadTooLarge.
    """
    coding = request.headers.get(b"content-encoding", b"identity")
    if request.body and coding.lower() not in (b"identity", b""):
        pieces = []
        for piece in inflate(coding, request.body, most_bytes):
            pieces.append(piece)
            await checkpoint()
        request.body = b"".join(pieces)
    return request


def is_plain(request: Request) -> bool:
    """Whether its body is as it was sent, and any answer leaves as it is: told by the head alone."""
    headers = request.headers
    if request.method != "POST" or b"content-encoding" in headers or wants_msgpack(headers.get(b"accept")):
        return False
    return coding_for(headers.get(b"accept-encoding")) is None


def leaves_as_it_is(request: Request, response: Response) -> bool:
    """Whether nothing is to be done to the answer: nearly always, and told by two looks."""
    headers = request.headers
    if request.method != "POST" or wants_msgpack(headers.get(b"accept")):
        return False
    return b"accept-encoding" not in headers or size_of(response) < WORTH_BYTES


def size_of(response: Response) -> int:
    """Bytes of the body."""
    body = response.body
    return len(body) if isinstance(body, bytes) else sum(map(len, body))


async def sealed(request: Request, response: Response) -> Response:
    """The answer in the format and compression that the client likes best. Others run between its pieces."""
    response = in_format(request, response)
    if request.method in ("GET", "HEAD"):
        response = replace(response, headers=(*response.headers, VARY))
    coding = coding_for(request.headers.get(b"accept-encoding"))
    if coding is None or size_of(response) < WORTH_BYTES:
        return response
    pieces = []
    for piece in deflate(coding, [response.body] if isinstance(response.body, bytes) else response.body):
        pieces.append(piece)
        await checkpoint()
    body = b"".join(pieces)
    if len(body) >= size_of(response):
        return response
    vary = () if VARY in response.headers else (VARY,)
    return replace(response, body=body, headers=(*response.headers, *vary, (b"content-encoding", coding)))


def in_format(request: Request, response: Response) -> Response:
    """A JSON answer as msgpack, if the client wants that."""
    if response.content_type != JSON or not wants_msgpack(request.headers.get(b"accept")):
        return response
    text = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    try:
        return replace(response, body=packed.from_json(text), content_type=MSGPACK)
    except NotAcceptable:
        if response.status >= 400:
            return response
        raise
