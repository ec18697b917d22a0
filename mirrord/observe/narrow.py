"""What is told to somebody who may not know of all names: the same tree without what speaks of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import Metric

Sees = Callable[[str], bool]

NAMING = ("topic", "source", "dest", "router", "queue")
"""Whoever has one of these, as a key or a label, speaks of the topic or router of that name."""
_NAMELESS_ACTORS = ("link",)


def narrowed(tree: Any, sees: Sees) -> Any:
    """A tree of answers as ``sees`` allows: entries that name what it does not see are left out, whole."""
    if isinstance(tree, Mapping):
        return {
            key: _by_name(value, sees) if key == "topics" and isinstance(value, Mapping) else narrowed(value, sees)
            for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [narrowed(entry, sees) for entry in tree if not isinstance(entry, Mapping) or _visible(entry, sees)]
    return tree


def narrowed_metrics(metrics: Iterable[Metric], sees: Sees) -> Iterator[Metric]:
    """The same for labelled samples."""
    for metric in metrics:
        metric.samples = [sample for sample in metric.samples if _visible(sample.labels, sees)]
        yield metric


def _by_name(topics: Mapping[str, Any], sees: Sees) -> dict[str, Any]:
    return {name: narrowed(value, sees) for name, value in topics.items() if sees(name)}


def _visible(entry: Mapping[str, Any], sees: Sees) -> bool:
    named = (entry[key] for key in NAMING if key in entry)
    return all(not isinstance(name, str) or sees(name) for name in named) and _actor_visible(entry, sees)


def _actor_visible(entry: Mapping[str, Any], sees: Sees) -> bool:
    """Actors are called by what they are and whom they are for: ``topic:orders``."""
    kind, colon, name = str(entry.get("actor", entry.get("name", ""))).partition(":")
    return not colon or kind in _NAMELESS_ACTORS or sees(name)
