"""``student-trainer evaluate --dataset`` on small copies of the benchmarks, from the command to the page."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from made_benchmark_runs import SIDE_PX, app, call, make_run, teacher_of
from made_benchmarks import make_old, make_revisited, make_sfm120k, write_view
from typer.testing import CliRunner

from shared.checkpoints import load_network
from shared.extraction import describe
from shared.images import Preprocessing
from shared.public_networks import ADDRESS
from shared.whitening_files import save_learned_whitenings
from student_trainer.datasets.ground_truth import Benchmark
from student_trainer.datasets.revisited import open_benchmark
from student_trainer.distil.images import digest_files
from student_trainer.distil.lineage.learned import IMAGES, Learned, keep
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.evaluate import describing
from student_trainer.evaluate.document import (
    ASYMMETRIC,
    BEFORE,
    STUDENT,
    TEACHER,
    LearnedImages,
    read_evaluation,
)
from student_trainer.evaluate.ranking import rank
from student_trainer.evaluate.revisited import MEASURES
from student_trainer.evaluate.revisited import evaluate as scores_of
from student_trainer.evaluate.search.expansion import Expansion, augment_database, expand_queries
from student_trainer.evaluate.whitening import learn_pca
from student_trainer.publish.card import build_card
from student_trainer.publish.facts import gather
from student_trainer.publish.report import build_page
from student_trainer.run_folder import RunFolder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All data sets in one folder."""
    root = tmp_path_factory.mktemp("data")
    make_revisited(root, "roxford5k", sights=4, seed=1)
    make_revisited(root, "rparis6k", sights=5, seed=2)
    make_old(root, "oxford5k", sights=4, seed=1)
    for number in range(6):
        write_view(root / "distractors" / f"{number}.jpg", 9, number, 0)
    return root


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    images = open_benchmark(data / "roxford5k").image_paths
    return make_run(tmp_path_factory.mktemp("runs") / "run", images)


@pytest.fixture
def run(made: RunFolder) -> RunFolder:
    """The same folder for all tests of this module: its cache makes them quick."""
    made.evaluation.unlink(missing_ok=True)
    made.transfer_set.unlink(missing_ok=True)
    return made


def refused(*arguments: object) -> str:
    with pytest.raises(InvalidInput) as refusal:
        call(*arguments)
    return str(refusal.value)


def rows_of(
    checkpoint: Path, benchmark: Benchmark, scales: tuple[float, ...] = (1.0,)
) -> tuple[np.ndarray, np.ndarray]:
    """Queries, by their boxes, and database, straight from the extraction."""
    network, plain = load_network(checkpoint), Preprocessing(SIDE_PX, apply_exif=False)
    boxes = [truth.box for truth in benchmark.ground_truth]
    queries = describe(network, benchmark.query_paths, SIDE_PX, scales, boxes, preprocessing=plain)
    return queries, describe(network, benchmark.image_paths, SIDE_PX, scales, preprocessing=plain)


def agree(line: object, expected: dict) -> None:
    for measure in MEASURES:
        assert getattr(line, measure) == pytest.approx(expected[measure]), measure
    assert line.queries == expected["queries"]


def test_easy_medium_and_hard_are_those_of_descriptors_ranked_in_full(run, data):
    call(
        "--run",
        run.root,
        "--dataset",
        "roxford5k",
        "--root",
        data,
        "--teacher",
        teacher_of(run),
        "--scales",
        "1,0.5",
    )
    evaluation = read_evaluation(run.evaluation)
    assert list(evaluation.models) == [TEACHER, BEFORE, STUDENT]
    benchmark = open_benchmark(data / "roxford5k")
    for name, path in ((TEACHER, teacher_of(run)), (STUDENT, run.student)):
        queries, database = rows_of(path, benchmark, (1.0, 0.5))
        expected = scores_of(rank(queries, database), benchmark.ground_truth)
        model = evaluation.models[name]
        assert list(model.setups) == ["E", "M", "H"]
        for setup, line in model.setups.items():
            agree(line, expected[setup])
        assert model.map_step == model.setups["M"].map_step
        assert model.map_trapezoid == model.setups["M"].map_trapezoid
    before = evaluation.models[BEFORE]
    assert evaluation.models[STUDENT].gain_over_before == pytest.approx(
        evaluation.models[STUDENT].map_trapezoid - before.map_trapezoid
    )


