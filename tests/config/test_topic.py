"""A topic's configuration as `PUT /v0/topics/:t` takes it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.config.topic import (
    OPTIONS,
    TopicConfig,
    as_json,
    effective_priority,
    topic_config,
)
from mirrord.errors import InvalidRequest

anything = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=1)
)


def test_the_defaults_are_those_of_the_reference() -> None:
    """A client that reads the answer to an empty PUT finds the 17 fields with the values it expects, and
    one more."""
    assert as_json(topic_config({})) == {
        "type": "log",
        "ttl_ms": 0,
        "cap_records": 0,
        "cap_bytes": 0,
        "discard": "old",
        "durable": False,
        "durability": "disk",
        "priority": None,
        "auto_priority": True,
        "auto_create": True,
        "idempotency_window_ms": 120_000,
        "dedupe_node": True,
        "lease_ms": 30_000,
        "claim_jitter_ms": 0,
        "max_deliveries": 0,
        "dead_letter": None,
        "leases_durable": False,
        "home": None,
        "idempotency_check": True,
        "mirror_groups": False,
    }


@pytest.mark.parametrize(
    ("fields", "base", "durability"),
    [
        ({"durable": True}, "disk", "fsync"),
        ({"durable": False}, "memory", "disk"),
        ({}, "fsync", "fsync"),
        ({"durable": True, "durability": "memory"}, "disk", "memory"),
        ({"durability": "fsync"}, "disk", "fsync"),
    ],
)
def test_durability_is_always_resolved(fields: dict[str, object], base: str, durability: str) -> None:
    """`durable` is short for two classes, `durability` wins, and answers never contradict themselves."""
    config = topic_config(fields, topic_config({"durability": base}))
    assert (config.durability, config.durable) == (durability, durability == "fsync")


def test_leases_and_jitters_are_clamped_and_unknown_fields_ignored() -> None:
    """As the reference says: stored clamped; a newer client's field does no harm; a huge priority is kept."""
    config = topic_config({"lease_ms": 1, "claim_jitter_ms": 10**9, "priority": 2**31 - 1, "news": {}})
    assert (config.lease_ms, config.claim_jitter_ms, config.priority) == (100, 5000, 2**31 - 1)
    assert topic_config({"lease_ms": 10**12}).lease_ms == 86_400_000


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("type", "stream"),
        ("type", None),
        ("ttl_ms", -1),
        ("ttl_ms", 1.5),
        ("ttl_ms", True),
        ("cap_records", "7"),
        ("cap_bytes", 2**64),
        ("discard", "new"),
        ("durable", 1),
        ("durability", "safe"),
        ("priority", 2**31),
        ("priority", "1"),
        ("auto_create", None),
        ("idempotency_window_ms", None),
        ("dead_letter", "no such name"),
        ("dead_letter", 1),
        ("home", "no:node"),
        ("home", 1),
    ],
)
def test_a_wrong_field_is_named(field: str, wrong: object) -> None:
    """A field of another type, range or word is 400 with the field's name, and nothing is changed."""
    with pytest.raises(InvalidRequest, match=rf"^{field}: expected .*, found") as caught:
        topic_config({field: wrong})
    assert caught.value.detail == {"field": field}


@given(st.dictionaries(st.sampled_from(sorted(OPTIONS)), anything, max_size=4))
def test_any_body_is_a_sound_config_or_a_named_refusal(fields: dict[str, Any]) -> None:
    """Whatever JSON comes, what is stored has the types that everything else relies on."""
    try:
        config = topic_config(fields)
    except InvalidRequest:
        return
    assert msgspec.convert(as_json(config), TopicConfig, strict=True) == config
    assert config.durable == (config.durability == "fsync")


@pytest.mark.parametrize(
    ("fields", "idle_ms", "priority"),
    [
        ({}, None, 0),
        ({}, 0, 500),
        ({}, 30_000, 250),
        ({}, 60_000, 125),
        ({}, 299_999, 0),
        ({}, 300_000, 0),
        ({}, -5, 500),
        ({"auto_priority": False}, 0, 0),
        ({"priority": 7}, 0, 7),
        ({"priority": 0}, 0, 0),
        ({"priority": 7, "auto_priority": False}, None, 7),
        ({"priority": 2**31 - 1}, None, 1000),
        ({"priority": -(2**31)}, 0, -1000),
    ],
)
def test_effective_priority(fields: dict[str, Any], idle_ms: int | None, priority: int) -> None:
    """What was set, kept as it was set and clamped when used; else how recently it was read (a clock may step back)."""
    assert effective_priority(topic_config(fields), idle_ms) == priority
