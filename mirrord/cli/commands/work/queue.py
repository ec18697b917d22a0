"""``mirrord queue``: jobs of a queue: how it stands, claiming, settling, and working by a command."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ....client import call as topics
from ....client.queues import call
from ...figures import count, duration, fact, harmless
from ...intake.written import Duration
from ...lines import payload
from ...patience import Patience
from ...screen import say, say_json, show, table
from ...target import Target, speaks_to_a_node
from .worker import Worker

if TYPE_CHECKING:
    from rich.console import RenderableType

_SETTINGS = ("lease_ms", "claim_jitter_ms", "max_deliveries", "dead_letter", "leases_durable")

_worker = click.option(
    "--worker", "-w", default=os.uname().nodename, metavar="NAME", help="Who holds the leases.  [default: this machine]"
)
_leased = click.argument("leased", nargs=-1, required=True, metavar="SEQ[:LEASE_ID]...")


@click.group()
def queue() -> None:
    """Queues lease each record, as a job, to one worker at a time, until it is acknowledged."""


@queue.command("show")
@click.argument("name")
@speaks_to_a_node
def show_queue(target: Target, name: str) -> None:
    """How many jobs are ready, leased, set aside. And how NAME is set."""
    with target.api() as api:
        say(api.ask(topics.topic(name)), target.as_json, partial(_standing, name))


@queue.command("claim")
@click.argument("name")
@_worker
@click.option("--max", "most", type=click.IntRange(1), default=1, show_default=True, help="At most so many jobs.")
@click.option("--lease", type=Duration(), help="How long they are held.  [default: as the queue is set]")
@speaks_to_a_node
def claim(target: Target, name: str, worker: str, most: int, lease: int | None) -> None:
    """Lease jobs of NAME. Acknowledge them by the seqs and lease ids that are shown."""
    with target.api() as api:
        answer = api.ask(call.claim(name, worker, max_jobs=most, lease_ms=lease))
    if target.as_json:
        say_json(answer)
        return
    told, now_ms = answer.object(), target.doors.clock.wall_ms()
    rows = [_job_row(job, now_ms) for job in told["claimed"]]
    if rows:
        show(table(None, ["job", "for", "#deliveries", "tag", "data"], rows))
    click.echo(f"{count(len(rows))} leased to {harmless(worker)}, {count(told['ready'])} ready", err=True)


@queue.command("ack")
@click.argument("name")
@_leased
@_worker
@speaks_to_a_node
def ack(target: Target, name: str, leased: tuple[str, ...], worker: str) -> None:
    """These jobs are done, and gone for ever."""
    seqs, lease_ids = _read_leased(leased)
    with target.api() as api:
        answer = api.ask(call.ack(name, worker, seqs, lease_ids))
    say(answer, target.as_json, partial(_settled, "acked", "done"))


@queue.command("nack")
@click.argument("name")
@_leased
@_worker
@click.option("--delay", type=Duration(), default=0, help="Nobody gets them for so long.  [default: at once]")
@speaks_to_a_node
def nack(target: Target, name: str, leased: tuple[str, ...], worker: str, delay: int) -> None:
    """Give these jobs back: another worker gets them."""
    seqs, lease_ids = _read_leased(leased)
    with target.api() as api:
        answer = api.ask(call.nack(name, worker, seqs, lease_ids, delay_ms=delay))
    say(answer, target.as_json, partial(_settled, "nacked", "given back"))


@queue.command("extend")
@click.argument("name")
@_leased
@_worker
@click.option("--lease", type=Duration(), required=True, help="From now on: 30s, 5m.")
@speaks_to_a_node
def extend(target: Target, name: str, leased: tuple[str, ...], worker: str, lease: int) -> None:
    """Hold these jobs for longer."""
    seqs, lease_ids = _read_leased(leased)
    with target.api() as api:
        answer = api.ask(call.extend(name, worker, seqs, lease_ids, lease_ms=lease))
    say(answer, target.as_json, partial(_settled, "extended", "held on"))


@queue.command("work", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--worker", "-w", default=f"{os.uname().nodename}-{os.getpid()}", metavar="NAME", help="Who works.")
@click.option(
    "--lease", type=Duration(), default="30s", show_default=True, help="How long a job is held between signs."
)
@click.option("--retry-delay", type=Duration(), default=0, help="A failed job waits so long.  [default: not]")
@click.option("--count", "most", type=click.IntRange(1), help="End after so many jobs.")
@speaks_to_a_node
@click.argument("name")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def work(
    target: Target, name: str, command: tuple[str, ...], worker: str, lease: int, retry_delay: int, most: int | None
) -> None:
    """Run COMMAND for every job of NAME, one after the other. Options first, then NAME, then COMMAND and its words.

    It gets the payload as JSON on its standard input and MIRRORD_TOPIC, MIRRORD_SEQ, MIRRORD_TAG, MIRRORD_META and
    MIRRORD_DELIVERIES in its environment. Exit code 0 acknowledges the job, anything else gives it back; the lease is
    kept while it runs. Without COMMAND each job is printed, as one line of JSON, and acknowledged.
    """
    command = command[1:] if command[:1] == ("--",) else command
    if command and shutil.which(command[0]) is None:
        late = f"; options stand before {name}" if command[0].startswith("-") else ""
        raise click.UsageError(f"{command[0]}: there is no such command{late}")
    with target.api() as api, target.open(target.places[0]) as stream:
        patience = Patience(target.doors, name)
        Worker(api, stream, name, worker, lease, retry_delay).work(command, patience, most)


def _read_leased(words: Sequence[str]) -> tuple[list[int], list[str] | None]:
    """``12:lease_a`` or just ``12``, which is not fenced."""
    seqs, lease_ids = [], []
    for word in words:
        seq, _, lease_id = word.partition(":")
        if not seq.isdecimal():
            raise click.UsageError(f"{word!r} is no job: write SEQ or SEQ:LEASE_ID as claim shows it")
        seqs.append(int(seq))
        lease_ids.append(lease_id)
    return seqs, lease_ids if any(lease_ids) else None


def _job_row(job: dict[str, Any], now_ms: int) -> tuple[str, ...]:
    left = duration(max(0, job["deadline"] - now_ms) / 1000)
    name = f"{job['$seq']}:{job['lease_id']}"
    return (name, left, count(job["deliveries"]), job.get("$tag") or "", payload(job["data"], text=False))


def _standing(name: str, told: dict[str, Any]) -> RenderableType:
    if "queue" not in told:
        raise click.ClickException(f"{name} is a log, not a queue, and stays one")
    facts = [(word.replace("_", " "), fact(value)) for word, value in told["queue"].items()]
    facts += [(word, fact(told["config"][word])) for word in _SETTINGS if told["config"].get(word) is not None]
    return table(name, ["", ""], facts)


def _settled(field: str, words: str, told: dict[str, Any]) -> str:
    skipped = f"; not held any more: {', '.join(map(str, told['skipped']))}" if told["skipped"] else ""
    return f"{count(told[field])} {words}{skipped}"
