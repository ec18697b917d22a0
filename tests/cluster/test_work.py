"""What users do beside mirroring, over real daemons that are killed, frozen and cut off: all of it holds."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from mirrord.testing.cluster.graph import Graph, graph
from mirrord.testing.work.rounds import KINDS, WorkRound, play_on

GRAPHS = {
    "pair": graph("pair", 2),
    "chain of 3": graph("chain", 3),
    "one-way ring of 3": graph("one-way ring", 3),
    "mesh of 3": graph("mesh", 3),
    "two meshes of 2 and a bridge": graph("two meshes", 4),
}


def _held(played: WorkRound) -> None:
    assert not played.failure
    assert {kind: found.examples for kind, found in played.found.items() if found.wrong} == {}
    assert all(found.done for found in played.found.values())


async def test_deletes_and_jobs_on_a_pair(tmp_path: Path) -> None:
    """A short storm, then every node killed and the disks lost: what is deleted stays so, what is acknowledged never
    comes again, nothing is lost."""
    _held(await play_on(GRAPHS["pair"], tmp_path, 2.0, ("deletions", "jobs"), Random(3)))


@pytest.mark.slow
@pytest.mark.parametrize("shape", GRAPHS.values(), ids=GRAPHS)
async def test_all_kinds_of_work_on_any_graph(tmp_path: Path, shape: Graph) -> None:
    """The same for longer, with relays and cycles."""
    _held(await play_on(shape, tmp_path, 12.0, tuple(KINDS), Random(len(shape.pulls))))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
async def test_one_kind_of_work_with_the_nodes_for_itself(tmp_path: Path, kind: str) -> None:
    """Each at the rate that it comes to without the others."""
    _held(await play_on(GRAPHS["mesh of 3"], tmp_path, 12.0, (kind,), Random(len(kind))))
