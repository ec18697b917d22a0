"""Certificates for tests: a CA of its own in a folder, and what it signs, made by the openssl binary."""

from __future__ import annotations

import subprocess
from pathlib import Path

EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


class Authority:
    """A CA: ``ca.crt`` in its folder, and ``NAME.crt``, ``NAME.key`` for whom it signs."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.ca = folder / "ca.crt"
        _openssl(
            folder, "req", "-x509", *EC, "-days", "2", "-subj", "/CN=test-ca", "-keyout", "ca.key", "-out", "ca.crt"
        )

    def sign(self, name: str) -> tuple[Path, Path]:
        """A new certificate for 127.0.0.1 and localhost, in the place of an older one; its file and its key's."""
        cert, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        _openssl(self.folder, "req", *EC, "-subj", f"/CN={name}", "-keyout", key.name, "-out", "asked.csr")
        (self.folder / "names").write_text(NAMES)
        _openssl(
            self.folder, "x509", "-req", "-in", "asked.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", "names", "-out", cert.name,
        )  # fmt: skip
        return cert, key


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(("openssl", *arguments), cwd=folder, check=True, capture_output=True)
