"""Every key with its default and meaning: ``configs/every-key.toml`` is printed from here, docs list it.

``python -m mirrord.config.reference > configs/every-key.toml`` prints it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from .access.auth import AuthConfig
from .access.tls import TlsConfig
from .model import ClusterConfig, Limits, LinkConfig, MirroringConfig, NodeConfig, RouterConfig, StoreConfig
from .option import Option, as_duration, as_size, options_of, quoted
from .topic import TopicConfig

_HEAD = """\
# Every key that mirrord knows, with its default, its unit and what it means.
# Printed by `python -m mirrord.config.reference`; do not edit. `mirrord init` writes a file to begin with.
# Sizes: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB; a mere number is bytes.
# Durations: ms, s, m, h, d, w; a mere number is ms.
"""
_OTHER_NODES = """
[nodes.iad]
listen = "127.0.0.1:4002"

[nodes.sin]
listen = "127.0.0.1:4003"
"""
_TABLES: tuple[tuple[str, type[Struct], str], ...] = (
    ("[cluster]", ClusterConfig, "who belongs together"),
    ("[nodes.fra]", NodeConfig, "one table per node; its daemon is `mirrord run FILE --node fra`"),
    (
        "[topics.orders]",
        TopicConfig,
        'what a topic is on every node; for all that begin so: [topics."chat:*"]',
    ),
    ("[[links]]", LinkConfig, "a mesh"),
    ("[[links]]", LinkConfig, "one direction, for one more topic"),
    ("[routers.orders-audit]", RouterConfig, "copies between topics of one node"),
    ("[limits]", Limits, "what is beyond is refused by name"),
    ("[store]", StoreConfig, "how a node keeps its store"),
    ("[mirroring]", MirroringConfig, "how links and feeds behave"),
    ("[auth]", AuthConfig, "who may do what"),
    ("[tls]", TlsConfig, "files are relative to this one; what differs on one node: [nodes.fra.tls]"),
)


class Row(Struct, frozen=True):
    """One key of one table; ``default`` is TOML text, empty when there is no default."""

    table: str
    key: str
    default: str
    option: Option


def rows(header: str, table: type[Struct]) -> list[Row]:
    """The keys of a table in the order in which they are documented."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(table)}
    return [
        Row(header, option.key or name, _toml(option, defaults[name]), option)
        for name, option in options_of(table).items()
    ]


def every_row() -> list[Row]:
    """Every key of every table once."""
    tables = {header: table for header, table, _ in _TABLES}
    return [row for header, table in tables.items() for row in rows(header, table)]


def every_key() -> str:
    """The text of ``configs/every-key.toml``: valid, and every default as it is without the file."""
    parts = [_HEAD]
    mesh = True
    for header, table, meaning in _TABLES:
        found = rows(header, table)
        if table is LinkConfig:
            left_out, mesh = ({"pull", "from", "via"} if mesh else {"between"}), False
            found = [row for row in found if row.key not in left_out]
        parts.append("\n".join(["", header + "  # " + meaning, *_lines(found, table)]) + "\n")
        if table is NodeConfig:
            parts.append(_OTHER_NODES)
        if table is TopicConfig:
            parts.append(
                "\n[nodes.iad.topics.orders]  # what differs on one node\n" + "\n".join(_lines(found[:1], table)) + "\n"
            )
    return "".join(parts)


def _lines(found: list[Row], table: type[Struct]) -> Iterator[str]:
    for row in found:
        text = row.default or row.option.example
        if table is LinkConfig and row.key == "topics":
            text = text if found[0].key == "between" else '["audit"]'
        allowed = f" ({', '.join(row.option.words)})" if row.option.words else ""
        unset = "# " if table is TopicConfig and not row.default else ""  # none is the default, which TOML cannot say
        yield f"{unset}{row.key} = {text}".ljust(36) + f"  # {row.option.meaning}{allowed}"


def _toml(option: Option, default: object) -> str:
    if default is msgspec.NODEFAULT or default in ("", (), None):
        return ""
    if option.kind == "size" and isinstance(default, int):
        return quoted(as_size(default)) if default else "0"
    if option.kind == "duration" and isinstance(default, int):
        return quoted(as_duration(default)) if default else "0"
    return quoted(default)


if __name__ == "__main__":
    sys.stdout.write(every_key())
