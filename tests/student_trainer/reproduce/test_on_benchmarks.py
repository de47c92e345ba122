"""Tables on small copies of Oxford and Paris: the numbers, and the columns they stand in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Run
from made_benchmarks import make_old, make_revisited, make_sfm120k

from shared.checkpoints import load_network
from shared.extraction import describe
from shared.images import Preprocessing
from student_trainer.datasets.ground_truth import Benchmark
from student_trainer.datasets.revisited import open_benchmark
from student_trainer.evaluate.revisited import evaluate
from student_trainer.reproduce.on_benchmarks import OnBenchmarks, elsewhere
from student_trainer.reproduce.results import read_results
from student_trainer.trials.file_digests import FileDigests

PX, SCALES = 48, (1.0, 0.5)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Benchmarks of two cities."""
    root = tmp_path_factory.mktemp("data")
    make_revisited(root, "roxford5k")
    make_revisited(root, "rparis6k", seed=1, sights=4)
    make_old(root, "oxford5k")
    return root


def described(network: Any, benchmark: Benchmark) -> tuple[np.ndarray, np.ndarray]:
    boxes = [truth.box for truth in benchmark.ground_truth]
    upright = Preprocessing(PX, apply_exif=False)
    options = {"scales": SCALES, "device": "cpu", "preprocessing": upright}
    queries = describe(network, benchmark.query_paths, PX, boxes=boxes, **options)
    return queries, describe(network, benchmark.image_paths, PX, **options)


def scores(queries: np.ndarray, database: np.ndarray, benchmark: Benchmark) -> dict[str, Any]:
    ranks = np.argsort(-(database @ queries.T), axis=0, kind="stable")
    return evaluate(ranks, benchmark.ground_truth, benchmark.protocol)


def whitened_by(rows: np.ndarray, learned_on: np.ndarray) -> np.ndarray:
    """Straight from the definition: onto the principal axes, each divided by its standard deviation."""
    mean = learned_on.mean(axis=0, dtype=np.float64)
    centred = learned_on - mean
    _, deviations, axes = np.linalg.svd(centred / np.sqrt(len(centred)), full_matrices=False)
    kept = deviations**2 > 1e-9 * deviations[0] ** 2
    projected = (rows - mean) @ axes[kept].T / deviations[kept]
    return (projected / np.linalg.norm(projected, axis=1, keepdims=True)).astype(np.float32)


def test_plain_and_whitened_numbers_are_those_of_the_evaluation(root: Path, inputs: Any) -> None:
    oxford, paris = (open_benchmark(root / name) for name in ("roxford5k", "rparis6k"))
    values = OnBenchmarks((oxford, paris), PX, SCALES, "cpu").measure(inputs.teacher)
    network = load_network(inputs.teacher)
    seen = {benchmark.name: described(network, benchmark) for benchmark in (oxford, paris)}
    for benchmark, short, other in ((oxford, "ROxf", "rparis6k"), (paris, "RPar", "roxford5k")):
        queries, database = seen[benchmark.name]
        plain = scores(queries, database, benchmark)
        learned_on = seen[other][1]
        white = scores(whitened_by(queries, learned_on), whitened_by(database, learned_on), benchmark)
        for setup in ("E", "M", "H"):
            assert values[f"{short} {setup}"] == pytest.approx(plain[setup]["map_trapezoid"], abs=1e-6)
            assert values[f"{short} {setup} whitened"] == pytest.approx(
                white[setup]["map_trapezoid"], abs=1e-6
            )
            assert values[f"{short} {setup} mP@10 whitened"] == pytest.approx(
                white[setup]["mp_at_10"], abs=1e-6
            )


def test_a_whitening_comes_from_another_city(root: Path) -> None:
    oxford, old, paris = (open_benchmark(root / name) for name in ("roxford5k", "oxford5k", "rparis6k"))
    assert elsewhere(oxford, (oxford, old, paris)) is paris
    assert elsewhere(paris, (oxford, old, paris)) is oxford
    assert elsewhere(oxford, (oxford, old)) is None
    measure = OnBenchmarks((oxford, old), PX, SCALES)
    assert [column.name for column in measure.columns] == ["ROxf E", "ROxf M", "ROxf H", "Oxf"]
    assert [column.name for column in measure.columns if column.tested] == ["ROxf M", "ROxf H", "Oxf"]


