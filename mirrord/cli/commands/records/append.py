"""``mirrord append``: records from arguments, a file or a pipe, each batch written exactly once."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from ....client.answer import Answer
from ....client.call import Draft
from ....errors import InvalidRequest
from ...doors import Doors
from ...figures import count, duration, rate
from ...intake.appender import Appender
from ...intake.batches import Batch, batches, blocks, json_draft, lines, record_draft, text_draft
from ...screen import say_json
from ...target import Target, speaks_to_a_node

Advance = Callable[[Batch], None]


@click.command()
@click.argument("topic")
@click.argument("data", nargs=-1)
@click.option("--from", "source", metavar="FILE", help="Read records from FILE, one a line; - is standard input.")
@click.option("--text", is_flag=True, help="DATA are texts, not JSON.")
@click.option("--jsonl", is_flag=True, help='Lines of --from are JSON: payloads, or {"data": ..., "tag": ...}.')
@click.option("--tag", help="Tag of every record that brings none.")
@click.option("--node-label", metavar="NAME", help="What readers see as $node instead of the node's name.")
@click.option(
    "--batch",
    "most",
    type=click.IntRange(1, 10_000),
    default=1000,
    show_default=True,
    help="Records at once.",
)
@click.option("--rate", "per_s", type=click.FloatRange(0.1), help="At most so many records a second.")
@speaks_to_a_node
def append(
    target: Target, topic: str, data: tuple[str, ...], source: str | None, text: bool, jsonl: bool,
    tag: str | None, node_label: str | None, most: int, per_s: float | None,
) -> None:  # fmt: skip
    """Append DATA (each a JSON value), or the lines of a file, to TOPIC.

    What gets no answer is repeated under the same idempotency key: nothing is lost, nothing doubled.
    """
    if bool(data) == (source is not None):
        raise click.UsageError("give the records as DATA, or name where they come from with --from FILE")
    most = min(most, max(1, int(per_s))) if per_s is not None else most
    with target.api() as api:
        appender = Appender(api, topic, target.doors, node=node_label)
        if source is None:
            _append_data(appender, target, _from_arguments(data, text, tag, most))
            return
        draft = functools.partial(record_draft if jsonl else text_draft, tag=tag)
        with _opened(source, target.doors) as fd:
            found = _complaining(batches(lines(blocks(fd)), draft, most))
            _append_all(appender, target, found, _size(fd), per_s)


def _from_arguments(data: tuple[str, ...], text: bool, tag: str | None, most: int) -> Iterable[Batch]:
    """All of them are checked before the first is written."""
    draft = functools.partial(text_draft if text else json_draft, tag=tag)
    drafts: list[Draft] = []
    for word in data:
        try:
            drafts.append(draft(os.fsencode(word)))
        except InvalidRequest as error:
            raise click.UsageError(f"{word!r}: {error}; --text appends it as a string") from None
    return [Batch(tuple(drafts[i : i + most]), 0) for i in range(0, len(drafts), most)]


def _complaining(found: Iterable[Batch]) -> Iterator[Batch]:
    """Input that makes no record is the caller's mistake, not the node's refusal."""
    try:
        yield from found
    except InvalidRequest as error:
        raise click.ClickException(str(error)) from None


def _append_data(appender: Appender, target: Target, found: Iterable[Batch]) -> None:
    for batch in found:
        answer = appender.append(batch.drafts)
        if target.as_json:
            say_json(answer)
        else:
            click.echo(_line(answer))


def _append_all(
    appender: Appender, target: Target, found: Iterable[Batch], total_bytes: int | None, per_s: float | None
) -> None:
    began = target.doors.clock.monotonic()
    with _progress(total_bytes, appender) as advance:
        for batch in found:
            answer = appender.append(batch.drafts)
            if target.as_json:
                say_json(answer)
            advance(batch)
            if per_s is not None:
                ahead_s = began + appender.records / per_s - target.doors.clock.monotonic()
                if ahead_s > 0:
                    target.doors.pause(ahead_s)
    if not target.as_json:
        took_s = max(target.doors.clock.monotonic() - began, 1e-6)
        speed = rate(appender.records / took_s)
        repeated = f", {appender.repeats} repeats" if appender.repeats else ""
        click.echo(f"{count(appender.records)} records in {duration(took_s)} ({speed}{repeated})")


def _line(answer: Answer) -> str:
    told = answer.object()
    seqs = f"{told['first_seq']}" if told["count"] == 1 else f"{told['first_seq']}..{told['last_seq']}"
    return f"{told['topic']} {seqs}" + (" (was there already)" if told.get("deduped") else "")


@contextmanager
def _opened(source: str, doors: Doors) -> Iterator[int]:
    if source == "-":
        yield doors.stdin_fd
        return
    with open(source, "rb", buffering=0) as file:
        yield file.fileno()


def _size(fd: int) -> int | None:
    """How much there is to read, if that can be known: a pipe's end cannot."""
    return os.fstat(fd).st_size or None


@contextmanager
def _progress(total_bytes: int | None, appender: Appender) -> Iterator[Advance]:
    """A bar with rate and ETA on stderr when somebody looks at it."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns: list[Any] = [
        BarColumn(),
        TextColumn("{task.fields[records]} records"),
        TextColumn("{task.fields[speed]}"),
    ]
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("append", total=total_bytes, records="0", speed="")

        def advance(batch: Batch) -> None:
            elapsed_s = max(bar.tasks[task].elapsed or 0.0, 1e-6)
            speed = rate(appender.records / elapsed_s)
            bar.update(task, advance=batch.input_bytes, records=count(appender.records), speed=speed)

        yield advance
