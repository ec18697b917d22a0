"""What can be asked of a node, as values: built here without waiting, sent by ``api.py``, blocking or async.

A payload is JSON text and stays the bytes it is: mirrord never re-encodes what a writer wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, structs

LONGEST_WAIT_MS = 30_000  # a node cuts longer waits down to this
LONGEST_PAGE = 1000  # of a list
ALL_DEFAULTS: Mapping[str, Any] = {}


class Draft(Struct, frozen=True, omit_defaults=True):
    """A record that is to be written; the node numbers and dates it.

    ``data`` and ``meta`` are anything that is JSON: plain values, msgspec structs, dataclasses, or JSON text as
    ``msgspec.Raw``, which goes out as the bytes that it is. ``data`` may also be ``bytes``, which stay bytes.
    """

    data: Any
    tag: str | UnsetType = UNSET
    node: str | UnsetType = UNSET
    meta: Any = UNSET

    @classmethod
    def of(cls, data: Any, *, tag: str | None = None, node: str | None = None, meta: Any = None) -> Draft:
        """The same, where None is "without"."""
        return cls(data, tag or UNSET, node or UNSET, meta if meta is not None else UNSET)

    @property
    def is_binary(self) -> bool:
        """Whether it travels as msgpack, for JSON has no bytes."""
        return isinstance(self.data, bytes | bytearray | memoryview)

    def written(self, packed: bool) -> Raw:
        """As it stands in a body of msgpack (``packed``) or JSON. Raises TypeError for what neither can say."""
        if not packed:
            return Raw(msgspec.json.encode(self))
        plain = {word: msgspec.json.decode(value) for word, value in self._texts() if isinstance(value, Raw)}
        return Raw(msgspec.msgpack.encode(structs.replace(self, **plain) if plain else self))

    def _texts(self) -> tuple[tuple[str, Any], ...]:
        return (("data", self.data), ("meta", self.meta))


class Call(Struct, frozen=True):
    """One request. ``wait_ms`` is how long the node may take on purpose; the deadline is that much later."""

    method: str
    path: str
    query: Mapping[str, str] = ALL_DEFAULTS
    body: bytes | None = None
    wait_ms: int = 0
    content_type: str = "application/json"

    def after(self, cursor: str) -> Call:
        """The same list, from where a page's ``next_cursor`` leads to."""
        return structs.replace(self, query={**self.query, "cursor": cursor})


class DiffQuery(Struct, frozen=True, omit_defaults=True):
    """What ``POST /v0/topics/:t/diff`` takes. ``from_seq`` is exclusive: the last seq that was read."""

    from_seq: int = 0
    limit: int | UnsetType = UNSET
    log_id: str | UnsetType = UNSET
    cursor: str | UnsetType = UNSET
    match: Any = UNSET
    node: Sequence[str] | UnsetType = UNSET
    include_tags: bool | UnsetType = UNSET
    include_meta: bool | UnsetType = UNSET
    include_origin: bool | UnsetType = UNSET
    max_batch_bytes: int | UnsetType = UNSET
    wait_ms: int | UnsetType = UNSET


class _Append(Struct, frozen=True, omit_defaults=True):
    records: Sequence[Raw]
    node: str | UnsetType = UNSET
    idempotency_key: str | UnsetType = UNSET


def health() -> Call:
    """Alive, with version and uptime."""
    return Call("GET", "/v0/health")


def ready() -> Call:
    """Able to work; raises NotReady with the reasons in ``detail`` while it is not."""
    return Call("GET", "/v0/ready")


def topics(prefix: str = "") -> Call:
    """The first page of the topics by name."""
    return Call("GET", "/v0/topics", page_query(prefix=prefix))


def topic(name: str) -> Call:
    """A topic's state; leaves no trace as a read. Raises TopicNotFound."""
    return Call("GET", topic_path(name), {"touch": "false"})


def put_topic(name: str, config: Mapping[str, Any]) -> Call:
    """Create a topic, or replace its configuration over the defaults."""
    return Call("PUT", topic_path(name), body=msgspec.json.encode(config))


def patch_topic(name: str, config: Mapping[str, Any]) -> Call:
    """Change these keys of a topic's configuration and leave the others. Raises TopicNotFound, DeclaredInFile."""
    return Call("PATCH", topic_path(name), body=msgspec.json.encode(config))


