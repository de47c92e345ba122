"""One step: the gradient of the objective over a batch, and the optimiser's answer to it.

In: the state of a training, a moment of its schedule. Out: the state one step further, or
:class:`TrainingFailed` with the step and the images, and then nothing of the step is kept.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from student_trainer.distil.backward import BadNumbers, Step, three_stage_backward
from student_trainer.distil.batches import BatchSource
from student_trainer.distil.descriptors import BadDescriptors
from student_trainer.distil.objectives import Objective
from student_trainer.distil.objectives.tupled import TupleObjective
from student_trainer.distil.optimiser import RATE_FACTOR
from student_trainer.distil.push import ChunkTerm
from student_trainer.distil.schedule import Moment
from student_trainer.distil.state import TrainingState
from student_trainer.errors import TrainingFailed
from student_trainer.naming import some_names

_ADVICE = (
    "The last checkpoint is kept. A lower learning rate usually helps: "
    "--restart --set training.learning_rate=..."
)


def take_step(
    state: TrainingState,
    moment: Moment,
    source: BatchSource,
    objective: Objective,
    *,
    allow_inexact: bool = False,
    on_images: Callable[[int], None] = lambda n: None,
    term: ChunkTerm | None = None,
) -> Step:
    """One step of the optimiser on one batch; ``term``: what an objective on feature maps adds to it.

    Raises:
        TrainingFailed: a descriptor, the loss, a gradient or a weight is not finite, or the objective
            refuses.
    """
    part = objective.of_descriptors
    if part is not None:
        part.at_step(moment.step - 1)
    try:
        result = three_stage_backward(
            state.trained,
            lambda: source.chunks(moment.batch, moment.step),
            len(moment.batch),
            None if part is None else _loss(moment, source, part),
            allow_inexact=allow_inexact,
            on_chunk=on_images,
            processes=source.processes,
            beside=state.head,
            term=term,
        )
    except BadNumbers as error:
        images = _images(moment, source, error.rows)
        raise TrainingFailed(f"{_where(moment)}: {error.what}{images}. {_ADVICE}") from None
    except ValueError as error:  # such as batch statistics of a single value
        raise TrainingFailed(f"{_where(moment)}: {error}") from error
    for group in state.optimiser.param_groups:
        group["lr"] = moment.learning_rate * group.get(RATE_FACTOR, 1.0)
    state.optimiser.step()
    if not torch.isfinite(torch.nn.utils.get_total_norm(state.weights)):
        check_weights(state, moment)  # only then: it asks each tensor, this asks once
    state.finished_steps = moment.step
    state.epoch_losses.append(result.loss)
    return result


def check_weights(state: TrainingState, moment: Moment) -> None:
    """Before weights are kept: a step from finite gradients may still have led too far.

    Raises:
        TrainingFailed: a weight is not finite.
    """
    of_head = {} if state.head is None else state.head.state_dict(prefix="head.")
    for name, weights in {**state.student.state_dict(), **of_head}.items():
        if not torch.isfinite(weights).all():
            raise TrainingFailed(f"{_where(moment)}: the weights {name!r} are not finite. {_ADVICE}")


def _loss(moment: Moment, source: BatchSource, objective: Objective) -> Callable[[Tensor], Tensor]:
    of_batch = _of_batch(moment, source, objective)

    def loss_of(descriptors: Tensor) -> Tensor:
        try:
            return of_batch(descriptors)
        except (ValueError, ArithmeticError) as error:
            rows = error.rows if isinstance(error, BadDescriptors) else ()
            images = _images(moment, source, rows)
            raise TrainingFailed(
                f"{_where(moment)}: the objective {objective.name!r}: {error}{images}"
            ) from error

    return loss_of


def _of_batch(moment: Moment, source: BatchSource, objective: Objective) -> Callable[[Tensor], Tensor]:
    """The loss of the student's descriptors, beside what teacher and labels say of the same images."""
    if moment.tuples is None:
        teacher, labels = source.teacher(moment.batch), source.labels(moment.batch)
        return lambda descriptors: objective(descriptors, teacher, labels)
    assert isinstance(objective, TupleObjective)
    of_tuples = source.teacher(moment.tuples.reshape(-1)) if objective.needs_teacher else None
    return lambda descriptors: objective.of_tuples(descriptors, of_tuples)


def _images(moment: Moment, source: BatchSource, rows: tuple[int, ...]) -> str:
    """Where to look, by file; of a whole batch no image is to blame."""
    if not rows:
        return ""
    if len(rows) == len(moment.batch):
        return " in any image of the batch, so look at the weights and the learning rate"
    return f"; look at {some_names(source.names(moment.batch, rows))}"


def _where(moment: Moment) -> str:
    return f"Step {moment.step:,} (epoch {moment.epoch})"
