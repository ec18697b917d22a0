"""The story of ``scripts/run``: three nodes, one event stream, a kill -9 in the middle, and the proof.

    python scripts/story.py [--once] [--seconds 10]

Exit code 0 only when all three nodes hold every event exactly once, each writer's events in their order.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import trio
from ports import is_free
from rich.markup import escape
from stage import Stage, stage
from stream import Event, events

from mirrord.cli.cluster.harness import Harness, Settings, make_room, stop_on_signal
from mirrord.cli.cluster.survey import LOOK_TIMEOUT_S, Survey
from mirrord.cli.commands.up import watch
from mirrord.cli.figures import count, duration, rate
from mirrord.cli.screen import table
from mirrord.cli.target import Place
from mirrord.client import call
from mirrord.client.api import AsyncApi
from mirrord.client.call import DiffQuery
from mirrord.clock import SystemClock, system_random
from mirrord.config.load import load
from mirrord.errors import MirrordError
from mirrord.testing.cluster.local import free_ports

REPOSITORY = Path(__file__).resolve().parent.parent
TOPIC = "events"
VICTIM = "iad"
AWAY_S = 3.0  # the killed node stays away so long
READY_WITHIN_S = 30.0
EQUAL_WITHIN_S = 60.0


class Failed(Exception):
    """The story did not go as promised; the message says what was seen."""


def main() -> int:
    """Tell the story; the exit code."""
    parser = argparse.ArgumentParser(description="Three mirrored nodes, a kill -9 in the middle, and the proof.")
    parser.add_argument("--once", action="store_true", help="end after the story instead of staying up")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long the writers write (default 10)")
    given = parser.parse_args()
    folder = _folder()
    with stage() as on_stage:
        story = Story(_cluster_file(folder, on_stage.say), on_stage, given.seconds, given.once)
        trio.run(story.run)
    if story.held and given.once:
        shutil.rmtree(folder)
    else:
        print(f"the nodes' data and logs are in {folder}")
    return 0 if story.held else 1


class Story:
    """The nodes, the writers, and the proof. ``held``: every promise was seen kept."""

    def __init__(self, file: Path, on_stage: Stage, seconds: float, once: bool) -> None:
        self._file, self._stage, self._seconds, self._once = file, on_stage, seconds, once
        self._config = load(str(file))
        make_room(self._config)
        self._places = [Place(node.name, node.url) for node in self._config.nodes.values()]
        settings = Settings(first_wait_s=AWAY_S)
        self._harness = Harness(self._config, str(file), settings, SystemClock(), system_random())
        self._survey: Survey | None = None
        self._seen = trio.Event()
        self._most_behind: Counter[str] = Counter()
        self.held = False

    async def run(self) -> None:
        """Until the story is over, or until told to stop."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_on_signal, self._harness.stop)
            nursery.start_soon(watch, self._places, self._apis(), SystemClock(), self._see)
            nursery.start_soon(self._tell)
            await self._harness.run()
            nursery.cancel_scope.cancel()

    def _apis(self) -> dict[str, AsyncApi]:
        """Connections of the survey's own: the writers' must not wait behind it."""
        return {place.name: AsyncApi(place.url, timeout_s=LOOK_TIMEOUT_S) for place in self._places}

    def _see(self, survey: Survey, before: Survey | None) -> None:
        self._survey = survey
        for held in survey.lag().values():
            for holder, found in held.items():
                self._most_behind[holder] = max(self._most_behind[holder], found["records"] or 0)
        self._seen.set()
        self._stage.draw(survey, before, self._harness.runs)

    async def _tell(self) -> None:
        try:
            await self._until("all nodes are ready", READY_WITHIN_S, self._all_ready)
            await self._act()
            self.held = True
        except (Failed, MirrordError) as error:
            self._stage.say(f"[red]the story failed[/]: {escape(str(error))}")
        if self._once or not self.held:
            self._harness.stop()
        else:
            self._invite()

    async def _act(self) -> None:
        found = events(REPOSITORY)
        parts = {place.name: found[i :: len(self._places)] for i, place in enumerate(self._places)}
        sources = ", ".join(sorted({event.source for event in found}))
        self._stage.say(f"appending {count(len(found))} real events ({sources}), a third on each node, all at once")
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for place in self._places:
                nursery.start_soon(self._write, place, parts[place.name])
            await self._until("a third is written", 60, lambda: self._records(VICTIM) >= len(found) / 3)
            self._kill(VICTIM)
        took_s = trio.current_time() - began
        await self._verify()
        self._stage.say(f"all equal {duration(trio.current_time() - began)} after the first record")
        await self._count(parts, len(found) / took_s)

    async def _write(self, place: Place, part: Sequence[Event]) -> None:
        """One writer: an ordinary `mirrord append`, which repeats what a dying node left unanswered."""
        lines = self._file.parent / f"{place.name}.jsonl"
        lines.write_bytes(
            b"".join(msgspec.json.encode({"data": _payload(place.name, event)}) + b"\n" for event in part)
        )
        speed = str(max(1.0, len(part) / self._seconds))
        said = await _mirrord(
            "append",
            TOPIC,
            "--from",
            str(lines),
            "--jsonl",
            "--batch",
            "25",
            "--rate",
            speed,
            "--url",
            place.url,
        )
        self._stage.say(f"  writer on {place.name}: {said}")

    def _kill(self, name: str) -> None:
        pid = self._harness.runs[name].pid
        if pid is None:
            raise Failed(f"{name} does not run when it should be killed")
        os.kill(pid, signal.SIGKILL)
        held = count(self._records(name))
        self._stage.say(f"[bold]kill -9 {name}[/] (pid {pid}) while it holds {held} records; it comes back")

    async def _verify(self) -> None:
        first, *others = (place.name for place in self._places)
        for other in others:
            options = ("--topic", TOPIC, "--wait", str(EQUAL_WITHIN_S), "--file", str(self._file))
            self._stage.say(f"  mirrord verify {first} {other}: {await _mirrord('verify', first, other, *options)}")

    async def _count(self, parts: Mapping[str, Sequence[Event]], per_s: float) -> None:
        """Read everything back from every node, and count."""
        rows: list[list[str]] = []
        wrong = 0
        for place in self._places:
            got = await _read_back(place.url)
            faults = faults_of(got, parts)
            wrong += sum(faults)
            rows.append([place.name, count(len(got)), *map(count, faults), count(self._most_behind[place.name])])
        columns = ["node", "#records", "#missing", "#doubled", "#out of order", "#most behind"]
        self._stage.say(table(f"read back from each node (written at {rate(per_s)})", columns, rows))
        if wrong:
            raise Failed(f"{count(wrong)} records are missing, doubled or out of order")
        self._stage.say("[green]every node holds every event exactly once, each writer's in its order[/]")

    async def _until(self, what: str, within_s: float, holds: Callable[[], bool]) -> None:
        with trio.move_on_after(within_s):
            while not holds():
                self._seen = trio.Event()
                await self._seen.wait()
            return
        raise Failed(f"it took more than {within_s:.0f} s until {what}; see mirrord.log beside the data")

    def _all_ready(self) -> bool:
        return self._survey is not None and all(sight.state == "ready" for sight in self._survey.nodes)

    def _records(self, name: str) -> int:
        return (
            max((sight.records() for sight in self._survey.nodes if sight.name == name), default=0)
            if self._survey
            else 0
        )

    def _invite(self) -> None:
        command = Path(sys.executable).with_name("mirrord")
        first, *_, last = self._places
        self._stage.say("the nodes stay up until Ctrl-C; in another terminal try:")
        for line in (
            f"tail {TOPIC} --url {last.url}",
            f'append orders \'{{"item": "tea"}}\' --url {first.url}',
            f"status --file {self._file}",
            f"lag --url {last.url}",
            f"verify {first.name} {last.name} --file {self._file}",
        ):
            self._stage.say(escape(f"  {command} {line}"))
        self._stage.say("  kill -9 a pid of the table, and see it come back and catch up")


