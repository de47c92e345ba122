"""The audit: whatever was changed, on either side, is found and named; what is whole is certified."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from full_disk import disk_full_at
from nacl.signing import SigningKey

from shared.certificate import verify_certificate
from shared.receipts import SignedReceipt
from student_trainer.acquire import audit as auditing
from student_trainer.acquire import session
from student_trainer.acquire.client import Access
from student_trainer.acquire.fetch import Outcome
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.errors import InvalidInput, ServiceRefused, StorageFailed, VerificationFailed
from student_trainer.run_folder import RunFolder

KEY = "rtn_k1_secret"
Audit = Callable[..., Any]


@pytest.fixture
def run(planned: Callable[..., RunFolder], buy: Callable[..., Outcome]) -> RunFolder:
    """Nine descriptors, bought in three requests."""
    folder = planned(queries=9)
    buy(folder, batch=3, concurrency=1)
    return folder


@pytest.fixture
def audit(run: RunFolder, teacher: Any) -> Audit:
    """A function that audits the run as the command does."""

    def do(api_key: str = KEY) -> Any:
        with TransferSet.open(run.transfer_set) as transfer_set:
            links, head = session.ledger(Access(teacher.url, api_key))
            return auditing.audit(transfer_set, links, head)

    return do


def change(run: RunFolder, sql: str, *values: Any) -> None:
    with TransferSet.open(run.transfer_set) as transfer_set, transfer_set.transaction():
        transfer_set.connection.execute("PRAGMA defer_foreign_keys = ON")
        transfer_set.connection.execute(sql, values)


def test_a_whole_transfer_set_is_certified(run: RunFolder, audit: Audit, teacher: Any) -> None:
    certificate = audit()
    assert (certificate.queries_charged, certificate.images, certificate.replays) == (9, 9, 0)
    assert certificate.teacher_revision == teacher.revision
    assert verify_certificate(certificate, teacher.public_key).images == 9


def test_replays_and_grants_are_part_of_a_certificate(
    run: RunFolder, audit: Audit, teacher: Any, planned: Callable[..., RunFolder], buy: Callable[..., Outcome]
) -> None:
    teacher.keys[KEY].grant(5)
    run.transfer_set.unlink()
    planned(queries=9)
    buy(run)
    certificate = audit()
    assert (certificate.queries_charged, certificate.replays, certificate.budget) == (9, 9, 1005)


def test_a_partial_transfer_set_is_certified_for_what_it_holds(
    planned: Callable[..., RunFolder], buy: Callable[..., Outcome], teacher: Any
) -> None:
    run = planned(queries=6)
    teacher.script.extend([lambda response: response, teacher.refusal(418, "invalid_request")])
    with pytest.raises(ServiceRefused):
        buy(run, batch=2, concurrency=1)
    with TransferSet.open(run.transfer_set) as transfer_set:
        certificate = auditing.audit(transfer_set, *session.ledger(Access(teacher.url, KEY)))
    assert (certificate.queries_charged, certificate.images) == (2, 2)


def test_an_empty_transfer_set_is_not_audited(planned: Callable[..., RunFolder], teacher: Any) -> None:
    with (
        TransferSet.open(planned(queries=2).transfer_set) as transfer_set,
        pytest.raises(InvalidInput, match="nothing to audit"),
    ):
        auditing.audit(transfer_set, *session.ledger(Access(teacher.url, KEY)))


def test_a_descriptor_that_was_changed_on_disk_is_named(run: RunFolder, audit: Audit) -> None:
    with TransferSet.open(run.transfer_set) as transfer_set:
        image = transfer_set.bought().images[4]
    change(run, "UPDATE descriptors SET vector = zeroblob(32) WHERE digest = ?", image)
    with pytest.raises(VerificationFailed, match=f"stored descriptor of image {image[:12]} is not the one"):
        audit()


def test_a_receipt_that_is_missing_or_edited_is_found(run: RunFolder, audit: Audit) -> None:
    change(run, "UPDATE receipts SET document = replace(document, '\"charged\":3', '\"charged\":2')")
    with pytest.raises(VerificationFailed, match=r"signature of this ration-receipt/1 is not valid"):
        audit()


def test_descriptors_without_their_receipt_are_found(run: RunFolder, audit: Audit) -> None:
    change(run, "UPDATE requests SET receipt_seq = NULL WHERE receipt_seq = 2")
    with TransferSet.open(run.transfer_set) as transfer_set:
        transfer_set.connection.execute("PRAGMA foreign_keys = OFF")
        transfer_set.connection.execute("DELETE FROM receipts WHERE seq = 2")
    with pytest.raises(VerificationFailed, match=r"has no receipt \(record 2\)"):
        audit()


def test_an_image_that_was_charged_but_is_not_held_is_found(
    run: RunFolder, audit: Audit, teacher: Any
) -> None:
    teacher.settle(teacher.keys[KEY], "elsewhere", ["ab" * 32], "")
    with pytest.raises(
        VerificationFailed, match=r"1 charged images are not in the transfer set.*abababababab"
    ):
        audit()


@pytest.mark.parametrize("cut", [1, 2])
def test_a_ledger_that_was_rolled_back_is_found_by_the_receipts(
    run: RunFolder, audit: Audit, teacher: Any, cut: int
) -> None:
    key = teacher.keys[KEY]
    del key.links[-cut:]
    key.used -= 3 * cut
    with pytest.raises(VerificationFailed, match="cut, forked or rolled back"):
        audit()


def test_a_ledger_that_was_forked_is_found(run: RunFolder, audit: Audit, teacher: Any) -> None:
    """The same images, settled again on a chain of its own: every hash and sum of the fork is right."""
    key = teacher.keys[KEY]
    images = [[item["image"] for item in link.record["items"]] for link in key.links[1:]]
    del key.links[1:]
    key.used, key.charged = 0, set()
    for part in images:
        teacher.settle(key, "forked", part, "")
    with pytest.raises(VerificationFailed, match="cut, forked or rolled back"):
        audit()


def test_an_edited_record_breaks_the_chain(run: RunFolder, audit: Audit, teacher: Any) -> None:
    record = dict(teacher.keys[KEY].links[2].record)
    record["charged"] = 2
    teacher.keys[KEY].links[2] = type(teacher.keys[KEY].links[2])(record, teacher.keys[KEY].links[2].hash)
    with pytest.raises(VerificationFailed, match="Ledger record 2: its hash does not follow"):
        audit()


def test_a_head_signed_by_another_key_is_found(run: RunFolder, audit: Audit, teacher: Any) -> None:
    teacher.signing_key = SigningKey(b"\x05" * 32)
    with pytest.raises(
        VerificationFailed, match=r"what was bought at http\S+ was signed by .* its owner can put that back"
    ):
        audit()


def test_a_head_that_disagrees_with_its_chain_is_found(run: RunFolder, audit: Audit, teacher: Any) -> None:
    teacher.keys[KEY].used -= 1
    with pytest.raises(VerificationFailed, match="The signed head is record 3 of key k1 with 8 used"):
        audit()


def test_the_ledger_of_another_key_is_refused(run: RunFolder, audit: Audit, teacher: Any) -> None:
    teacher.add_key("rtn_k2_secret")
    with pytest.raises(InvalidInput, match="the transfer set was bought with k1"):
        audit("rtn_k2_secret")


def test_receipts_of_a_stranger_do_not_pass(run: RunFolder, audit: Audit) -> None:
    """A receipt with the right facts, signed by somebody else."""
    with TransferSet.open(run.transfer_set) as transfer_set:
        receipt = transfer_set.receipts()[0]
    other = SignedReceipt.by(SigningKey(b"\x06" * 32), receipt.body)
    change(run, "UPDATE receipts SET document = ? WHERE seq = 1", other.model_dump_json())
    with pytest.raises(VerificationFailed, match="receipt of request req-1: Signed by"):
        audit()


def test_a_certificate_is_written_whole_or_not_at_all(run: RunFolder, audit: Audit, tmp_path: Path) -> None:
    certificate = audit()
    auditing.write_certificate(certificate, run.certificate)
    assert auditing.read_certificate(run.certificate) == certificate
    with pytest.raises(StorageFailed, match="cannot be written"):
        auditing.write_certificate(certificate, tmp_path / "nowhere" / "certificate.json")
    files, older = set(run.root.iterdir()), run.certificate.read_bytes()
    with disk_full_at(1_000), pytest.raises(StorageFailed, match="cannot be written: File too large"):
        auditing.write_certificate(certificate, run.certificate)
    assert run.certificate.read_bytes() == older
    assert set(run.root.iterdir()) == files


def test_a_certificate_holds_for_its_own_transfer_set_alone(
    run: RunFolder, audit: Audit, teacher: Any
) -> None:
    certificate = audit()
    with TransferSet.open(run.transfer_set) as transfer_set:
        found = auditing.verify(certificate, teacher.public_key, "test", transfer_set)
        assert found.verified.images == 9
    change(run, "UPDATE descriptors SET vector = zeroblob(32) WHERE rowid = 1")
    with (
        TransferSet.open(run.transfer_set) as transfer_set,
        pytest.raises(VerificationFailed, match="holds, but not for"),
    ):
        auditing.verify(certificate, teacher.public_key, "test", transfer_set)
