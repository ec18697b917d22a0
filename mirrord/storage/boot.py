"""The boot-scoped place of the start id: what tells a process that was killed from a machine that was started anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from .life import Surroundings

MARKS_LOOKED_AT = 64


class BootMark:
    """The start id's place: a directory that a reboot empties, one file per data directory."""

    def __init__(self, data_dir: Path, note: Callable[..., None]) -> None:
        self._database, self._note = data_dir / "mirrord.db", note
        name = sha256(os.fsencode(data_dir.resolve())).hexdigest()[:32]
        self._path = _runtime_dir() / f"{name}.start"

    def look(self) -> Surroundings:
        """What is there now."""
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        found = self._database.stat()
        try:
            start_id: bytes | None = bytes.fromhex(self._path.read_text().split(" ", 1)[0])
        except (OSError, ValueError):
            start_id = None
        return Surroundings(boot_id, found.st_dev, found.st_ino, start_id)

    def write(self, start_id: bytes) -> None:
        """Keep it. A directory that cannot be written only costs a new life at the next start."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.write_text(f"{start_id.hex()} {self._database.parent}")
            self._forget_the_gone()
        except OSError as error:
            self._note("start_mark_not_written", level="warning", path=str(self._path), error=str(error))

    def _forget_the_gone(self) -> None:
        """Marks of data directories that are no more, at most a few at each start."""
        for mark in list(self._path.parent.glob("*.start"))[:MARKS_LOOKED_AT]:
            _, _, data_dir = mark.read_text().partition(" ")
            if data_dir and not Path(data_dir).exists():
                mark.unlink(missing_ok=True)


def _runtime_dir() -> Path:
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given:
        return Path(given) / "mirrord"
    return Path("/run/mirrord") if os.access("/run", os.W_OK) else Path(f"/dev/shm/mirrord-{os.getuid()}")
