"""What a command asked of a node that answers by a script."""

from __future__ import annotations

import json
from typing import Any

import httpx


class Asked:
    """The node gives these answers, one after the other; ``calls`` are (method, path, body or query) as they came."""

    def __init__(self, shell: Any, *answers: Any) -> None:
        self.calls: list[tuple[str, str, Any]] = []
        shell.node.trouble = [self._giving(answer) for answer in answers]

    def _giving(self, answer: Any) -> Any:
        def give(request: httpx.Request) -> httpx.Response:
            said = json.loads(request.content) if request.content else dict(request.url.params)
            self.calls.append((request.method, request.url.path, said))
            if isinstance(answer, httpx.Response):
                return answer
            return httpx.Response(200, json=answer)

        return give


def record(seq: int, data: Any = "x", **more: Any) -> dict[str, Any]:
    """One as reads show it."""
    return {"$seq": seq, "$ts": 1_700_000_000_000, "$node": "fra", "data": data, **more}


def events(*told: tuple[str, Any]) -> httpx.Response:
    """A stream of events that ends."""
    text = "retry: 2000\n\n: hb\n\n" + "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in told)
    return httpx.Response(200, stream=httpx.ByteStream(text.encode()), headers={"content-type": "text/event-stream"})