def delete_topic(name: str, *, if_empty: bool = False, forget: bool = False) -> Call:
    """Drop the topic's log; with ``forget`` its positions too, so that peers' old records come again."""
    query = {word: "true" for word, wanted in (("if_empty", if_empty), ("forget", forget)) if wanted}
    return Call("DELETE", topic_path(name), query)


def append(
    name: str,
    records: Sequence[Draft],
    *,
    node: str | None = None,
    key: str | None = None,
    return_seqs: bool = False,
) -> Call:
    """Write 1 to 10 000 records as one. With an idempotency ``key`` a repeat is written once."""
    packed = any(draft.is_binary for draft in records)
    texts = [draft.written(packed) for draft in records]
    return append_written(name, texts, packed, node=node, key=key, return_seqs=return_seqs)


def append_written(
    name: str,
    records: Sequence[Raw],
    packed: bool,
    *,
    node: str | None = None,
    key: str | None = None,
    return_seqs: bool = False,
) -> Call:
    """The same for records that are written already, all in msgpack or all in JSON."""
    body = _Append(records, node if node else UNSET, key if key else UNSET)
    query = {"return_seqs": _word(return_seqs)}
    if packed:
        return Call("POST", topic_path(name), query, msgspec.msgpack.encode(body), content_type="application/msgpack")
    return Call("POST", topic_path(name), query, msgspec.json.encode(body))


def diff(name: str, query: DiffQuery) -> Call:
    """The records after a cursor."""
    wait_ms = min(query.wait_ms, LONGEST_WAIT_MS) if isinstance(query.wait_ms, int) else 0
    return Call("POST", topic_path(name) + "/diff", body=msgspec.json.encode(query), wait_ms=wait_ms)


def delete_records(name: str, *, before_seq: int | None = None, match: Any = None) -> Call:
    """Remove for ever what lies before a seq, or has the tag, or both.

    ``match``: ``"X"``, ``"P*"``, or ``["tag", "Eq" | "Glob", "X"]``.
    """
    wanted = {"before_seq": before_seq, "match": match}
    body = {word: value for word, value in wanted.items() if value is not None}
    return Call("POST", topic_path(name) + "/delete", body=msgspec.json.encode(body))


def routers(prefix: str = "", **ends: str) -> Call:
    """The first page of the routers by name; ``ends``: only those with this ``source`` or ``dest``."""
    return Call("GET", "/v0/routers", page_query(prefix=prefix, **ends))


def router(name: str) -> Call:
    """A router's configuration and how far it is. Raises RouterNotFound."""
    return Call("GET", _router_path(name))


def put_router(name: str, config: Mapping[str, Any]) -> Call:
    """Create a router, or change it: ``source``, ``dest``, ``filter``, ``preserve_node``, ... of docs/HTTP.md."""
    return Call("PUT", _router_path(name), body=msgspec.json.encode(config))


def delete_router(name: str) -> Call:
    """Stop a router; what it has copied stays."""
    return Call("DELETE", _router_path(name))


def digest(name: str, at: Mapping[str, int] | None = None, *, deep: bool = False) -> Call:
    """Positions and hashes of every strand. ``at``: strand to the oseq at which its hash is wanted too.

    ``deep`` makes the node read everything back and check it, which may take long (10 minutes at most).
    """
    query = {"at": ",".join(f"{strand}:{oseq}" for strand, oseq in sorted(at.items()))} if at else {}
    if deep:
        query["deep"] = "true"
    return Call("GET", topic_path(name) + "/digest", query, wait_ms=600_000 if deep else 0)


def links() -> Call:
    """What this node pulls, from whom, and how that goes."""
    return Call("GET", "/v0/links")


def lag() -> Call:
    """The matrix origin x holder, as this node knows it."""
    return Call("GET", "/v0/lag")


def topology() -> Call:
    """The topology that the node runs."""
    return Call("GET", "/v0/topology")


def actors() -> Call:
    """The supervision tree with counts."""
    return Call("GET", "/v0/actors")


def page_query(**wanted: str) -> Mapping[str, str]:
    """Of a list, in pages that are as long as may be: ``Call.after`` is the next."""
    return {"page_size": str(LONGEST_PAGE), **{word: value for word, value in wanted.items() if value}}


def topic_path(name: str) -> str:
    """Where a topic lies."""
    return "/v0/topics/" + quote(name, safe=":")


def _router_path(name: str) -> str:
    return "/v0/routers/" + quote(name, safe=":>")


def _word(value: bool) -> str:
    return "true" if value else "false"
