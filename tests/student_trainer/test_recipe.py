"""A recipe is complete, frozen and checked; what is unknown or impossible is refused with the next step."""

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from student_trainer.errors import InvalidInput
from student_trainer.recipe import SHIPPED, Recipe, load, shipped_recipes

PAPERS = [name for name in shipped_recipes() if name.startswith("paper-")]
MIXING = ("rounds", "alpha", "label_mixed", "grad_through_mixed")
"""Settings that only mixing has; without it they are gone."""
RANKING = ("tau", "bins", "low", "high", "include_self")
"""Settings that only the losses of a ranking have."""


def settings_of(name: str) -> dict[str, object]:
    document = load(name).model_dump(mode="json")
    return {f"{section}.{key}": value for section, keys in document.items() for key, value in keys.items()}


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    return write(tmp_path, "")


class TestWhatIsShipped:
    @pytest.mark.parametrize("name", shipped_recipes())
    def test_every_recipe_loads_and_opens_with_what_it_is_for(self, name: str) -> None:
        load(name)
        assert (SHIPPED / f"{name}.toml").read_text().startswith("# ")

    @pytest.mark.parametrize("name", [*PAPERS, "quick-cpu", "supervised-ap", "supervised-contrastive"])
    def test_a_recipe_of_the_paper_names_it_and_the_command(self, name: str) -> None:
        assert name in shipped_recipes()
        comment = (SHIPPED / f"{name}.toml").read_text()
        assert f"--recipe {name}" in comment
        assert "Laskar and Kannala" in comment

    @pytest.mark.parametrize("name", PAPERS)
    def test_a_recipe_of_the_paper_says_what_it_costs_and_what_to_expect(self, name: str) -> None:
        head = (SHIPPED / f"{name}.toml").read_text().split("[student]")[0]
        text = " ".join(line.removeprefix("#").strip() for line in head.splitlines())
        for words in ("Queries: ", "Hardware", "Expected result: ", "not been run on those data sets here"):
            assert words in text, words
        assert "Hardware and time: " in text or "Time: " in text

    @pytest.mark.parametrize(
        ("name", "changes"),
        [
            ("paper-resnet34-mac", {"student.pooling": "mac"}),
            ("paper-resnet34-through-mixed", {"objective.grad_through_mixed": True}),
            ("paper-resnet34-no-mixup-labels", {"objective.label_mixed": False}),
            (
                "paper-resnet34-no-aug",
                {"objective.name": "rank"}
                | dict.fromkeys(f"objective.{key}" for key in set(MIXING) | {"backend"}),
            ),
            ("paper-mobilenetv2", {"student.arch": "mobilenet_v2-320"}),
            (
                "paper-resnet34-contrastive",
                {
                    "objective.name": "contrastive",
                    "objective.margin": 0.65,
                    "objective.negatives": 5,
                    "objective.anchors_per_epoch": 2000,
                    "objective.pool_images": 22_000,
                    "training.batch_size": 5 * 7,
                    "training.learning_rate": 5e-7,
                }
                | dict.fromkeys(f"objective.{key}" for key in set(MIXING) | set(RANKING) | {"backend"}),
            ),
        ],
    )
    def test_a_variant_differs_from_the_papers_recipe_in_what_it_names_alone(
        self, name: str, changes: dict[str, object]
    ) -> None:
        ours, papers = settings_of(name), settings_of("paper-resnet34")
        differing = {key: ours.get(key) for key in ours | papers if ours.get(key) != papers.get(key)}
        assert differing == changes

    @pytest.mark.parametrize(
        ("name", "arch"), [("paper-resnet34", "resnet34"), ("paper-mobilenetv2", "mobilenet_v2-320")]
    )
    def test_the_papers_recipes_hold_the_papers_numbers(self, name: str, arch: str) -> None:
        recipe = load(name)
        assert (recipe.student.arch, recipe.student.pooling, recipe.student.weights) == (
            arch,
            "gem",
            "imagenet",
        )
        assert recipe.images.longest_side_px == 362
        assert recipe.objective.name == "rank-mixup"
        assert recipe.objective.settings["rounds"] == 10
        assert recipe.objective.settings["tau"] == 0.75
        training = recipe.training
        assert (training.epochs, training.batch_size) == (30, 1000)
        assert (training.learning_rate, training.learning_rate_decay) == (1e-4, 0.01)
        assert training.weight_decay == 1e-6
        assert training.batch_norm == "frozen"
        assert recipe.averaging.epochs == (20, 30)

    @pytest.mark.parametrize(
        ("name", "objective", "tuples"),
        [("aml-asymmetric", "asym-contrastive+", 5), ("aml-symmetric", "contrastive", 35)],
    )
    def test_the_recipes_of_asymmetric_metric_learning_hold_its_settings(
        self, name: str, objective: str, tuples: int
    ) -> None:
        recipe = load(name)
        mining = {"negatives": 5, "anchors_per_epoch": 2000, "pool_images": 20_000}
        assert recipe.objective.name == objective
        assert recipe.objective.settings == mining | {"margin": 0.7}
        training = recipe.training
        assert (training.optimiser, training.learning_rate, training.learning_rate_decay) == (
            "adam",
            1e-6,
            0.01,
        )
        assert (training.weight_decay, training.pooling_rate_factor) == (1e-6, 10.0)
        assert (training.batch_norm, training.batch_size) == ("frozen", tuples)
        others = {"asym-contrastive+": "asym-triplet", "contrastive": "triplet"}
        other = load(name, [f"objective.name={others[objective]}"])
        assert other.objective.settings == mining | {"margin": 0.1}

    def test_an_empty_file_is_the_papers_recipe(self, empty: Path) -> None:
        assert load(empty) == load("paper-resnet34")

    def test_the_supervised_recipe_needs_no_threshold(self) -> None:
        recipe = load("supervised-ap")
        assert recipe.objective.name == "ap"
        assert "tau" not in recipe.objective.settings
        assert recipe.training.batch_size == 4000


