"""Request bodies as types: what may be sent, and the refusal that names what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import attrgetter
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from ...config.model import Limits
from ...errors import BatchTooLarge, InvalidRequest, PayloadTooLarge, RecordTooLarge, UnsupportedMediaType
from ...records.batch import Batch, batches_of, batches_of_text
from ...records.draft import NO_TEXT, Draft
from ..formats.negotiation import JSON, is_msgpack
from ..formats.packed import PackedDraft, drafts, to_json
from ..message import Request

Count = Annotated[int, Meta(ge=0)]
Match = Annotated[
    Any,
    Meta(
        description='which tags: ["tag", "Eq", "x"], ["tag", "Glob", "x*"], or short "x" and "x*"',
        extra_json_schema={
            "anyOf": [
                {"type": "string"},
                {
                    "type": "array",
                    "prefixItems": [{"const": "tag"}, {"enum": ["Eq", "Glob"]}, {"type": "string"}],
                    "minItems": 3,
                    "maxItems": 3,
                },
                {"type": "null"},
            ]
        },
    ),
]
T = TypeVar("T")
MOST_CONTROL_BYTES = 1 << 20
"""Any body but an append's: as objects it takes up to seventy times its bytes."""
MOST_CONFIG_BYTES = 64 << 10
MOST_NUMBER = (1 << 64) - 1
LONGEST_NUMBER = 20  # digits: a shorter one fits into 64 bits
_BEYOND_64_BITS = re.compile(rb"[0-9]{%d}" % LONGEST_NUMBER)  # msgspec's own bounds end at 63 bits


class AppendFields(Struct, kw_only=True):
    """What an append says beside its records. ``config`` is read only when it makes the topic."""

    node: str | None = None
    idempotency_key: str | None = None
    create: bool | None = None
    config: Raw = NO_TEXT
    disable_backpressure: bool = False

    def inline_config(self) -> dict[str, Any] | None:
        """The configuration that came with it; None for none. Raises InvalidRequest."""
        if not self.config:
            return None
        if len(self.config) > MOST_CONFIG_BYTES:
            raise InvalidRequest(f"config has {len(self.config)} bytes; at most {MOST_CONFIG_BYTES}")
        try:
            found: dict[str, Any] | None = _config_json.decode(self.config)
        except msgspec.MsgspecError as error:
            raise InvalidRequest(f"the body cannot be read: {str(error).replace('`$', '`$.config')}") from error
        return found


class AppendBody(AppendFields, kw_only=True):
    """``POST /v0/topics/:topic``."""

    records: list[Draft]


class Text(Struct, gc=False, forbid_unknown_fields=True):
    """A record that is JSON text and nothing else, as most are."""

    data: Raw


class AppendOfTexts(AppendFields, kw_only=True):
    """The same where all records are such."""

    records: list[Text]


class PackedAppend(AppendFields, kw_only=True):
    """The same as msgpack."""

    records: list[PackedDraft]


class DiffBody(Struct):
    """``POST /v0/topics/:topic/diff``."""

    from_seq: Count = 0
    limit: Count = 0
    node: str | list[str] | None = None
    include_tags: bool = False
    include_meta: bool = True
    include_origin: bool = False
    wait_ms: Count = 0
    max_batch_bytes: Count = 0
    log_id: str | None = None
    match: Match = None
    cursor: str | None = None  # of a prefix


_config_json: msgspec.json.Decoder[dict[str, Any] | None] = msgspec.json.Decoder(dict[str, Any] | None)
_JSON_TEXT = {Raw}
_TEXT_BYTES = attrgetter("text_bytes")
_texts_json = msgspec.json.Decoder(AppendOfTexts)
_append_json = msgspec.json.Decoder(AppendBody)
_append_packed = msgspec.msgpack.Decoder(PackedAppend)


def decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """One decoder per body type, made once."""
    return msgspec.json.Decoder(kind)


def decode(request: Request, decode_json: msgspec.json.Decoder[T], *, empty: T | None = None) -> T:
    """The body, checked; a msgpack one is read as the JSON that it stands for.

    Raises UnsupportedMediaType, PayloadTooLarge, InvalidRequest with the place of the fault.
    """
    body = request.body
    if not body:
        if empty is None:
            raise InvalidRequest("a body is needed: send a JSON object")
        return empty
    if len(body) > MOST_CONTROL_BYTES:
        told = f"the body has {len(body)} bytes; other bodies than an append's have at most {MOST_CONTROL_BYTES}"
        raise PayloadTooLarge(told, {"max": MOST_CONTROL_BYTES})
    plain = request.headers.get(b"content-type") == JSON or not _is_packed(request)
    text = body if plain else to_json(body)
    found = _read_json(text, decode_json.decode)
    if isinstance(found, Struct) and len(text) > LONGEST_NUMBER and _BEYOND_64_BITS.search(text):
        check_numbers(msgspec.to_builtins(found))
    return found


def check_numbers(found: Any) -> None:
    """Raises InvalidRequest for a number that no seq, size or duration can be."""
    if isinstance(found, dict):
        found = list(found.values())
    if isinstance(found, list):
        for one in found:
            check_numbers(one)
    elif isinstance(found, int) and found > MOST_NUMBER:
        raise InvalidRequest(f"numbers are at most {MOST_NUMBER}, found {found}")


