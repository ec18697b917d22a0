"""Who may do what: every row of the table of routes, against a real daemon with keys (topics-v0.md §5)."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest
import trio

from mirrord.web.auth.principal import SCOPES
from mirrord.web.routes.table import ENDPOINTS, SOCKETS, Endpoint

from .daemon import JSON, Api, Daemon, daemons, refused, until

KEYED = """
[cluster]
name = "keyed"
[nodes.keyed]
listen = "127.0.0.1:0"
data_dir = "data"
[auth]
keys = ["file:keys.txt", "literal-key"]
[limits]
max_in_flight_per_key = 3
"""
KEYS = """\
# one key a line
root
none-at-all:peer:
{scopes}
limited:r+w+d+a:in:
reader:read
"""
PUBLIC = {"/v0/health", "/v0/ready", "/healthz", "/readyz"}
# What the reference surface says (topics-v0.md §5), and what its rows mean for what it has not.
CONTRACT = {
    ("GET", "/v0/topics"): {"read"},
    ("GET", "/v0/topics/{name}"): {"read"},
    ("POST", "/v0/topics/{name}/diff"): {"read"},
    ("POST", "/v0/topics/{name}"): {"write"},
    ("POST", "/v0/topics/{name}/ack"): {"write"},
    ("POST", "/v0/topics/{name}/nack"): {"write"},
    ("POST", "/v0/topics/{name}/extend"): {"write"},
    ("POST", "/v0/topics/{name}/claim"): {"read", "write"},
    ("GET", "/v0/topics/{name}/work"): {"read", "write"},
    ("POST", "/v0/topics/{name}/delete"): {"delete"},
    ("DELETE", "/v0/topics/{name}"): {"delete"},
    ("PUT", "/v0/topics/{name}"): {"admin"},
    ("PATCH", "/v0/topics/{name}"): {"admin"},
    ("GET", "/v0/routers"): {"read"},
    ("GET", "/v0/routers/{name}"): {"read"},
    ("DELETE", "/v0/routers/{name}"): {"delete"},
    ("PUT", "/v0/routers/{name}"): {"admin"},
    ("POST", "/v0/watch"): {"read"},
    ("GET", "/v0/watch/{wid}"): set(),
    ("GET", "/v0/metrics"): {"read"},
    ("POST", "/v0/feed"): {"peer"},
    ("POST", "/v0/feed/{feed_no}"): {"peer"},
    ("POST", "/v0/links/{peer}/pause"): {"admin"},
}
_numbers = count(1)
every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: f"{e.method} {e.path}")


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One node with keys: ``root``, ``SCOPES`` of every combination, ``limited`` to names ``in:*``, ``reader``."""
    folder = tmp_path_factory.mktemp("keyed")
    lines = "\n".join(f"{scope}-only:{scope}\nnot-{scope}:{'+'.join({*SCOPES} - {scope, 'peer'})}" for scope in SCOPES)
    folder.joinpath("keys.txt").write_text(KEYS.format(scopes=lines))
    with daemons(folder, KEYED, "keyed") as (daemon,):
        yield daemon


@pytest.fixture
def api(keyed: Daemon) -> Api:
    return keyed.api


@pytest.fixture
def name() -> str:
    return f"in:{next(_numbers)}"


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def call(api: Api, endpoint: Endpoint, key: str | None, name: str = "in:x") -> httpx.Response:
    """The call with an empty body, any name in its path: let through or not, it does nothing."""
    path = re.sub(r"\{[a-z_]+\}", name, endpoint.path)
    headers = {**JSON, **(bearer(key) if key else {})}
    content = b"[]" if endpoint.method in ("POST", "PUT", "PATCH") else None
    return api.request(endpoint.method, path, content=content, headers=headers)


def key_with(scopes: tuple[str, ...]) -> str:
    return {(): "reader", ("peer",): "peer-only"}.get(scopes, f"{scopes[0]}-only" if len(scopes) == 1 else "root")


