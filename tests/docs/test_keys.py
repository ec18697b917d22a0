"""What docs/OPERATIONS.md says about keys and certificates, done as it stands."""

from __future__ import annotations

import re
import ssl
import subprocess
from pathlib import Path

from mirrord.config.access.tls import TlsConfig
from mirrord.web.auth.keys import key_line
from mirrord.web.auth.principal import SCOPES
from mirrord.web.auth.tls import Certificates

PAGE = (Path(__file__).parents[2] / "docs" / "OPERATIONS.md").read_text()


def test_certificates_from_an_empty_folder(tmp_path: Path) -> None:
    """Whoever runs the commands of the page has a CA, and for each node a pair that serves and that links believe."""
    (commands,) = re.findall(r"```sh\n(mkdir tls && cd tls\n.*?)```", PAGE, re.DOTALL)
    subprocess.run(("bash", "-e", "-c", commands), cwd=tmp_path, check=True, capture_output=True)
    made = tmp_path / "tls"
    for node in ("fra", "iad"):
        cert, key, ca = (str(made / name) for name in (f"{node}.crt", f"{node}.key", "ca.crt"))
        Certificates(TlsConfig(cert=cert, key=key, ca=ca, client_ca=ca))
        told = subprocess.run(
            ("openssl", "verify", "-CAfile", "ca.crt", "-verify_hostname", f"{node}.example", f"{node}.crt"),
            cwd=made, check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert "OK" in told.stdout
    assert ssl.create_default_context(cafile=str(made / "ca.crt")).cert_store_stats()["x509_ca"] == 1


def test_keys_of_the_page_are_keys() -> None:
    """Each line of the example is read, and the table has every scope."""
    (lines,) = re.findall(r"```text\n(wM0zKb1C.*?)```", PAGE, re.DOTALL)
    found = [key_line(line.partition("#")[0].strip()) for line in lines.splitlines()]
    assert [(sorted(line.scopes), line.prefixes) for line in found] == [
        (["admin", "delete", "read", "write"], ()),
        (["read", "write"], ("orders", "receipts")),
        (["read"], ()),
        (["delete", "read"], ("chat:",)),
    ]
    for scope in SCOPES:
        assert f"| `{scope}` |" in PAGE