def test_the_table_names_protocol_setup_and_kind_of_every_map(run, data):
    text = call("--run", run.root, "--dataset", "roxford5k", "--root", data)
    assert "4 queries rank 16 database images (roxford5k, revisited protocol)" in text
    for setup in ("Easy", "Medium", "Hard"):
        assert f"student         {setup}" in text
    for place in range(len(text)):
        if text.startswith("mAP", place):
            assert text.startswith(("mAP (step", "mAP (trapezoidal"), place), text[place : place + 30]
    assert "Where one score stands for a model it is its mAP (trapezoidal, Medium)." in text
    assert "student against student before, query by query: mAP (trapezoidal, Medium) " in text


@pytest.mark.parametrize("arguments", [("roxford5k", "--protocol", "old"), ("oxford5k",)])
def test_the_old_protocol_is_its_own_ground_truth_on_the_same_photographs(run, data, arguments):
    text = call("--run", run.root, "--root", data, "--dataset", *arguments)
    assert "(oxford5k, old protocol). Where one score stands for a model it is its mAP (trapezoidal)." in text
    evaluation = read_evaluation(run.evaluation)
    benchmark = open_benchmark(data / "oxford5k")
    expected = scores_of(rank(*rows_of(run.student, benchmark)), benchmark.ground_truth, "old")
    agree(evaluation.models[STUDENT].setups["old"], expected["old"])


def test_whitening_is_learned_by_each_network_on_the_other_benchmark(run, data):
    call(
        "--run",
        run.root,
        "--dataset",
        "roxford5k",
        "--root",
        data,
        "--whiten-on",
        "rparis6k",
        "--whiten-dims",
        8,
    )
    evaluation = read_evaluation(run.evaluation)
    oxford, paris = open_benchmark(data / "roxford5k"), open_benchmark(data / "rparis6k")
    whitening = learn_pca(rows_of(run.student, paris)[1], 8)
    queries, database = (whitening.apply(rows) for rows in rows_of(run.student, oxford))
    expected = scores_of(rank(queries, database), oxford.ground_truth)
    agree(evaluation.models[STUDENT].setups["M"], expected["M"])
    assert all(model.whitened for model in evaluation.models.values())
    words = evaluation.protocol.sentence()
    assert "Whitening: PCA on rparis6k (eigenvalues to the power -0.5), 8 dimensions kept" in words


def test_half_the_power_of_the_eigenvalues_is_another_whitening_and_says_so(run, data):
    arguments = ("--run", run.root, "--dataset", "roxford5k", "--root", data, "--whiten-on", "rparis6k")
    call(*arguments, "--whiten-power", 0.25)
    evaluation = read_evaluation(run.evaluation)
    oxford, paris = open_benchmark(data / "roxford5k"), open_benchmark(data / "rparis6k")
    whitening = learn_pca(rows_of(run.student, paris)[1], power=0.25)
    expected = scores_of(rank(*map(whitening.apply, rows_of(run.student, oxford))), oxford.ground_truth)
    agree(evaluation.models[STUDENT].setups["E"], expected["E"])
    assert "to the power -0.25" in evaluation.protocol.sentence()


