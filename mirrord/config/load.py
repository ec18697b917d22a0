"""From TOML text to a checked Config, or to a ConfigError: file, line and key of everything wrong in it."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from msgspec import Struct

from ..errors import ConfigError, InvalidRequest
from ..names import is_node, is_prefix, is_topic
from .access.auth import read_auth
from .access.tls import TlsConfig, check_tls, read_tls
from .lines import Faults, Path
from .links import check_links, is_address, read_link, unfit_url
from .model import ClusterConfig, Config, Fields, Limits, LinkConfig, MirroringConfig, NodeConfig, StoreConfig
from .option import Option, options_of, quoted
from .routers import check_routers, read_routers
from .topic import OPTIONS as TOPIC_OPTIONS
from .topic import topic_config

MAX_FILE_BYTES = 8 << 20
MAX_DEPTH = 12

SECTIONS = ("cluster", "nodes", "topics", "links", "routers", "limits", "store", "mirroring", "auth", "tls")
SECTIONS_NOT_YET = frozenset({"jobs", "schedules", "locks", "presence"})
TOPIC_KEYS_NOT_YET = frozenset({"mirror_deletes", "compression"})
STORE_KEYS_NOT_YET = frozenset({"url"})

_NODE_OPTIONS = options_of(NodeConfig) | {
    "topics": Option("table", "what differs on this node"),
    "tls": Option("table", "what differs on this node"),
}
_LISTEN = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", re.ASCII)
_NOT_ABOVE = (  # (table, key, key): the first value may not be above the second
    ("limits", "max_record_bytes", "max_body_bytes"),
    ("limits", "max_meta_bytes", "max_record_bytes"),
    ("limits", "min_heartbeat_ms", "max_heartbeat_ms"),
    ("limits", "min_lease_ms", "max_lease_ms"),
    ("store", "pack_bytes", "transaction_bytes"),
    ("store", "wal_restart_bytes", "wal_limit_bytes"),
    ("mirroring", "max_frame_bytes", "buffer_bytes"),
    ("mirroring", "backoff_min_ms", "backoff_max_ms"),
)

T = TypeVar("T", bound=Struct)


def load(path: str) -> Config:
    """The configuration in this file. Raises ConfigError: unreadable, no TOML, or something cannot work."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB; is this the configuration?")
    try:
        return parse(content.decode(), path)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8; save the file as UTF-8") from error


def parse(text: str, file: str = "<text>") -> Config:
    """The configuration in this text; a ``data_dir`` is relative to ``file``'s folder. Raises ConfigError."""
    tree = _toml(text, file)
    faults = Faults(file, text)
    for key in tree:
        if key in SECTIONS_NOT_YET:
            faults.not_yet((key,))
        elif key not in SECTIONS:
            faults.unknown((key,), SECTIONS)
    folder = os.path.dirname(os.path.abspath(file))
    tls = read_tls(faults, ("tls",), tree.get("tls", {}), folder)
    nodes = _nodes(faults, tree.get("nodes", {}), folder, tls)
    config = Config(
        cluster=_cluster(faults, tree.get("cluster", {})),
        nodes=nodes,
        topics=_topics(faults, ("topics",), tree.get("topics", {})),
        links=_links(faults, tree.get("links", []), nodes),
        routers=read_routers(faults, tree.get("routers", {}), nodes),
        limits=_section(faults, "limits", tree, Limits),
        store=_section(faults, "store", tree, StoreConfig, STORE_KEYS_NOT_YET),
        mirroring=_section(faults, "mirroring", tree, MirroringConfig),
        auth=read_auth(faults, tree.get("auth", {})),
        file=None if file == "<text>" else file,
    )
    faults.check()
    _check_homes(faults, config)
    check_links(faults, config)
    check_routers(faults, config)
    faults.check()
    return config


def _toml(text: str, file: str) -> dict[str, Any]:
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        found = re.fullmatch(r"(.*?)(?: \(at (?:line (\d+), column \d+|end of document)\))?", str(error), re.DOTALL)
        what, line = (found[1], found[2]) if found else (str(error), None)
        where = line or str(text.count("\n") + 1 if "end of document" in str(error) else 1)
        raise ConfigError(f"{file}:{where}: not TOML: {what[:200]}") from error
    if _deeper(tree, MAX_DEPTH):
        raise ConfigError(f"{file}:1: not a configuration: nested deeper than {MAX_DEPTH} levels")
    return tree


def _deeper(value: object, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_deeper(each, levels - 1) for each in inner)


def _section(faults: Faults, name: str, tree: Mapping[str, Any], table: type[T], not_yet: Collection[str] = ()) -> T:
    section = table(**faults.table((name,), tree.get(name, {}), options_of(table), not_yet))
    for where, low, high in _NOT_ABOVE:
        if where == name and getattr(section, low) > getattr(section, high):
            faults.add(
                (name, low),
                f"expected no more than {high} = {getattr(section, high)}, found {getattr(section, low)}",
            )
    return section


def _cluster(faults: Faults, found: object) -> str:
    name = ClusterConfig(**faults.table(("cluster",), found, options_of(ClusterConfig))).name
    if not is_node(name):
        faults.add(("cluster", "name"), f"expected 1 to 63 of A-Z a-z 0-9 . _ -, found {quoted(name)}")
    return name


