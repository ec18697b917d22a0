"""``mirrord append``: payloads stay as they are, and what is repeated is written once."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.cli.intake.batches import MAX_LINE_BYTES, batches, json_draft, lines, record_draft, text_draft
from mirrord.cli.main import REFUSED, UNREACHABLE, USAGE
from mirrord.errors import InvalidRequest


def _data(shell: Any, topic: str = "t") -> list[Any]:
    return [record["data"] for record in shell.node.records.get(topic, [])]


def test_json_arguments_are_sent_byte_for_byte(shell: Any) -> None:
    """mirrord never re-encodes what a writer wrote: 1.10 stays 1.10."""
    code, out, _ = shell.run("append", "t", '{"b": 1.10, "a":[ ]}', "12345678901234567890")
    assert (code, out) == (0, "t 1..2\n")
    assert b'{"data":{"b": 1.10, "a":[ ]}},{"data":12345678901234567890}' in shell.node.raw_bodies[0]


def test_text_arguments_are_strings(shell: Any) -> None:
    """--text spares the quotes; a tag goes with every record."""
    shell.run("append", "t", "hello", '"x"', "--text", "--tag", "eu:1")
    assert _data(shell) == ["hello", '"x"']
    assert {record["$tag"] for record in shell.node.records["t"]} == {"eu:1"}


def test_an_argument_that_is_no_json_writes_nothing(shell: Any) -> None:
    """All arguments are checked before the first is written."""
    code, _, err = shell.run("append", "t", "1", "{oops")
    assert code == USAGE
    assert "--text" in err
    assert _data(shell) == []


@pytest.mark.parametrize("words", [(), ("1", "--from", "-")])
def test_records_come_from_one_place(shell: Any, words: tuple[str, ...]) -> None:
    """Neither none nor two."""
    assert shell.run("append", "t", *words)[0] == USAGE


def test_lines_of_a_file_in_batches(shell: Any, tmp_path: Path) -> None:
    """Lines are strings, in order, empty ones left out, the last one needs no end."""
    file = tmp_path / "log"
    file.write_bytes(b"one\r\n\ntwo \xc3\xa9\nthree")
    code, out, _ = shell.run("append", "t", "--from", str(file), "--batch", "2")
    assert code == 0
    assert out.startswith("3 records")
    assert _data(shell) == ["one", "two é", "three"]
    assert len(shell.node.raw_bodies) == 2


def test_jsonl_takes_records_and_payloads(shell: Any, tmp_path: Path) -> None:
    """What `tail --json` prints can be appended again; other JSON is a payload."""
    file = tmp_path / "l.jsonl"
    file.write_text('{"data": {"a": 1}, "tag": "x", "$seq": 7}\n{"a": 2}\n[3]\n')
    shell.run("append", "t", "--from", str(file), "--jsonl", "--tag", "y")
    assert _data(shell) == [{"a": 1}, {"a": 2}, [3]]
    assert [record["$tag"] for record in shell.node.records["t"]] == ["x", "y", "y"]


def test_a_bad_line_is_named_and_what_was_before_it_is_written(shell: Any, tmp_path: Path) -> None:
    """The caller knows where to go on."""
    file = tmp_path / "l.jsonl"
    file.write_text("1\n2\n{oops\n4\n")
    code, _, err = shell.run("append", "t", "--from", str(file), "--jsonl", "--batch", "1")
    assert code == USAGE
    assert "line 3" in err
    assert _data(shell) == [1, 2]


def test_a_bad_line_inside_a_batch_leaves_nothing_unsaid(shell: Any, tmp_path: Path) -> None:
    """`the records before it are written` is true whatever the batch size."""
    file = tmp_path / "l.jsonl"
    file.write_text("1\n2\n{oops\n4\n")
    code, _, err = shell.run("append", "t", "--from", str(file), "--jsonl", "--batch", "100")
    assert (code, "line 3" in err) == (USAGE, True)
    assert _data(shell) == [1, 2]


def test_a_pipe_is_read_to_its_end(shell: Any) -> None:
    """`dmesg | mirrord append log --from -`"""
    shell.stdin_fd, end = os.pipe()
    os.write(end, b"a\nb\n")
    os.close(end)
    assert shell.run("append", "t", "--from", "-")[0] == 0
    assert _data(shell) == ["a", "b"]


def _lost_answer(shell: Any) -> Any:
    """The node commits, and the line breaks before its answer arrives."""

    def lose(request: httpx.Request) -> httpx.Response:
        shell.node.serve(request)
        raise httpx.ReadError("connection reset", request=request)

    return lose


def test_a_lost_answer_doubles_nothing(shell: Any, tmp_path: Path) -> None:
    """Every batch whose answer is lost is repeated under its own key, and is there once, in order."""
    file = tmp_path / "log"
    file.write_text("".join(f"{i}\n" for i in range(10)))
    shell.node.trouble = [_lost_answer(shell), lambda _: None, _lost_answer(shell), _lost_answer(shell)]
    code, out, _ = shell.run("append", "t", "--from", str(file), "--batch", "3")
    assert code == 0
    assert "3 repeats" in out
    assert _data(shell) == [str(i) for i in range(10)]


def test_keys_of_two_commands_differ(shell: Any) -> None:
    """The same words appended twice on purpose are there twice."""
    shell.run("append", "t", "1")
    shell.run("append", "t", "1")
    assert _data(shell) == [1, 1]


@pytest.mark.parametrize(("status", "code"), [(429, "throttled"), (503, "not_ready"), (503, "storage_failed")])
def test_a_busy_node_is_waited_for_as_long_as_it_says(shell: Any, refusal: Any, status: int, code: str) -> None:
    """Retry-After is obeyed."""
    shell.node.trouble = [lambda _: refusal(status, code, retry_after="7")]
    assert shell.run("append", "t", "1")[0] == 0
    assert shell.time.pauses == [7.0]
    assert _data(shell) == [1]


def test_patience_ends_before_keys_are_forgotten(shell: Any) -> None:
    """A node that stays away is given up within the idempotency window; it is said what is certain."""
    shell.nodes.clear()
    code, _, err = shell.run("append", "t", "1")
    assert code == UNREACHABLE
    assert "may or may not" in err
    assert err.count("repeated for up to 90 s") == 1
    assert 60 < shell.time.now_s < 120


def test_a_refusal_is_not_repeated(shell: Any, refusal: Any) -> None:
    """422 will not get better by itself."""
    shell.node.trouble = [lambda _: refusal(422, "topic_full", "full")]
    code, _, err = shell.run("append", "t", "1")
    assert (code, err, shell.time.pauses) == (REFUSED, "mirrord: full\n", [])


def test_a_rate_is_kept(shell: Any, tmp_path: Path) -> None:
    """--rate spreads the records over time: 10 at 2 a second take 5 seconds."""
    file = tmp_path / "log"
    file.write_text("x\n" * 10)
    shell.run("append", "t", "--from", str(file), "--rate", "2")
    assert shell.time.now_s == pytest.approx(5.0)


def test_json_prints_the_nodes_answers(shell: Any, tmp_path: Path) -> None:
    """One line per batch, unchanged."""
    file = tmp_path / "log"
    file.write_text("x\n" * 3)
    _, out, _ = shell.run("append", "t", "--from", str(file), "--batch", "2", "--json")
    assert [json.loads(line)["count"] for line in out.splitlines()] == [2, 1]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=10))
def test_lines_do_not_depend_on_how_input_arrives(text: bytes, cuts: list[int]) -> None:
    """However a pipe cuts its blocks, the lines are the same, none lost, none joined."""
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    blocks = [block for block in (text[a:b] for a, b in itertools.pairwise(bounds)) if block]
    whole = text.split(b"\n")
    assert list(lines(blocks)) == (whole if whole[-1] else whole[:-1])


@given(st.lists(st.one_of(st.none(), st.text(alphabet="ab é", max_size=5)), max_size=30), st.integers(1, 5))
def test_batches_keep_every_line_in_order(found: list[str | None], most: int) -> None:
    """No batch is empty or too large, and together they are the lines."""
    source = [line if line is None else line.encode() for line in found]
    made = list(batches(source, lambda line: text_draft(line, None), most))
    assert all(1 <= len(batch.drafts) <= most for batch in made)
    told = [json.loads(bytes(draft.data)) for batch in made for draft in batch.drafts]
    assert told == [line for line in found if line is not None and line.strip()]


def test_a_pause_sends_what_is_there() -> None:
    """Records of a slow pipe do not wait for a full batch."""
    made = list(batches([b"1", None, b"2"], lambda line: json_draft(line, None), 100))
    assert [len(batch.drafts) for batch in made] == [1, 1]


def test_an_endless_line_is_refused() -> None:
    """Memory stays bounded."""
    with pytest.raises(InvalidRequest):
        list(lines(b"x" * 65536 for _ in range(MAX_LINE_BYTES // 65536 + 2)))


@pytest.mark.parametrize("line", [b"\xff", b"{", b"", b"1 2"])
def test_what_is_no_json_is_refused(line: bytes) -> None:
    """It never reaches the node."""
    for draft in (json_draft, record_draft):
        with pytest.raises(InvalidRequest):
            draft(line, None)