@every_endpoint
def test_without_a_key_nothing_but_probes_answers(api: Api, endpoint: Endpoint) -> None:
    """Neither for who sends none, nor one that is unknown, nor one in another manner."""
    if endpoint.without_scope != "key" and not endpoint.scopes:
        assert call(api, endpoint, None).status_code in (200, 304)
        return
    for headers in (
        {},
        bearer("unknown"),
        bearer("root2"),
        {"authorization": "root"},
        {"authorization": "bearer root"},
    ):
        path = re.sub(r"\{[a-z_]+\}", "in:x", endpoint.path)
        response = api.request(endpoint.method, path, headers=headers)
        assert refused(response, 401, "unauthorized") == {}
        assert response.headers["www-authenticate"] == "Bearer"


@every_endpoint
def test_every_scope_is_needed(api: Api, endpoint: Endpoint) -> None:
    """A key with all others is refused, and told which one it lacks."""
    for scope in endpoint.scopes:
        detail = refused(call(api, endpoint, f"not-{scope}"), 403, "forbidden")
        assert detail == {"scope": scope}


@every_endpoint
def test_the_scopes_are_enough(api: Api, endpoint: Endpoint) -> None:
    """What is answered then is about the request, no longer about the key."""
    assert call(api, endpoint, key_with(endpoint.scopes)).status_code not in (401, 403)


@every_endpoint
def test_names_outside_the_prefixes_are_refused(api: Api, endpoint: Endpoint) -> None:
    """For each name in a path; inside of them the key may what its scopes say."""
    if not endpoint.names:
        return
    if "peer" not in endpoint.scopes:
        assert call(api, endpoint, "limited").status_code not in (401, 403)
    assert refused(call(api, endpoint, "limited", "out:x"), 403, "forbidden") == {"name": "out:x"}


@every_endpoint
def test_what_concerns_all_names_is_not_for_a_limited_key(api: Api, endpoint: Endpoint) -> None:
    """What names topics in free text, or moves whole links, is for keys that may know of all."""
    if endpoint.unlimited:
        refused(call(api, endpoint, "limited"), 403, "forbidden")


@every_endpoint
def test_a_peer_may_pass_on_what_concerns_the_home_of_a_queue_and_nothing_else(api: Api, endpoint: Endpoint) -> None:
    """It has let its own caller through; for everything else its key opens feeds only."""
    allowed = endpoint.by_peers or "peer" in endpoint.scopes or not endpoint.scopes
    assert (call(api, endpoint, "peer-only").status_code != 403) == allowed
    if endpoint.by_peers:
        assert re.fullmatch("/v0/topics/{name}/(claim|ack|nack|extend|work)", endpoint.path)


def test_the_table_says_what_the_reference_says() -> None:
    """A client with the keys that it has gets what it got there."""
    table = {(e.method, e.path): set(e.scopes) for e in ENDPOINTS}
    there = {route: scopes for route, scopes in CONTRACT.items() if route in table}
    assert {route: table[route] for route in there} == there
    assert {e.path for e in ENDPOINTS if e.without_scope == "probe"} == PUBLIC
    named = {e.path for e in ENDPOINTS if "{name}" in e.path and "name" not in e.names}
    assert named == set()
    tokens = {(e.method, e.path) for e in ENDPOINTS if e.token} | {(s.method, s.path) for s in SOCKETS if s.token}
    assert tokens <= {("GET", "/v0/watch/{wid}"), ("GET", "/v0/topics/{name}/work")}


