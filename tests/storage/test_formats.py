"""Stores that older versions wrote open, say the same, and can be used as if they were new."""

from __future__ import annotations

import json
from pathlib import Path

import apsw

from mirrord.records.batch import batches_of
from mirrord.records.selector import selector
from mirrord.storage.sqlite import Settings, open_sqlite
from mirrord.storage.sqlite.schema import FORMAT
from mirrord.topics.messages import Append, Delete, Erase
from mirrord.topics.read.face import View
from mirrord.topics.read.reading import read

from ..topics.rig import Rig, draft


async def test_a_store_of_format_1_opens_and_takes_deletes(tmp_path: Path) -> None:
    """``format1.sql`` is what the version of issue 2 left: five records under a cap of three. Nothing of it is lost,
    and what format 2 added works on it."""
    old = apsw.Connection(str(tmp_path / "mirrord.db"))
    old.execute((Path(__file__).parent / "format1.sql").read_text())
    old.close()
    store = open_sqlite(tmp_path, Settings(ballast_bytes=0))
    assert store.meta("format") == b"%d" % FORMAT
    async with Rig(store).run() as registry:  # type: ignore[arg-type]
        topic = await registry.find("orders")
        assert (topic.head, topic.floor, topic.count, topic.bytes) == (5, 2, 3, 3)
        page = read(topic, 0, None, View(limit=9, max_bytes=1 << 20, tags=True))
        assert page.tombstone is not None
        assert json.loads(page.tombstone)["reason"] == "cap"
        assert [(r["data"], r.get("$tag")) for r in map(json.loads, page.records)] == [(2, "a"), (3, None), (4, "a")]
        assert (await topic.mailbox.ask(Delete(None, selector("a")))).records == 2
        await topic.mailbox.ask(Append(batches_of([draft("5")])))
        assert (await topic.mailbox.ask(Erase((4,)))).seqs == (4,)
    async with Rig(store).run() as registry:  # type: ignore[arg-type]
        topic = await registry.find("orders")
        assert [json.loads(r)["$seq"] for r in read(topic, 0, None, View(9, 1 << 20)).records] == [6]
    store.close()


async def test_a_store_of_format_2_opens_and_lets_rows_wait(tmp_path: Path) -> None:
    """``format2.sql`` is what issue 3 left: five records, the second one deleted. In format 3 an append writes only its
    pack, which stands here behind columns that the older version made, and the next opening finds it."""
    old = apsw.Connection(str(tmp_path / "mirrord.db"))
    old.execute((Path(__file__).parent / "format2.sql").read_text())
    old.close()
    for texts in (["1", "3", "4", "5", "6"], ["1", "3", "4", "5", "6", "6"]):
        store = open_sqlite(tmp_path, Settings(ballast_bytes=0))
        async with Rig(store).run() as registry:  # type: ignore[arg-type]
            topic = await registry.find("orders")
            await topic.mailbox.ask(Append(batches_of([draft("6")])))
            assert [json.loads(r)["data"] for r in read(topic, 0, None, View(9, 1 << 20)).records] == [
                int(text) for text in texts
            ]
        store.close()
