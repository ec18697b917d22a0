"""Dead letters: a record that was delivered too often, as it is appended to the topic for such records."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Raw

from ...records.draft import Draft
from .stock import Job

ORIGINAL_META = "$dead_letter_meta"
"""Where a meta that is no object is kept."""


def letter(job: Job, queue: str, deliveries: int, origin: Callable[[int], str]) -> Draft:
    """The copy: data and tag as they are, the writer's label or its origin's name, and where it comes from in meta."""
    data = job.data if isinstance(job.data, bytes) else Raw(job.data.encode())
    return Draft(data, job.tag, job.node or origin(job.strand), Raw(_meta(job, queue, deliveries)))


def _meta(job: Job, queue: str, deliveries: int) -> bytes:
    kept: dict[str, object] = {}
    if job.meta is not None:
        raw = Raw(job.meta.encode())
        is_object = job.meta.lstrip().startswith("{")
        kept = dict(msgspec.json.decode(raw, type=dict[str, Raw])) if is_object else {ORIGINAL_META: raw}
    kept["$dead_letter_from"] = queue
    kept["$dead_letter_deliveries"] = str(deliveries)
    kept["$dead_letter_src_seq"] = str(job.seq)
    return msgspec.json.encode(kept)
