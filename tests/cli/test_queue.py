"""``mirrord queue``: what is asked, what is shown, and a worker that runs a command for every job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mirrord.cli.main import INTERRUPTED, OK, REFUSED, USAGE

from .asked import Asked, events
from .conftest import error

JOB = {"topic": "q", "$seq": 7, "lease_id": "lease_a", "deadline": 5000, "$ts": 1, "deliveries": 2, "data": {"x": 1}}
DONE = {"acked": 1, "nacked": 1, "extended": 1, "skipped": []}
LOST = {"acked": 0, "nacked": 0, "extended": 0, "skipped": [7]}


def test_claimed_jobs_show_what_settles_them(shell: Any) -> None:
    """Seq and lease id stand as ack takes them."""
    asked = Asked(shell, {"claimed": [JOB], "ready": 3}, DONE)
    _, out, err = shell.run("queue", "claim", "q", "-w", "me", "--max", "5", "--lease", "1m")
    assert "7:lease_a" in out
    assert err == "1 leased to me, 3 ready\n"
    assert shell.run("queue", "ack", "q", "7:lease_a", "-w", "me")[1] == "1 done\n"
    assert asked.calls == [
        ("POST", "/v0/topics/q/claim", {"node": "me", "max": 5, "lease_ms": 60_000}),
        ("POST", "/v0/topics/q/ack", {"node": "me", "seqs": [7], "lease_ids": ["lease_a"]}),
    ]


@pytest.mark.parametrize(
    ("words", "verb", "body", "line"),
    [
        (("ack", "q", "7", "8"), "ack", {"seqs": [7, 8]}, "0 done; not held any more: 7"),
        (("nack", "q", "7:l", "8"), "nack", {"seqs": [7, 8], "lease_ids": ["l", ""]}, "0 given back"),
        (("nack", "q", "7", "--delay", "5s"), "nack", {"seqs": [7], "delay_ms": 5000}, "0 given back"),
        (("extend", "q", "7", "--lease", "5s"), "extend", {"seqs": [7], "lease_ms": 5000}, "0 held on"),
    ],
)
def test_settling(shell: Any, words: tuple[str, ...], verb: str, body: dict[str, Any], line: str) -> None:
    """Each verb is its endpoint; what was not held any more is named."""
    asked = Asked(shell, LOST)
    assert shell.run("queue", *words, "-w", "me")[1].startswith(line)
    assert asked.calls == [("POST", f"/v0/topics/q/{verb}", {"node": "me", **body})]


def test_what_is_no_job_is_said(shell: Any) -> None:
    """Before anything is asked."""
    code, _, err = shell.run("queue", "ack", "q", "seven")
    assert code == USAGE
    assert "SEQ:LEASE_ID" in err


def test_show(shell: Any) -> None:
    """Counters and settings of a queue; a log is none."""
    config = {"lease_ms": 2000, "dead_letter": None, "home": "fra"}
    Asked(shell, {"queue": {"ready": 4, "in_flight": 1}, "config": config}, {"config": config})
    out = shell.run("queue", "show", "q")[1]
    assert "in flight" in out
    assert "lease_ms" in out
    assert "dead_letter" not in out
    assert "not a queue" in shell.run("queue", "show", "t")[2]


def test_a_worker_prints_and_acknowledges(shell: Any) -> None:
    """Without a command each job is a line, as the node told it."""
    asked = Asked(shell, events(("job", JOB)), DONE)
    code, out, _ = shell.run("queue", "work", "-w", "me", "--count", "1", "q")
    assert code == OK
    assert json.loads(out) == JOB
    assert asked.calls == [
        ("GET", "/v0/topics/q/work", {"node": "me", "max": "1", "lease_ms": "30000"}),
        ("POST", "/v0/topics/q/ack", {"node": "me", "seqs": [7], "lease_ids": ["lease_a"]}),
    ]


@pytest.mark.parametrize(("code", "verb"), [(0, "ack"), (3, "nack")])
def test_a_command_decides_by_its_exit_code(shell: Any, tmp_path: Path, code: int, verb: str) -> None:
    """It gets the payload and the facts; 0 acknowledges, anything else gives the job back after the delay."""
    asked = Asked(shell, events(("job", JOB | {"$tag": "eu", "meta": [1]})), DONE)
    words = "$(cat) $MIRRORD_TOPIC $MIRRORD_SEQ $MIRRORD_TAG $MIRRORD_META $MIRRORD_DELIVERIES"
    script = f'echo "{words}" > {tmp_path}/out; exit {code}'
    _, _, err = shell.run(
        "queue", "work", "-w", "me", "--retry-delay", "9s", "--count", "1", "q", "--", "sh", "-c", script
    )
    assert (tmp_path / "out").read_text() == '{"x": 1} q 7 eu [1] 2\n'
    assert asked.calls[1][1] == f"/v0/topics/q/{verb}"
    assert asked.calls[1][2].get("delay_ms") == (9000 if code else None)
    assert ("the command ended with 3" in err) == bool(code)


def test_a_lease_is_kept_while_a_command_runs(shell: Any, tmp_path: Path) -> None:
    """It is extended until the command ends."""
    asked = Asked(shell, events(("job", JOB)), *[DONE] * 50)
    held = tmp_path / "held"
    shell.node.trouble[2] = _then(shell.node.trouble[2], held.touch)
    script = f"while [ ! -e {held} ]; do sleep 0.01; done"
    shell.run("queue", "work", "-w", "me", "--lease", "150ms", "--count", "1", "q", "sh", "-c", script)
    verbs = [call[1].rsplit("/", 1)[1] for call in asked.calls]
    extended = verbs[1:-1]
    assert (verbs[0], set(extended), verbs[-1]) == ("work", {"extend"}, "ack")
    assert len(extended) >= 2  # more if the machine is slow to end the command
    assert asked.calls[1][2] == {"node": "me", "seqs": [7], "lease_ids": ["lease_a"], "lease_ms": 150}


def _then(handler: Any, also: Any) -> Any:
    def both(request: Any) -> Any:
        also()
        return handler(request)

    return both


def test_who_lost_the_lease_stops(shell: Any) -> None:
    """Another worker has the job: the command is ended, and nothing is settled."""
    asked = Asked(shell, events(("job", JOB)), LOST)
    _, _, err = shell.run("queue", "work", "-w", "me", "--lease", "150ms", "--count", "1", "q", "sleep", "600")
    assert "went to another worker" in err
    assert len(asked.calls) == 2


def test_a_worker_outlives_a_restart(shell: Any) -> None:
    """The stream breaks, the node is away, then jobs come again."""
    asked = Asked(shell, events(("error", {"code": "server_shutting_down", "error": "bye"})),
                  error(503, "not_ready", "starting"), events(("job", JOB)), DONE)  # fmt: skip

    def stop(_: Any) -> Any:
        raise KeyboardInterrupt

    shell.node.trouble.append(stop)
    code, out, err = shell.run("queue", "work", "-w", "me", "q")
    assert (code, len(out.splitlines())) == (INTERRUPTED, 1)
    assert err.splitlines()[:2] == ["mirrord: bye; waiting for it", "mirrord: q is there again"]
    assert asked.calls[-1][1].endswith("/ack")


def test_a_worker_does_not_wait_for_what_will_not_come(shell: Any) -> None:
    """The stream says that there is no such queue any more: told, and over."""
    Asked(shell, events(("error", {"code": 404, "error": "no topic q", "reason": "topic_not_found"})))
    code, _, err = shell.run("queue", "work", "-w", "me", "q")
    assert (code, err) == (REFUSED, "mirrord: no topic q\n")


def test_a_command_that_is_not_there_takes_no_job(shell: Any) -> None:
    """It is found out before anything is claimed."""
    asked = Asked(shell)
    code, _, err = shell.run("queue", "work", "q", "no-such-command")
    assert code == USAGE
    assert "no-such-command" in err
    assert asked.calls == []
