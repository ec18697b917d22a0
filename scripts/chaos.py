"""``scripts/chaos``: plays rounds, one line each, and sums up.

python scripts/chaos.py [--seconds 600] [--seed 1] [--rounds N] [--storm 12]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import trio

from mirrord.testing.cluster.ledger import Verdict
from mirrord.testing.cluster.rounds import Round, play


def main() -> int:
    """Play; the exit code."""
    parser = argparse.ArgumentParser(description="Random clusters of real nodes under faults, round by round.")
    parser.add_argument("--seconds", type=float, default=600.0, help="begin no round after so long (default 600)")
    parser.add_argument("--seed", type=int, default=1, help="of the first round; the next has the next (default 1)")
    parser.add_argument("--rounds", type=int, help="at most so many rounds")
    parser.add_argument("--storm", type=float, default=12.0, help="seconds of faults in a round (default 12)")
    given = parser.parse_args()
    until = time.monotonic() + given.seconds
    played: list[Round] = []
    while time.monotonic() < until and len(played) != given.rounds:
        folder = Path(tempfile.mkdtemp(prefix="mirrord-chaos-"))
        played.append(trio.run(play, given.seed + len(played), folder, given.storm))
        print(line_of(played[-1]), flush=True)
        if played[-1].right:
            shutil.rmtree(folder)
        else:
            print(f"  {played[-1].failure}\n  data and logs are in {folder}", flush=True)
    return _sum_up(played)


def line_of(one: Round) -> str:
    """A round on one line."""
    faults = " ".join(f"{kind}:{count}" for kind, count in sorted(one.faults.items()))
    return (
        f"seed {one.seed:<4} {'ok  ' if one.right else 'FAIL'} {one.cluster:<28}"
        f" {_counts(one.acknowledged, one.verdict)} | {one.took_s:4.0f} s | {faults}"
    )


def _counts(acknowledged: int, verdict: Verdict) -> str:
    return (
        f"acknowledged {acknowledged:>6}, lost {verdict.lost}, doubled {verdict.doubled},"
        f" out of order {verdict.disordered}, foreign {verdict.foreign}"
    )


def _sum_up(played: list[Round]) -> int:
    total, faults = Verdict(), Counter[str]()
    for one in played:
        total += one.verdict
        faults.update(one.faults)
    failed = [str(one.seed) for one in played if not one.right]
    print(f"{len(played)} rounds, {faults.total()} faults: {_counts(sum(one.acknowledged for one in played), total)}")
    if failed:
        print(f"failed: seed {', '.join(failed)}; again with scripts/chaos --rounds 1 --seed {failed[0]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