def _nodes(faults: Faults, found: object, folder: str, tls: TlsConfig) -> dict[str, NodeConfig]:
    if not isinstance(found, dict) or not found:
        faults.add(("nodes",), "expected at least one node: [nodes.NAME] with listen")
        return {}
    nodes: dict[str, NodeConfig] = {}
    for name, table in found.items():
        path = ("nodes", name)
        if is_node(name):
            values = faults.table(path, table, _NODE_OPTIONS)
            values["tls"] = _node_tls(faults, path, values.get("tls"), folder, tls)
            node = _node(faults, path, name, values, folder)
            for other in nodes.values():
                _check_apart(faults, path, node, other)
            nodes[name] = node
        else:
            faults.add(path, f"expected a node's name, 1 to 63 of A-Z a-z 0-9 . _ -, found {quoted(name)}")
    return nodes


def _node_tls(faults: Faults, path: Path, differs: object, folder: str, tls: TlsConfig) -> TlsConfig:
    where: Path = ("tls",) if differs is None else (*path, "tls")
    found = tls if differs is None else read_tls(faults, where, differs, folder, tls)
    check_tls(faults, where, found)
    return found


def _node(faults: Faults, path: Path, name: str, values: dict[str, Any], folder: str) -> NodeConfig:
    listen = values.get("listen", NodeConfig(name).listen)
    address = _LISTEN.fullmatch(listen)
    if address is None or int(address[2]) > 65535:
        faults.add((*path, "listen"), f'expected host:port such as "127.0.0.1:4001", found {quoted(listen)}')
        listen = "127.0.0.1:0"
    scheme = "https" if values["tls"].serves else "http"
    url = values.get("url", f"{scheme}://{listen}").rstrip("/")
    if "url" in values and (why := unfit_url(url)):
        faults.add((*path, "url"), why)
    return NodeConfig(
        name=name,
        listen=listen,
        url=url,
        data_dir=os.path.normpath(os.path.join(folder, values.get("data_dir") or os.path.join("data", name))),
        topics=_topics(faults, (*path, "topics"), values.get("topics", {})),
        tls=values["tls"],
    )


def _check_apart(faults: Faults, path: Path, node: NodeConfig, other: NodeConfig) -> None:
    """Nodes whose urls name one machine share neither address nor directory; on two they may look alike."""
    if _host(node.url) != _host(other.url):
        return
    (_, port), (_, other_port) = node.listen.rsplit(":", 1), other.listen.rsplit(":", 1)
    same = node.listen == other.listen or not (is_address(node.listen) and is_address(other.listen))
    taken: list[tuple[str, str, str]] = []
    if port == other_port != "0" and same:
        taken.append(("listen", "a port", node.listen))
    elif node.url == other.url and port != "0":
        taken.append(("url", "a URL", node.url))
    if node.data_dir == other.data_dir:
        taken.append(("data_dir", "a directory", node.data_dir))
    for key, what, found in taken:
        faults.add((*path, key), f"expected {what} of its own, found {quoted(found)}, which {other.name} has")


def _host(url: str) -> str:
    return url.split("://", 1)[-1].split("/", 1)[0].rsplit(":", 1)[0]


def _topics(faults: Faults, path: Path, found: object) -> dict[str, Fields]:
    if not isinstance(found, dict):
        faults.add(path, f"expected tables such as [{path[0]}.orders], found {quoted(found)}")
        return {}
    topics: dict[str, Fields] = {}
    for name, table in found.items():
        here = (*path, name)
        if not (is_topic(name) or is_prefix(name)):
            faults.add(
                here,
                f'expected a topic\'s name or a prefix such as "chat:*" (1 to 255 of '
                f"A-Z a-z 0-9 . _ : -), found {quoted(name)}",
            )
        topics[name] = _topic(faults, here, faults.table(here, table, TOPIC_OPTIONS, TOPIC_KEYS_NOT_YET))
    return topics


def _topic(faults: Faults, path: Path, values: dict[str, Any]) -> Fields:
    for key, value in values.items():
        try:
            topic_config({key: value})
        except InvalidRequest as error:
            faults.add((*path, key), str(error).removeprefix(f"{key}: "))
    if "durable" in values:
        durable = values.pop("durable")
        values.setdefault("durability", "fsync" if durable else "disk")
    return values


def _check_homes(faults: Faults, config: Config) -> None:
    """A queue's home is a node of the file, and one for all nodes."""
    for name, fields in config.topics.items():
        home = fields.get("home")
        if isinstance(home, str) and home not in config.nodes:
            faults.unknown_node(("topics", name, "home"), home, config.nodes)
    for node in config.nodes.values():
        for name in (name for name, fields in node.topics.items() if "home" in fields):
            faults.add(("nodes", node.name, "topics", name, "home"), f"expected in [topics.{name}]: one for all nodes")


def _links(faults: Faults, found: object, nodes: Mapping[str, NodeConfig]) -> tuple[LinkConfig, ...]:
    if not isinstance(found, list):
        faults.add(("links",), "expected a list of tables: write [[links]] in double brackets")
        return ()
    links = (read_link(faults, ("links", place), entry, nodes) for place, entry in enumerate(found))
    return tuple(link for link in links if link is not None)
