"""``mirrord verify A B``: proves by hashes that two nodes hold the same, or names what differs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import click
import msgspec
from msgspec import Struct

from ....client import call
from ....client.comparison import MEANINGS, Digest, Finding, compare, held, questions
from ....errors import PeerUnreachable, ProtocolViolation, TopicNotFound, Unavailable
from ...cells import Cell
from ...doors import Doors, Trust
from ...figures import count
from ...main import FAILED
from ...screen import show, table
from ...target import Place, Target, place_at, place_named, places_of, trust_of, trusts

if TYPE_CHECKING:
    from ....client.api import Api

Carried = Callable[[str, str], bool]
_LOOK_AGAIN_S = 0.5
_TOPIC_HELP = "Only this one; may be repeated. ON_A=ON_B where a link renames it.  [default: all]"


class _Verdict(Struct, frozen=True):
    """What was compared and what differs."""

    topics: int
    records: int
    findings: list[Finding]


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--file", type=click.Path(), metavar="TOML", help="A and B are names of nodes in this file.")
@click.option("--topic", "only", multiple=True, metavar="TOPIC", help=_TOPIC_HELP)
@click.option("--deep", is_flag=True, help="Have both read everything back from disk and check it.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0),
    default=0,
    metavar="SECONDS",
    help="Give them so long to become equal.",
)
@click.option("--key", envvar="MIRRORD_KEY", metavar="KEY", help="The API key [MIRRORD_KEY].")
@trusts
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
@click.pass_context
def verify(
    ctx: click.Context, a: str, b: str, file: str | None, only: tuple[str, ...], deep: bool, wait_s: float,
    key: str | None, ca: str | None, cert: str | None, cert_key: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Prove that the nodes A and B hold the same records. A and B are URLs, or names of nodes with --file.

    Exit code 0 only when every strand of every topic is proven equal, else 1.
    """
    doors: Doors = ctx.obj
    places = (_place(a, file), _place(b, file))
    target = Target(doors, places, key, as_json, trust_of(file, Trust(ca, cert, cert_key)))
    with target.open(places[0]) as one, target.open(places[1]) as other:
        verdict = _settled(doors, lambda: _verdict(one, other, only, deep), wait_s)
    names = (places[0].name, places[1].name)
    if as_json:
        click.echo(json.dumps(_as_object(names, verdict)))
    else:
        _tell(names, verdict, _carried(None if any("=" in word for word in only) else file))
    if verdict.findings:
        ctx.exit(FAILED)


def _place(word: str, file: str | None) -> Place:
    if "://" in word:
        return place_at(word)
    if file is None:
        raise click.UsageError(f"{word!r} is no URL; give http://HOST:PORT, or the node's file with --file")
    return place_named(word, places_of(file))


def _settled(doors: Doors, look: Callable[[], _Verdict], wait_s: float) -> _Verdict:
    """The verdict; until it is "equal" it is looked for again, for so long: also while a node is away."""
    deadline = doors.clock.monotonic() + wait_s
    while True:
        over = doors.clock.monotonic() >= deadline
        try:
            verdict = look()
        except (PeerUnreachable, Unavailable):
            if over:
                raise
        else:
            if over or not verdict.findings:
                return verdict
        doors.pause(_LOOK_AGAIN_S)


def _verdict(one: Api, other: Api, only: tuple[str, ...], deep: bool) -> _Verdict:
    pairs = [_pair(word) for word in only] or [(name, name) for name in sorted(_topics(one) | _topics(other))]
    findings: list[Finding] = []
    records = 0
    for here, there in pairs:
        a, b = _digest(one, here, {}, deep), _digest(other, there, {}, deep)
        if a is None and b is None:
            raise TopicNotFound(f"neither node has the topic {here}")
        a, b = a or Digest(here), b or Digest(there)
        a, b = _asked(one, a, questions(a, b)), _asked(other, b, questions(b, a))
        findings += compare(a, b)
        records += sum(last - first + 1 for strand in a.strands for first, last in held(strand, strand.oseq))
    return _Verdict(len(pairs), records, findings)


def _pair(word: str) -> tuple[str, str]:
    """A topic's names on A and on B: ``orders``, or ``orders=orders-eu`` where a link renames it."""
    here, renamed, there = word.partition("=")
    return here, there if renamed else here


def _topics(api: Api) -> set[str]:
    return {topic["topic"] for page in api.pages(call.topics()) for topic in page.object()["topics"]}


def _digest(api: Api, topic: str, at: dict[str, int], deep: bool) -> Digest | None:
    try:
        answer = api.ask(call.digest(topic, at, deep=deep))
    except TopicNotFound:
        return None
    try:
        return msgspec.json.decode(answer.raw, type=Digest)
    except msgspec.ValidationError as error:
        raise ProtocolViolation(f"{api.url}: the digest of {topic} is not as expected ({error})") from None


def _asked(api: Api, known: Digest, at: dict[str, int]) -> Digest:
    """The digest with the hashes at the other's positions; the node may have moved on since, not its past."""
    if not at:
        return known
    told = (_digest(api, known.topic, at, deep=False) or known).by_strand()
    strands = (
        msgspec.structs.replace(strand, at=told[strand.strand].at) if strand.strand in told else strand
        for strand in known.strands
    )
    return Digest(known.topic, tuple(strands))


def _carried(file: str | None) -> Carried:
    """Whether a link of the file brings a topic, by this name, to a node: (node, topic). Without a file: perhaps."""
    if file is None:
        return lambda _node, _topic: True
    from ....config.load import load
    from ....config.topology import links_of

    config = load(file)

    def carried(node: str, topic: str) -> bool:
        plans = links_of(config, node) if node in config.nodes else ()
        return any(want.source_name(topic) is not None for plan in plans for want in plan.wants)

    return carried


def _tell(names: tuple[str, str], verdict: _Verdict, carried: Carried) -> None:
    what = f"{count(verdict.topics)} topic{'' if verdict.topics == 1 else 's'}, {count(verdict.records)} records"
    if not verdict.findings:
        click.echo(click.style("equal", fg="green") + f": {names[0]} and {names[1]} hold the same ({what})")
        return
    rows = [_row(names, finding, carried) for finding in verdict.findings]
    show(
        table(
            f"{names[0]} and {names[1]} differ ({what} compared)",
            ["", "topic", "origin", "#oseqs", "at", "meaning"],
            rows,
        )
    )


def _row(names: tuple[str, str], finding: Finding, carried: Carried) -> tuple[Cell, ...]:
    where = names[finding.side] if finding.side is not None else "both"
    meaning = MEANINGS[finding.kind] + (f" ({finding.reason})" if finding.reason else "")
    if finding.kind == "missing" and not carried(where, finding.topic):
        meaning = f"no link of the file brings it to {where}"
    style = "yellow" if finding.kind in ("missing", "unverified") else "red"
    oseqs = f"{finding.first}..{finding.last}"
    return (
        (finding.kind, style),
        finding.topic,
        f"{finding.origin} {finding.strand[:8]}",
        oseqs,
        where,
        meaning,
    )


def _as_object(names: tuple[str, str], verdict: _Verdict) -> dict[str, object]:
    told = [
        {**msgspec.to_builtins(found), "side": names[found.side] if found.side is not None else None}
        for found in verdict.findings
    ]
    return {
        "a": names[0], "b": names[1], "equal": not told, "topics": verdict.topics, "records": verdict.records,
        "findings": told,
    }  # fmt: skip
