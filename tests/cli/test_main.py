"""Exit codes, complaints, and what is not imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mirrord.cli.main import EXIT_CODES, OK, REFUSED, UNREACHABLE, USAGE, exit_code
from mirrord.cli.verbs import LATER, VERBS
from mirrord.errors import ConfigError, DataDirLocked, PeerUnreachable, TopicNotFound


def _modules_after(args: list[str]) -> set[str]:
    """What a fresh process has imported when the command is done."""
    code = (
        "import sys\nfrom mirrord.cli.main import answer\n"
        f"try:\n    answer({args!r})\nexcept SystemExit:\n    pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stderr.split())


def test_help_is_quick_because_it_imports_little() -> None:
    """`mirrord --help` and a verb's help load neither the HTTP client, nor rich, nor trio."""
    for args in (["--help"], ["append", "--help"], ["verify", "--help"]):
        assert not {"httpx", "rich", "trio"} & _modules_after(args)


def test_a_daemon_loads_nothing_that_only_people_need() -> None:
    """`mirrord run` goes past click and rich, until a node is to be built."""
    assert not {"click", "rich", "httpx"} & _modules_after(["run", "--help"])
    assert not {"click", "rich", "httpx"} & _modules_after(["run", "/nowhere.toml"])


def test_a_whole_node_needs_neither_click_nor_rich(tmp_path: Path) -> None:
    """httpx would bring both for a command line of its own; a node starts a quarter sooner without, and holds less. It
    goes as far as its address, which cannot be one of this machine."""
    file = tmp_path / "mirrord.toml"
    file.write_text('[nodes.a]\nlisten = "203.0.113.1:4000"\n')
    found = _modules_after(["run", str(file)])
    assert "mirrord.node" in found
    assert not {"click", "rich", "pygments", "mirrord.web.openapi.document"} & found


def test_a_reader_who_has_enough_is_no_failure() -> None:
    """`mirrord status | head`: a table into a closed pipe ends in silence, like lines do."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "mirrord", "status", "--url", "http://127.0.0.1:1"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (OK, b"")


@pytest.mark.parametrize("verb", sorted(LATER))
def test_a_verb_of_a_later_version_is_refused_by_name(shell: Any, verb: str) -> None:
    """What is not there yet says so, and is not offered."""
    code, _, err = shell.run(verb, "anything", "--at", "all")
    assert code == USAGE
    assert f"`{verb}` is not yet in this version" in err
    assert verb not in VERBS


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"run", "bench"}))
def test_every_verb_can_explain_itself(shell: Any, verb: str) -> None:
    """Each row of the table of verbs leads to a command with help."""
    code, out, _ = shell.run(verb, "--help")
    assert code == 0
    assert out.startswith(f"Usage: mirrord {verb}")


@pytest.mark.parametrize("verb", ["topics", "groups", "queue", "router"])
def test_the_line_of_a_command_is_whole(shell: Any, verb: str) -> None:
    """A list of commands says what each does, and does not end in the middle of it."""
    _, out, _ = shell.run(verb, "--help")
    assert "..." not in out.partition("Commands:")[2]


def test_help_tells_the_exit_codes(shell: Any) -> None:
    """Scripts can rely on them, so they stand where people look."""
    _, out, _ = shell.run("--help")
    for code, meaning in EXIT_CODES.items():
        assert f"{code}  {meaning}" in out


def test_without_words_there_is_help(shell: Any) -> None:
    """A first-time user types `mirrord`."""
    code, out, _ = shell.run()
    assert code == 0
    assert "Commands:" in out


def test_mistakes_are_one_line_and_where_to_look(shell: Any) -> None:
    """A typo costs no traceback and no page of usage."""
    code, _, err = shell.run("append")
    assert code == USAGE
    assert err.splitlines() == ["mirrord: Missing argument 'TOPIC'.", "see: mirrord append --help"]


def test_exit_codes_tell_errors_apart() -> None:
    """A script can tell its own mistake, an absent node and a refusal apart."""
    assert exit_code(ConfigError("x")) == USAGE
    assert exit_code(PeerUnreachable("x")) == UNREACHABLE
    assert exit_code(TopicNotFound("x")) == REFUSED
    assert exit_code(DataDirLocked("x")) == 1


def test_an_absent_node_is_named_with_its_url(shell: Any) -> None:
    """`connection refused` alone helps nobody."""
    code, _, err = shell.run("links", "--url", "http://127.0.0.1:1")
    assert code == UNREACHABLE
    assert "http://127.0.0.1:1 does not answer" in err


def test_a_refusal_is_shown_in_the_nodes_words(shell: Any) -> None:
    """The node's message says what to do; the command passes it on."""
    code, _, err = shell.run("diff", "nothing")
    assert code == REFUSED
    assert err == "mirrord: no topic nothing\n"


def test_something_else_at_the_address_is_recognised(shell: Any) -> None:
    """A web server on the port is not taken for a node."""
    import httpx

    shell.node.trouble.append(lambda _: httpx.Response(200, text="<html>"))
    code, _, err = shell.run("diff", "orders")
    assert code == UNREACHABLE
    assert "not mirrord's" in err


def test_one_node_commands_do_not_guess_among_several(shell: Any) -> None:
    """Two URLs for an append could mean anything."""
    code, _, err = shell.run("append", "t", "1", "--url", "http://a", "--url", "http://b")
    assert code == USAGE
    assert "one node" in err


@pytest.mark.parametrize("url", ["foo", "http://", "ftp://x", "http://a:b", ""])
@pytest.mark.parametrize("words", [["links", "--url"], ["status", "--url"], ["verify", "http://127.0.0.1:1"]])
def test_a_url_that_is_none_is_a_usage_error(shell: Any, words: list[str], url: str) -> None:
    """It is the caller's mistake, found before anything is sent."""
    code, _, err = shell.run(*words, url)
    assert code == USAGE
    assert "no URL" in err


def test_a_command_that_is_not_there_names_the_nearest(shell: Any) -> None:
    """A typo is told with what was meant."""
    code, _, err = shell.run("apend", "orders", "1")
    assert code == USAGE
    assert err.splitlines() == [
        "mirrord: there is no command 'apend' (did you mean \"append\"?)", "see: mirrord --help",
    ]  # fmt: skip


def test_a_group_of_commands_without_one_shows_its_help(shell: Any) -> None:
    """`mirrord queue` is a question, answered by what there is."""
    code, _, err = shell.run("queue")
    assert code == USAGE
    assert err.startswith("Usage: mirrord queue")
    assert "see: " not in err


def test_a_missing_key_says_how_to_give_one(shell: Any, refusal: Any) -> None:
    """The node speaks of HTTP; who types a command needs an option."""
    shell.node.trouble = [lambda _: refusal(401, "unauthorized", "A known key is needed.")]
    code, _, err = shell.run("links")
    assert code == REFUSED
    assert "--key" in err
    assert "MIRRORD_KEY" in err


def test_up_with_a_ca_that_is_not_there_is_a_mistake_of_the_file(shell: Any, tmp_path: Path) -> None:
    """It is told before any node is started, and not as a fault of mirrord."""
    file = tmp_path / "mirrord.toml"
    tls = '[tls]\nca = "nowhere.crt"\ncert = "a.crt"\nkey = "a.key"\n'
    file.write_text(f'[nodes.a]\nlisten = "127.0.0.1:4001"\nurl = "https://127.0.0.1:4001"\n{tls}')
    code, _, err = shell.run("up", str(file))
    assert code == USAGE
    assert "nowhere.crt: cannot be used as a PEM file" in err
    assert not (tmp_path / "data").exists()
