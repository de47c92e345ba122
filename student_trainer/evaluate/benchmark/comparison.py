"""Teacher and students side by side on a landmark benchmark.

In: checkpoints, a benchmark, scales and options. Out: the evaluation document. Every network describes the
same files in its own way; what differs between networks (longest side, whitening) is written into its line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shared.digest import sha256_of_file
from shared.multiply_adds import parameter_count
from student_trainer.datasets.ground_truth import Benchmark
from student_trainer.datasets.present import require_files, require_images
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.asymmetric.bridge import Crossing
from student_trainer.evaluate.benchmark.asked_teacher import AskedTeacher
from student_trainer.evaluate.benchmark.document import Line, document_of
from student_trainer.evaluate.benchmark.scoring import Measured, Options, View, measure, view
from student_trainer.evaluate.contestant import Contestant, check_device, open_network, require_teacher_among
from student_trainer.evaluate.describing import Describer
from student_trainer.evaluate.document import STUDENT, TEACHER, Evaluation
from student_trainer.evaluate.known_images import digests_to_compare, met_before
from student_trainer.evaluate.ranking import Float32Rows
from student_trainer.run_folder import RunFolder


@dataclass(frozen=True)
class Watch:
    """What a caller is told while it waits."""

    on_begin: Callable[[], None] = lambda: None
    """Once, when everything is open and the first image is described next."""
    on_images: Callable[[str, int], None] = lambda name, images: None
    """(model, images described since the last call)."""
    on_rows: Callable[[str, int], None] = lambda name, rows: None
    """(model, database rows compared since the last call)."""


def require_everything(benchmark: Benchmark, options: Options) -> None:
    """Every image of database and queries, and every distractor.

    Raises:
        InvalidInput: some are missing; they are counted, and the first five named.
    """
    require_images(benchmark)
    require_files(options.distractors, "the distractors")


def _refuse_crops(contestants: Sequence[Contestant]) -> None:
    """Queries of a benchmark are parts of photographs, and what they show may lie at its edge."""
    cropped = [contestant for contestant in contestants if contestant.view.crop_px is not None]
    if cropped:
        raise InvalidInput(
            f"{cropped[0].name} is shown the middle {cropped[0].view.crop_px} px of images, and a landmark "
            "benchmark asks for whole ones: give their longest side with --image-size PX."
        )


@dataclass(frozen=True)
class Comparison:
    """A benchmark, and how every model is measured on it."""

    benchmark: Benchmark
    options: Options
    run: RunFolder
    """Its cache keeps descriptors; the student's map into the teacher's space is learned from it."""
    scales: tuple[float, ...] = (1.0,)
    device: str = "auto"
    watch: Watch = field(default_factory=Watch)

    def require(self, contestants: Sequence[Contestant]) -> None:
        """Refuse what cannot be measured, before anything is described or bought.

        Raises:
            InvalidInput: images that are missing, a checkpoint that cannot be read, no such device, or a
                model that is shown parts of images.
        """
        check_device(self.device)
        _refuse_crops(contestants)
        require_everything(self.benchmark, self.options)
        for contestant in contestants:  # none is found to be unreadable after hours with the others
            open_network(contestant)

    def evaluate(
        self,
        contestants: Sequence[Contestant],
        *,
        asymmetric: bool = False,
        asked: AskedTeacher | None = None,
    ) -> Evaluation:
        """Describe, whiten, rank and score with every model.

        Args:
            contestants: at least one, names distinct.
            asymmetric: also ask the teacher's database with the student's queries.
            asked: the teacher, where it is an API; its descriptors are bought already.

        Raises:
            InvalidInput: images that are missing or cannot be read, a checkpoint that cannot, no such device,
                options that do not fit, or a benchmark without any positive.
            StorageFailed: descriptors cannot be kept.
        """
        self.require(contestants)
        if asymmetric and asked is None:
            require_teacher_among(contestants)
        files = (*self.benchmark.image_paths, *self.benchmark.query_paths)
        digests = digests_to_compare(contestants, files)
        self.watch.on_begin()
        lines: dict[str, Line] = {}
        views: dict[str, View] = {}
        describers: dict[str, Describer] = {}
        if asked is not None:
            views[TEACHER] = view(asked, self.benchmark, self.options)
            lines[TEACHER] = self._line_of_asked(asked, views[TEACHER])
        for contestant in contestants:
            describer = self.describer(contestant)
            seen = view(describer, self.benchmark, self.options)
            teacher_dim = lines[TEACHER].dim if TEACHER in lines else None
            lines[contestant.name] = self._line(contestant, describer, seen, teacher_dim, digests)
            if asymmetric and contestant.name in (TEACHER, STUDENT):
                views[contestant.name], describers[contestant.name] = seen, describer
        if asymmetric:
            [student] = [contestant for contestant in contestants if contestant.name == STUDENT]
            lines |= self._asymmetric(student, lines[STUDENT], describers, views)
        bought = None if asked is None else asked.purchased.queries_charged
        return document_of(lines, self.benchmark, self.options, self.scales, bought)

    def describer(self, contestant: Contestant) -> Describer:
        """How a model looks at images.

        Raises:
            InvalidInput: its checkpoint cannot be read.
        """
        return Describer(
            open_network(contestant),
            contestant.longest_side_px,
            self.scales,
            self.device,
            self.run.cache,
            apply_exif=False,
            on_images=lambda images: self.watch.on_images(contestant.name, images),
            view=contestant.view,
            name=contestant.name,
        )

    def _line(
        self,
        contestant: Contestant,
        describer: Describer,
        seen: View,
        teacher_dim: int | None,
        digests: Sequence[str],
    ) -> Line:
        network = describer.network
        return Line(
            measured=self._measured(contestant.name, seen, seen.whitened(seen.queries)),
            arch=network.spec.arch,
            dim=network.dim,
            longest_side_px=contestant.view.side_px(contestant.longest_side_px),
            view=contestant.view_words,
            checkpoint_sha256=sha256_of_file(contestant.checkpoint),
            whitened=seen.whitening is not None,
            parameters=parameter_count(network),
            multiply_adds=contestant.multiply_adds(network),
            file_bytes=contestant.checkpoint.stat().st_size,
            objective=contestant.objective,
            images_bought=contestant.images_bought,
            mark=contestant.mark(network, teacher_dim),
            learned_images=met_before(contestant, digests),
        )

    def _line_of_asked(self, asked: AskedTeacher, seen: View) -> Line:
        teacher = asked.purchased.teacher
        return Line(
            measured=self._measured(TEACHER, seen, seen.whitened(seen.queries)),
            arch=teacher.model,
            dim=teacher.dim,
            longest_side_px=asked.longest_side_px,
            checkpoint_sha256=teacher.revision,
            whitened=seen.whitening is not None,
        )

    def _asymmetric(
        self,
        student: Contestant,
        line: Line,
        describers: Mapping[str, Describer],
        views: Mapping[str, View],
    ) -> dict[str, Line]:
        """The student's queries, brought into the teacher's space and asked of its database."""
        answers = views[TEACHER]
        dim = answers.queries.shape[1]
        assert line.mark is not None
        teacher = describers.get(TEACHER)
        crossing = Crossing(self.run, describers[STUDENT], line.mark, student.upbringing, teacher, dim)
        return {
            name: replace(
                line,
                measured=self._measured(
                    name, answers, answers.whitened(bridge.apply(views[STUDENT].queries))
                ),
                dim=dim,
                whitened=answers.whitening is not None,
                mark=None,
                bridge=bridge,
            )
            for name, bridge in crossing.bridges().items()
        }

    def _measured(self, name: str, seen: View, queries: Float32Rows) -> Measured:
        def on_rows(rows: int) -> None:
            self.watch.on_rows(name, rows)

        try:
            return measure(queries, seen.searched(), self.benchmark, self.options, on_rows)
        except ValueError as error:
            raise InvalidInput(f"{self.benchmark.name}, {name}: {error}") from None
