"""What methods are compared by: search among students, in the teacher's database, and what the loss costs.

In: a student's checkpoint, and what its objective learned beside it. Out: mAP three ways, and what a call of
the loss takes.

Asymmetric search asks the teacher's database with the student's queries. A student is measured so by what its
own training made of it (its descriptors, or their projection by the head that was trained with it), and by a
linear map that is learned afterwards from bought descriptors, which any student can have.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from shared.digest import digest_of_document, digest_of_list, float_text
from shared.extraction import pick_device
from shared.learned_map import learn_projection
from shared.vectors import Float32Rows
from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import require_unchanged
from student_trainer.distil.threshold import HIGHEST, with_threshold
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.asymmetric.as_trained import as_trained
from student_trainer.recipe import Recipe
from student_trainer.recipe_checks import AUTO, THRESHOLD
from student_trainer.reproduce.columns import Column
from student_trainer.reproduce.measures import readable
from student_trainer.run_folder import RunFolder
from student_trainer.trials.contents import Contents
from student_trainer.trials.hardware import hardware
from student_trainer.trials.loss_cost import LossCost, LossShape, loss_cost
from student_trainer.trials.yardsticks import Labelled

MAP_IMAGES = 1000
"""Bought images, at most, that a map is learned from afterwards."""

_OWN, _MAPPED = "asymmetric", "asymmetric, mapped"


@dataclass(frozen=True)
class Methods:
    """The measure of ``reproduce methods``."""

    labelled: Labelled
    for_teacher: Labelled
    """The same images as the teacher is shown them."""
    teacher: Path | None = None
    """Its checkpoint; without one there is no asymmetric search."""
    bought: TrainingData | None = None
    """To learn a map from afterwards."""
    recipe: Recipe | None = None
    """Of the row; a network that was not trained has no loss to measure."""
    _kept: dict[str, Float32Rows] = field(default_factory=dict, repr=False, compare=False)
    """The teacher's descriptors, which all rows ask."""

    columns = (
        Column("mAP, step", "step average precision, students among themselves", key="mAP"),
        Column("asymmetric mAP", "the same, asking the teacher's database, as trained", key=_OWN),
        Column(
            "by a map", "asymmetric mAP by a linear map that is learned afterwards", key=_MAPPED, tested=False
        ),
        Column("loss, ms", "time of one call of the loss with its gradient", tested=False, share=False),
        Column(
            "loss, MiB",
            "memory that such a call takes at its peak; the rest of a step is the same in all rows",
            tested=False,
            share=False,
        ),
    )

    def of(self, recipe: Recipe) -> "Methods":
        """See :class:`student_trainer.reproduce.measures.TableMeasure`."""
        return replace(self, recipe=recipe)

    @property
    def sentence(self) -> str:
        """See :class:`student_trainer.reproduce.measures.TableMeasure`."""
        gallery = self.labelled.gallery
        said = (
            f"{len(gallery.queries):,} queries rank {len(gallery.database):,} images of "
            f"{self.labelled.source} at {self.labelled.view.words(self.labelled.longest_side_px)}; relevant "
            f"means {gallery.relevant_means}."
        )
        if self.bought is not None:
            said += f" Maps are learned afterwards from {len(self._pairs):,} bought images."
        if self.teacher is None:
            said += " There is no asymmetric search without the teacher's checkpoint (--teacher FILE)."
        return f"{said} Cost: random descriptors, one thread, in a process of its own, on {hardware()}."

    @cached_property
    def _digest(self) -> str:
        teacher = "" if self.teacher is None else self._teachers_file.digests[0]
        bought = "" if self.bought is None else self._pairs.digest()
        cost = ""
        if self.recipe is not None:
            settings = {
                key: float_text(value) if isinstance(value, float) else value
                for key, value in self.recipe.objective.settings.items()
            }
            cost = digest_of_document(
                {
                    "objective": self.recipe.objective.name,
                    "settings": settings,
                    "images": self.recipe.training.batch_size,
                    "hardware": hardware(),
                    "device": pick_device(self.recipe.training.device).type,
                }
            )
        facts = [self.labelled.digest(), self.for_teacher.digest(), teacher, bought, cost]
        return digest_of_list(["methods", *facts])

    def digest(self) -> str:
        """See :class:`student_trainer.reproduce.measures.TableMeasure`."""
        return self._digest

    @cached_property
    def _teachers_file(self) -> Contents:
        return Contents(() if self.teacher is None else (self.teacher,))

    def require_unchanged(self) -> None:
        """See :class:`student_trainer.reproduce.measures.TableMeasure`."""
        self.labelled.require_unchanged()
        self._require_teacher_unchanged()
        if self.bought is not None:
            require_unchanged(self._pairs.images)

    def _require_teacher_unchanged(self) -> None:
        self.for_teacher.require_unchanged()
        self._teachers_file.require_unchanged()

    def measure(self, checkpoint: Path) -> dict[str, float]:
        """See :class:`student_trainer.reproduce.measures.TableMeasure`."""
        rows = self.labelled.described(checkpoint, self.labelled.gallery.paths)
        values = {"mAP": self.labelled.scores(rows)[self.labelled.drawn]}
        if self.teacher is not None and self.teacher != checkpoint:
            values |= self._asymmetric(checkpoint, rows, self._teacher_rows(self.teacher))
        if self.recipe is not None and self.bought is not None:
            values |= self._cost(self.recipe, rows.shape[1])
        return values

    @property
    def _pairs(self) -> TrainingData:
        assert self.bought is not None
        return self.bought.take(range(min(MAP_IMAGES, len(self.bought))))

    def _teacher_rows(self, teacher: Path) -> Float32Rows:
        if "teacher" not in self._kept:
            rows = self.for_teacher.described(teacher, self.for_teacher.gallery.paths)
            self._require_teacher_unchanged()  # what is kept serves other cells
            self._kept["teacher"] = rows
        return self._kept["teacher"]

    def _asymmetric(self, checkpoint: Path, rows: Float32Rows, database: Float32Rows) -> dict[str, float]:
        values = {}
        if (own := queries_as_trained(checkpoint, rows, database.shape[1])) is not None:
            values[_OWN] = self.labelled.scores(own, database)[self.labelled.drawn]
        if self.bought is not None and self.bought.teacher is not None:
            pairs = self._pairs
            assert pairs.teacher is not None
            require_unchanged(pairs.images)
            described = self.labelled.described(checkpoint, [image.path for image in pairs.images])
            mapped = learn_projection(described, pairs.teacher).apply(rows)
            values[_MAPPED] = self.labelled.scores(mapped, database)[self.labelled.drawn]
        return values

    def _cost(self, recipe: Recipe, student_dim: int) -> dict[str, float]:
        assert self.bought is not None
        assert self.bought.teacher is not None
        # A threshold that each set of images chooses for itself costs what any other does.
        unchosen = recipe.objective.settings.get(THRESHOLD) == AUTO
        fitted = with_threshold(recipe, HIGHEST) if unchosen else recipe
        found = _cost_of(
            LossShape(
                recipe.objective.name,
                fitted.objective.settings,
                recipe.training.batch_size,
                student_dim,
                self.bought.teacher.shape[1],
                recipe.training.device,
            )
        )
        memory = {} if found.mebibytes is None else {"loss, MiB": found.mebibytes}
        return {"loss, ms": found.milliseconds, **memory}


def queries_as_trained(checkpoint: Path, rows: Float32Rows, teacher_dim: int) -> Float32Rows | None:
    """A student's descriptors [n, d] as its training brought them to the teacher's space: [n, D].

    By the projection that was trained with it; by themselves where they are as long as the teacher's; None
    where neither holds, since then nothing can be compared.

    Raises:
        InvalidInput: what lies beside the student is damaged, or was trained with another one.
    """
    beside = RunFolder(checkpoint.parent).head
    found = as_trained(readable(checkpoint), beside)
    if found.wrong:
        raise InvalidInput(
            f"{checkpoint} cannot be measured in the teacher's database: {found.wrong}. Remove its folder "
            f"{checkpoint.parent}, and it is trained again."
        )
    return found.apply(rows) if found.dim == teacher_dim else None


_costs: dict[str, LossCost] = {}


def _cost_of(shape: LossShape) -> LossCost:
    """Measured once for all seeds of a row."""
    key = repr(shape)
    if key not in _costs:
        _costs[key] = loss_cost(shape)
    return _costs[key]
