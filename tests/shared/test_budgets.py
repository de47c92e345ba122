"""Budgets, moments and waits in words that people read once and understand."""

import pytest

from shared.budgets import budget_text, duration_text, moment_text, until_text


def test_a_budget_names_its_window_unless_it_is_for_the_keys_whole_life() -> None:
    assert budget_text(4000, "total") == "4,000"
    assert budget_text(1000, "day") == "1,000/day"
    assert budget_text(50, "hour") == "50/hour"


def test_moments_are_told_in_utc() -> None:
    assert moment_text(1_700_006_400_000) == "2023-11-15 00:00 UTC"
    assert until_text(1_700_006_400_000) == " until 2023-11-15 00:00 UTC"
    assert until_text(None) == ""


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "1 min"),
        (1, "1 min"),
        (60_000, "1 min"),
        (60_001, "2 min"),
        (3_599_999, "1 h"),
        (3_600_001, "1 h 1 min"),
        (86_400_000, "24 h"),
    ],
)
def test_waits_are_rounded_up_to_minutes(duration_ms: int, text: str) -> None:
    assert duration_text(duration_ms) == text
