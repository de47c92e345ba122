"""What a training writes into its curve, event by event.

In: a moment of the schedule and what happened there. Out: lines of ``metrics.jsonl``.
"""

from student_trainer.distil.backward import Step
from student_trainer.distil.label_free import LabelFreeScores
from student_trainer.distil.log.metrics import MetricsLog
from student_trainer.distil.schedule import Moment
from student_trainer.distil.threshold import Threshold
from student_trainer.distil.tuples.mining import Findings
from student_trainer.recipe_checks import THRESHOLD


def log_threshold(log: MetricsLog, threshold: Threshold) -> None:
    """How tau was chosen; before the first step."""
    log.write("threshold", {"step": 0, THRESHOLD: threshold.tau, "chosen": threshold.sentence()})


def log_step(log: MetricsLog, moment: Moment, result: Step, seconds: float) -> None:
    """One step of Adam."""
    log.write(
        "step",
        {
            "step": moment.step,
            "epoch": moment.epoch,
            "images": len(moment.batch),
            "loss": result.loss,
            "learning_rate": moment.learning_rate,
            "grad_norm": result.gradient_norm,
            "seconds": round(seconds, 3),
        },
    )


def log_mining(log: MetricsLog, findings: Findings, *, step: int, epoch: int, seconds: float) -> None:
    """What negatives were found for an epoch, before its first step."""
    log.write(
        "mining",
        {
            "step": step,
            "epoch": epoch,
            "images": findings.described,
            "anchors": findings.anchors,
            "negative_similarity": findings.negative_similarity,
            "seconds": round(seconds, 3),
        },
    )


def log_epoch(log: MetricsLog, moment: Moment, *, loss: float, averaged: bool) -> None:
    """The end of an epoch: its mean loss, and whether its weights are part of the mean."""
    log.write(
        "epoch",
        {
            "epoch": moment.epoch,
            "step": moment.step,
            "loss": loss,
            "learning_rate": moment.learning_rate,
            "averaged": averaged,
        },
    )


def log_validation(log: MetricsLog, scores: LabelFreeScores, *, step: int, epoch: int) -> None:
    """How the student ranks held-back images after an epoch; epoch 0 is before the first."""
    log.write("validation", {"step": step, "epoch": epoch, **_measures(scores)})


def log_student(log: MetricsLog, scores: LabelFreeScores, *, step: int) -> None:
    """The same of the final weights."""
    log.write_once("student", {"step": step, **_measures(scores)})


def _measures(scores: LabelFreeScores) -> dict[str, float | None]:
    return {
        "images": scores.images,
        f"overlap@{scores.k}": scores.overlap,
        "AP": scores.average_precision,
        THRESHOLD: scores.tau,
    }


def note(moment: Moment, result: Step) -> str:
    """A step in a few words, beside the bar."""
    return f"epoch {moment.epoch}, loss {result.loss:.4f}, learning rate {moment.learning_rate:.2e}"
