"""The headline says what is known, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.evaluate.document import BEFORE, STUDENT, TEACHER, Evaluation, ModelScores
from student_trainer.evaluate.protocol import Protocol
from student_trainer.publish.card import as_markdown
from student_trainer.publish.facts import RunFacts
from student_trainer.publish.wording import headline, megabytes, rounded


def scores(value: float) -> ModelScores:
    measures = ("map_step", "map_trapezoid", "mp_at_10", "recall_at_1")
    return ModelScores(
        **dict.fromkeys(measures, value), intervals={}, arch="a", dim=4, parameters=1_811_713, file_bytes=40,
        image_size=48, checkpoint_sha256="ab" * 32,
    )  # fmt: skip


def facts(**models: float) -> RunFacts:
    protocol = Protocol(
        manifest="m.csv", split=None, queries=1, queries_without_positives=0, database=2, leave_one_out=False,
        scales=(1.0,),
    )  # fmt: skip
    named = {name.replace("_", " "): scores(value) for name, value in models.items()}
    evaluation = Evaluation(protocol=protocol, models=named, images_root="/", examples=())
    return RunFacts("run", evaluation, None, None, (), (), True, False, ())


def test_a_student_is_set_beside_its_teacher_and_its_former_self():
    assert {TEACHER, BEFORE, STUDENT} == {"teacher", "student before", "student"}
    assert headline(facts(teacher=0.469, student_before=0.338, student=0.467)) == (
        "A student of 1.8 million parameters reaches mAP (step) 0.467, 100 % of its teacher's 0.469, "
        "up from 0.338 before distillation."
    )


def test_a_student_that_became_worse_is_not_said_to_be_up():
    assert "down from 0.500 before distillation" in headline(facts(student_before=0.5, student=0.4))


@pytest.mark.parametrize("now", [0.5, 0.50049])
def test_a_student_that_is_as_good_as_before_is_unchanged(now):
    assert ", unchanged from 0.500 before distillation" in headline(facts(student_before=0.5, student=now))


def test_nothing_is_said_of_a_teacher_that_was_not_measured_or_that_finds_nothing():
    assert headline(facts(student=0.4)).endswith("reaches mAP (step) 0.400.")
    assert "teacher" not in headline(facts(teacher=0.0, student=0.4))


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1_000, "1 thousand"), (310_400, "310 thousand"), (999_499, "999 thousand"),
     (999_500, "1.0 million"), (1_811_712, "1.8 million"), (44_549_160, "44.5 million")],
)  # fmt: skip
def test_counts_are_rounded_as_people_say_them(count, text):
    assert rounded(count) == text


def test_sizes_are_in_decimal_megabytes():
    assert megabytes(7_401_516) == "7.4 MB"


@given(st.text(max_size=40))
def test_nothing_in_a_card_s_value_is_markup_or_ends_a_line_or_cell(text):
    escaped = as_markdown(text)
    assert len(escaped.splitlines()) <= 1
    for place, character in enumerate(escaped):
        if character in "`*_{}[]<>|#~&$!":
            assert escaped[place - 1] == "\\"
