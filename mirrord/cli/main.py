"""The door of ``mirrord``: finds the verb, turns every expected fault into one line and an exit code.

The daemon (``mirrord run``) goes past click, so that a node never loads what only people need.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import TracebackType

from ..errors import ConfigError, MirrordError, PeerError, StoreError, Unauthorized
from .doors import Doors

OK, FAILED, USAGE, UNREACHABLE, REFUSED, INTERRUPTED = 0, 1, 2, 3, 4, 130

EXIT_CODES = {
    OK: "done; for verify: the nodes hold the same",
    FAILED: "failed, or what was compared differs",
    USAGE: "the command or the configuration file is wrong",
    UNREACHABLE: "the node does not answer",
    REFUSED: "the node answered, and said no",
    INTERRUPTED: "interrupted",
}


def main() -> None:
    """Run the command of this process and leave with its exit code."""
    sys.excepthook = _own_up
    sys.exit(answer(sys.argv[1:]))


def answer(args: Sequence[str], doors: Doors | None = None) -> int:
    """Run one command and tell its exit code; ``doors`` are what it reaches the world through."""
    try:
        if args and args[0] == "run" and "_MIRRORD_COMPLETE" not in os.environ:
            from .commands.run import run

            return run(args[1:])
        from .verbs import speak

        return speak(args, doors or Doors())
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `mirrord tail orders | head`: the reader has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except MirrordError as error:
        complain(f"{error} (--key KEY, or MIRRORD_KEY)" if isinstance(error, Unauthorized) else str(error))
        return exit_code(error)
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return FAILED


def exit_code(error: MirrordError) -> int:
    """Which of EXIT_CODES an error leaves with."""
    if isinstance(error, ConfigError):
        return USAGE
    if isinstance(error, PeerError):
        return UNREACHABLE
    return FAILED if isinstance(error, StoreError) else REFUSED


def complain(message: str) -> None:
    """One line for people, on stderr."""
    print(f"mirrord: {message}", file=sys.stderr, flush=True)


def _own_up(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A fault that nobody expected is ours: one line, and the traceback only for who asks for it."""
    if os.environ.get("MIRRORD_TRACEBACK"):
        sys.__excepthook__(kind, error, trace)
    else:
        complain(f"this is a fault of mirrord itself: {kind.__name__}: {error}; MIRRORD_TRACEBACK=1 shows where")
