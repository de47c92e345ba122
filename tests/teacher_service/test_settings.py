"""Settings: flags win over variables, variables over defaults; nonsense is refused by name."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from teacher_service.errors import InvalidArgument
from teacher_service.options import settings_from
from teacher_service.settings import Settings


def test_flags_win_over_variables_and_variables_over_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_IMAGE_SIZE", "100")
    monkeypatch.setenv("TEACHER_SCALES", "1,0.5")
    settings = settings_from(image_size=200, max_batch=None)
    assert (settings.image_size, settings.scales, settings.max_batch) == (200, (1.0, 0.5), 16)


@pytest.mark.parametrize("flags", [{"arch": "resnet18-gem"}, {"weights": "imagenet"}])
def test_a_teacher_named_by_flags_wins_over_a_checkpoint_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, flags: dict[str, Any]
) -> None:
    monkeypatch.setenv("TEACHER_CHECKPOINT", "/old/teacher.safetensors")
    assert settings_from(image_size=64).checkpoint == Path("/old/teacher.safetensors")
    settings = settings_from(**flags)
    assert settings.checkpoint is None
    assert {name: getattr(settings, name) for name in flags} == flags


def test_a_checkpoint_named_by_a_flag_wins_over_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_ARCH", "resnet18-gem")
    monkeypatch.setenv("TEACHER_WEIGHTS", "imagenet")
    assert settings_from(checkpoint=Path("t.safetensors")).weights_in_words == "t.safetensors"


def test_every_setting_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_DATA_DIR", "/somewhere")
    monkeypatch.setenv("TEACHER_PORT", "0")
    settings = Settings()
    assert settings.ledger_url == "sqlite:////somewhere/ledger.sqlite"
    assert settings.port == 0


def test_a_ledger_url_wins_over_the_data_folder() -> None:
    assert settings_from(ledger="sqlite:///x.db", data_dir=Path("d")).ledger_url == "sqlite:///x.db"


@pytest.mark.parametrize(
    "url",
    [
        *("", "sqlite:///x", "sqlite:////a b/#x.sqlite", "redis://h", "redis://:p%2Fw@h:6379/0"),
        *("rediss://u:p@h/1", "unix:///run/redis.sock?db=1"),
    ],
)
def test_every_kind_of_ledger_url_is_taken(url: str) -> None:
    assert settings_from(ledger=url).ledger == url


def test_settings_that_cannot_be_never_repeat_what_was_given() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(ledger="redis:/:s3cr3t@h", cache="redis:/:s3cr3t@h")
    assert "s3cr3t" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"port": 70_000}, "--port"),
        ({"scales": "1,fast"}, "--scales"),
        ({"scales": "0"}, "0.05 to 4"),
        ({"image_size": "big"}, r"--image-size \(TEACHER_IMAGE_SIZE\)"),
        ({"noise_sigma": 0.1}, "noise_seed"),
        ({"max_queue": 3}, "max_queue"),
        ({"max_bytes_in_flight": 255_999_999}, "max_bytes_in_flight must be at least max_request_bytes"),
        ({"max_decode_pixels": 0}, "--max-decode-pixels"),
        ({"cache": "disk"}, r"--cache \(TEACHER_CACHE\): this must be memory, redis://"),
        ({"cache": "auto"}, "--cache"),
        ({"cache": "redis://h:99999/0"}, "--cache"),
        ({"cache": "redis://h/one"}, "--cache"),
        ({"cache": "redis://"}, "--cache"),
        ({"cache": "redis://h/0?ssl=no"}, "--cache"),
        ({"cache_ttl_s": 0}, "--cache-ttl-s"),
        ({"ledger": "postgres://h/x"}, r"--ledger \(TEACHER_LEDGER\): this must be sqlite:///FILE"),
        ({"ledger": "sqlite://x"}, "--ledger"),
        ({"ledger": "sqlite:///"}, "--ledger"),
        ({"ledger": "sqlite:///x/"}, "--ledger"),
        ({"ledger": "sqlite:///:memory:"}, "--ledger"),
        ({"ledger": "sqlite:///x?mode=ro"}, "--ledger"),
        ({"ledger": "redis://h/0?foo=1"}, "--ledger"),
        ({"rates": "sqlite:///x"}, "--rates.*memory or auto"),
        ({"log_level": "loud"}, "--log-level"),
        ({"max_image_pixels": 10**9}, "--max-image-pixels"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        settings_from(**flags)


@pytest.mark.parametrize(
    ("flags", "words", "random"),
    [
        ({}, "random, seed 0", True),
        ({"weights_seed": 3}, "random, seed 3", True),
        ({"weights": "imagenet"}, "imagenet", False),
        ({"weights": "/some/where/w.pth"}, "w.pth", False),
        ({"checkpoint": Path("/some/where/t.safetensors")}, "t.safetensors", False),
    ],
)
def test_the_origin_of_the_weights_is_said_in_words(flags: dict[str, Any], words: str, random: bool) -> None:
    settings = settings_from(**flags)
    assert (settings.weights_in_words, settings.weights_are_random) == (words, random)


@pytest.mark.parametrize(
    ("flags", "place"),
    [
        ({}, "memory"),
        ({"cache": "redis://h:6379/1"}, "redis://h:6379/1"),
        ({"cache": "redis://h:6379/1", "rates": "memory"}, "memory"),
        ({"rates": "rediss://:p@[::1]:6380"}, "rediss://:p@[::1]:6380"),
        ({"rates": "unix:///run/redis.sock?db=2"}, "unix:///run/redis.sock?db=2"),
    ],
)
def test_rates_are_counted_where_the_cache_is_unless_told_otherwise(
    flags: dict[str, Any], place: str
) -> None:
    assert settings_from(**flags).rates_place == place


@pytest.mark.parametrize("name", ["ledger", "cache", "rates"])
def test_passwords_in_addresses_are_kept_out_of_sight(name: str) -> None:
    assert "topsecret" not in repr(Settings(**{name: "redis://:topsecret@h:6379/0"}))  # type: ignore[arg-type]
    if name != "ledger":
        with pytest.raises(InvalidArgument) as refusal:
            settings_from(**{name: "redis://:topsecret@h:6379/zero"})
        assert "topsecret" not in str(refusal.value)


def test_settings_are_frozen_and_keep_the_noise_seed_out_of_sight() -> None:
    settings = Settings(noise_sigma=0.1, noise_seed="topsecret")
    assert "topsecret" not in repr(settings)
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]