class TestOverrides:
    def test_values_are_read_as_toml_and_bare_words_as_text(self, empty: Path) -> None:
        recipe = load(
            empty,
            [
                "training.epochs=2",
                "averaging.epochs=[1, 2]",
                "training.learning_rate=3e-4",
                "student.arch=resnet18",
                'training.device="cpu"',
                "objective.tau=0.6",
                "objective.label_mixed = false",
            ],
        )
        assert recipe.training.epochs == 2
        assert recipe.averaging.epochs == (1, 2)
        assert recipe.training.learning_rate == 3e-4
        assert (recipe.student.arch, recipe.training.device) == ("resnet18", "cpu")
        assert recipe.objective.settings["tau"] == 0.6
        assert recipe.objective.settings["label_mixed"] is False

    def test_the_threshold_alone_may_be_left_to_the_data(self, empty: Path, tmp_path: Path) -> None:
        recipe = load(empty, ["objective.tau=auto"])
        assert recipe.objective.settings["tau"] == "auto"
        recipe.write(tmp_path / "auto.toml")
        assert load(tmp_path / "auto.toml") == recipe
        with pytest.raises(InvalidInput, match=r"objective\.alpha = 'auto' is not of type float"):
            load(empty, ["objective.alpha=auto"])

    def test_a_whole_number_may_stand_for_a_float(self, empty: Path) -> None:
        recipe = load(empty, ["training.learning_rate=1", "objective.alpha=2"])
        assert recipe.training.learning_rate == 1.0
        assert recipe.objective.settings["alpha"] == 2
        assert load(empty, ["objective.alpha=1"]).digest() == load(empty).digest()

    def test_another_objective_keeps_the_settings_that_it_shares(self, tmp_path: Path) -> None:
        path = write(tmp_path, '[objective]\nname = "rank-mixup"\ntau = 0.6\nrounds = 3\n')
        recipe = load(path, ["objective.name=rank"])
        assert recipe.objective.name == "rank"
        assert recipe.objective.settings["tau"] == 0.6
        assert "rounds" not in recipe.objective.settings

    @pytest.mark.parametrize(
        ("objective", "setting", "own"),
        [
            ("darkrank-hard", "alpha", 3.0),
            ("multi-similarity", "alpha", 2.0),
            ("asym-triplet", "margin", 0.1),
        ],
    )
    def test_another_objective_takes_nothing_that_means_something_else_there(
        self, tmp_path: Path, objective: str, setting: str, own: float
    ) -> None:
        """Of the same name, and with another default."""
        before = "contrastive" if setting == "margin" else "rank-mixup"
        path = write(tmp_path, f'[objective]\nname = "{before}"\n{setting} = 0.4\n')
        recipe = load(path, [f"objective.name={objective}"])
        assert recipe.objective.settings[setting] == own

    def test_later_overrides_win(self, empty: Path) -> None:
        assert load(empty, ["training.seed=1", "training.seed=2"]).training.seed == 2

    @pytest.mark.parametrize("text", ["training.epochs", "epochs=3", "=3", "training.=3", ".epochs=3"])
    def test_an_override_of_another_form_is_refused(self, empty: Path, text: str) -> None:
        with pytest.raises(InvalidInput, match=r"not of the form section\.key=value"):
            load(empty, [text])


