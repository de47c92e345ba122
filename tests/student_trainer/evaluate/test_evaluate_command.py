"""``student-trainer evaluate`` on drawn images and tiny networks, from the command line to the file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from made_purchases import bought_images
from safetensors import safe_open
from safetensors.torch import save_file
from typer.testing import CliRunner

from shared.checkpoints import load_network, save_network, weights_digest
from shared.extraction import describe
from shared.vectors import encode_rows
from student_trainer.acquire.records import PlanFacts, PlannedImage, Teacher
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.datasets.manifest import read_manifest
from student_trainer.distil.heads import Head, save_head
from student_trainer.distil.images import digest_files
from student_trainer.distil.lineage.learned import IMAGES, LABELS, Inherited, Learned, keep
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.evaluate.commands import evaluate
from student_trainer.evaluate.document import (
    BEFORE,
    STUDENT,
    TEACHER,
    Evaluation,
    LearnedImages,
    LearnedLabels,
    read_evaluation,
)
from student_trainer.evaluate.labelled import MEASURES, RECALLS, score
from student_trainer.evaluate.provenance import held
from student_trainer.run_folder import RunFolder

app = typer.Typer()
app.command()(evaluate)


def call(*arguments: object) -> str:
    """Run the command and return standard output; errors come through as they are."""
    outcome = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


def refused(*arguments: object) -> str:
    with pytest.raises(InvalidInput) as refusal:
        call(*arguments)
    return str(refusal.value)


def test_teacher_and_students_stand_side_by_side_and_the_numbers_are_right(run, other_run, manifest):
    text = call(
        "--run", run.root, "--manifest", manifest, "--split", "test", "--teacher", other_run.student,
        "--also", f"rank={other_run.root}",
    )  # fmt: skip
    evaluation = read_evaluation(run.evaluation)
    assert list(evaluation.models) == [TEACHER, BEFORE, STUDENT, "rank"]
    assert evaluation.models["rank"].objective == "rank"
    assert evaluation.models[STUDENT].objective == "rank-mixup"

    entries = read_manifest(manifest, "test")
    network = load_network(run.student)
    described = describe(network, [entry.path for entry in entries], 48)
    is_query = np.array([entry.is_query for entry in entries])
    labels = [entry.label for entry in entries]
    expected = score(
        described[is_query],
        described[~is_query],
        [label for label, query in zip(labels, is_query, strict=True) if query],
        [label for label, query in zip(labels, is_query, strict=True) if not query],
    )
    student = evaluation.models[STUDENT]
    for measure in MEASURES:
        assert getattr(student, measure) == pytest.approx(getattr(expected, measure))
        low, high = student.intervals[measure]
        assert low <= getattr(student, measure) <= high
    assert student.dim == network.dim
    assert student.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert student.file_bytes == run.student.stat().st_size
    assert f"{student.map_step:.3f} [" in text


def test_the_same_weights_score_the_same_whatever_they_are_called(run, other_run, manifest):
    call(
        "--run",
        run.root,
        "--manifest",
        manifest,
        "--teacher",
        other_run.student,
        "--also",
        f"x={other_run.root}",
    )
    models = read_evaluation(run.evaluation).models
    for measure in MEASURES:
        assert getattr(models[TEACHER], measure) == getattr(models["x"], measure)
    assert models[TEACHER].gain_over_before is None
    assert models["x"].gain_over_before == pytest.approx(models["x"].map_step - models[BEFORE].map_step)


def test_the_gain_is_the_difference_to_the_student_before(run, manifest):
    call("--run", run.root, "--manifest", manifest)
    models = read_evaluation(run.evaluation).models
    assert models[BEFORE].gain_over_before is None
    gain = models[STUDENT].map_step - models[BEFORE].map_step
    assert models[STUDENT].gain_over_before == pytest.approx(gain)
    low, high = models[STUDENT].gain_interval
    assert low <= gain <= high


def test_the_output_names_its_protocol_in_words_and_no_bare_map(run, manifest):
    text = call("--run", run.root, "--manifest", manifest, "--split", "test", "--scales", "1,0.7071,0.5")
    assert "3 queries rank 12 database images (manifest.csv, split test)" in text
    assert "Image scales 1, 0.7071, 0.5." in text
    assert sum(line.endswith(" 48") for line in text.splitlines()) == 2  # the side of both models
    for place in range(len(text)):
        if text.startswith("mAP", place):
            assert text.startswith(("mAP (step)", "mAP (trapezoidal)"), place)


def test_recall_at_1_2_4_and_8_stand_in_the_table_and_in_the_document(run, manifest):
    text = call("--run", run.root, "--manifest", manifest)
    evaluation = read_evaluation(run.evaluation)
    student = evaluation.models[STUDENT]
    recalls = [getattr(student, f"recall_at_{k}") for k in (1, 2, 4, 8)]
    assert recalls == sorted(recalls)
    named = f"student ({student.objective})"
    assert f"{'model':{len(named)}}  recall@1  recall@2  recall@4  recall@8" in text
    assert sum(line.startswith(named) for line in text.splitlines()) == 2, "the same in both tables"
    assert f"{named}  " + "     ".join(f"{recall:.3f}" for recall in recalls) in text
    assert set(student.intervals) == set(evaluation.protocol.measures) == {*MEASURES, *RECALLS}


def test_it_is_said_whether_the_classes_are_new_to_each_student(run, other_run, manifest):
    run.learned_labels.write_text('{"format": "ration-learned-labels/1", "labels": ["bridge", "gate"]}')
    other_run.learned_labels.write_text('{"format": "ration-learned-labels/1", "labels": ["dome", "gate"]}')
    text = call("--run", run.root, "--manifest", manifest, "--also", f"other={other_run.root}")
    assert "student is class-disjoint by name: it learned from 2 labels, and is measured on 3 others." in text
    assert (
        "other is not class-disjoint: 1 of the 3 labels that it is measured on are among the 2 that it "
        "learned from (dome)." in text
    )
    models = read_evaluation(run.evaluation).models
    assert models[STUDENT].learned_labels == LearnedLabels(learned=2, evaluated=3, shared=0, examples=())
    assert models[BEFORE].learned_labels is None


def test_nothing_is_said_of_classes_where_the_training_had_none(run, manifest):
    assert "class-disjoint" not in call("--run", run.root, "--manifest", manifest)
    assert read_evaluation(run.evaluation).models[STUDENT].learned_labels is None


def learned_from_images(run: RunFolder, paths: list[Path]) -> None:
    keep(run.learned_images, IMAGES, Learned(tuple(image.digest for image in digest_files(paths))))


def buy(run: RunFolder, paths: list[Path]) -> str:
    """Put a purchase of these images into the run folder; its digest."""
    rows = np.random.default_rng(0).standard_normal((len(paths), 8))
    bought = bought_images(run.root.with_name(f"bought for {run.root.name}"), digest_files(paths), rows)
    bought.transfer_set.rename(run.transfer_set)
    return held(run.transfer_set).digest


def test_images_that_were_learned_from_are_counted_and_their_classes_are_not_called_new(
    run, other_run, manifest, tmp_path
):
    gallery = [entry.path for entry in read_manifest(manifest)]
    keep(run.learned_labels, LABELS, Learned(("bridge", "gate")))
    (tmp_path / "copy.png").write_bytes(gallery[0].read_bytes())
    learned_from_images(run, [tmp_path / "copy.png", gallery[3]])
    learned_from_images(other_run, [run.student])  # of other bytes than all images
    text = call("--run", run.root, "--manifest", manifest, "--also", f"other={other_run.root}")
    assert f"student: 2 of the {len(gallery)} images that it is measured on were learned from" in text
    assert "student is not class-disjoint: images that it is measured on are among those that it" in text
    assert "class-disjoint by name" not in text and "other:" not in text
    models = read_evaluation(run.evaluation).models
    counted = LearnedImages(learned=2, measured=len(gallery), shared=2)
    assert models[STUDENT].learned_images == counted
    assert models["other"].learned_images == LearnedImages(learned=1, measured=len(gallery), shared=0)
    assert models[BEFORE].learned_images is None


def test_bought_images_count_as_learned_from_where_no_list_lies_beside_the_student(run, manifest):
    paths = [entry.path for entry in read_manifest(manifest)]
    notes = {"transfer_set": buy(run, paths[:4])}
    save_network(load_network(run.student), run.student, notes)
    text = call("--run", run.root, "--manifest", manifest)
    assert f"student: 4 of the {len(paths)} images that it is measured on were learned from" in text
    assert read_evaluation(run.evaluation).models[STUDENT].images_bought == 4


def test_images_bought_are_not_counted_where_an_earlier_purchase_is_not_at_hand(run, other_run, manifest):
    paths = [entry.path for entry in read_manifest(manifest)]
    notes = {"transfer_set": buy(run, paths[:4]), "earlier_transfer_sets": buy(other_run, paths[2:7])}
    save_network(load_network(run.student), run.student, notes)
    save_network(load_network(other_run.student), other_run.student)
    call("--run", run.root, "--manifest", manifest)
    assert read_evaluation(run.evaluation).models[STUDENT].images_bought is None
    call("--run", run.root, "--manifest", manifest, "--also", f"other={other_run.root}")
    assert read_evaluation(run.evaluation).models[STUDENT].images_bought == 7


def test_a_start_whose_labels_are_unknown_leaves_the_classes_undecided(run, manifest):
    keep(run.learned_labels, LABELS, Learned(("bridge",), Inherited(frozenset({"gate"}))))
    text = call("--run", run.root, "--manifest", manifest)
    assert "class-disjoint" not in text
    assert (
        "student is not known to have learned from other classes alone: none of the 3 labels that it is "
        "measured on is among the 2 known ones, but it started from a student whose labels are unknown."
        in text
    )
    keep(run.learned_labels, LABELS, Learned(("bridge",), Inherited(frozenset({"dome"}))))
    text = call("--run", run.root, "--manifest", manifest)
    assert "student is not class-disjoint: 1 of the 3 labels" in text
    keep(run.learned_labels, LABELS, Learned(("bridge",), Inherited(frozenset({"gate"}), complete=True)))
    assert "class-disjoint by name: it learned from 2 labels" in call(
        "--run", run.root, "--manifest", manifest
    )


def test_several_scales_are_scored_by_the_descriptors_that_combine_them(run, manifest):
    call("--run", run.root, "--manifest", manifest, "--scales", "1,0.5")
    evaluation = read_evaluation(run.evaluation)
    entries = read_manifest(manifest)
    network, paths = load_network(run.student), [entry.path for entry in entries]
    several = describe(network, paths, evaluation.models[STUDENT].image_size, (1.0, 0.5))
    assert not np.allclose(several, describe(network, paths, evaluation.models[STUDENT].image_size))
    labels, is_query = np.array([e.label for e in entries]), np.array([e.is_query for e in entries])
    expected = score(several[is_query], several[~is_query], list(labels[is_query]), list(labels[~is_query]))
    assert evaluation.protocol.scales == (1.0, 0.5)
    assert evaluation.models[STUDENT].map_step == pytest.approx(expected.map_step)


def test_a_folder_of_labelled_subfolders_is_ranked_leaving_each_query_out(run, photographs):
    (photographs / "manifest.csv").unlink()
    text = call("--run", run.root, "--manifest", photographs)
    evaluation = read_evaluation(run.evaluation)
    assert "Each of 15 images ranks all the others (photographs)" in text
    assert evaluation.protocol.leave_one_out
    for example in evaluation.examples:
        assert example.relevant_in_database == 4
        for ranking in example.rankings.values():
            assert example.query not in {hit.path for hit in ranking.top}


@pytest.mark.parametrize("copied", [False, True])
def test_a_query_does_not_find_its_own_image_under_any_name(run, manifest, photographs, copied):
    """A gallery in which every query stands too, by the same path or by copies, gives the same numbers."""
    call("--run", run.root, "--manifest", manifest)
    alone = read_evaluation(run.evaluation)
    rows = manifest.read_text()
    for label in ("arch", "dome"):
        for name in ("0.png", "copy.png", "again.png") if copied else ("0.png",):
            if name != "0.png":
                (photographs / label / name).write_bytes((photographs / label / "0.png").read_bytes())
            rows += f"{label}/{name},{label},test,0\n"
    manifest.write_text(rows)
    text = call("--run", run.root, "--manifest", manifest)
    said = "the images of 2 queries stand in the database too (the same bytes), and are left out of their own"
    assert said in text
    evaluation = read_evaluation(run.evaluation)
    assert evaluation.protocol.queries_with_copies == 2 and alone.protocol.queries_with_copies == 0
    queries = {name: [example.query for example in found.examples] for name, found in
               (("alone", alone), ("with", evaluation))}  # fmt: skip
    assert queries["alone"] == queries["with"]
    for example in evaluation.examples:
        hits = [Path(hit.path) for hit in example.rankings[STUDENT].top]
        own = Path(example.query).parent
        assert not {own / name for name in ("0.png", "copy.png", "again.png")} & set(hits)
        assert example.relevant_in_database == 4


def test_copies_among_images_that_all_ask_are_left_out_and_counted(run, photographs, manifest):
    (photographs / "arch" / "copy.png").write_bytes((photographs / "arch" / "0.png").read_bytes())
    manifest.unlink()
    text = call("--run", run.root, "--manifest", photographs)
    assert "; the images of 2 queries have copies among the others (the same bytes), and are left" in text


def test_a_query_without_a_relevant_image_is_counted_in_words(run, photographs, manifest):
    (photographs / "lonely.png").write_bytes((photographs / "arch" / "0.png").read_bytes())
    with manifest.open("a") as file:
        file.write("lonely.png,nothing like it,test,1\n")
    text = call("--run", run.root, "--manifest", manifest)
    assert "3 queries rank 12" in text
    assert "1 without a relevant image are left out of the means" in text
    assert read_evaluation(run.evaluation).protocol.queries_without_positives == 1


def test_examples_hold_the_first_ten_images_of_every_model_with_their_relevance(run, manifest):
    call("--run", run.root, "--manifest", manifest)
    evaluation = read_evaluation(run.evaluation)
    assert evaluation.examples
    for example in evaluation.examples:
        assert set(example.rankings) == set(evaluation.models)
        for ranking in example.rankings.values():
            assert len(ranking.top) == 10
            for hit in ranking.top:
                assert hit.relevant == (Path(hit.path).parent.name == example.label)
                assert (Path(evaluation.images_root) / hit.path).is_file()


def test_json_prints_the_document_that_is_written(run, manifest):
    printed = json.loads(call("--run", run.root, "--manifest", manifest, "--json"))
    assert Evaluation.model_validate(printed) == read_evaluation(run.evaluation)


def test_what_is_refused_replaces_nothing(run, manifest):
    call("--run", run.root, "--manifest", manifest)
    damaged = run.root / "damaged.safetensors"
    damaged.write_bytes(b"no checkpoint")
    for wrong in (
        ("--also", "nameless"),
        ("--asymmetric",),
        ("--split", "nowhere"),
        ("--teacher", str(damaged)),
        ("--device", "warp"),
    ):
        result = CliRunner().invoke(app, ["--run", str(run.root), "--manifest", str(manifest), *wrong])
        assert isinstance(result.exception, InvalidInput) and "This replaces" not in result.stderr


def test_every_checkpoint_is_opened_before_the_first_image_is_described(
    run, other_run, manifest, monkeypatch
):
    monkeypatch.setattr("student_trainer.evaluate.comparison.describe", None)
    with safe_open(other_run.student, "pt") as student:
        said = student.metadata()
    save_file({"none.of.its.weights": torch.zeros(1)}, other_run.student, said)
    message = refused("--run", run.root, "--manifest", manifest, "--also", f"x={other_run.root}")
    assert message.startswith("The checkpoint of x: ")


def test_a_place_that_cannot_be_written_is_known_before_anything_is_described(run, manifest, monkeypatch):
    monkeypatch.setattr("student_trainer.evaluate.comparison.describe", None)
    message = r"/proc/e\.json cannot be written: .*\. Nothing was measured\. Name a file elsewhere"
    with pytest.raises(StorageFailed, match=message):
        call("--run", run.root, "--manifest", manifest, "--out", "/proc/e.json")


def test_the_table_is_shown_where_the_file_cannot_be_written_in_the_end(run, manifest, monkeypatch):
    def fails(self: Evaluation, path: Path) -> None:
        raise StorageFailed("the disk is full")

    monkeypatch.setattr(Evaluation, "write", fails)
    result = CliRunner().invoke(app, ["--run", str(run.root), "--manifest", str(manifest)])
    assert isinstance(result.exception, StorageFailed)
    assert "3 queries rank 12 database images" in result.stdout and "Written" not in result.stdout


def test_codes_have_a_row_of_their_own_with_what_the_hash_layer_adds(run, manifest):
    student = load_network(run.student)
    layer = Head("hash", student.dim, 20, bias=True, seed=4)
    save_head(layer, run.head, objective="csq", student_digest=weights_digest(student))
    text = call("--run", run.root, "--manifest", manifest)
    codes = read_evaluation(run.evaluation).models[STUDENT].hamming
    rows = [line.split() for line in text.splitlines() if line.startswith("student, codes ")][:2]
    assert [row[2] for row in rows] == [f"{codes.map:.3f}", "-"]
    assert rows[0][-4:-2] == ["20", "bits"] and rows[0][-2] == f"{codes.parameters:,}"
    assert rows[1][-1] == f"{codes.multiply_adds / 1e9:.4g}"


def test_evaluating_twice_writes_the_same_bytes(run, manifest):
    call("--run", run.root, "--manifest", manifest)
    first = run.evaluation.read_bytes()
    call("--run", run.root, "--manifest", manifest)
    assert run.evaluation.read_bytes() == first


def test_the_image_size_is_the_recipes_unless_it_is_given(run, other_run, manifest):
    call("--run", run.root, "--manifest", manifest, "--teacher", other_run.student)
    assert {model.image_size for model in read_evaluation(run.evaluation).models.values()} == {48}
    call(
        "--run", run.root, "--manifest", manifest, "--teacher", other_run.student,
        "--image-size", 32, "--teacher-image-size", 64,
    )  # fmt: skip
    sizes = {name: model.image_size for name, model in read_evaluation(run.evaluation).models.items()}
    assert sizes == {TEACHER: 64, BEFORE: 32, STUDENT: 32}


def test_a_run_without_its_first_student_is_measured_without_it(run, manifest):
    run.initial_student.unlink()
    call("--run", run.root, "--manifest", manifest)
    models = read_evaluation(run.evaluation).models
    assert list(models) == [STUDENT]
    assert models[STUDENT].gain_over_before is None


def test_students_that_share_a_transfer_set_both_say_how_much_was_bought(run, other_run, manifest):
    image = PlannedImage("ab" * 32, Path("/a.jpg"), "JPEG", 10, 20, 30)
    TransferSet.create(run.transfer_set, PlanFacts("random", 0, "a folder"), chosen=[image])
    with TransferSet.open(run.transfer_set) as bought:
        bought.set_teacher(Teacher("http://localhost", "k", "distinct", "cd" * 32, "ef" * 32, "t", 4, True))
        with bought.transaction():
            bought.connection.execute("INSERT INTO receipts VALUES (1, '{}')")
            vector = encode_rows(np.eye(4, dtype=np.float32)[0])
            bought.connection.execute("INSERT INTO descriptors VALUES (?, ?, 1)", (image.digest, vector))
    notes = {"transfer_set": held(run.transfer_set).digest}
    for folder in (run, other_run):
        save_network(load_network(folder.student), folder.student, notes)
    call("--run", run.root, "--manifest", manifest, "--also", f"rank={other_run.root}")
    models = read_evaluation(run.evaluation).models
    assert (models[STUDENT].images_bought, models["rank"].images_bought) == (1, 1)
    assert models[BEFORE].images_bought is None


def test_a_student_whose_transfer_set_is_not_known_claims_no_number(run, manifest):
    save_network(load_network(run.student), run.student, {"transfer_set": "12" * 32})
    call("--run", run.root, "--manifest", manifest)
    assert read_evaluation(run.evaluation).models[STUDENT].images_bought is None


def test_a_run_without_a_student_is_refused_with_the_command_that_makes_one(run, manifest):
    run.student.unlink()
    assert f"student-trainer train --run {run.root}" in refused("--run", run.root, "--manifest", manifest)


def test_a_run_folder_that_is_not_there_is_refused(tmp_path, manifest):
    assert "no run folder" in refused("--run", tmp_path / "nowhere", "--manifest", manifest)


def test_without_a_recipe_the_image_size_must_be_given(run, manifest):
    run.recipe.unlink()
    assert "give --image-size" in refused("--run", run.root, "--manifest", manifest)
    call("--run", run.root, "--manifest", manifest, "--image-size", 48)
    assert read_evaluation(run.evaluation).models[STUDENT].objective is None


def test_an_image_that_cannot_be_read_is_named(run, photographs, manifest):
    broken = photographs / "dome" / "2.png"
    broken.write_bytes(broken.read_bytes()[:200])
    message = refused("--run", run.root, "--manifest", manifest)
    assert str(broken) in message
    assert "take it out of the manifest" in message
    assert not run.evaluation.exists()


def test_a_student_without_finite_descriptors_is_named_with_the_first_image(run, manifest):
    network = load_network(run.student)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1e30)
    save_network(network, run.student)
    first = read_manifest(manifest)[0].path
    message = refused("--run", run.root, "--manifest", manifest)
    assert f"student gives no finite descriptor for 15 images, the first {first}" in message


def test_missing_images_are_named_and_nothing_is_measured(run, photographs, manifest):
    (photographs / "dome" / "2.png").unlink()
    assert "1 of 15 images of the manifest are missing" in refused("--run", run.root, "--manifest", manifest)


def test_labels_that_never_meet_are_refused(run, tmp_path, photographs):
    apart = tmp_path / "apart.csv"
    apart.write_text("path,label,query\nphotographs/arch/0.png,a,1\nphotographs/arch/1.png,b,0\n")
    assert "None of the 1 queries has a relevant image" in refused("--run", run.root, "--manifest", apart)


def test_a_teacher_that_is_not_a_checkpoint_is_refused(run, tmp_path, manifest):
    missing = tmp_path / "teacher.safetensors"
    assert "no teacher checkpoint" in refused("--run", run.root, "--manifest", manifest, "--teacher", missing)
    missing.write_bytes(b"not a network")
    assert "checkpoint of teacher" in refused("--run", run.root, "--manifest", manifest, "--teacher", missing)


def test_a_student_file_that_is_not_ours_is_refused(run, manifest):
    run.student.write_bytes(b"nothing")
    assert str(run.student) in refused("--run", run.root, "--manifest", manifest)


@pytest.mark.parametrize("also", ["rank", "=somewhere", "rank=", "=", ""])
def test_another_run_needs_a_name_and_a_folder(run, manifest, also):
    assert "NAME=RUN_DIR" in refused("--run", run.root, "--manifest", manifest, "--also", also)


@pytest.mark.parametrize("name", ["teacher", "student", "student before"])
def test_another_run_cannot_take_a_name_that_is_taken(run, manifest, name):
    assert "is taken" in refused("--run", run.root, "--manifest", manifest, "--also", f"{name}={run.root}")


def test_two_other_runs_cannot_share_a_name(run, other_run, manifest):
    also = f"x={other_run.root}"
    assert "is taken" in refused("--run", run.root, "--manifest", manifest, "--also", also, "--also", also)


def test_a_device_that_is_not_there_is_refused(run, manifest):
    assert "--device" in refused("--run", run.root, "--manifest", manifest, "--device", "abacus")


def test_a_folder_has_no_splits(run, photographs):
    assert "has no splits" in refused("--run", run.root, "--manifest", photographs, "--split", "test")


def test_a_file_that_is_not_an_evaluation_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text('{"models": {}}')
    with pytest.raises(InvalidInput, match=r"not an evaluation \(protocol.*student-trainer evaluate"):
        read_evaluation(path)
    path.write_text("not json")
    with pytest.raises(InvalidInput, match="not an evaluation"):
        read_evaluation(path)


def test_an_evaluation_that_cannot_be_written_says_that_the_old_one_is_unchanged(run, manifest):
    call("--run", run.root, "--manifest", manifest)
    evaluation = read_evaluation(run.evaluation)
    blocked = run.root / "blocked"
    blocked.mkdir()
    (blocked / "evaluation.json").mkdir()
    with pytest.raises(StorageFailed, match="older file, if any, is unchanged"):
        evaluation.write(blocked / "evaluation.json")
    assert [path.name for path in blocked.iterdir()] == ["evaluation.json"]
