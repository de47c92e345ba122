"""Numbers and findings as people read them; the page and the card say the same words.

In: the facts of a run. Out: sentences and short texts, not yet escaped for any format.
"""

from student_trainer.evaluate.document import BEFORE, STUDENT, TEACHER, Evaluation, ModelScores
from student_trainer.publish.facts import RunFacts

WHITE_BOX = "Its teacher's own file was at hand: it learned from feature maps, which no query counts."


def headline(facts: RunFacts) -> str:
    """The run in one sentence, and one more where the teacher showed more than a budget counts."""
    return _sentence(facts) + (f" {WHITE_BOX}" if facts.white_box else "")


def _sentence(facts: RunFacts) -> str:
    student = facts.evaluation.models.get(STUDENT) if facts.evaluation else None
    if facts.evaluation is None or student is None:
        return _without_scores(facts)
    cost = spent(facts)
    opening = f"With {cost}, a" if cost else "A"
    size = f" of {rounded(student.parameters)} parameters" if student.parameters is not None else ""
    return (
        f"{opening} student{size} reaches {facts.evaluation.protocol.headline_words} "
        f"{facts.evaluation.headline_score(student):.3f}{_beside_teacher(facts.evaluation, student)}"
        f"{_beside_before(facts.evaluation, student)}."
    )


def spent(facts: RunFacts) -> str:
    """What the teacher was asked: by a certificate, or else by what was bought.

    Empty when nothing is known, when the student learned from further purchases before, and when the
    certificate does not hold: then no number deserves belief.
    """
    if facts.budget:
        verified = facts.budget.verified
        return _counted(verified.account.used, "query", "queries") if verified else ""
    if facts.purchase and facts.purchase.bought and not facts.bought_before:
        return _counted(facts.purchase.bought, "bought descriptor", "bought descriptors")
    return ""


def rounded(count: int) -> str:
    """``1,811,712`` -> ``1.8 million``."""
    if count >= 999_500:
        return f"{count / 1e6:.1f} million"
    return f"{count / 1e3:.0f} thousand" if count >= 1_000 else str(count)


def megabytes(size_bytes: int) -> str:
    """Size of a file in units of 10^6 bytes."""
    return f"{size_bytes / 1e6:.1f} MB"


def _without_scores(facts: RunFacts) -> str:
    cost = spent(facts)
    if not facts.has_student:
        return f"{cost} so far; no student is trained yet." if cost else "This run has only begun."
    opening = f"This student was distilled with {cost}" if cost else "This student is trained"
    return f"{opening}; its retrieval is not measured yet."


def _beside_teacher(evaluation: Evaluation, student: ModelScores) -> str:
    teacher = evaluation.models.get(TEACHER)
    if teacher is None or evaluation.headline_score(teacher) <= 0:
        return ""
    reached, aim = evaluation.headline_score(student), evaluation.headline_score(teacher)
    return f", {100 * reached / aim:.0f} % of its teacher's {aim:.3f}"


def _beside_before(evaluation: Evaluation, student: ModelScores) -> str:
    before = evaluation.models.get(BEFORE)
    if before is None:
        return ""
    was, now = evaluation.headline_score(before), evaluation.headline_score(student)
    former, present = f"{was:.3f}", f"{now:.3f}"
    if former == present:  # as printed: "up from 0.338 to 0.338" would be no news
        return f", unchanged from {former} before distillation"
    return f", {'up' if now > was else 'down'} from {former} before distillation"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
