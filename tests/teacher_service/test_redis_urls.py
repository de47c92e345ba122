"""A Redis is known by its URL, and told without its password."""

import pytest

from teacher_service.redis_urls import is_redis_url, names_redis, place_of


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://h:6379",
        "redis://h:6379/15",
        "rediss://user:p%40ss@h:6380/0",
        "redis://[::1]:6379/0",
        "unix:///run/redis.sock",
        "unix://:p@/run/redis.sock?db=3",
    ],
)
def test_what_names_a_redis_is_one(url: str) -> None:
    assert names_redis(url)
    assert is_redis_url(url)


@pytest.mark.parametrize(
    "url", ["", "redis", "redis:h", "REDIS://h", "postgres://h/0", "sqlite:///redis", "memory", "/redis://h"]
)
def test_what_names_no_redis_is_none(url: str) -> None:
    assert not names_redis(url)
    assert not is_redis_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://h:port",
        "redis://h:70000",
        "redis://h/name",
        "redis://h/0?x=1",
        "redis://a b",
        "unix://",
        "redis://[::1",
    ],
)
def test_a_mistyped_url_of_a_redis_is_not_one_but_means_one(url: str) -> None:
    assert names_redis(url)
    assert not is_redis_url(url)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://h:6379/1", "redis://h:6379/1"),
        ("redis://user:secret@h:6379/1", "redis://h:6379/1"),
        ("redis://:secret@h", "redis://h"),
        ("redis://h:6379/1?password=secret", "redis://h:6379/1"),
        ("unix:///run/a@b.sock?db=1&password=secret", "unix:///run/a@b.sock"),
        ("unix://:secret@/run/redis.sock", "unix:///run/redis.sock"),
        ("redis://:sec/ret@h/1", "redis://h/1"),
        ("redis://:sec#ret@h/1", "redis://h/1"),
        ("redis://:sec?ret@h/1", "redis://h/1"),
        ("redis://:sec@ret@h/1", "redis://h/1"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
    ],
)
def test_a_place_is_told_without_user_password_and_options_even_where_they_are_not_encoded(
    url: str, place: str
) -> None:
    assert place_of(url) == place
