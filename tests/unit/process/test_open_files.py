import logging
import resource

import pytest

from daemon.config.model import Config
from daemon.process.open_files import idle_connections, open_files_needed, raise_open_files

CONFIG = Config()
Limits = tuple[int, int]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[Limits]:
    """The process' limit of open files, soft and hard; the last one holds."""
    kept: list[Limits] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _which: kept[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _which, new: kept.append(new))
    return kept


def test_the_soft_limit_is_raised_to_the_hard_one(
    limits: list[Limits], caplog: pytest.LogCaptureFixture
) -> None:
    limits.append((1024, 1_000_000))
    raise_open_files(CONFIG)
    assert limits[-1] == (1_000_000, 1_000_000)
    assert not caplog.records


def test_a_hard_limit_that_is_too_low_is_told_with_what_is_needed(
    limits: list[Limits], caplog: pytest.LogCaptureFixture
) -> None:
    limits.append((64, 64))
    with caplog.at_level(logging.WARNING):
        raise_open_files(CONFIG)
    assert limits == [(64, 64)]
    assert str(open_files_needed(CONFIG)) in caplog.text
    assert "LimitNOFILE=" in caplog.text


def test_more_connections_need_more_files() -> None:
    more = CONFIG.api.model_copy(update={"max_connections": CONFIG.api.max_connections + 10})
    assert open_files_needed(CONFIG.model_copy(update={"api": more})) >= open_files_needed(CONFIG) + 10


def test_idle_connections_take_what_the_limit_leaves(limits: list[Limits]) -> None:
    wanted = []
    for soft in (64, open_files_needed(CONFIG) + 300, resource.RLIM_INFINITY):
        limits.append((soft, soft))
        wanted.append(idle_connections(CONFIG))
    few, middling, many = wanted
    assert 0 < few < middling == 300 < many
