"""A topic's configuration: the fields of ``PUT /v0/topics/:topic`` and of ``[topics.X]``, resolved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Struct

from ..errors import InvalidRequest
from ..names import is_node, is_topic
from .option import Option, options_of, quoted

TopicType = Literal["log", "queue"]
Discard = Literal["old", "reject"]
Durability = Literal["ephemeral", "memory", "disk", "fsync"]

DURABILITIES: tuple[Durability, ...] = ("ephemeral", "memory", "disk", "fsync")


class TopicConfig(Struct, frozen=True):
    """Every field has a value; ``durability`` is the truth and ``durable`` says whether it is ``fsync``."""

    type: Annotated[TopicType, Option("word", "what the topic is; for ever", words=("log", "queue"))] = "log"
    ttl_ms: Annotated[
        int, Option("duration", "records older than this by their origin's clock expire; 0 = never", off=True)
    ] = 0
    cap_records: Annotated[
        int, Option("count", "live records kept on a node, oldest go first; 0 = no cap", off=True)
    ] = 0
    cap_bytes: Annotated[
        int,
        Option("size", "JSON text of data and meta kept on a node, oldest go first; 0 = no cap", off=True),
    ] = 0
    discard: Annotated[
        Discard,
        Option("word", "what a full topic does: evict the oldest, or refuse", words=("old", "reject")),
    ] = "old"
    durable: Annotated[bool, Option("flag", "short for durability: true = fsync, false = disk; durability wins")] = (
        False
    )
    durability: Annotated[Durability, Option("word", "what an acknowledged record survives", words=DURABILITIES)] = (
        "disk"
    )
    priority: Annotated[
        int | None,
        Option(
            "integer",
            "who goes first under pressure, -1000 to 1000",
            least=-(1 << 31),
            most=(1 << 31) - 1,
            example="0",
        ),
    ] = None
    auto_priority: Annotated[bool, Option("flag", "without a priority, follow how recently it was used")] = True
    auto_create: Annotated[
        bool, Option("flag", "in an append's inline config: whether the first append makes the topic")
    ] = True
    idempotency_window_ms: Annotated[int, Option("duration", "how long an idempotency key is remembered")] = 120_000
    dedupe_node: Annotated[bool, Option("flag", "whether readers' node filters count on this topic")] = True
    lease_ms: Annotated[int, Option("duration", "how long a claim holds a record")] = 30_000
    claim_jitter_ms: Annotated[int, Option("duration", "how long claims gather before records are shared out")] = 0
    max_deliveries: Annotated[int, Option("count", "claims of one record before it is set aside; 0 = no end")] = 0
    dead_letter: Annotated[str | None, Option("text", "the topic for records set aside", example='"orders.dead"')] = (
        None
    )
    leases_durable: Annotated[bool, Option("flag", "whether leases survive a restart")] = False
    home: Annotated[
        str | None,
        Option("text", "the node that grants a queue's leases; default: the one that created it", example='"fra"'),
    ] = None
    mirror_groups: Annotated[
        bool, Option("flag", "whether reader groups of one name go on at other nodes where this one stands")
    ] = False
    idempotency_check: Annotated[
        bool, Option("flag", "refuse an idempotency key that is used again with another payload")
    ] = True


DEFAULT = TopicConfig()
OPTIONS = options_of(TopicConfig)
MOST_PRIORITY, READ_NOW, HALF_LIFE_MS, FORGOTTEN_MS = 1000, 500, 30_000, 300_000

_NULLABLE = frozenset({"priority", "dead_letter", "home"})
_CLAMPS = {"lease_ms": (100, 86_400_000), "claim_jitter_ms": (0, 5000)}


def topic_config(fields: Mapping[str, object], base: TopicConfig = DEFAULT) -> TopicConfig:
    """``base`` with these fields changed; unknown fields are ignored, leases and jitters are clamped.

    Durations are ms, sizes bytes. Raises InvalidRequest, naming the field.
    """
    changes = {name: _checked(name, value) for name, value in fields.items() if name in OPTIONS}
    if "durable" in changes and "durability" not in changes:
        changes["durability"] = "fsync" if changes["durable"] else "disk"
    if "durability" in changes:
        changes["durable"] = changes["durability"] == "fsync"
    for name, (least, most) in _CLAMPS.items():
        if name in changes:
            changes[name] = min(max(changes[name], least), most)
    return msgspec.structs.replace(base, **changes)


def effective_priority(config: TopicConfig, idle_ms: int | None) -> int:
    """-1000 to 1000: who goes first under pressure. ``idle_ms``: since the topic was last read; None: it never was.

    A priority that was set counts; else 500 for what is read now, half as much every 30 s, and 0 after 5 minutes.
    """
    if config.priority is not None:
        return min(max(config.priority, -MOST_PRIORITY), MOST_PRIORITY)
    if not config.auto_priority or idle_ms is None or idle_ms >= FORGOTTEN_MS:
        return 0
    fading: float = 2.0 ** (-max(idle_ms, 0) / HALF_LIFE_MS)
    return round(READ_NOW * fading)


def as_json(config: TopicConfig) -> dict[str, Any]:
    """All fields, as answers show them."""
    return msgspec.structs.asdict(config)


def _checked(name: str, value: object) -> Any:
    option = OPTIONS[name]
    if value is None and name in _NULLABLE:
        return None
    match option.kind:
        case "flag":
            if isinstance(value, bool):
                return value
        case "word":
            if isinstance(value, str) and value in option.words:
                return value
        case "text":
            fits, kind = (is_node, "node") if name == "home" else (is_topic, "topic")
            if isinstance(value, str) and fits(value):
                return value
            raise InvalidRequest(f"{name}: expected a {kind}'s name or null, found {quoted(value)}", {"field": name})
        case _:
            if isinstance(value, int) and not isinstance(value, bool) and option.least <= value <= option.most:
                return value
    raise InvalidRequest(f"{name}: expected {_expected(option)}, found {quoted(value)}", {"field": name})


def _expected(option: Option) -> str:
    unit = {"duration": " of milliseconds", "size": " of bytes"}.get(option.kind, "")
    if option.kind in ("flag", "word"):
        return option.expected()
    return f"a whole number{unit} from {option.least} to {option.most}"