def faults_of(got: Sequence[tuple[str, str, int]], parts: Mapping[str, Sequence[Event]]) -> tuple[int, int, int]:
    """How many events are missing, how many there twice, how many not in their writer's order."""
    seen = Counter(got)
    expected = {name: [(name, event.source, event.line) for event in part] for name, part in parts.items()}
    missing = sum(seen[event] == 0 for part in expected.values() for event in part)
    doubled = sum(times - 1 for times in seen.values())
    disordered = 0
    for name, part in expected.items():
        place = {event: i for i, event in enumerate(part)}
        order = [place.get(event, -1) for event in got if event[0] == name]
        disordered += sum(later < earlier for earlier, later in itertools.pairwise(order))
    return missing, doubled, disordered


def _payload(writer: str, event: Event) -> dict[str, object]:
    return {"writer": writer, "source": event.source, "line": event.line, "text": event.text}


async def _read_back(url: str) -> list[tuple[str, str, int]]:
    """(writer, source, line) of every record that a node holds, in the order of its log."""
    got: list[tuple[str, str, int]] = []
    from_seq = 0
    async with AsyncApi(url) as api:
        while True:
            page = (await api.ask(call.diff(TOPIC, DiffQuery(from_seq, limit=1000)))).page()
            for raw in page.records:
                data = msgspec.json.decode(raw)["data"]
                got.append((data["writer"], data["source"], data["line"]))
            from_seq = page.next_from_seq
            if page.caught_up:
                return got


async def _mirrord(*words: str) -> str:
    """Run a command as a user would; its last line. Raises Failed when it fails."""
    command = [sys.executable, "-m", "mirrord", *words]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    if done.returncode:
        words_of_it = (done.stderr or done.stdout).decode().strip()
        raise Failed(f"`mirrord {words[0]}` ended with {done.returncode}: {words_of_it}")
    return done.stdout.decode().strip().splitlines()[-1]


def _folder() -> Path:
    data = REPOSITORY / "data"
    data.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="story-", dir=data))


def _cluster_file(folder: Path, say: Callable[[str], None]) -> Path:
    """A copy of the example mesh, on free ports."""
    text = (REPOSITORY / "configs" / "three-mesh.toml").read_text()
    for port in sorted(set(re.findall(r"127\.0\.0\.1:(\d+)", text))):
        if not is_free(int(port)):
            (free,) = free_ports(1)
            say(f"port {port} is taken; using {free} instead")
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free}")
    file = folder / "mirrord.toml"
    file.write_text(text)
    return file


if __name__ == "__main__":
    sys.exit(main())
