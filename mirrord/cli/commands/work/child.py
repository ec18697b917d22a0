"""A command that is run for one job, while somebody keeps the job's lease."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence

from ....errors import InvalidRequest

GRACE_S = 5.0  # from SIGTERM to SIGKILL


def run(
    command: Sequence[str], payload: bytes, facts: Mapping[str, str], every_s: float, keep: Callable[[], bool]
) -> int | None:
    """Run a command with the payload on its standard input and facts in its environment; its exit code.

    ``keep`` is asked every so many seconds; when it says no, the command is ended and the answer is None. Raises
    InvalidRequest when there is no such command.
    """
    try:
        child = subprocess.Popen(list(command), stdin=subprocess.PIPE, env={**os.environ, **facts})
    except OSError as error:
        raise InvalidRequest(f"{command[0]}: {error.strerror}; give a command that can be run") from None
    with child:
        given: bytes | None = payload
        while True:
            try:
                child.communicate(given, timeout=every_s)
                return child.returncode
            except subprocess.TimeoutExpired:
                given = None  # it has it, or still takes it
                if not keep():
                    _end(child)
                    return None


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.communicate(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