def test_a_whitening_from_a_file_is_for_the_models_that_it_fits(run, data, tmp_path):
    benchmark = open_benchmark(data / "roxford5k")
    whitening = learn_pca(rows_of(run.student, open_benchmark(data / "rparis6k"))[1])
    path = tmp_path / "lw.safetensors"
    save_learned_whitenings(path, {"paris": {"ss": whitening}, "other": {"ss": whitening, "ms": whitening}})
    arguments = ("--run", run.root, "--dataset", "roxford5k", "--root", data, "--teacher", teacher_of(run))
    call(*arguments, "--whitening", f"{path}#paris")
    evaluation = read_evaluation(run.evaluation)
    expected = scores_of(rank(*map(whitening.apply, rows_of(run.student, benchmark))), benchmark.ground_truth)
    agree(evaluation.models[STUDENT].setups["M"], expected["M"])
    assert not evaluation.models[TEACHER].whitened
    assert "not for teacher, whose descriptors it does not fit" in evaluation.protocol.sentence()
    message = refused(*arguments, "--whitening", path)
    assert "there is not one whitening in it for ss (one scale); it holds: " in message
    assert "other (ms and ss)" in message or "other (ss and ms)" in message
    assert "of the name nobody" in refused(*arguments, "--whitening", f"{path}#nobody")
    call(*arguments, "--whitening", path, "--scales", "1,0.5")
    assert "learned on other" in read_evaluation(run.evaluation).protocol.sentence()


def test_a_whitening_that_fits_no_model_is_refused(run, data, tmp_path):
    path = tmp_path / "lw.safetensors"
    save_learned_whitenings(path, {"x": {"ss": learn_pca(np.random.default_rng(0).random((9, 5)))}})
    message = refused("--run", run.root, "--dataset", "roxford5k", "--root", data, "--whitening", path)
    assert "fits no model; dimensions: student before 80, student 80" in message


def test_whitening_from_pairs_needs_more_pairs_than_dimensions(run, data):
    make_sfm120k(data, clusters=1)
    arguments = ("--run", run.root, "--dataset", "roxford5k", "--root", data)
    message = refused(*arguments, "--whiten-on", "retrieval-SfM-120k")
    assert "6 pairs do not differ in all 80 dimensions" in message


def test_distractors_are_ranked_with_the_database_and_may_be_kept_in_half_precision(run, data):
    arguments = ("--run", run.root, "--dataset", "roxford5k", "--root", data)
    call(*arguments, "--distractors", data / "distractors", "--half")
    evaluation = read_evaluation(run.evaluation)
    assert (evaluation.protocol.database, evaluation.protocol.benchmark.distractors) == (22, 6)
    source = "6 of them distractors: those of distractors, not the 1,001,001 of revisitop1m"
    assert f"22 database images, {source} (" in evaluation.protocol.sentence()
    assert "float16" in evaluation.protocol.sentence()
    benchmark = open_benchmark(data / "roxford5k")
    queries, database = rows_of(run.student, benchmark)
    paths = sorted((data / "distractors").iterdir())
    plain = Preprocessing(SIDE_PX, apply_exif=False)
    others = describe(load_network(run.student), paths, SIDE_PX, preprocessing=plain).astype(np.float16)
    together = np.concatenate([database, others.astype(np.float32)])
    expected = scores_of(rank(queries, together), benchmark.ground_truth)
    agree(evaluation.models[STUDENT].setups["H"], expected["H"])
    kept = list(run.cache.rglob("*.f2"))
    assert {path.stat().st_size for path in kept} == {6 * 80 * 2}


def test_an_evaluation_that_is_replaced_is_named_first_and_out_keeps_it(run, data, tmp_path):
    def said(*more: object) -> str:
        arguments = ["--run", run.root, "--root", data, "--dataset", *more]
        return CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False).stderr

    assert "This replaces" not in said("roxford5k")
    kept = run.evaluation.read_bytes()
    assert "This replaces" not in said("rparis6k", "--out", tmp_path / "paris.json")
    assert run.evaluation.read_bytes() == kept
    assert read_evaluation(tmp_path / "paris.json").protocol.manifest == "rparis6k"
    replaced = f"This replaces the evaluation on roxford5k in {run.evaluation}. To keep that"
    assert replaced in said("rparis6k")
    assert read_evaluation(run.evaluation).protocol.manifest == "rparis6k"
    run.evaluation.write_text("{")
    assert "This replaces what cannot be read as an evaluation in" in said("roxford5k")
    assert read_evaluation(run.evaluation).protocol.manifest == "roxford5k"