def test_two_cities_that_share_photographs_are_refused_by_their_bytes(
    reproduce: Run, inputs: Any, tmp_path: Path
) -> None:
    make_revisited(tmp_path / "data", "roxford5k")
    make_revisited(tmp_path / "data", "rparis6k")  # the same photographs under other names
    ended = reproduce(
        *("table2", "--out", tmp_path / "out", "--recipe", inputs.recipe, "--seeds", 1),
        *("--dataset", "roxford5k,rparis6k", "--root", tmp_path / "data", "--teacher", inputs.teacher),
        *("--image-size", PX, "--transfer-set", inputs.run.root),
    )
    assert ended.code == 2
    assert "The whitening that is learned on rparis6k: 12 of its 12 images have the bytes of" in ended.err


def test_the_digest_is_of_images_ground_truth_and_settings(root: Path, tmp_path: Path) -> None:
    oxford = open_benchmark(root / "roxford5k")
    digest = OnBenchmarks((oxford,), PX, SCALES).digest()
    assert OnBenchmarks((oxford,), PX, SCALES, whitened=True).digest() == digest  # both are measured at once
    others = [
        OnBenchmarks((oxford,), PX + 1, SCALES),
        OnBenchmarks((oxford,), PX, (1.0,)),
        OnBenchmarks((open_benchmark(make_revisited(tmp_path, "roxford5k", seed=3)),), PX, SCALES),
        OnBenchmarks((open_benchmark(root / "oxford5k"),), PX, SCALES),
    ]
    assert digest not in {other.digest() for other in others}


def test_another_image_of_as_many_bytes_is_another_benchmark(tmp_path: Path) -> None:
    benchmark = open_benchmark(make_revisited(tmp_path, "roxford5k"))
    files = FileDigests(tmp_path / "digests.json")
    digest = OnBenchmarks((benchmark,), PX, SCALES, files=files).digest()
    image = benchmark.image_paths[0]
    content = bytearray(image.read_bytes())
    content[-3] ^= 1
    image.write_bytes(content)
    assert OnBenchmarks((benchmark,), PX, SCALES, files=files).digest() != digest


def test_the_paper_s_tables_have_its_columns_beside_ours(
    reproduce: Run, inputs: Any, root: Path, tmp_path: Path
) -> None:
    sfm = make_sfm120k(tmp_path / "sfm", seed=5)
    words = (
        *("--out", tmp_path / "out", "--recipe", inputs.recipe, "--seeds", 1),
        *("--dataset", "roxford5k,rparis6k", "--root", root, "--sfm120k", sfm, "--teacher", inputs.teacher),
        *("--image-size", PX, "--transfer-set", inputs.run.root),
    )
    rows = ("--only", "teacher", "--only", "ours", "--only", "supervised-ap")
    ended = reproduce("table2", "table3", *words, *rows)
    assert ended.code == 0, ended.err
    tables = read_results(tmp_path / "out" / "results.json").tables
    names = [column.name for column in tables["table3"].columns]
    assert names == list(tables["table3"].paper_columns)
    assert [column.name for column in tables["table2"].columns] == [
        "ROxf E", "ROxf M", "ROxf H", "RPar E", "RPar M", "RPar H",
    ]  # fmt: skip
    plain, white = (tables[name].lines[0].cells[0] for name in ("table2", "table3"))
    assert plain == white  # one network, described once
    [below] = [claim for claim in tables["table3"].claims]
    assert [finding.column for finding in below.findings] == ["ROxf M", "ROxf H", "RPar M", "RPar H"]
    assert {line.row: line.images for line in tables["table2"].lines}["supervised-ap"] == 24
    shared = make_sfm120k(tmp_path / "shared")  # the same photographs as the benchmark's
    refused = reproduce("table2", *words, "--sfm120k", shared)
    assert refused.code == 2
    assert "12 of the 24 labelled images to learn from are measured on too: the same bytes" in refused.err
    one_city = reproduce("table3", *words, "--dataset", "roxford5k")
    assert "None of the rows can be had: there is nothing to measure whitened on." in one_city.err
