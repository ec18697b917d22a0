"""The files in configs/ are what they say."""

from pathlib import Path

import pytest

from mirrord.config.load import load, parse
from mirrord.config.model import ClusterConfig, Limits, LinkConfig, MirroringConfig, NodeConfig, StoreConfig
from mirrord.config.option import options_of
from mirrord.config.reference import every_key, every_row
from mirrord.config.topic import OPTIONS, TopicConfig, topic_config

CONFIGS = Path(__file__).parents[2] / "configs"
EXPECTED = {
    "one-node": 1,
    "two-mirrors": 2,
    "three-mesh": 3,
    "hub-and-leaves": 4,
    "ring": 4,
    "chain": 3,
    "two-meshes": 6,
    "every-key": 3,
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_each_example_loads(name: str) -> None:
    """What a person copies works."""
    assert len(load(str(CONFIGS / f"{name}.toml")).nodes) == EXPECTED[name]


def test_no_example_is_forgotten() -> None:
    """A new file in configs/ is loaded by a test too."""
    assert {file.stem for file in CONFIGS.glob("*.toml")} == set(EXPECTED)


def test_every_key_is_printed_from_the_model() -> None:
    """The file that lists every key is never behind the code: print it anew with the command in its head."""
    assert (CONFIGS / "every-key.toml").read_text() == every_key()


def test_every_key_shows_the_defaults() -> None:
    """Reading the printed file is the same as leaving everything out."""
    config = parse(every_key())
    assert (config.limits, config.store, config.mirroring) == (Limits(), StoreConfig(), MirroringConfig())
    assert topic_config(config.topics["orders"]) == TopicConfig()
    fra, alone = config.nodes["fra"], parse("[nodes.fra]").nodes["fra"]
    assert (fra.name, fra.listen, fra.data_dir, fra.topics) == (alone.name, alone.listen, alone.data_dir, {})
    assert (config.auth.probe_auth, config.auth.allow_insecure, fra.tls.verify) == (False, False, "peers")


def test_every_field_of_the_model_is_a_documented_key() -> None:
    """No option without a unit and a meaning, and none that the reference leaves out."""
    undocumented = {"name", "topics", "tls"}  # of a node: its table's name, and tables of their own
    for table in (ClusterConfig, NodeConfig, LinkConfig, Limits, StoreConfig, MirroringConfig, TopicConfig):
        missing = set(table.__struct_fields__) - set(options_of(table))
        assert missing <= (undocumented if table is NodeConfig else set())
    rows = every_row()
    assert all(row.option.meaning and "  " not in row.option.meaning for row in rows)
    assert {row.key for row in rows if row.table == "[topics.orders]"} == set(OPTIONS)
