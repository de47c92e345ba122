"""What makes rows doubtful is said under their table, and decides no claim."""

from made_reproductions import table_of

from student_trainer.reproduce.definition import parse_table
from student_trainer.reproduce.doubts import doubts
from student_trainer.reproduce.page import as_html, as_text
from student_trainer.reproduce.results import LineResult, Results, TableResult
from student_trainer.reproduce.view import view

TABLE = parse_table(
    {
        "title": "Own",
        "row": [{"id": "a", "images": 50}, {"id": "b", "images": 50}],
        "claim": [{"says": "a beats b", "better": "a", "than": "b"}],
    },
    "own",
)
BETTER = {"a": [0.5, 0.51, 0.52], "b": [0.4, 0.41, 0.43]}


def of(facts: dict[str, float], images: int = 50) -> LineResult:
    """A row whose first cell has these facts."""
    line = table_of(TABLE, BETTER).lines[0]
    first, *others = line.cells
    told = first.model_copy(update={"facts": facts, "images": images})
    return line.model_copy(update={"cells": (told, *others)})


def test_a_claim_about_a_row_that_learned_nothing_is_not_answered() -> None:
    made = table_of(TABLE, BETTER)
    assert made.claims[0].findings[0].answer == "held"
    idle = {"first loss": 0.0, "last loss": 0.0}
    made = table_of(TABLE, BETTER, facts={"b": idle})
    [finding] = made.claims[0].findings
    assert (finding.answer, finding.reason) == ("cannot tell", "b learned nothing")
    text = as_text(Results(tables={"own": made}), ["own"])
    assert "**cannot tell**: b learned nothing" in text
    assert "- b: learned nothing: the loss was 0 throughout." in text
    page = as_html([view(made)])
    assert "<small>b learned nothing</small>" in page and "the loss was 0 throughout" in page


def test_a_loss_that_was_0_only_at_its_ends_taught_something() -> None:
    assert list(doubts(of({"first loss": 0.0, "last loss": 0.0, "highest loss": 0.2}))) == []
    one = list(doubts(of({"first loss": 0.0, "last loss": 0.0, "highest loss": 0.0})))
    assert one == ["learned nothing with 1 of 3 seeds: the loss was 0 throughout"]


def test_images_that_do_not_fit_tau_are_told_of() -> None:
    [alone] = doubts(of({"tau": 0.75, "alone": 0.6, "neighbours": 0.5}))
    assert alone == "60% of its images have no other above tau = 0.75: nothing is to be ranked first"
    for facts in ({"neighbours": 48.0}, {"neighbours": 20.0, "crowded": 0.6}):
        [crowded] = doubts(of({"tau": 0.2, "alone": 0.0, **facts}))
        assert crowded.startswith("most of its images have nearly all others above tau = 0.2")
    assert list(doubts(of({"tau": 0.7, "alone": 0.4, "neighbours": 48.0, "crowded": 0.1}))) == []


def _notes(made: TableResult) -> str:
    return " ".join(view(made).notes)


def test_two_seeds_are_called_little() -> None:
    assert "An interval of two seeds means little" in _notes(table_of(TABLE, {"a": [0.4, 0.5]}))
    assert "two seeds" not in _notes(table_of(TABLE, BETTER))
