"""``scripts/chaos``: plays rounds, one line each, and sums up.

python scripts/chaos.py [--seconds 600] [--seed 1] [--rounds N] [--storm 12] [--work [KIND ...]]
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import trio

from mirrord.testing.cluster import rounds as mirroring
from mirrord.testing.cluster.ledger import Verdict
from mirrord.testing.work import rounds as working

Played = mirroring.Round | working.WorkRound


def main() -> int:
    """Play; the exit code."""
    given = _parser().parse_args()
    logging.getLogger("mirrord.client").setLevel(logging.ERROR)  # that nodes are away is what this is about
    until = time.monotonic() + given.seconds
    played: list[Played] = []
    while time.monotonic() < until and len(played) != given.rounds:
        folder = Path(tempfile.mkdtemp(prefix="mirrord-chaos-"))
        one = trio.run(_round(given.work), given.seed + len(played), folder, given.storm)
        played.append(one)
        print(line_of(one), flush=True)
        if one.right:
            shutil.rmtree(folder)
        else:
            print("\n".join(f"  {why}" for why in (*_examples(one), one.failure) if why))
            print(f"  data and logs are in {folder}", flush=True)
    return _sum_up(played, given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Random clusters of real nodes under faults, round by round.")
    parser.add_argument("--seconds", type=float, default=600.0, help="begin no round after so long (default 600)")
    parser.add_argument("--seed", type=int, default=1, help="of the first round; the next has the next (default 1)")
    parser.add_argument("--rounds", type=int, help="at most so many rounds")
    parser.add_argument("--storm", type=float, default=12.0, help="seconds of faults in a round (default 12)")
    kinds = ", ".join(working.KINDS)
    parser.add_argument(
        "--work", nargs="*", choices=working.KINDS, metavar="KIND", help=f"what users do: {kinds} (none named: all)"
    )
    return parser


def _round(work: Sequence[str] | None) -> Callable[[int, Path, float], Awaitable[Played]]:
    """What plays one round."""
    if work is None:
        return mirroring.play
    kinds = tuple(kind for kind in working.KINDS if kind in work or not work)  # in the order in which they are judged

    async def play(seed: int, folder: Path, seconds: float) -> working.WorkRound:
        return await working.play(seed, folder, seconds, kinds)

    return play


def line_of(one: Played) -> str:
    """A round on one line; with work, a line more for each kind."""
    head = f"seed {one.seed:<4} {'ok  ' if one.right else 'FAIL'} {one.cluster:<28}"
    tail = f"| {one.took_s:4.0f} s | {_words(one.faults)}"
    if isinstance(one, working.WorkRound):
        return "\n".join([f"{head} {tail}", *_accounts(one.found)])
    return f"{head} {_counts(one.acknowledged, one.verdict)} {tail}"


def _accounts(found: Mapping[str, working.Found]) -> list[str]:
    """Of each kind of work what was done, and what was wrong."""
    return [f"  {kind:<10} {_words(one.done)} | {_words(one.wrong) or 'nothing wrong'}" for kind, one in found.items()]


def _examples(one: Played) -> list[str]:
    return [why for kind in one.found.values() for why in kind.examples] if isinstance(one, working.WorkRound) else []


def _words(counts: Mapping[str, int]) -> str:
    return " ".join(f"{what}:{count}" for what, count in sorted(counts.items()))


def _counts(acknowledged: int, verdict: Verdict) -> str:
    return (
        f"acknowledged {acknowledged:>6}, lost {verdict.lost}, doubled {verdict.doubled},"
        f" out of order {verdict.disordered}, foreign {verdict.foreign}"
    )


def _sum_up(played: Sequence[Played], given: argparse.Namespace) -> int:
    faults = sum(sum(one.faults.values()) for one in played)
    print(f"{len(played)} rounds, {faults} faults: {_all_together(played)}")
    failed = [str(one.seed) for one in played if not one.right]
    if failed:
        again = ["--work", *given.work] if given.work is not None else []
        told = " ".join([*again, "--rounds", "1", "--seed", failed[0], "--storm", f"{given.storm:g}"])
        print(f"failed: seed {', '.join(failed)}; again with scripts/chaos {told}")
    return 1 if failed else 0


def _all_together(played: Sequence[Played]) -> str:
    verdict, acknowledged = Verdict(), 0
    done, wrong = dict[str, Counter[str]](), dict[str, Counter[str]]()
    for one in played:
        if isinstance(one, mirroring.Round):
            verdict, acknowledged = verdict + one.verdict, acknowledged + one.acknowledged
            continue
        for kind, found in one.found.items():
            done.setdefault(kind, Counter()).update(found.done)
            wrong.setdefault(kind, Counter()).update(found.wrong)
    if not done:
        return _counts(acknowledged, verdict)
    return "\n".join(["", *_accounts({kind: working.Found(done[kind], wrong[kind]) for kind in done})])


if __name__ == "__main__":
    sys.exit(main())
