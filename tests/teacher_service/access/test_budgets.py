"""A budget is read as it was meant, or refused with an example; and told back in the same form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.chain import Window
from teacher_service.access.budgets import Budget, InvalidBudget, parse_budget
from teacher_service.metering.validation import MAX_BUDGET_QUERIES


@pytest.mark.parametrize(
    ("text", "queries", "window"),
    [
        ("4000", 4000, "total"),
        ("4000 in total", 4000, "total"),
        ("4,000 In Total", 4000, "total"),
        ("4_000", 4000, "total"),
        ("1,234,567", 1_234_567, "total"),
        ("0", 0, "total"),
        ("007", 7, "total"),
        ("1000/day", 1000, "day"),
        ("1,000 / Day", 1000, "day"),
        (" 200/hour ", 200, "hour"),
        (str(MAX_BUDGET_QUERIES), MAX_BUDGET_QUERIES, "total"),
    ],
)
def test_budgets_are_read_as_they_are_written(text: str, queries: int, window: Window) -> None:
    assert parse_budget(text) == Budget(queries, window)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "day", "/day", "many", "-1", "+1", "1.5", "1e3", "0x10", "1 000", "١٢"),
        *("1000/week", "1000/days", "1000 per day", "1000/", "1000 day", "1000/day/hour", "4000in total"),
        *("4,00", "4,0000", "40,00", ",400", "4,,000", "4_00", "1,234_567", "1234,567", "4,000,"),
    ],
)
def test_what_is_no_budget_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(InvalidBudget, match=r"is not a budget in queries: .* 4000 .* 1000/day"):
        parse_budget(text)


@pytest.mark.parametrize("text", [str(MAX_BUDGET_QUERIES + 1), "9" * 5000, "9" * 5000 + "/day"])
def test_more_than_a_ledger_can_count_is_refused(text: str) -> None:
    with pytest.raises(InvalidBudget, match="is not possible"):
        parse_budget(text)


@given(st.integers(0, MAX_BUDGET_QUERIES), st.sampled_from(["total", "hour", "day"]))
def test_a_budget_is_told_in_a_form_that_reads_back(queries: int, window: Window) -> None:
    budget = Budget(queries, window)
    assert parse_budget(str(budget)) == budget
