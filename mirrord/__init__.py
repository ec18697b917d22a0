"""mirrord: one daemon per node; topics that can be written everywhere and end up the same everywhere.

The client library's names are here: ``from mirrord import Client``. They are loaded when they are first asked for, so
that neither the daemon nor ``import mirrord`` pays for them. ``mirrord.sync`` has the same for code without async.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client.call import Draft as Draft
    from .client.client import Client as Client
    from .client.client import Router as Router
    from .client.groups.group import Group as Group
    from .client.groups.group import GroupState as GroupState
    from .client.groups.reader import Delivery as Delivery
    from .client.groups.reader import GroupReader as GroupReader
    from .client.queues.job import Job as Job
    from .client.queues.queue import Queue as Queue
    from .client.queues.queue import QueueCounts as QueueCounts
    from .client.queues.worker import Worker as Worker
    from .client.records.follow import Follow as Follow
    from .client.records.record import Cursor as Cursor
    from .client.records.record import Page as Page
    from .client.records.record import Record as Record
    from .client.records.record import Tombstone as Tombstone
    from .client.sending.appended import Appended as Appended
    from .client.sending.producer import Producer as Producer
    from .client.sending.receipt import Receipt as Receipt
    from .client.topic import Deleted as Deleted
    from .client.topic import Topic as Topic
    from .client.topic import TopicState as TopicState
    from .errors import MirrordError as MirrordError

__version__ = "0.1.0"

_WHERE = {
    "client.call": ("Draft",),
    "client.client": ("Client", "Router"),
    "client.groups.group": ("Group", "GroupState"),
    "client.groups.reader": ("Delivery", "GroupReader"),
    "client.queues.job": ("Job",),
    "client.queues.queue": ("Queue", "QueueCounts"),
    "client.queues.worker": ("Worker",),
    "client.records.follow": ("Follow",),
    "client.records.record": ("Cursor", "Page", "Record", "Tombstone"),
    "client.sending.appended": ("Appended",),
    "client.sending.producer": ("Producer",),
    "client.sending.receipt": ("Receipt",),
    "client.topic": ("Deleted", "Topic", "TopicState"),
    "errors": ("MirrordError",),
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}
__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'mirrord' has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
