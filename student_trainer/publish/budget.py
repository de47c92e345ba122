"""The certificate of a run, verified when it is read and held against what the run contains.

In: a run folder with ``certificate.json``. Out: what it establishes, or why it does not hold.
"""

from dataclasses import dataclass

from shared.certificate import (
    Certificate,
    CertificateInvalid,
    Verified,
    issued_at,
    parse_certificate,
    verify_certificate,
)
from student_trainer.evaluate.provenance import held, learned_before, learned_from
from student_trainer.run_folder import RunFolder


@dataclass(frozen=True)
class Budget:
    """A certificate, and what came of verifying it against the public key that it carries."""

    certificate: Certificate | None
    verified: Verified | None
    """None when it does not hold."""
    fault: str = ""
    """Why it does not hold, and what to do; empty when it does."""
    names_student: bool = False
    """The student's file says that it learned from exactly the certified descriptors."""

    @property
    def signed_at(self) -> str:
        """When the service signed the ledger's head, by its own clock (UTC)."""
        return f"{issued_at(self.certificate):%Y-%m-%d %H:%M} UTC" if self.certificate else ""


def check_budget(folder: RunFolder) -> Budget:
    """Verify the certificate, then compare it with the transfer set and the student, where they are.

    Raises:
        InvalidInput: the student or the transfer set is not what its name says.
        StorageFailed: the transfer set is damaged.
    """
    certificate: Certificate | None = None
    try:
        certificate = parse_certificate(folder.certificate.read_bytes())
        verified = verify_certificate(certificate, certificate.public_key)
    except CertificateInvalid as error:
        return Budget(certificate, None, str(error))
    fault = _transfer_set_fault(folder, certificate) or _student_fault(folder, certificate)
    if fault:
        return Budget(certificate, None, fault)
    return Budget(certificate, verified, names_student=_source(folder) is not None)


def _transfer_set_fault(folder: RunFolder, certificate: Certificate) -> str:
    if not folder.transfer_set.is_file():
        return ""
    here = held(folder.transfer_set)
    if here.digest != certificate.transfer_set_digest:
        return (
            "It is sound, but about other descriptors than those in this run folder. "
            f"Make it again with: student-trainer audit --run {folder.root}"
        )
    if here.public_key != certificate.public_key:
        return (
            f"It is signed by {certificate.public_key[:16]}, but while these descriptors were fetched the "
            f"service showed {str(here.public_key)[:16]}. Ask the teacher's owner."
        )
    return ""


def _student_fault(folder: RunFolder, certificate: Certificate) -> str:
    source, certified = _source(folder), certificate.transfer_set_digest
    if source == certified and (before := learned_before(folder.student)):
        return (
            "It is sound, but does not speak of all that the student learned from: its file says that it "
            "started from one that learned from other descriptors "
            f"({', '.join(one[:12] for one in before)}). The certificate of that purchase belongs beside it."
        )
    if source is None or source == certified:
        return ""
    return (
        "It is sound, but the student's file says that it learned from other descriptors "
        f"({source[:12]}, certified are {certified[:12]}). Train again after the last fetch."
    )


def _source(folder: RunFolder) -> str | None:
    return learned_from(folder.student) if folder.student.is_file() else None