def test_a_list_shows_what_the_key_may_know_of(api: Api) -> None:
    """Page by page, and with a prefix that is wider or narrower than the key's own."""
    for name in ("in:a", "in:b", "in:ba", "out:a", "i"):
        api.post(f"/v0/topics/{name}", json={"records": [{"data": 1}]}, headers=bearer("root")).raise_for_status()

    def listed(key: str, **query: str) -> list[str]:
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            answer = api.get("/v0/topics", params={**query, **cursor, "page_size": "1"}, headers=bearer(key)).json()
            found += [topic["topic"] for topic in answer["topics"]]
            if "next_cursor" not in answer:
                return [topic for topic in found if topic in {"in:a", "in:b", "in:ba", "out:a", "i"}]
            cursor = {"cursor": answer["next_cursor"]}

    assert listed("root") == ["i", "in:a", "in:b", "in:ba", "out:a"]
    assert listed("limited") == ["in:a", "in:b", "in:ba"]
    assert listed("limited", prefix="in:b") == ["in:b", "in:ba"]
    assert listed("limited", prefix="i") == ["in:a", "in:b", "in:ba"]
    assert listed("limited", prefix="out") == []


@pytest.mark.parametrize("accept", ["*/*", "application/json"])
@pytest.mark.parametrize("path", ["/v0/metrics", "/v0/links", "/v0/lag", "/v0/actors"])
def test_numbers_do_not_tell_other_names(api: Api, path: str, accept: str) -> None:
    """Neither as Prometheus text nor as JSON."""
    for name in ("in:seen", "out:hidden"):
        api.post(f"/v0/topics/{name}", json={"records": [{"data": 1}]}, headers=bearer("root")).raise_for_status()
    whole = api.get(path, headers={**bearer("root"), "accept": accept}).text
    part = api.get(path, headers={**bearer("limited"), "accept": accept}).text
    assert "out:hidden" not in part
    assert ("in:seen" in whole) == ("in:seen" in part)


def test_an_inline_config_needs_admin_when_it_would_count(api: Api, name: str) -> None:
    """An append may create a topic; saying what it is to be is the admin's."""
    body = {"records": [{"data": 1}], "config": {"ttl_ms": 5000}}
    assert refused(api.post(f"/v0/topics/{name}", json=body, headers=bearer("write-only")), 403, "forbidden") == {
        "scope": "admin"
    }
    del body["config"]
    assert api.post(f"/v0/topics/{name}", json=body, headers=bearer("write-only")).status_code == 201
    body["config"] = {"ttl_ms": 5000}  # it exists: the configuration is not looked at
    assert api.post(f"/v0/topics/{name}", json=body, headers=bearer("write-only")).status_code == 200


def test_keys_of_every_source_count(api: Api) -> None:
    """Of files and of the configuration itself."""
    assert api.get("/v0/topics", headers=bearer("literal-key")).status_code == 200


def test_unknown_paths_and_methods_are_told_as_ever(api: Api) -> None:
    """What is not there is no secret."""
    refused(api.get("/v0/nowhere"), 404, "not_found")
    refused(api.delete("/v0/topics"), 405, "method_not_allowed")


def test_no_key_is_ever_told(keyed: Daemon) -> None:
    """Not in answers, not in the log."""
    answers = [
        call(keyed.api, endpoint, key).text for endpoint in ENDPOINTS for key in ("root", "hunter2-unknown", "not-read")
    ]
    log = keyed.log_text()
    for secret in ("literal-key", "hunter2-unknown", "not-read", "reader:", "write-only"):
        assert not any(secret in text for text in (*answers, log))


def test_a_key_has_so_many_requests_in_flight(keyed: Daemon, name: str) -> None:
    """Beyond that 429, which names the limit; other keys are not touched, and the places come back."""
    keyed.api.post(f"/v0/topics/{name}", json={"records": [{"data": 1}]}, headers=bearer("root")).raise_for_status()
    statuses: list[httpx.Response] = []

    async def poll(http: httpx.AsyncClient, scope: trio.CancelScope, key: str) -> None:
        body = {"from_seq": 1, "wait_ms": 20_000}
        response = await http.post(f"/v0/topics/{name}/diff", json=body, headers=bearer(key))
        statuses.append(response)
        scope.cancel()

    async def crowd() -> None:
        async with (
            httpx.AsyncClient(base_url=str(keyed.api.base_url), timeout=25, trust_env=False) as http,
            trio.open_nursery() as nursery,
        ):
            for _ in range(4):
                nursery.start_soon(poll, http, nursery.cancel_scope, "reader")

    trio.run(crowd)
    (response,) = statuses
    assert refused(response, 429, "throttled") == {"limit": "max_in_flight_per_key", "max": 3}
    assert response.headers["retry-after"] == "1"
    assert keyed.api.get("/v0/topics", headers=bearer("root")).status_code == 200
    until(lambda: keyed.api.get("/v0/topics", headers=bearer("reader")).status_code == 200)


