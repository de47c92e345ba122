"""The training curve is read as far as it goes; what is damaged in it is passed over."""

from pathlib import Path

from student_trainer.distil.log.reading import Step, TrainingLog, Watched, read_training_log


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "metrics.jsonl"
    path.write_text(text)
    return path


def test_steps_and_the_choice_of_tau_are_read(tmp_path: Path) -> None:
    text = (
        '{"event": "threshold", "step": 0, "tau": 0.7, "chosen": "tau = 0.7, because."}\n'
        '{"event": "step", "step": 1, "loss": 0.5, "seconds": 0.25}\n'
        '{"event": "epoch", "step": 1, "loss": 0.5}\n'
    )
    assert read_training_log(write(tmp_path, text)) == TrainingLog(
        (Step(1, 0.5, 0.25),), "tau = 0.7, because."
    )


def test_what_was_watched_is_read_and_the_final_weights_apart(tmp_path: Path) -> None:
    text = (
        '{"event": "validation", "step": 0, "images": 20, "overlap@10": 0.4, "AP": null, "tau": 1}\n'
        '{"event": "validation", "step": 3, "images": 20, "overlap@10": 0.5, "AP": 0.6, "tau": 1}\n'
        '{"event": "student", "step": 3, "images": 20, "overlap@10": 0.7, "AP": 0.8, "tau": 1}\n'
    )
    assert read_training_log(write(tmp_path, text)) == TrainingLog(
        watched=(Watched(0, 20, 0.4, None), Watched(3, 20, 0.5, 0.6)), final=Watched(3, 20, 0.7, 0.8)
    )


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    text = (
        '{"event": "step", "step": 1, "loss": 0.5, "seconds": 0.25}\n[1]\nnonsense\n'
        '{"event": "step", "step": "x", "loss": 0.5, "seconds": 1}\n{"event": "threshold"}\n{"event": "st'
    )
    assert read_training_log(write(tmp_path, text)) == TrainingLog((Step(1, 0.5, 0.25),))
