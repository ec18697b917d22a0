"""The ``[[links]]`` of a file: each entry by itself, and all of them together as a graph."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigError
from ..names import is_prefix, is_topic
from .access.auth import read_reference
from .lines import Faults, Path
from .model import Config, LinkConfig, Want
from .option import options_of, quoted, read
from .topology import Flow

KEYS_NOT_YET = frozenset(
    {
        "rate",
        "daily",
        "window",
        "only",
        "not",
        "filter",
        "protocol",
        "mirror_deletes",
        "mirror_groups",
        "priority",
    }
)
_OPTIONS = {option.key or field: (field, option) for field, option in options_of(LinkConfig).items()}
_DIRECTION = (("pull", "pull"), ("from", "source"))
_SETTINGS = {"via": "via", "on_gap": "on_gap", "gap_patience": "gap_patience_ms", "key": "key"}


def unfit_url(url: str) -> str:
    """Why this cannot be the address of a peer, or nothing."""
    expected = f'expected a URL such as "http://127.0.0.1:4001", found {quoted(url)}'
    try:
        parts = urlsplit(url)
        fit = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        plain = url.isascii() and url.isprintable() and not set(' "?#@') & set(url)
        return "" if fit and plain else expected
    except ValueError:
        return expected


def read_link(faults: Faults, path: Path, entry: object, nodes: Collection[str]) -> LinkConfig | None:
    """One entry, or None when something in it is wrong; what it is has been added to the faults."""
    if not isinstance(entry, dict):
        faults.add(path, f"expected a table, found {quoted(entry)}")
        return None
    values: dict[str, Any] = {"wants": ()}
    for key, value in entry.items():
        if key in KEYS_NOT_YET:
            faults.not_yet((*path, key))
        elif key not in _OPTIONS:
            faults.unknown((*path, key), _OPTIONS)
        else:
            field, option = _OPTIONS[key]
            if key == "key":
                values[field] = read_reference(faults, (*path, key), value)
                continue
            try:
                values[field] = read(option, value)
            except ConfigError as error:
                faults.add((*path, key), str(error))
    values["wants"] = _wants(faults, path, values["wants"])
    if "via" in values:
        values["via"] = values["via"].rstrip("/")
    return LinkConfig(**values) if _ends_fit(faults, path, values, nodes) and values["wants"] else None


def _wants(faults: Faults, path: Path, found: list[object]) -> tuple[Want, ...]:
    here = (*path, "topics")
    if not found:
        faults.add(here, 'expected topics to pull: names, or prefixes such as "chat:*"; "*" is all')
    wants = (_want(faults, (*here, place), entry) for place, entry in enumerate(found))
    return tuple(want for want in wants if want is not None)


def _want(faults: Faults, path: Path, entry: object) -> Want | None:
    if isinstance(entry, str) and (is_topic(entry) or is_prefix(entry)):
        return Want(entry, entry)
    if not isinstance(entry, dict):
        known = 'a topic\'s name, a prefix such as "chat:*" or {from = "x", as = "y"}'
        faults.add(path, f"expected {known}, found {quoted(entry)}")
        return None
    fit = [_is_rename_end(faults, (*path, key), entry.get(key)) for key in dict.fromkeys((*entry, "from", "as"))]
    return Want(entry["from"], entry["as"]) if all(fit) else None


def _is_rename_end(faults: Faults, path: Path, name: object) -> bool:
    if path[-1] in KEYS_NOT_YET:
        faults.not_yet(path)
    elif path[-1] not in ("from", "as"):
        faults.unknown(path, ("from", "as"))
    elif isinstance(name, str) and is_topic(name):
        return True
    elif isinstance(name, str) and is_prefix(name):
        faults.add(path, f"expected one topic's name, found {quoted(name)}: a prefix cannot be renamed")
    else:
        faults.add(path, f"expected a topic's name, found {quoted(name) if name is not None else 'nothing'}")
    return False


def _ends_fit(faults: Faults, path: Path, values: dict[str, Any], nodes: Collection[str]) -> bool:
    """Whether a mesh or a direction is named, of nodes that there are and that differ."""
    if "between" in values:
        return _mesh_fits(faults, path, values, nodes)
    fits = [_is_node(faults, (*path, key), values.get(field), nodes) for key, field in _DIRECTION]
    if not all(fits):
        return False
    if values["pull"] == values["source"]:
        why = f"expected another node, found {quoted(values['pull'])}, which would pull from itself"
        faults.add((*path, "from"), why)
        return False
    why = unfit_url(values["via"]) if "via" in values else ""
    if why:
        faults.add((*path, "via"), why)
    return not why


def _mesh_fits(faults: Faults, path: Path, values: dict[str, Any], nodes: Collection[str]) -> bool:
    names = values["between"] = tuple(values["between"])
    here = (*path, "between")
    fits = [_is_node(faults, (*here, place), name, nodes) for place, name in enumerate(names)]
    if not all(fits):
        return False
    beside = [key for key, field in (*_DIRECTION, ("via", "via")) if field in values]
    for key in beside:
        faults.add((*path, key), "expected with pull and from only, found beside between: write another entry")
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if len(names) < 2:
        faults.add(here, f"expected two or more nodes, found {len(names)}")
    elif twice is not None:
        faults.add(here, f"expected every node once, found {quoted(twice)} twice")
    return not beside and len(names) >= 2 and twice is None


def _is_node(faults: Faults, path: Path, name: object, nodes: Collection[str]) -> bool:
    if isinstance(name, str) and name in nodes:
        return True
    if isinstance(name, str):
        faults.unknown_node(path, name, nodes)
    elif name is None:
        faults.add(path, "expected a node's name, found nothing: write pull and from, or between = [...]")
    else:
        faults.add(path, f"expected a node's name, found {quoted(name)}")
    return False


def check_links(faults: Faults, config: Config) -> None:
    """Adds what is wrong with all links together: entries that contradict each other, renames in a ring."""
    for entries, pair in _shared_pairs(config).items():
        link = f"the link {pair[0]} from {pair[1]}"
        _check_wants(faults, config, entries, link)
        _check_settings(faults, config, entries, link)
    _check_addresses(faults, config)
    back = next(_led_back(config), None)
    if back is not None:
        place, message = back
        faults.add(("links", place, "topics"), message)


def _shared_pairs(config: Config) -> dict[tuple[int, ...], tuple[str, str]]:
    """Places of the entries that are about one pair (puller, source), with one such pair of the many."""
    entries: dict[tuple[str, str], list[int]] = {}
    for place, link in enumerate(config.links):
        for pair in link.pairs():
            entries.setdefault(pair, []).append(place)
    return {tuple(places): pair for pair, places in entries.items()}


def _check_wants(faults: Faults, config: Config, entries: tuple[int, ...], link: str) -> None:
    before: list[Want] = []
    for place in entries:
        for number, want in enumerate(config.links[place].wants):
            why = next(filter(None, (clash(want, other) for other in before)), "")
            if why:
                message = f"expected one name for one topic on {link}, found that {why}"
                faults.add(("links", place, "topics", number), message)
            before.append(want)


def _check_settings(faults: Faults, config: Config, entries: tuple[int, ...], link: str) -> None:
    for key, field in _SETTINGS.items():
        given = ((place, getattr(config.links[place], field)) for place in entries)
        (_, first), *others = [each for each in given if each[1] is not None] or [(0, None)]
        for place, value in others:
            if value != first:
                message = f"expected {quoted(first)} as in another entry for {link}, found {quoted(value)}"
                faults.add(("links", place, key), message)


def clash(one: Want, other: Want) -> str:
    """Why two wants cannot be on one link, or nothing."""
    for want, against in ((one, other), (other, one)):
        if not want.source.endswith("*"):
            local, source = against.local_name(want.source), against.source_name(want.local)
            if local is not None and local != want.local:
                return f"{want.source} is pulled both as {want.local} and as {local}"
            if source is not None and source != want.source:
                return f"both {want.source} and {source} would come into {want.local}"
    return ""


def _check_addresses(faults: Faults, config: Config) -> None:
    """Who is pulled from must be reachable under its url; how many peers there are is bounded."""
    pairs = {pair for link in config.links for pair in link.pairs()}
    direct = {source for link in config.links if link.via is None for _, source in link.pairs()}
    peers: dict[str, set[str]] = {name: set() for name in config.nodes}
    for puller, source in pairs:
        peers[puller].add(source)
        peers[source].add(puller)
    for name, node in config.nodes.items():
        port_known = not node.url.endswith(":0")
        if (
            name in direct
            and node.url.partition("://")[2] == node.listen
            and not (port_known and is_address(node.listen))
        ):
            message = f"expected how peers reach the node, found nothing: it listens at {node.listen}"
            faults.add(("nodes", name, "url"), message)
        if len(peers[name]) > config.limits.max_peers:
            most = f"{config.limits.max_peers} peers (limits.max_peers)"
            faults.add(("nodes", name), f"expected at most {most}, found {len(peers[name])}")


def is_address(listen: str) -> bool:
    """Whether others can connect to what is listened at: not when that is every address of the machine."""
    return listen.rsplit(":", 1)[0] not in ("0.0.0.0", "[::]")


def _led_back(config: Config) -> Iterator[tuple[int, str]]:
    """(place of the entry, what is wrong) for renames by which a topic comes back under another name."""
    renames = {
        want.source: place
        for place, link in enumerate(config.links)
        for want in link.wants
        if want.source != want.local
    }
    flow = Flow(config)
    for topic, place in renames.items():
        for node in config.nodes:
            back = {name for where, name in flow.reach(node, topic) if where == node and name != topic}
            for name in sorted(back):
                loop = f"what is written to {topic} on {node} comes back to it as {name}"
                yield place, f"expected no rename that leads back, found that {loop}"
