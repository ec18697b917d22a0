"""A topic's configuration as `PUT /v0/topics/:t` takes it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.config.topic import (
    DEFAULT,
    OPTIONS,
    TopicConfig,
    as_json,
    refuse_what_is_not_there,
    topic_config,
)
from mirrord.errors import InvalidRequest, NotYet

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
    ("field", "value"),
    [
        ("priority", 0),
        ("auto_priority", False),
    ],
)
def test_what_is_not_there_yet_is_refused_by_name(field: str, value: object) -> None:
    """Never something half right: a queue's settings are 501 until there are queues, defaults pass."""
    with pytest.raises(NotYet, match=rf"^{field} = ") as caught:
        refuse_what_is_not_there(topic_config({field: value}))
    assert caught.value.detail == {"field": field}
    refuse_what_is_not_there(DEFAULT)
    refuse_what_is_not_there(
        topic_config({"ttl_ms": 1, "cap_records": 1, "durability": "ephemeral", "dedupe_node": False})
    )