def decode_append(request: Request, limits: Limits) -> AppendBody | AppendOfTexts:
    """The body of an append, checked but for the sizes of its records.

    Raises UnsupportedMediaType, InvalidRequest, and for msgpack BatchTooLarge, RecordTooLarge.
    """
    if not request.body:
        raise InvalidRequest("a body is needed: send an object with records")
    if request.headers.get(b"content-type") == JSON or not _is_packed(request):
        return _read_json(request.body, _append_of)
    try:
        found = _append_packed.decode(request.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the body cannot be read: {error}") from error
    except RecursionError as error:
        raise InvalidRequest("the body is nested too deeply") from error
    if len(found.config) > MOST_CONFIG_BYTES:
        raise InvalidRequest(f"config has {len(found.config)} bytes; at most {MOST_CONFIG_BYTES}")
    return AppendBody(
        records=drafts(found.records, limits), node=found.node, idempotency_key=found.idempotency_key,
        create=found.create, config=Raw(to_json(bytes(found.config))) if found.config else NO_TEXT,
        disable_backpressure=found.disable_backpressure,
    )  # fmt: skip


def _append_of(body: bytes) -> AppendBody | AppendOfTexts:
    try:
        return _texts_json.decode(body)
    except msgspec.ValidationError:  # there is more in it, or something is wrong with it
        return _append_json.decode(body)


def _read_json(body: bytes, decode_json: Callable[[bytes], T]) -> T:
    try:
        if not body.isascii():
            body.decode()
        return decode_json(body)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is not UTF-8 at byte {error.start}") from error
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"the body cannot be read: {error}") from error
    except RecursionError as error:
        raise InvalidRequest("the body is nested too deeply") from error


def _is_packed(request: Request) -> bool:
    """Whether the body is msgpack, and not JSON. Raises UnsupportedMediaType when it is said to be neither."""
    kind = request.headers.get(b"content-type", b"")
    if kind.startswith(JSON) or kind[: len(JSON)].lower() == JSON:
        return False
    if is_msgpack(kind):
        return True
    found = kind.decode("latin-1")[:80]
    raise UnsupportedMediaType(f"send content-type: application/json or application/msgpack (found {found!r})")


def check_media_type(request: Request, wanted: bytes) -> None:
    """Raises UnsupportedMediaType unless the body is said to be of that type."""
    kind = request.headers.get(b"content-type", b"")
    if kind[: len(wanted)].lower() != wanted:
        raise UnsupportedMediaType(f"send content-type: {wanted.decode()} (found {kind.decode('latin-1')[:80]!r})")


def batches(body: AppendBody | AppendOfTexts, limits: Limits) -> tuple[Batch, ...]:
    """The records of an append, each within [limits], packed.

    Raises InvalidRequest, BatchTooLarge, RecordTooLarge, naming the record.
    """
    if not body.records:
        raise InvalidRequest("records is empty; send at least one")
    if len(body.records) > limits.max_batch_records:
        raise BatchTooLarge(f"{len(body.records)} records in one append; at most {limits.max_batch_records}")
    if body.idempotency_key is not None:
        _check_text("idempotency_key", body.idempotency_key, limits.max_key_bytes)
    if body.node is not None:
        _check_text("node", body.node, limits.max_node_bytes)
    elif texts := _texts_alone(body):
        found = batches_of_text(texts)
        if max(map(_TEXT_BYTES, found)) <= limits.max_record_bytes:
            return found
    drafted = [Draft(text.data) for text in body.records] if isinstance(body, AppendOfTexts) else body.records
    for index, draft in enumerate(drafted):
        if draft.node is None:
            draft.node = body.node
        _check_draft(index, draft, limits)
    return batches_of(drafted)


def _texts_alone(body: AppendBody | AppendOfTexts) -> list[Raw]:
    """What the records are when all are JSON text and nothing else; else nothing."""
    if isinstance(body, AppendOfTexts):
        return [text.data for text in body.records]
    texts: list[Any] = [one.data for one in body.records if one.tag is None and one.node is None and not one.meta]
    return texts if len(texts) == len(body.records) and set(map(type, texts)) == _JSON_TEXT else []


def _check_draft(index: int, draft: Draft, limits: Limits) -> None:
    if draft.tag is not None:
        _check_text(f"records[{index}].tag", draft.tag, limits.max_tag_bytes)
    if draft.node is not None:
        _check_text(f"records[{index}].node", draft.node, limits.max_node_bytes)
    if bytes(draft.meta) == b"null":
        draft.meta = NO_TEXT
    if draft.meta:
        _check_meta(index, draft.meta, limits)
    if draft.text_bytes > limits.max_record_bytes:
        raise RecordTooLarge(
            f"records[{index}] has {draft.text_bytes} bytes of data and meta; at most {limits.max_record_bytes}",
            {"index": index, "max": limits.max_record_bytes},
        )


def _check_text(field: str, text: str, most: int) -> None:
    if len(text) > most or len(text.encode()) > most:
        raise InvalidRequest(f"{field} is longer than {most} bytes")


def _check_meta(index: int, meta: Raw, limits: Limits) -> None:
    if len(meta) > limits.max_meta_bytes:
        raise InvalidRequest(f"records[{index}].meta has {len(meta)} bytes; at most {limits.max_meta_bytes}")
    if bytes(meta).startswith(b"{"):
        keys = len(msgspec.json.decode(meta, type=dict[str, Raw]))
        if keys > limits.max_meta_keys:
            raise InvalidRequest(f"records[{index}].meta has {keys} keys; at most {limits.max_meta_keys}")


def flag(args: dict[str, str], name: str, default: bool) -> bool:
    """A query argument ``true|1|false|0``; anything else is the default."""
    return {"true": True, "1": True, "false": False, "0": False}.get(args.get(name, ""), default)


def whole(args: dict[str, str], name: str) -> int | None:
    """A query argument that is a whole number, as large as it may be; None for anything else."""
    text = args.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < LONGEST_NUMBER else None
