"""``[tls]``: the certificate that a node shows, and whose certificates it believes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Struct

from ..lines import Faults, Path
from ..option import Option, options_of

Verify = Literal["peers", "all"]
FILES = ("cert", "key", "ca", "client_ca")


class TlsConfig(Struct, frozen=True):
    """``[tls]``, and what differs on one node in ``[nodes.NAME.tls]``. Without ``cert`` a node speaks plain HTTP."""

    cert: Annotated[
        str,
        Option("text", "PEM file with the node's certificate and those between it and its CA", example='"tls/fra.crt"'),
    ] = ""
    key: Annotated[str, Option("text", "PEM file with its private key", example='"tls/fra.key"')] = ""
    ca: Annotated[
        str,
        Option("text", "PEM file of the CA of our peers; default: those of the system", example='"tls/ca.crt"'),
    ] = ""
    client_ca: Annotated[
        str,
        Option("text", "PEM file of the CA whose certificates callers must show", example='"tls/ca.crt"'),
    ] = ""
    verify: Annotated[
        Verify,
        Option("word", "with client_ca: who must show a certificate, only peers or everybody", words=("peers", "all")),
    ] = "peers"

    @property
    def serves(self) -> bool:
        """Whether the node speaks TLS to its callers."""
        return bool(self.cert)


def read_tls(faults: Faults, path: Path, found: object, folder: str, over: TlsConfig | None = None) -> TlsConfig:
    """The section over another one; files are relative to ``folder``. What is wrong is added to the faults."""
    over = over if over is not None else TlsConfig()
    values = faults.table(path, found, options_of(TlsConfig))
    tls: TlsConfig = msgspec.structs.replace(over, **_placed(values, folder))
    return tls


def _placed(values: Mapping[str, str], folder: str) -> dict[str, str]:
    return {
        key: os.path.normpath(os.path.join(folder, value)) if key in FILES and value else value
        for key, value in values.items()
    }


def check_tls(faults: Faults, path: Path, tls: TlsConfig) -> None:
    """Adds what is missing of a node's TLS, when the tables of the file are laid over each other."""
    if bool(tls.cert) != bool(tls.key):
        faults.add((*path, "cert" if tls.cert else "key"), "expected cert and key: one is nothing without the other")
    elif tls.client_ca and not tls.cert:
        faults.add((*path, "client_ca"), "expected beside cert and key: without them nobody is asked for a certificate")
