"""The benchmarks run: at a size at which their figures mean nothing.

One has an embedded server of its own, as all have without `--database`; to fill its log takes seconds.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from bench.explained import Explainer
from bench.faulty import faulty
from bench.loads import load
from bench.postgres import connected
from bench.receiving import receiving
from bench.report import CannotRun
from tests.support.forked import HOOKD, ROOT


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=HOOKD.environ(),
    )


def test_without_a_name_they_are_listed() -> None:
    done = bench()
    assert done.returncode == 0
    assert "drain_tls" in done.stdout


def test_an_unknown_one_is_refused() -> None:
    done = bench("dran")
    assert done.returncode == 2
    assert "no 'dran'" in done.stderr


def test_one_that_cannot_run_says_why_and_prints_no_figure(tmp_path: Path) -> None:
    done = bench("drain_tls", "--database", "postgresql://127.0.0.1:1/x", "--out", str(tmp_path))
    assert done.returncode == 1
    assert "cannot run: Postgres cannot be reached" in done.stderr
    assert "--database" in done.stderr
    assert "per s" not in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tls", [False, True])
def test_our_own_receiver_counts_what_it_is_sent(tmp_path: Path, tls: bool) -> None:
    with receiving(tmp_path / "receiver", hosts=3, tls=tls, choice="own") as receiver:
        assert len(set(receiver.urls)) == 3
        assert receiver.counts() == (0, 0)
        if not tls:
            run = load("floor", receiver.urls, requests=500)
            assert run["rate_per_s"] > 0
            assert receiver.counts() == (64, 500)


def test_a_drain_over_tls_is_measured_and_written_down(tmp_path: Path) -> None:
    done = bench("drain_tls", "--runs", "1", "--size", "100", "--receiver", "own", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "drain_tls.json").read_text())
    assert found["parameters"]["size"] == 100
    assert "embedded" in found["versions"]["postgres"]
    for subject in ("plain", "TLS"):
        (run,) = found["subjects"][subject]["runs"]
        assert run["rate_per_s"] > 0
        assert run["failed_attempts"] == 0
    assert [claim["must"] for claim in found["claims"]] == [0.65]


def test_a_profile_leaves_stacks_and_a_flame_graph(tmp_path: Path, postgres_server: str) -> None:
    options = ("--size", "300", "--receiver", "own", "--database", postgres_server)
    done = bench("profile", *options, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "Trio: scheduler and checkpoints" in done.stdout
    assert ";daemon.delivery" in (tmp_path / "profile.folded").read_text()
    assert (tmp_path / "profile.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("name", ["queue_sizes", "held_xmin"])
def test_the_queue_is_measured_without_a_daemon(tmp_path: Path, name: str, postgres_server: str) -> None:
    options = ("--runs", "1", "--size", "3000", "--database", postgres_server)
    done = bench(name, *options, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / f"{name}.json").read_text())
    for subject in found["subjects"].values():
        assert all(value > 0 for value in subject["median"].values())


@pytest.mark.skipif("HOOKD_TEST_DATABASE" in os.environ, reason="a server that is given may have it")
def test_plans_need_what_the_embedded_server_lacks(postgres_server: str) -> None:
    with (
        connected(postgres_server) as sql,
        pytest.raises(CannotRun, match=r"cannot load auto_explain (.|\n)*--database"),
    ):
        Explainer(sql)


def test_a_faulty_receiver_fails_as_it_is_told_and_can_go_away(tmp_path: Path) -> None:
    with faulty(tmp_path / "receiver", hosts=1) as receiver:
        receiver.set(delay=0, kind="503", share=0.0, number=7)
        assert [ask(receiver.urls[0], number) for number in (6, 7)] == [200, 503]
        receiver.until(receiver.first, [6, 7], 1)
        assert (sorted(receiver.good), sorted(receiver.every), receiver.most) == ([6], [6, 7], 1)
        receiver.turn("closed", 1.0)
        with pytest.raises(httpx.RemoteProtocolError):
            ask(receiver.urls[0], 8)
        receiver.turn("503", 0.0)
        receiver.away(0.2)
        with pytest.raises(httpx.TransportError):
            ask(receiver.urls[0], 9)


def ask(url: str, number: int) -> int:
    return httpx.post(url, json={"number": number}, trust_env=False).status_code
