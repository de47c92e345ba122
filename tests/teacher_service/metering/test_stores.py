"""A ledger URL names a store, or the message says what would."""

from pathlib import Path

import pytest

from teacher_service.metering.stores import UnsupportedLedger, open_ledger


def test_an_absolute_path_has_four_slashes(tmp_path: Path) -> None:
    import asyncio

    ledger = open_ledger(f"sqlite:///{tmp_path}/a/ledger.sqlite")
    asyncio.run(ledger.open())
    asyncio.run(ledger.close())
    assert (tmp_path / "a" / "ledger.sqlite").exists()


def test_a_relative_path_has_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.chdir(tmp_path)
    ledger = open_ledger("sqlite:///state/ledger.sqlite", serve=False)
    asyncio.run(ledger.open())
    asyncio.run(ledger.close())
    assert (tmp_path / "state" / "ledger.sqlite").exists()
    assert not (tmp_path / "state" / "ledger.sqlite.owner").exists(), "only a server takes the lock"


@pytest.mark.parametrize(
    "url",
    [
        "postgres://localhost/x",
        "ledger.sqlite",
        "",
        "sqlite:ledger",
        "SQLITE:///x",
    ],
)
def test_another_scheme_is_refused_with_what_is_supported(url: str) -> None:
    with pytest.raises(UnsupportedLedger, match=r"use sqlite:///FILE"):
        open_ledger(url)


@pytest.mark.parametrize(
    "url", ["postgres://user:secret@host:6379/0", "redis:/:secret@host:6379/0", "sqlite://secret"]
)
def test_nothing_of_a_url_is_repeated_as_a_part_of_it_may_be_a_password(url: str) -> None:
    with pytest.raises(UnsupportedLedger) as caught:
        open_ledger(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite://ledger.sqlite", "sqlite:///:memory:", "sqlite:///x?mode=ro"]
)
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(UnsupportedLedger, match="names no file"):
        open_ledger(url)
