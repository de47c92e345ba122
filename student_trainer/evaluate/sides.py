"""How each model looks at images: numbers are compared across sizes and scales only by those who know of it.

In: the evaluation document. Out: texts for the tables, and a sentence where models differ.
"""

from student_trainer.evaluate.document import ASYMMETRIC, Evaluation, ModelScores

OF_SERVICE = "the service's own"


def scales_of(model: ModelScores, evaluation: Evaluation) -> str:
    """``1, 0.7071, 0.5``; of a teacher that is an API, that they are its service's."""
    if model.is_api:
        return OF_SERVICE
    return ", ".join(f"{scale:.4g}" for scale in evaluation.protocol.scales)


def size_of(model: ModelScores) -> str:
    """Longest side in px; of an API that does not say, that it is the service's."""
    return OF_SERVICE if model.image_size is None else f"{model.image_size:,}"


def differences(evaluation: Evaluation) -> str:
    """A sentence on who sees images in which size and at which scales; empty where all see them whole and
    alike."""
    looks: dict[str, list[str]] = {}
    for name, model in evaluation.models.items():
        if not model.asks_teacher:
            looks.setdefault(_look(model, evaluation), []).append(name)
    views = {model.view for model in evaluation.models.values()}
    if len(looks) < 2:
        return "".join(f"Every image is shown so: {view}." for view in views if view)
    sides = "; ".join(f"{', '.join(names)}: {look}" for look, names in looks.items())
    return f"Not all models see images alike. {sides}.{_across(evaluation)}"


def _look(model: ModelScores, evaluation: Evaluation) -> str:
    size = "size" if model.image_size is None else "px"
    looks = model.view or f"{size_of(model)} {size}"
    return f"{looks}, scales {scales_of(model, evaluation)}"


def _across(evaluation: Evaluation) -> str:
    if ASYMMETRIC not in evaluation.models:
        return ""
    return f" {ASYMMETRIC}: queries as the student sees them, database as the teacher does."
