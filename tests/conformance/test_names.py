"""Names of topics (reference 1.2): which ones are, which are refused, on every call that takes one."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from .daemon import Api, refused

WRONG = ["-a", ".a", "_a", ":a", "a b", "é", "aé", "a" * 256, "a\n", "a\x00", "a*", "a>b", "a,b", "a/b", "日本"]


@pytest.mark.parametrize("name", ["a", "Z9", "0", "a" * 255, "A.b_c:d-e", "9.9"])
def test_names_that_are(api: Api, name: str) -> None:
    """Every allowed character and length can be written, read and deleted."""
    assert api.append(name, 1)["topic"] == name
    assert api.diff(name)["topic"] == name
    assert api.told("DELETE", f"/v0/topics/{name}") | {"performance": 0} == {
        "topic": name, "deleted": True, "routers_removed": [], "performance": 0,
    }  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_names_that_are_not(api: Api, name: str) -> None:
    """A bad name is refused before anything is made of it, whatever is asked."""
    path = f"/v0/topics/{quote(name, safe='')}"
    body = {"records": [{"data": 1}]}
    refused(api.put(path, json={}), 400, "invalid_request")
    refused(api.post(path, json=body), 400, "invalid_request")
    refused(api.delete(path), 400, "invalid_request")
    refused(api.get(path), 400, "invalid_request")
    refused(api.get(path + "/digest"), 400, "invalid_request")
    if "*" not in name:
        refused(api.post(path + "/diff", json={}), 400, "invalid_request")


def test_names_are_case_sensitive(api: Api, topic: str) -> None:
    """Two names that differ in case are two topics."""
    api.append(topic + "x", "low")
    api.append(topic + "X", "high")
    assert [record["data"] for record in api.diff(topic + "X")["records"]] == ["high"]


def test_a_percent_encoded_name_is_the_same_name(api: Api, topic: str) -> None:
    """Clients may encode what need not be encoded."""
    api.append(topic + ":x", 1)
    assert api.append(topic + "%3Ax", 2)["topic"] == topic + ":x"
    assert api.told("GET", f"/v0/topics/{topic}%3Ax")["head_seq"] == 2


@pytest.mark.parametrize("path", ["/v0/topics/a%2Fb", "/v0/topics/%2e%2e", "/v0/topics/a%zz", "/v0/topics/%ff"])
def test_odd_paths_never_break_the_node(api: Api, path: str) -> None:
    """Encoded slashes, dots, broken escapes and broken UTF-8 are refused, in the one shape."""
    for method in ("GET", "PUT", "POST", "DELETE"):
        response = api.request(method, path, json={"records": [{"data": 1}]} if method == "POST" else None)
        assert response.status_code in (400, 404, 405), response.text
        refused(response, response.status_code, response.json()["error"]["code"])