def test_keys_are_read_again_on_sighup(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A key that went is refused at its next request on a connection that is open; a mistake changes nothing."""
    folder = tmp_path_factory.mktemp("rotated")
    file, keys = folder / "mirrord.toml", folder / "keys.txt"
    keys.write_text("old\nboth\n")
    with daemons(folder, KEYED, "keyed") as (daemon,):
        api = daemon.api
        assert api.get("/v0/topics", headers=bearer("old")).status_code == 200
        keys.write_text("new\nboth\n")
        daemon.reload()
        until(lambda: api.get("/v0/topics", headers=bearer("new")).status_code == 200)
        refused(api.get("/v0/topics", headers=bearer("old")), 401, "unauthorized")
        assert api.get("/v0/topics", headers=bearer("both")).status_code == 200
        keys.write_text("new:wrong-scope\n")
        daemon.reload()
        until(lambda: "reload_refused" in daemon.log_text())
        assert api.get("/v0/topics", headers=bearer("both")).status_code == 200
        keys.write_text("new\n")
        file.write_text(KEYED.replace("max_in_flight_per_key = 3", "max_in_flight_per_key = 4"))
        daemon.reload()
        until(lambda: "reload_not_yet" in daemon.log_text())
        assert '"sections":["limits"]' in daemon.log_text()
        refused(api.get("/v0/topics", headers=bearer("both")), 401, "unauthorized")


def test_keys_that_come_are_asked_of_who_was_let_in_before(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A node that asked nobody for a key begins to: a request that it knows by heart opens nothing any more."""
    folder = tmp_path_factory.mktemp("closing")
    open_to_all = KEYED.replace('keys = ["file:keys.txt", "literal-key"]', "")
    request = (
        b"POST /v0/topics/t HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n"
        b'{"records":[{"data":1}]}'
    )
    with daemons(folder, open_to_all, "keyed") as (daemon,):
        host, port = daemon.api.address.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as door:

            def told() -> bytes:
                door.sendall(request)
                return door.recv(1 << 16)

            assert [told()[9:12] for _ in range(3)] == [b"201", b"200", b"200"]
            (folder / "mirrord.toml").write_text(open_to_all.replace("[auth]", '[auth]\nkeys = ["first"]'))
            daemon.reload()
            until(lambda: told()[9:12] != b"200")
            before = daemon.api.get("/v0/topics/t", headers=bearer("first")).json()["head_seq"]
            assert b'"code":"unauthorized"' in told()
        assert daemon.api.get("/v0/topics/t", headers=bearer("first")).json()["head_seq"] == before


@pytest.mark.parametrize(
    ("auth", "told"),
    [
        ("", "insecure_listen"),
        ('[auth]\nkeys = ["env:MIRRORD_NO_SUCH_VARIABLE"]', "env:MIRRORD_NO_SUCH_VARIABLE holds no key"),
        ('[auth]\nkeys = ["file:nowhere.txt"]', "nowhere.txt: cannot be read"),
        ('[auth]\nkeys = ["hunter2:what"]', "[auth] keys#1, entry 1: expected scopes"),
    ],
)
def test_a_node_does_not_start_open_or_with_half_its_keys(
    tmp_path_factory: pytest.TempPathFactory, auth: str, told: str
) -> None:
    """Where others can connect, nobody asked for a key is a mistake; so is a key that is not there."""
    text = f'[nodes.a]\nlisten = "0.0.0.0:0"\nurl = "http://127.0.0.1:1"\n{auth}\n'
    with pytest.raises(AssertionError) as caught, daemons(tmp_path_factory.mktemp("open"), text, "a"):
        pass
    assert (told if told != "insecure_listen" else "[auth] allow_insecure = true") in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_node_serves_openly_when_told_to(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever says it has another guard in front."""
    text = '[nodes.a]\nlisten = "0.0.0.0:0"\nurl = "http://127.0.0.1:1"\n[auth]\nallow_insecure = true\n'
    with daemons(tmp_path_factory.mktemp("open"), text, "a") as (daemon,):
        assert httpx.get(f"http://127.0.0.1:{daemon.api.address.split(':')[1]}/v0/topics").status_code == 200


def test_a_router_is_of_those_who_may_see_all_of_it(api: Api, name: str) -> None:
    """Its name and both its topics must be within the prefixes: to make it, to read it, to see it in lists and numbers,
    and to delete it."""

    def put(source: str, dest: str, key: str) -> httpx.Response:
        body = {"source": source, "dest": dest}
        return api.put(f"/v0/routers/{name}", json=body, headers=bearer(key))

    for source, dest in ((name, "out:x"), ("out:x", name)):
        assert refused(put(source, dest, "limited"), 403, "forbidden") == {"name": "out:x"}
    assert put(f"out:{name}", name, "root").status_code == 201
    for method in ("GET", "DELETE"):
        answer = api.request(method, f"/v0/routers/{name}", headers=bearer("limited"))
        refused(answer, 403, "forbidden")
        assert "out:" not in answer.text
    for key, seen in (("limited", False), ("root", True)):
        listed = api.get("/v0/routers", headers=bearer(key)).json()["routers"]
        assert (name in [router["router"] for router in listed]) is seen
        assert (f'router="{name}"' in api.get("/v0/metrics", headers=bearer(key)).text) is seen
    assert api.delete(f"/v0/routers/{name}", headers=bearer("root")).json()["deleted"]


def test_a_queue_writes_where_its_admin_may(api: Api, name: str) -> None:
    """Dead letters are written by the node: whoever names their topic must be its admin too."""
    headers = bearer("limited")
    outside = {"type": "queue", "dead_letter": "out:dead"}
    append = {"records": [{"data": 1}], "config": outside}
    for answer in (
        api.put(f"/v0/topics/{name}", json=outside, headers=headers),
        api.post(f"/v0/topics/{name}", json=append, headers=headers),
    ):
        assert refused(answer, 403, "forbidden") == {"name": "out:dead"}
    inside = {"type": "queue", "dead_letter": "in:dead"}
    assert api.put(f"/v0/topics/{name}", json=inside, headers=headers).status_code == 201
    answer = api.patch(f"/v0/topics/{name}", json={"dead_letter": "out:dead"}, headers=headers)
    assert refused(answer, 403, "forbidden") == {"name": "out:dead"}


def test_a_watch_is_checked_whenever_it_is_opened(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A key whose prefixes became narrower opens no watch that it made before for names that it may not know now."""
    folder = tmp_path_factory.mktemp("narrower")
    keys = folder / "keys.txt"
    keys.write_text("root\nclient:r\n")
    with daemons(folder, KEYED, "keyed") as (daemon,):
        daemon.api.post("/v0/topics/out:a", json={"records": [{"data": 1}]}, headers=bearer("root")).raise_for_status()
        wanted: dict[str, Any] = {"topics": {"out:a": {}}}
        wid = daemon.api.post("/v0/watch", json=wanted, headers=bearer("client")).raise_for_status().json()["wid"]
        keys.write_text("root\nclient:r:in:\n")
        daemon.reload()
        until(lambda: daemon.api.post("/v0/watch", json=wanted, headers=bearer("client")).status_code == 403)
        refused(daemon.api.get(f"/v0/watch/{wid}", headers=bearer("client")), 403, "forbidden")
