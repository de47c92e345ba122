"""Which recipe each row is trained by; nothing is trained to see it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from student_trainer.distil.similarities import neighbourhoods
from student_trainer.reproduce.arguments import Arguments, MeasureOn
from student_trainer.reproduce.run import Reproduction, planned
from student_trainer.reproduce.wording import sentences
from student_trainer.trials.making import Trained


def plan(inputs: Any, table: str, *changes: str, **more: Any) -> Reproduction:
    given = Arguments(
        recipe=str(inputs.recipe),
        changes=changes,
        transfer_set=inputs.run.root,
        measure_on=MeasureOn(manifest=inputs.manifest, split="test"),
        seeds=1,
        **more,
    )
    return planned([table], (), given, inputs.root)


def trained(found: Reproduction, row: str) -> Trained:
    [table] = found.lines.values()
    [making] = [task.making for line in table if line.row.id == row for task in line.tasks]
    assert isinstance(making, Trained)
    return making


def test_changes_of_all_rows_change_those_with_a_recipe_of_their_own_too(inputs: Any) -> None:
    changes = (
        "training.epochs=3",
        "averaging.epochs=[3]",
        "objective.tau=0.6",
        "training.learning_rate=2e-3",
    )
    found = plan(inputs, "table2", *changes, train_split="train")
    own, other = trained(found, "contrastive").recipe, trained(found, "ours").recipe
    for recipe in (own, other):
        assert (recipe.training.epochs, recipe.training.learning_rate) == (3, 2e-3)
        assert recipe.averaging.epochs == (3,)
    assert other.objective.settings["tau"] == 0.6
    assert own.objective.name == "contrastive" and "tau" not in own.objective.settings
    # What the row's recipe alone has can be changed by nothing but itself.
    assert (own.training.batch_size, own.objective.settings["margin"]) == (35, 0.65)


def test_what_a_row_changes_comes_after_the_changes_of_all(inputs: Any) -> None:
    found = plan(inputs, "table7", "objective.tau=0.6")
    taus = {row: trained(found, row).recipe.objective.settings["tau"] for row in ("ours", "no-ml-tau-0.5")}
    assert taus == {"ours": 0.6, "no-ml-tau-0.5": 0.5}


def test_the_page_names_the_length_of_rows_that_have_another(
    inputs: Any, own_table: Callable[[str], Path]
) -> None:
    found = plan(inputs, "table2", train_split="train")
    said = " ".join(sentences(found.setting, found.lines["table2"]))
    assert "1 epoch, batches of at most 16, learning rate 0.001; rows differ" in said
    own = (
        "contrastive by recipe supervised-contrastive, 5 epochs, batches of at most 35, learning rate 0.0001"
    )
    assert f"Otherwise: {own}." in said
    table = own_table(
        'title = "Own"\n[[row]]\nid = "slow"\nset = ["training.learning_rate=0.5"]\n[[row]]\nid="b"'
    )
    found = plan(inputs, str(table))
    said = " ".join(sentences(found.setting, found.lines["own"]))
    assert "Otherwise: slow, 1 epoch, batches of at most 16, learning rate 0.5." in said


def test_sparse_rows_train_with_the_tau_that_their_images_were_chosen_by(inputs: Any) -> None:
    found = plan(inputs, "table7", "objective.tau=auto")
    pool = found.setting.pool
    assert pool is not None
    for row in ("ours", "no-aug"):
        making = trained(found, row)
        assert making.recipe.objective.settings["tau"] == pool.tau
        assert making.data.teacher is not None
        assert neighbourhoods(making.data.teacher, pool.tau)[1].max() <= 3
    assert trained(found, "no-ml-tau-0.5").recipe.objective.settings["tau"] == 0.5
    dense = plan(inputs, "table6", "objective.tau=auto")
    assert trained(dense, "ours").recipe.objective.settings["tau"] == "auto"
