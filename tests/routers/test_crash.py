"""kill -9 before and after every commit: each record is in the destination exactly once, at every class."""

from __future__ import annotations

from itertools import count

import pytest
import trio

from mirrord.config.topic import topic_config
from mirrord.errors import MirrordError
from mirrord.testing.world.disk import Killed, SimDisk

from .rig import RouterRig

WRITES = [["1"], ["2", "3"], ["4"], ["5", "6", "7"]]
ALL = [text for texts in WRITES for text in texts]


async def _work(rig: CrashRig) -> None:
    """Two routers in a row, and everything that was not yet acknowledged is sent again as often as it takes."""
    async with rig.routing():
        await rig.registry.ensure("b", topic_config({"durability": rig.durability}), put=True)
        await rig.define("ab", "a", "b")
        await rig.define("bc", "b", "c")
        while rig.acked < len(WRITES):
            await rig.append("a", *WRITES[rig.acked])
            rig.acked += 1
            await rig.texts("c")


class CrashRig(RouterRig):
    """A rig whose disk kills the process at the n-th commit."""

    def __init__(self, durability: str) -> None:
        super().__init__(SimDisk(lambda *_: None))
        self.durability = durability
        self.acked = 0
        self.there: list[str] = []

    @property
    def disk(self) -> SimDisk:
        assert isinstance(self.store, SimDisk)
        return self.store


async def _one_process(rig: CrashRig) -> bool:
    """Whether it lived to the end of its work."""
    died = False
    try:
        await _work(rig)
    except* Killed:
        died = True
    except* MirrordError:
        died = True
    rig.disk.disarm()
    rig.disk.crash(None)
    return not died


@pytest.mark.parametrize("durability", ["disk", "memory"])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_each_record_once_whatever_commit_it_dies_at(
    moment: str, durability: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Copies and position are one commit: none is lost, none doubled, wherever the process ends."""
    assert autojump_clock.autojump_threshold == 0
    for commit in count(1):
        rig = CrashRig(durability)
        rig.disk.kill_at(moment, commit)
        if await _one_process(rig):
            break
        assert await _one_process(rig)
        async with rig.routing():
            written = await rig.texts("a")
            for topic in ("b", "c"):
                texts = await rig.texts(topic)
                assert texts == written, f"died {moment} commit {commit}: {topic} holds {texts} of {written}"
            assert set(written) == set(ALL)
    assert commit > 10
