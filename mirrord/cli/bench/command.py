"""The command line of ``mirrord bench``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import click
from msgspec import Struct

from ..main import FAILED, OK
from ..screen import show, table
from . import report
from .daemon import Stretch
from .figure import Figure, Result, beside_the_best
from .ground import FULL, QUICK, Ground, Sizes
from .machine import Surroundings, awake, machine
from .rows import appending, holding, mirroring, queueing, reading, seeing, watching


class Row(Struct, frozen=True):
    """Something that can be measured."""

    title: str
    figures: Callable[[Ground], list[Figure]]


ROWS = {
    "catch-up": Row("mirror catch-up of records in chunks of 1 000", mirroring.in_chunks),
    "catch-up-alone": Row("the same when every record was appended alone", mirroring.alone),
    "batches": Row("append, batches of 1 000, acknowledged", appending.batches),
    "singles": Row("append one by one, 64 in flight, acknowledged", appending.singles),
    "in-turn": Row("append one by one, one connection", appending.in_turn),
    "seen": Row("append on A seen on B, 100/s", seeing.seen),
    "seen-meanwhile": Row("the same while a catch-up runs", seeing.seen_meanwhile),
    "append-meanwhile": Row("append at 1 000/s while a peer back-fills", seeing.append_meanwhile),
    "diff": Row("diff over HTTP JSON, limit 1000", reading.pages),
    "sse": Row("1 000 watchers of one topic, 50 records/s", watching.crowd),
    "queue": Row("jobs claimed and acknowledged, 16 workers", queueing.queue),
    "disk": Row("disk bytes per record appended alone", appending.disk),
    "idle": Row("idle node with 1 000 topics and 4 links", holding.idle),
    "growth": Row("cost per record on a large log beside a small one", holding.growth),
    "start": Row("start after kill -9", holding.start),
}
_EPILOG = "\b\nRows:\n" + "\n".join(f"  {name:<17} {row.title}" for name, row in ROWS.items())


def measure(args: Sequence[str]) -> int:
    """Run the command with these arguments; the exit code. Raises click's UsageError, PeerError."""
    done = bench.main(list(args), prog_name="mirrord bench", standalone_mode=False)
    return int(done or OK)


def _names(_ctx: click.Context, _param: click.Parameter, value: str | None) -> list[str]:
    names = [name.strip() for name in value.split(",")] if value else list(ROWS)
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise click.BadParameter(f"there is no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    return names


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rows", "names", metavar="A,B", callback=_names, help="Only these rows.")
@click.option("--quick", is_flag=True, help="Small sizes: whether it works, not how fast it is.")
@click.option("--full", is_flag=True, help="Growth and start with 20 M records, 2 M appended alone.")
@click.option("--repeat", type=click.IntRange(1, 100), default=5, show_default=True, help="Medians of so many.")
@click.option("--awake", "keep_awake", is_flag=True, help="Keep the processors from sleeping meanwhile.")
@click.option("--dir", "directory", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Where stores are laid, to measure its disk.")  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Also write everything to a JSON file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def bench(
    names: list[str], quick: bool, full: bool, repeat: int, keep_awake: bool, directory: Path | None,
    out: Path | None, as_json: bool,
) -> int:  # fmt: skip
    """Measure real daemons on loopback, beside what is required of them.

    Each row makes its own nodes in a fresh directory and leaves nothing behind. Exit code 1 when a requirement is
    missed. The machine should have nothing else to do. Two columns tell whether it had: `slow-down`, how
    long a fixed piece of work took just before, as a multiple of the best of the run; `others`, how many processors
    were busy with something else meanwhile. Virtual processors that sleep are woken when their host has
    time: `--awake` shows the delays without that.
    """
    sizes = QUICK if quick else FULL if full else Sizes()
    ground = Ground(sizes, repeat, directory, lambda text: click.echo(text, err=True))
    about = machine(keep_awake)
    results = beside_the_best([_result(name, ground, keep_awake) for name in names])
    as_bytes = report.as_json(about, results)
    if out is not None:
        out.write_bytes(as_bytes + b"\n")
    if as_json:
        click.echo(as_bytes.decode())
    else:
        show(table(None, report.COLUMNS, [line for result in results for line in report.cells(result)]))
    return FAILED if report.missed(results) else OK


def _result(name: str, ground: Ground, keep_awake: bool) -> Result:
    row = ROWS[name]
    ground.say(f"{name}: {row.title} ...")
    around, stretch = Surroundings(), Stretch()
    with awake() if keep_awake else nullcontext():
        figures = tuple(row.figures(ground))
    result = Result(name, row.title, figures, around.conditions(), stretch.spent().wall_s)
    for line in report.lines(result):
        ground.say(f"  {line}")
    return result
