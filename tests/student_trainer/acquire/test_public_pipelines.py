"""What a method's public pipeline asks of a teacher, beside what is spent here."""

import json
import subprocess
import sys

import pytest

from student_trainer.acquire.public_pipelines import PIPELINES, demand
from student_trainer.distil.objectives import OBJECTIVES
from student_trainer.errors import InvalidInput


@pytest.mark.parametrize(
    ("name", "queries"),
    [("lmt-absolute", 1_600_000), ("rkd", 7_680_000), ("mse", 8_000_000), ("pkt", 1_000_000)],
)
def test_the_figures_of_the_published_trainings_come_out(name: str, queries: int) -> None:
    pipeline = PIPELINES[name]
    assert pipeline is not None and pipeline.queries == queries
    assert pipeline.queries_for(pipeline.images) == queries
    assert pipeline.queries_for(2 * pipeline.images) == 2 * queries


def test_every_objective_has_its_pipeline() -> None:
    assert set(OBJECTIVES) <= set(PIPELINES)


def test_an_objective_asks_no_teacher_here_if_and_only_if_it_needs_none() -> None:
    for name, kind in OBJECTIVES.items():
        assert demand(name, 10).here == (10 if kind().needs_teacher else 0), name
        white_box = kind.facts.needs_white_box
        assert demand(name, 10).asks_no_teacher is not (kind().needs_teacher or white_box), name


def test_both_counts_stand_side_by_side_in_words_and_as_data() -> None:
    found = demand("lmt-relative", 4_000)
    assert found.text() == (
        "lmt-relative: the public pipeline of Yu et al. (2019) on CUB-200-2011 (5,864 images) asks the "
        "teacher for every view in every epoch: 800 views x 2,000 epochs = 1,600,000 queries; at the same "
        "rate 1,091,405 for 4,000 images. Here: 4,000, one for each image."
    )
    assert found.document() == {
        "name": "lmt-relative",
        "public_pipeline": {
            "source": "Yu et al. (2019)",
            "asks_a_teacher": True,
            "data_set": "CUB-200-2011",
            "images": 5864,
            "views_per_epoch": 800,
            "epochs": 2000,
            "queries": 1_600_000,
            "queries_for_these_images": 1_091_405,
        },
        "queries_here": 4_000,
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ap", "asks no teacher, 0 queries. Here too: it learns from labels, and nothing need be bought"),
        ("rank-mixup", "once for each image, 4,000 queries. Here: 500, one for each image."),
        ("darkrank-soft", "asks the teacher for 25,872 views in each epoch; how many epochs is not public."),
        ("asym-contrastive+", "24,000 views in each epoch"),
        ("hint", "1,024,000 queries; at the same rate 87,312 for 500 images. Here: 0, or 500 with a base"),
        ("csd", "csd: no public pipeline is known. Here: 500, one for each image."),
    ],
)  # fmt: skip
def test_other_kinds_of_pipelines_are_told_as_they_are(name: str, words: str) -> None:
    assert words in demand(name, 500).text()
    json.dumps(demand(name, 500).document())


def test_what_is_not_asked_is_zero_and_what_is_not_known_is_null() -> None:
    alone, unknown = (demand(name, 500).document()["public_pipeline"] for name in ("ap", "regression"))
    assert (alone["asks_a_teacher"], alone["queries"], alone["queries_for_these_images"]) == (False, 0, 0)
    assert alone["epochs"] is None
    assert (unknown["asks_a_teacher"], unknown["queries"], unknown["epochs"]) == (True, None, None)
    assert demand("csd", 500).document()["public_pipeline"] is None
    hint = demand("hint", 500).document()
    assert (hint["queries_here"], hint["queries_here_with_base"]) == (0, 500)


def test_what_comes_next_is_a_purchase_only_where_something_is_to_be_bought() -> None:
    assert demand("rank", 5).following("runs/a") == "Next: student-trainer fetch --run runs/a"
    csq = demand("csq", 5).following("runs/a")
    assert "fetch" not in csq and "train --run runs/a --objective csq --manifest LABELLED" in csq
    assert "--objective hint --teacher-checkpoint FILE" in demand("hint", 5).following("runs/a")


def test_a_misspelt_objective_is_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match=r"'lmt-absolut'\. Did you mean 'lmt-absolute' or 'absolute'\?"):
        demand("lmt-absolut", 1)
    with pytest.raises(InvalidInput, match="Choose one of: absolute, ap"):
        demand("zzz", 1)


def test_nothing_of_it_loads_torch() -> None:
    code = "import sys, student_trainer.acquire.public_pipelines; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
