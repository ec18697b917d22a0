"""What can be asked of a lease queue, as values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..call import Call, topic_path

LONGEST_JITTER_MS = 5_000  # a claim may be made to wait for others by claim_jitter_ms


def claim(topic: str, node: str, *, max_jobs: int = 1, lease_ms: int | None = None) -> Call:
    """Lease up to ``max_jobs`` jobs to the worker ``node``; there may be none."""
    return _post(topic, "claim", {"node": node, "max": max_jobs, "lease_ms": lease_ms}, LONGEST_JITTER_MS)


def ack(topic: str, node: str, seqs: Sequence[int], lease_ids: Sequence[str] | None = None) -> Call:
    """These jobs are done, and gone for ever; ``skipped`` in the answer are those not leased to us any more."""
    return _post(topic, "ack", {"node": node, "seqs": seqs, "lease_ids": lease_ids})


def nack(
    topic: str, node: str, seqs: Sequence[int], lease_ids: Sequence[str] | None = None, *, delay_ms: int = 0
) -> Call:
    """Give these jobs back, to be had by others after ``delay_ms``."""
    body = {"node": node, "seqs": seqs, "lease_ids": lease_ids, "delay_ms": delay_ms or None}
    return _post(topic, "nack", body)


def extend(
    topic: str, node: str, seqs: Sequence[int], lease_ids: Sequence[str] | None = None, *, lease_ms: int
) -> Call:
    """Keep these jobs for ``lease_ms`` from now on."""
    return _post(topic, "extend", {"node": node, "seqs": seqs, "lease_ids": lease_ids, "lease_ms": lease_ms})


def work(topic: str, node: str, *, max_jobs: int = 1, lease_ms: int | None = None) -> Call:
    """A stream of jobs, at most ``max_jobs`` leased at a time; all are released when it is closed."""
    query = {"node": node, "max": str(max_jobs)} | ({"lease_ms": str(lease_ms)} if lease_ms is not None else {})
    return Call("GET", topic_path(topic) + "/work", query)


def _post(topic: str, verb: str, body: dict[str, Any], wait_ms: int = 0) -> Call:
    told = {word: value for word, value in body.items() if value is not None}
    return Call("POST", f"{topic_path(topic)}/{verb}", body=msgspec.json.encode(told), wait_ms=wait_ms)