def test_an_evaluation_that_is_refused_replaces_nothing_and_says_nothing_of_it(run, data, tmp_path):
    call("--run", run.root, "--root", data, "--dataset", "roxford5k")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no checkpoint")
    absent = make_revisited(tmp_path, "roxford5k", sights=3)
    next((absent / "jpg").glob("*.jpg")).unlink()
    for wrong in (
        ("--root", data, "--dataset", "roxfort5k"),
        ("--root", tmp_path, "--dataset", "roxford5k"),
        ("--root", data, "--dataset", "roxford5k", "--teacher", damaged),
        ("--root", data, "--dataset", "roxford5k", "--device", "warp"),
    ):
        result = CliRunner().invoke(app, [str(one) for one in ("--run", run.root, *wrong)])
        assert isinstance(result.exception, InvalidInput) and "This replaces" not in result.stderr


def test_a_place_that_cannot_be_written_is_known_before_anything_is_described(run, data, monkeypatch):
    monkeypatch.setattr("student_trainer.evaluate.benchmark.comparison.view", None)
    with pytest.raises(StorageFailed, match=r"/proc/e\.json cannot be written: .*\. Nothing was measured"):
        call("--run", run.root, "--root", data, "--dataset", "roxford5k", "--out", "/proc/e.json")


def test_a_public_list_of_distractors_is_followed(run, data, tmp_path):
    folder = tmp_path / "revisitop1m"
    write_view(folder / "jpg" / "a.jpg", 3, 0, 0)
    write_view(folder / "jpg" / "not listed.jpg", 3, 1, 0)
    (folder / "revisitop1m.txt").write_text("a.jpg\n")
    arguments = ("--run", run.root, "--dataset", "roxford5k", "--root", data, "--distractors", folder)
    call(*arguments)
    protocol = read_evaluation(run.evaluation).protocol
    assert protocol.benchmark.distractors == 1
    assert "1 of them distractors: 1 image of the 1,001,001 of revisitop1m (" in protocol.sentence()
    (folder / "revisitop1m.txt").write_text("a.jpg\nb.jpg\n")
    assert "1 of 2 images of the distractors are missing" in refused(*arguments)


def test_expansion_and_augmentation_are_done_and_named(run, data):
    arguments = ("--run", run.root, "--dataset", "roxford5k", "--root", data)
    text = call(*arguments, "--alpha-qe", "3:2", "--dba", "2:1")
    assert "Database augmentation: 2 images, alpha 1" in text
    assert "Query expansion: 3 images, alpha 2" in text
    benchmark = open_benchmark(data / "roxford5k")
    queries, database = rows_of(run.student, benchmark)
    augmented = augment_database(database, Expansion(2, 1))
    expected = scores_of(
        rank(expand_queries(queries, augmented, Expansion(3, 2)), augmented), benchmark.ground_truth
    )
    agree(read_evaluation(run.evaluation).models[STUDENT].setups["M"], expected["M"])


def test_the_second_evaluation_describes_nothing_and_says_the_same(run, data, monkeypatch):
    arguments = ("--run", run.root, "--dataset", "roxford5k", "--root", data, "--whiten-on", "rparis6k")
    call(*arguments)
    first = run.evaluation.read_bytes()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("described again")

    monkeypatch.setattr(describing, "describe", never)
    call(*arguments)
    assert run.evaluation.read_bytes() == first
    with pytest.raises(AssertionError, match="described again"):
        call(*arguments, "--scales", "1,0.9")
    with pytest.raises(AssertionError, match="described again"):
        call(*arguments, "--image-size", 48)


def test_examples_leave_out_what_the_setup_ignores(run, data):
    call("--run", run.root, "--dataset", "roxford5k", "--root", data, "--distractors", data / "distractors")
    evaluation = read_evaluation(run.evaluation)
    assert evaluation.examples
    benchmark = open_benchmark(data / "roxford5k")
    for example in evaluation.examples:
        query = benchmark.queries.index(Path(example.query).stem)
        truth = benchmark.ground_truth[query]
        assert example.relevant_in_database == 3
        junk = {benchmark.images[index] for index in truth.junk}
        relevant = {benchmark.images[index] for index in (*truth.easy, *truth.hard)}
        for ranking in example.rankings.values():
            assert len(ranking.top) == 10
            assert not junk & {Path(hit.path).stem for hit in ranking.top}
            for hit in ranking.top:
                assert hit.relevant == (Path(hit.path).stem in relevant)
                assert (Path(evaluation.images_root) / hit.path).is_file()


