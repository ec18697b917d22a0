"""The client library for code without async: the same names, which block.

    from mirrord.sync import Client

    with Client("http://127.0.0.1:4001") as client:
        client.topic("orders").append({"item": "tea"})
        for record in client.topic("orders").follow(after=cursor):
            ...

One thread with an event loop stands behind a client and does what the async library does, so batches are shipped and
leases are extended while the caller does something else. Threads may share a client. Ctrl-C ends a call that waits.
"""

from __future__ import annotations

from .client import Client
from .group import Delivery, Group, GroupReader
from .queue import Job, Queue, Worker
from .topic import Follow, Producer, Receipt, Topic

__all__ = [
    "Client", "Delivery", "Follow", "Group", "GroupReader", "Job", "Producer", "Queue", "Receipt", "Topic", "Worker",
]  # fmt: skip