class TestWeights:
    def test_a_file_is_named_from_the_recipes_folder(self, tmp_path: Path) -> None:
        path = write(tmp_path, '[student]\nweights = "nets/mine.safetensors"\n')
        assert load(path).student.weights == str(tmp_path / "nets" / "mine.safetensors")

    def test_an_override_names_a_file_from_the_current_folder(
        self, empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        recipe = load(empty, ["student.weights=mine.safetensors"])
        assert recipe.student.weights == str(elsewhere / "mine.safetensors")

    @pytest.mark.parametrize("word", ["imagenet", "random"])
    def test_words_are_not_files(self, empty: Path, word: str) -> None:
        assert load(empty, [f"student.weights={word}"]).student.weights == word


class TestWriting:
    def test_what_is_written_spells_everything_out_and_reads_back_the_same(self, tmp_path: Path) -> None:
        recipe = load("quick-cpu", ["objective.tau=0.7", "student.weights=random"])
        path = tmp_path / "recipe.toml"
        recipe.write(path)
        document = tomllib.loads(path.read_text())
        assert document["training"]["chunk_size"] == recipe.training.chunk_size
        assert document["objective"]["alpha"] == 1.0
        assert load(path) == recipe
        assert load(path).digest() == recipe.digest()

    def test_the_objectives_seed_follows_that_of_the_training_unless_it_is_given(self, empty: Path) -> None:
        assert "seed" not in load(empty).objective.settings
        assert load(empty, ["objective.seed=5"]).objective.settings["seed"] == 5


class TestDigest:
    def test_every_value_counts_but_the_device(self, empty: Path) -> None:
        digest = load(empty).digest()
        assert load(empty, ["training.device=cpu"]).digest() == digest
        for change in (
            "training.seed=1",
            "objective.tau=0.7",
            "images.longest_side_px=200",
            "averaging.epochs=[]",
        ):
            assert load(empty, [change]).digest() != digest, change

    def test_validation_counts_only_where_images_are_held_back(self, empty: Path) -> None:
        digest = load(empty).digest()
        assert load(empty, ["validation.every_epochs=5"]).digest() == digest
        held = load(empty, ["validation.share=0.1"])
        assert held.digest() != digest
        assert held.digest() != load(empty, ["validation.share=0.1", "training.seed=1"]).digest()

    def test_a_default_that_is_spelled_out_changes_nothing(self, tmp_path: Path) -> None:
        spelled = write(tmp_path, "[training]\nepochs = 30\n[objective]\nalpha = 1.0\n")
        assert load(spelled).digest() == load("paper-resnet34").digest()


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[training]\nepoch = 3", r"training\.epoch is unknown.*Did you mean 'epochs'\?"),
            ("[trainig]\nepochs = 3", r"trainig is unknown.*Did you mean 'training'\?"),
            (
                "[student]\nzzz = 3",
                r"student\.zzz is unknown; known here: arch, pooling, weights, random_from, trained_from\.$",
            ),
            ("[objective]\ntua = 0.5", r"objective\.tua is unknown.*Did you mean 'tau'\?"),
            ('[objective]\nname = "rank"\nrounds = 3', r"objective\.rounds is unknown: 'rank' takes"),
            ('[objective]\nname = "rank-mix"', r"no objective 'rank-mix'.*Did you mean 'rank-mixup'"),
            ('[training]\nepochs = "3"', r"training\.epochs = '3': .*valid integer"),
            ("[training]\nepochs = 3.5", r"training\.epochs = 3\.5"),
            ("[training]\nepochs = true", r"training\.epochs = True"),
            ("[training]\nepochs = 0", r"training\.epochs = 0: .*greater than or equal to 1"),
            ("[training]\nbatch_size = 1", r"training\.batch_size = 1"),
            ("[training]\nlearning_rate = 0.0", r"training\.learning_rate = 0\.0"),
            ("[training]\nlearning_rate = nan", r"training\.learning_rate = nan"),
            (
                '[training]\nbatch_norm = "thawed"',
                r"training\.batch_norm = 'thawed'.*'frozen' or 'per-chunk'",
            ),
            ("[validation]\nshare = 0.6", r"validation\.share = 0\.6: .*less than or equal to 0\.5"),
            ("[validation]\nevery = 2", r"validation\.every is unknown.*Did you mean 'every_epochs'"),
            ("[images]\nlongest_side_px = 4", r"images\.longest_side_px = 4"),
            (
                '[objective]\ntau = "high"',
                r"tau = 'high' is not of type float, such as 0\.75 or the word .auto.",
            ),
            ("[objective]\nrounds = true", r"objective\.rounds = True is not of type int"),
            ("[objective]\nlabel_mixed = 1", r"objective\.label_mixed = 1 is not of type bool"),
            ("[averaging]\nepochs = [20, 20]", r"an epoch is named twice in \[20, 20\]"),
            ("[averaging]\nepochs = [31]", r"names epoch 31, but training ends after epoch 30"),
            ("[training]\nepochs = 5", r"--set averaging\.epochs=\[5\]"),
            ("training = 3", r"training = 3"),
            ("[training", r"is not TOML"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(InvalidInput, match=message):
            load(write(tmp_path, text))

    def test_an_override_is_checked_like_the_file(self, empty: Path) -> None:
        with pytest.raises(InvalidInput, match=r"With --set: training\.epohcs is unknown.*'epochs'"):
            load(empty, ["training.epohcs=3"])
        with pytest.raises(InvalidInput, match=r"With --set: trainng is unknown"):
            load(empty, ["trainng.epochs=3"])

    def test_an_unknown_recipe_is_refused_with_the_nearest_name(self) -> None:
        with pytest.raises(
            InvalidInput, match=r"no recipe 'paper-resnet43'.*Did you mean 'paper-resnet34'\?"
        ):
            load("paper-resnet43")

    def test_a_name_cannot_leave_the_folder_of_recipes(self) -> None:
        with pytest.raises(InvalidInput, match="There is no recipe"):
            load("../recipes/quick-cpu")

    def test_a_recipe_cannot_be_changed(self) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            Recipe().training.epochs = 3  # type: ignore[misc]