def test_the_report_and_the_card_show_every_setup(run, data):
    printed = json.loads(call("--run", run.root, "--dataset", "roxford5k", "--root", data, "--json"))
    assert printed["protocol"]["benchmark"]["rules"] == "revisited"
    facts = gather(run)
    page, card = build_page(facts), build_card(facts)
    evaluation = read_evaluation(run.evaluation)
    hard = evaluation.models[STUDENT].setups["H"]
    assert "roxford5k, revisited protocol, by setup" in page
    assert f"<td>Hard</td><td>{hard.map_trapezoid:.3f}" in page
    assert f"| student | Hard | {hard.map_trapezoid:.3f}, " in card
    medium = evaluation.models[STUDENT].setups["M"].map_trapezoid
    assert medium != evaluation.models[STUDENT].setups["M"].map_step
    for shown in (page, card):
        assert f"reaches mAP (trapezoidal, Medium) {medium:.3f}" in shown
    assert f"<td>{medium:.3f}<small>" in page
    assert "mAP (trapezoidal, Medium) with 95 % intervals: student before" in page
    assert "| mAP (trapezoidal, Medium), 95 % interval | mAP (step, Medium) |" in card


def test_an_evaluation_of_before_keeps_the_measure_that_its_difference_is_in(run, data):
    call("--run", run.root, "--dataset", "roxford5k", "--root", data)
    older = json.loads(run.evaluation.read_text())
    del older["protocol"]["headline_measure"], older["protocol"]["benchmark"]["distractors_from"]
    run.evaluation.write_text(json.dumps(older))
    assert read_evaluation(run.evaluation).protocol.headline_words == "mAP (step, Medium)"


def test_sizes_and_scales_stand_beside_every_model_and_are_said_to_differ(run, data):
    arguments = ("--run", run.root, "--dataset", "roxford5k", "--root", data, "--scales", "1,0.7071")
    assert "Not all models see images alike" not in call(*arguments)
    text = call(*arguments, "--teacher", teacher_of(run), "--teacher-image-size", 80)
    assert re.search(r"^teacher +64 +[\d,]+ +80 +1, 0.7071 +(-|unfit) +[\d.]+$", text, re.MULTILINE)
    student = r"^student \(rank-mixup\) +80 +[\d,]+ +64 +1, 0.7071 +(-|unfit) +[\d.]+$"
    assert re.search(student, text, re.MULTILINE)
    differ = (
        "Not all models see images alike. teacher: 80 px, scales 1, 0.7071; student before, student: 64 px, "
        "scales 1, 0.7071."
    )
    assert differ in text
    page, card = build_page(gather(run)), build_card(gather(run))
    assert differ in page
    assert "<td>80 px</td><td>1, 0.7071</td>" in page
    assert differ in card
    assert "| 80 px | 1, 0.7071 |" in card


def test_images_that_were_learned_from_are_counted_on_a_benchmark_too(run, data, tmp_path):
    arguments = ("--run", run.root, "--dataset", "roxford5k", "--root", data)
    assert "learned from" not in call(*arguments)
    assert read_evaluation(run.evaluation).models[STUDENT].learned_images is None
    benchmark = open_benchmark(data / "roxford5k")
    (tmp_path / "renamed.jpg").write_bytes(benchmark.image_paths[3].read_bytes())
    other = tmp_path / "other.jpg"
    write_view(other, 77, 0, 0)
    learned = digest_files([tmp_path / "renamed.jpg", benchmark.query_paths[0], other])
    keep(run.learned_images, IMAGES, Learned(tuple(image.digest for image in learned)))
    try:
        text = call(*arguments)
        page, card = build_page(gather(run)), build_card(gather(run))
        models = read_evaluation(run.evaluation).models
        old = call("--run", run.root, "--dataset", "oxford5k", "--root", data)
    finally:
        run.learned_images.unlink()
    said = "2 of the 20 images that it is measured on were learned from, so its scores say less"
    assert f"student: {said}" in text
    assert said in page and said in card
    assert models[STUDENT].learned_images == LearnedImages(learned=3, measured=20, shared=2)
    assert models[BEFORE].learned_images is None
    assert "of the 16 images that it is measured on" in old  # its queries stand in the database


