"""From a named error to its HTTP answer: status and code are the class's, the shape is always the same."""

from __future__ import annotations

from math import ceil
from typing import Any

from msgspec import json

from ..errors import MirrordError
from .formats.envelope import in_format
from .message import Request, Response


def answer(error: MirrordError, request: Request | None = None) -> Response:
    """``{"error": {"code", "message", "detail"?}}``, in the format that the request asked for; ``Retry-After`` in
    seconds when the error knows when."""
    told: dict[str, Any] = {"code": error.code, "message": str(error)}
    if error.detail is not None:
        told["detail"] = error.detail
    headers: list[tuple[bytes, bytes]] = []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, ceil(error.retry_after_s))))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.status == 405 and error.detail and "allow" in error.detail:
        headers.append((b"allow", ", ".join(error.detail["allow"]).encode()))
    response = Response(error.status, json.encode({"error": told}), headers=tuple(headers))
    return response if request is None else in_format(request, response)
