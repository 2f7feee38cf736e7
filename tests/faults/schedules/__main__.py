"""Runs many random schedules: `make faults ARGS="--schedules 300 --seed 1"`.

Prints a line for each seed and a summary. Of one that fails it prints what is wrong and its log, and keeps
those of the daemons; `--seed N` alone runs that one again.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import trio

from tests.faults.schedules.cluster import OLD_COUNTER, Cluster, administer, count_up
from tests.faults.schedules.members import FAKETIME
from tests.faults.schedules.run import run
from tests.faults.schedules.starter import CODE
from tests.support.postgres import reachable_directory

KEPT_DIRECTORY = Path(tempfile.gettempdir()) / "hookd-schedules"
SERVERS = shutil.ignore_patterns("cluster-*")


def main() -> int:
    """Return the exit status: 0 if nothing is wrong."""
    parser = argparse.ArgumentParser("python -m tests.faults.schedules", description=__doc__)
    parser.add_argument("--schedules", type=int, default=1, help="how many, from --seed on")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=2 * (os.cpu_count() or 1), help="how many at a time")
    parser.add_argument("--code", help="another checkout, the daemons of which are tried")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.code:
        os.environ[CODE] = str(Path(args.code).absolute())
    if args.worker:
        return work()
    if not FAKETIME.exists():
        print(f"without {FAKETIME} (apt install faketime) no clock is moved")
    summary = Summary()
    trio.run(share_out, range(args.seed, args.seed + args.schedules), args.at_once, summary)
    print(summary)
    return 0 if summary.good else 1


def work() -> int:
    """Run the schedules whose seeds come in, on one cluster; print a line of JSON for each."""
    with reachable_directory() as directory:
        cluster = Cluster(directory / "cluster-1")
        administer(cluster.url, count_up(OLD_COUNTER))
        try:
            trio.run(_work, cluster, directory)
        finally:
            cluster.close()
    return 0


async def _work(cluster: Cluster, directory: Path) -> None:
    while line := await trio.to_thread.run_sync(sys.stdin.readline):
        own = directory / f"seed-{int(line)}"
        kept = KEPT_DIRECTORY / own.name
        try:
            outcome = await run(int(line), cluster, own)
        finally:
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(own, kept, ignore=SERVERS)
        if outcome.verdict.good:
            shutil.rmtree(kept)
        shutil.rmtree(own)
        print(json.dumps(asdict(outcome)), flush=True)


class Summary:
    """The sum over all schedules."""

    def __init__(self) -> None:
        self._seeds: list[int] = []
        self._failed: list[int] = []
        self._sums: Counter[str] = Counter()
        self._explained: Counter[str] = Counter()

    @property
    def good(self) -> bool:
        """Whether every schedule ended well."""
        return not self._failed

    def add(self, outcome: dict[str, Any]) -> None:
        """Count one and print its line, and its log if something is wrong."""
        seed, verdict = outcome["seed"], outcome["verdict"]
        self._seeds.append(seed)
        self._explained.update(verdict["explained"])
        problems = [
            (name, line) for name in ("lost", "misordered", "unexplained", "wrong") for line in verdict[name]
        ]
        counts = {name: verdict[name] for name in ("events", "deliveries")}
        counts |= Counter(name for name, _ in problems)
        self._sums.update(counts)
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        twice = sum(verdict["explained"].values())
        state, took = "FAILED" if problems else "ok", f"{outcome['seconds']:.0f} s"
        print(f"seed {seed}: {state}, {told}, explained {twice}, {took}")
        if problems:
            self._failed.append(seed)
            for line in outcome["log"]:
                print(f"    {line}")
            for name, line in problems[:50]:
                print(f"  {name}: {line}")
            print(f'  logs: {KEPT_DIRECTORY}/seed-{seed}; again: make faults ARGS="--seed {seed}"')
        sys.stdout.flush()

    def crashed(self, seed: int) -> None:
        """Count one that came to no end."""
        self._seeds.append(seed)
        self._failed.append(seed)
        print(f'seed {seed}: FAILED without a verdict; again: make faults ARGS="--seed {seed}"', flush=True)

    def __str__(self) -> str:
        sums, explained = self._sums, sum(self._explained.values())
        reasons = "".join(f"\n  {count:6} {reason}" for reason, count in self._explained.most_common())
        failed = f"\nfailed: {' '.join(map(str, sorted(self._failed)))}" if self._failed else ""
        return (
            f"{len(self._seeds)} schedules, seeds {min(self._seeds)}..{max(self._seeds)}:"
            f" {sums['events']} events, {sums['deliveries']} deliveries, lost {sums['lost']},"
            f" out of order {sums['misordered']}, duplicates {explained + sums['unexplained']}"
            f" (explained {explained}), wrong otherwise {sums['wrong']}{reasons}{failed}"
        )


async def share_out(seeds: range, at_once: int, summary: Summary) -> None:
    """Give the seeds to workers, processes with a cluster each."""
    waiting = list(reversed(seeds))
    async with trio.open_nursery() as nursery:
        for _ in range(min(at_once, len(seeds))):
            nursery.start_soon(_serve_worker, waiting, summary)


async def _serve_worker(waiting: list[int], summary: Summary) -> None:
    while waiting:
        worker = await trio.lowlevel.open_process(
            [sys.executable, "-m", "tests.faults.schedules", "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert worker.stdin is not None and worker.stdout is not None
        seed = None
        try:
            while waiting:
                seed = waiting.pop()
                await worker.stdin.send_all(f"{seed}\n".encode())
                line = b""
                while not line.endswith(b"\n"):
                    data = await worker.stdout.receive_some(65536)
                    if not data:
                        break
                    line += data
                if not line.endswith(b"\n"):
                    summary.crashed(seed)
                    break
                summary.add(json.loads(line))
            await worker.stdin.aclose()
        finally:
            with trio.CancelScope(shield=True):
                await worker.wait()


if __name__ == "__main__":
    sys.exit(main())