def test_a_whitening_is_not_learned_on_the_same_images_under_other_names(run, data, tmp_path):
    folder = make_revisited(tmp_path, "copy", sights=4, seed=3)
    images = (
        *open_benchmark(data / "roxford5k").image_paths,
        *open_benchmark(data / "roxford5k").query_paths,
    )
    taken = open_benchmark(folder).image_paths[:7]
    for path, image in zip(taken, images[-7:], strict=True):
        path.write_bytes(image.read_bytes())
    arguments = ("--run", run.root, "--dataset", "roxford5k", "--root", data)
    message = refused(*arguments, "--whiten-on", folder)
    assert "7 of its 16 images have the bytes of images that roxford5k measures on" in message
    assert all(str(path) in message for path in taken[:5])
    assert str(taken[5]) not in message and message.endswith("and 2 more")
    for path in taken:
        write_view(path, 33, 0, int(path.stem[-1]))
    assert "Whitening: PCA on copy" in call(*arguments, "--whiten-on", folder)


def test_missing_images_are_counted_and_listed(run, tmp_path):
    folder = make_revisited(tmp_path, "roxford5k", sights=3)
    for path in sorted((folder / "jpg").glob("*_000001_*.jpg")):
        path.unlink()
    message = refused("--run", run.root, "--dataset", "roxford5k", "--root", tmp_path)
    assert "4 of 15 images of roxford5k are missing or empty" in message
    assert str(folder / "jpg" / "roxford5k_000001_0.jpg") in message
    assert not run.evaluation.exists()


def test_a_data_set_that_is_not_there_says_what_to_download(run, tmp_path):
    message = refused("--run", run.root, "--dataset", "rparis6k", "--root", tmp_path)
    assert "gnd_rparis6k.pkl" in message
    assert "Nothing is downloaded for you" in message


def test_a_benchmark_of_ones_own_lies_in_any_folder(run, tmp_path):
    folder = make_revisited(tmp_path, "mine", sights=2)
    assert "(mine, revisited protocol)" in call("--run", run.root, "--dataset", folder)
    assert "(mine, revisited protocol)" in call("--run", run.root, "--dataset", "mine", "--root", tmp_path)
    message = refused("--run", run.root, "--dataset", folder, "--protocol", "old")
    assert "the ground truth of mine follows the revisited protocol" in message


def test_an_image_that_cannot_be_read_is_named(run, tmp_path):
    folder = make_revisited(tmp_path, "mine", sights=2)
    broken = folder / "jpg" / "mine_000001_2.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    assert str(broken) in refused("--run", run.root, "--dataset", folder)


