"""``mirrord router``: what is asked, and what people and machines see."""

from __future__ import annotations

import json
from typing import Any

from .asked import Asked

TOLD = {"router": "r", "source": "a", "dest": "b", "filter": ["tag", "Eq", "x"], "preserve_node": True, "lag": 1200,
        "forwarded_total": 5, "state": "routing", "created": True}  # fmt: skip


def test_put_sends_what_was_given(shell: Any) -> None:
    """Flags are fields; a filter is a tag."""
    asked = Asked(shell, TOLD, TOLD | {"created": False})
    assert shell.run("router", "put", "r", "--source", "a", "--dest", "b")[1] == "r: created\n"
    words = ("--tag", "x*", "--backfill", "--allow-cycle", "--own-node", "--drop-tag", "--no-create-dest",
             "--forward", "origin")  # fmt: skip
    assert shell.run("router", "put", "r", "--source", "a", "--dest", "b", *words)[1] == "r: was there; changed\n"
    plain = {"source": "a", "dest": "b", "backfill": False, "allow_cycle": False, "preserve_node": True,
             "preserve_tag": True, "create_dest": True}  # fmt: skip
    every = {word: word in ("backfill", "allow_cycle") for word in plain if word not in ("source", "dest")}
    assert [call[2] for call in asked.calls] == [
        plain, {"source": "a", "dest": "b", "filter": "x*", "forward": "origin", **every},
    ]  # fmt: skip
    assert asked.calls[0][:2] == ("PUT", "/v0/routers/r")


def test_list_and_show(shell: Any) -> None:
    """All pages in one table, with how far each is; machines get the node's words."""
    asked = Asked(shell, {"routers": [TOLD], "next_cursor": "c"}, {"routers": [TOLD | {"router": "s"}]}, TOLD, TOLD)
    out = shell.run("router", "list", "--source", "a")[1]
    assert [line.split()[0] for line in out.splitlines() if line.strip()][-2:] == ["r", "s"]
    assert "1,200" in out
    assert [call[2].get("cursor") for call in asked.calls] == [None, "c"]
    assert asked.calls[0][2]["source"] == "a"
    assert "tag Eq x" in shell.run("router", "show", "r")[1]
    assert json.loads(shell.run("router", "show", "r", "--json")[1])["lag"] == 1200


def test_delete(shell: Any) -> None:
    """Whether there was one."""
    Asked(shell, {"deleted": True}, {"deleted": False})
    assert shell.run("router", "delete", "r")[1] == "r: deleted\n"
    assert shell.run("router", "delete", "r")[1] == "r: was not there\n"


def test_a_router_by_its_name_and_all_without_one(shell: Any) -> None:
    """As with topics: `mirrord router` lists, `mirrord router NAME` shows."""
    asked = Asked(shell, {"routers": [TOLD]}, TOLD)
    assert "1,200" in shell.run("router")[1]
    assert "tag Eq x" in shell.run("router", "r")[1]
    assert [call[1] for call in asked.calls] == ["/v0/routers", "/v0/routers/r"]
