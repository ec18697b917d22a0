"""Who may come in to a running node and how it shows itself to others: read at the start, and again on SIGHUP."""

from __future__ import annotations

import os
from collections.abc import Iterable
from ipaddress import ip_address

import msgspec

from ...config.access.tls import TlsConfig
from ...config.model import Config
from ...config.topology import link_key, links_of
from ...errors import InsecureListen
from .gate import Gate
from .keys import KeyLine
from .sources import key_lines, peer_line
from .tls import Certificates


class Access:
    """The gate, the certificates, and the keys that this node shows its peers. Raises ConfigError."""

    def __init__(self, config: Config, name: str) -> None:
        self._config, self._name = config, name
        self._hosts: tuple[str, ...] = ()
        self.gate = Gate(most_in_flight=config.limits.max_in_flight_per_key)
        self.certificates = Certificates(config.nodes[name].tls)
        self._shown: dict[str, str] = {}
        self._take(config, *self._read(config))

    def listens_at(self, hosts: Iterable[str]) -> None:
        """Raises InsecureListen when others can reach one of these addresses and nobody is asked for a key, unless
        the configuration allows it."""
        self._hosts = tuple(hosts)
        self._refuse_open(self._config, asked=not self.gate.open)

    def shown_to(self, peer: str) -> str:
        """The key for a peer's feed; nothing when none is configured."""
        return self._shown.get(peer, "")

    def renew(self, config: Config) -> list[str]:
        """Take the keys and certificates of a configuration that was read again.

        Names the sections that say something else than at the start, which is not taken. Raises ConfigError, and then
        nothing has changed.
        """
        lines, shown = self._read(config)
        self._refuse_open(config, asked=bool(lines))
        self.certificates.renew(config.nodes[self._name].tls)
        self._take(config, lines, shown)
        return _differences(self._config, config)

    def _read(self, config: Config) -> tuple[list[KeyLine], dict[str, str]]:
        folder = os.path.dirname(os.path.abspath(config.file or "."))
        references = {plan.peer: link_key(config, self._name, plan.peer) for plan in links_of(config, self._name)}
        shown = {peer: peer_line(where, folder).key for peer, where in references.items() if where}
        return key_lines(config.auth, folder), shown

    def _take(self, config: Config, lines: list[KeyLine], shown: dict[str, str]) -> None:
        self._shown = shown
        certify = self.certificates.peers_certify
        self.gate.renew(lines, probe_auth=config.auth.probe_auth, peers_certify=certify)

    def _refuse_open(self, config: Config, *, asked: bool) -> None:
        if asked or config.auth.allow_insecure or self.certificates.all_certify:
            return
        reachable = [host for host in self._hosts if not ip_address(host.partition("%")[0]).is_loopback]
        if reachable:
            raise InsecureListen(
                f"{self._name} listens at {reachable[0]}, where other machines can connect, and asks nobody for a key: "
                "set [auth] keys, listen at 127.0.0.1, or say [auth] allow_insecure = true",
                {"node": self._name, "address": reachable[0]},
            )


def _differences(old: Config, new: Config) -> list[str]:
    """The sections that say something else, beside keys and certificates."""

    def rest(config: Config, section: str) -> object:
        if section == "nodes":
            return [msgspec.structs.replace(node, tls=TlsConfig()) for node in config.nodes.values()]
        if section == "links":
            return [msgspec.structs.replace(link, key=None) for link in config.links]
        return getattr(config, section)

    return [s for s in Config.__struct_fields__ if s not in ("auth", "file") and rest(old, s) != rest(new, s)]
