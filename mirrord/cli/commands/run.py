"""``mirrord run``: one daemon in the foreground. Imports neither click nor rich: a node needs none."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Sequence

from ...config.load import load
from ...config.model import Config
from ...errors import ConfigError

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def run(args: Sequence[str]) -> int:
    """Serve until told to stop; the exit code. Raises ConfigError, StoreError (data directory, address)."""
    given = _parser().parse_args(args)
    if given.parent:
        _die_with(given.parent)
    return run_file(given.file, given.node)


def run_file(file: str, node: str | None) -> int:
    """Serve as one node of a configuration file."""
    config = load(file)
    name = node_of(config, node)
    _leave_out_what_no_node_needs()
    from ...serve import run_node  # here, so that a mistake in the file is told before all of a node is loaded

    sys.excepthook = sys.__excepthook__  # a daemon's log is where its tracebacks belong
    return run_node(config, name, ready=_say_ready)


def _leave_out_what_no_node_needs() -> None:
    """httpx brings its own command line, and with it click and rich: a quarter of a node's start. It does without."""
    loaded: dict[str, object] = sys.modules  # type: ignore[assignment]
    loaded.setdefault("httpx._main", None)


def node_of(config: Config, node: str | None) -> str:
    """The node to be: the one named, or the only one that there is. Raises ConfigError."""
    names = list(config.nodes)
    if node is None and len(names) == 1:
        return names[0]
    if node is not None and node in config.nodes:
        return node
    wrong = "say which node to be with --node" if node is None else f"there is no node {node!r}"
    raise ConfigError(f"{config.file}: {wrong}; the file has {', '.join(names)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mirrord run", description="Run one node in the foreground.")
    parser.add_argument("file", metavar="FILE", help="the TOML file that describes the cluster")
    parser.add_argument("--node", metavar="NAME", help="which node to be; may be left out when the file has one")
    parser.add_argument("--parent", type=int, metavar="PID", help=argparse.SUPPRESS)
    return parser


def _die_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends, however that ends: ``up`` leaves nothing."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we could ask
        os._exit(1)


def _say_ready(url: str) -> None:
    print(f"mirrord: ready at {url}", flush=True)
