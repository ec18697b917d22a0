"""``init``, ``check``, ``graph``: the verbs about a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mirrord.cli.main import USAGE
from mirrord.config import topology
from mirrord.config.load import load


@pytest.mark.parametrize("names", ["fra", "fra,iad", "fra,iad,sin", "a.b,c-d,e_f,g,h"])
def test_what_init_writes_passes_check(shell: Any, tmp_path: Path, names: str) -> None:
    """The first file that a user sees is right, and is the mesh that it says it is."""
    code, out, _ = shell.run("init", str(tmp_path / "new"), "--nodes", names, "--port", "5001")
    file = tmp_path / "new" / "mirrord.toml"
    assert code == 0
    assert f"mirrord up {file}" in out
    code, out, _ = shell.run("check", str(file))
    assert (code, "ok" in out, "warning" in out) == (0, True, False)
    config, wanted = load(str(file)), names.split(",")
    assert list(config.nodes) == wanted
    assert len(topology.edges(config)) == len(wanted) * (len(wanted) - 1)


def test_init_overwrites_nothing(shell: Any, tmp_path: Path) -> None:
    """A file that a person edited is not lost to a second init."""
    (tmp_path / "mirrord.toml").write_text("mine")
    code, _, err = shell.run("init", str(tmp_path))
    assert code == USAGE
    assert "is there already" in err
    assert (tmp_path / "mirrord.toml").read_text() == "mine"


@pytest.mark.parametrize("names", ["", "a,a", "-x", "a b"])
def test_init_refuses_names_that_no_node_can_have(shell: Any, tmp_path: Path, names: str) -> None:
    """Better now than at the first start."""
    code, _, _ = shell.run("init", str(tmp_path), "--nodes", names)
    assert code == USAGE
    assert list(tmp_path.iterdir()) == []


def test_check_names_file_line_and_key(shell: Any, tmp_path: Path) -> None:
    """An error in a file can be jumped to."""
    file = tmp_path / "bad.toml"
    file.write_text('[cluster]\nname = "shop"\n\n[nodes.fra]\nlisten = "127.0.0.1:4001"\ndata_dri = "x"\n')
    code, out, err = shell.run("check", str(file))
    assert (code, out) == (USAGE, "")
    assert f"{file}:6:" in err
    assert "data_dir" in err


@pytest.mark.parametrize(
    ("listen", "more", "told"),
    [
        ("0.0.0.0:4001", "", "asks nobody for a key"),
        ("127.0.0.1:4001", '[auth]\nkeys = ["secret:nonsense"]', "scopes"),
        ("127.0.0.1:4001", '[auth]\nkeys = ["env:MIRRORD_NO_SUCH_KEY"]', "MIRRORD_NO_SUCH_KEY"),
        ("127.0.0.1:4001", '[auth]\nkeys = ["file:keys.txt"]', "keys.txt"),
        ("127.0.0.1:4001", '[nodes.fra.tls]\ncert = "fra.crt"\nkey = "fra.key"', "fra.crt"),
    ],
)
def test_check_refuses_what_a_start_would(shell: Any, tmp_path: Path, listen: str, more: str, told: str) -> None:
    """Keys, certificates and open doors are looked at as a node does; --node leaves out what other nodes need."""
    file = tmp_path / "shop.toml"
    nodes = f'[nodes.fra]\nlisten = "{listen}"\ndata_dir = "a"\n[nodes.iad]\nlisten = "127.0.0.1:1"\ndata_dir = "b"\n'
    file.write_text(f'[cluster]\nname = "shop"\n{nodes}{more}\n')
    code, out, err = shell.run("check", str(file))
    assert (code, out) == (USAGE, "")
    assert "fra would not start" in err
    assert told in err
    assert "secret" not in err
    assert (shell.run("check", str(file), "--node", "iad")[0] == 0) is ("[auth]" not in more)


def test_a_file_that_is_not_there_is_a_config_error(shell: Any) -> None:
    """Not a traceback."""
    code, _, err = shell.run("check", "/nowhere.toml")
    assert code == USAGE
    assert "/nowhere.toml" in err


@pytest.mark.parametrize(("form", "mark"), [("text", "fra"), ("mermaid", "-->"), ("svg", "<svg")])
def test_graph_draws_in_each_format(shell: Any, tmp_path: Path, form: str, mark: str) -> None:
    """Each format is what it says."""
    shell.run("init", str(tmp_path))
    code, out, _ = shell.run("graph", str(tmp_path / "mirrord.toml"), "--format", form)
    assert code == 0
    assert mark in out


def test_a_node_of_a_file_is_found_by_name(shell: Any, tmp_path: Path) -> None:
    """--file and --node stand for the URL in the file; a wrong name is answered with the right ones."""
    shell.run("init", str(tmp_path))
    file = str(tmp_path / "mirrord.toml")
    assert shell.run("append", "t", "1", "--file", file, "--node", "fra")[0] == 0
    code, _, err = shell.run("append", "t", "1", "--file", file, "--node", "lhr")
    assert code == USAGE
    assert "fra, iad, sin" in err
    code, _, err = shell.run("append", "t", "1", "--file", file)
    assert code == USAGE
    assert "--node" in err