SFM120K = "retrieval-SfM-120k"
PUBLIC = "gl18-tl-resnet101-gem-w-a4d43db.pth"
OXFORD = "--dataset roxford5k --root DATA"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (f"{OXFORD} --half", "--half keeps the distractors' descriptors in float16: give --distractors"),
        ("", "Give either --manifest FILE, or --dataset NAME"),
        ("--dataset roxford5k --manifest x.csv", "Give either --manifest FILE, or --dataset"),
        ("--dataset roxford5k", "give the folder of data sets with --root"),
        (f"{OXFORD} --split test", "--split is for --manifest and sets of labelled images"),
        (f"{OXFORD} --protocol new", "choose revisited or old"),
        (f"{OXFORD} --whiten-dims 4", "give --whiten-on or --whitening"),
        (f"{OXFORD} --alpha-qe ten", "--alpha-qe 'ten' is not N:ALPHA"),
        (f"{OXFORD} --dba 1", "--dba '1' is not N:ALPHA"),
        (f"{OXFORD} --asymmetric", "give --teacher as well"),
        (f"{OXFORD} --dba 2:1 --distractors DATA/distractors", "--dba compares every"),
        (f"{OXFORD} --whiten-on rparis6k --whitening x", "not both"),
        (f"{OXFORD} --whiten-on rparis6k --whiten-dims 79", "the whitening gives 19 dimensions"),
        (f"{OXFORD} --whitening DATA/none.pth", "--whitening: There is no file"),
        (f"{OXFORD} --whiten-on roxford5k", "its photographs are those that roxford5k measures on"),
        (f"{OXFORD} --whiten-on oxford5k", "its photographs are those that roxford5k measures on"),
        (
            f"{OXFORD} --whiten-on mine",
            "--whiten-on mine: choose from roxford5k, rparis6k, oxford5k, paris6k, ",
        ),
        (f"{OXFORD} --whiten-on retrieval-SfM120k", f"in their layout. Did you mean '{SFM120K}'?"),
        (f"{OXFORD} --whiten-on DATA/mine", "There is no ground truth in "),
        ("--dataset roxfrod5k --root DATA", "their layout. Did you mean 'roxford5k'?"),
        (
            "--dataset roxfrod5k",
            "--dataset roxfrod5k: choose from roxford5k, rparis6k, oxford5k, paris6k, cub200",
        ),
        (f"--dataset {SFM120K} --root DATA", f"--dataset {SFM120K}: choose from roxford5k, "),
        (f"{OXFORD} --out DATA", " is a folder. Name a file in a folder that is there"),
        (f"{OXFORD} --out DATA/none/e.json", "cannot be written: there is no folder "),
        (
            f"{OXFORD} --out DATA/roxford5k/gnd_roxford5k.pkl",
            "is there and no evaluation, so it is not replaced",
        ),
        ("--manifest x.csv --alpha-qe 2:3", "--alpha-qe is for landmark benchmarks: give --dataset"),
        ("--manifest x.csv --whiten-power 0.3", "--whiten-power is for landmark benchmarks"),
        ("--manifest x.csv --whiten-power 0.5", "--whiten-power is for landmark benchmarks"),
        ("--manifest x.csv --yes", "--yes agrees to what --teacher-url costs"),
        (f"{OXFORD} --yes", "--yes agrees to what --teacher-url costs"),
        (f"{OXFORD} --whiten-power 0.5", "--whiten-power is for PCA whitening"),
        (f"{OXFORD} --whiten-power 0.25 --whitening x", "--whiten-power is for PCA whitening"),
        (f"{OXFORD} --whiten-power 0.25 --whiten-on {SFM120K}", "--whiten-power is for PCA whitening"),
        (f"{OXFORD} --teacher-image-size 64", "--teacher-image-size is for the teacher's checkpoint"),
        (f"{OXFORD} --teacher {PUBLIC}", f"download {ADDRESS}/gl18/{PUBLIC}, keep its name"),
        (f"{OXFORD} --teacher none.pth", "There is no teacher checkpoint none.pth"),
    ],
)
def test_options_that_do_not_go_together_are_refused(run, data, options, message):
    arguments = [option.replace("DATA", str(data)) for option in options.split()]
    assert message in refused("--run", run.root, *arguments)
    assert not run.evaluation.exists()


def test_asking_the_teachers_database_without_anything_bought_is_refused_for_other_dimensions(run, data):
    message = refused(
        "--run",
        run.root,
        "--dataset",
        "roxford5k",
        "--root",
        data,
        "--teacher",
        teacher_of(run),
        "--asymmetric",
    )
    assert "the student's have 80 dimensions and the teacher's 64" in message
    assert str(run.transfer_set) in message


def test_a_student_of_the_teachers_own_space_asks_without_a_map(run, data):
    call(
        "--run", run.root, "--dataset", "roxford5k", "--root", data, "--teacher", run.student, "--asymmetric"
    )
    models = read_evaluation(run.evaluation).models
    assert models[ASYMMETRIC].bridge == "own descriptors, taken to be in the teacher's space"
    assert models[ASYMMETRIC].setups == models[TEACHER].setups == models[STUDENT].setups
