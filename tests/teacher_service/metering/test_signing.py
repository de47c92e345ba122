"""The signing key is made once, kept private, and signs exactly what was settled."""

import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from shared.certificate import build_certificate, verify_certificate
from shared.chain import parse_event
from shared.receipts import delivery_digest, from_header, to_header
from teacher_service.metering.signing import ReceiptSigner, SigningKeyUnusable


@pytest.fixture
def signer(tmp_path: Path) -> ReceiptSigner:
    return ReceiptSigner.load_or_create(tmp_path / "data")


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    made = ReceiptSigner.load_or_create(folder)
    assert stat.S_IMODE((folder / "signing.key").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["signing.key"], "no temporary file remains"
    assert ReceiptSigner.load_or_create(folder).public_key == made.public_key
    assert len(bytes.fromhex(made.public_key)) == 32


def test_two_services_have_two_keys(tmp_path: Path) -> None:
    keys = {ReceiptSigner.load_or_create(tmp_path / name).public_key for name in "abc"}
    assert len(keys) == 3


def test_threads_that_race_to_make_the_key_get_the_same_one(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    found: list[str] = []

    def load() -> None:
        barrier.wait()
        found.append(ReceiptSigner.load_or_create(tmp_path).public_key)

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_processes_that_race_to_make_the_key_get_the_same_one(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from teacher_service.metering.signing import ReceiptSigner;"
        "sys.stdin.readline(); print(ReceiptSigner.load_or_create(Path(sys.argv[1])).public_key)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    assert len({process.communicate(timeout=60)[0] for process in processes}) == 1


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    ReceiptSigner.load_or_create(tmp_path)
    for mode in (0o640, 0o604, 0o660):
        (tmp_path / "signing.key").chmod(mode)
        with pytest.raises(SigningKeyUnusable, match="chmod 600"):
            ReceiptSigner.load_or_create(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n", b"ab" * 31, b"ab" * 33, b"zz" * 32, b"\xff" * 32])
def test_a_damaged_key_is_refused_and_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "signing.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SigningKeyUnusable, match="Restore it"):
        ReceiptSigner.load_or_create(tmp_path)
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        ReceiptSigner.load_or_create(tmp_path / "file")


def test_a_receipt_says_what_was_settled(desk: Any, signer: ReceiptSigner) -> None:
    key = desk.new_key(budget=5)
    desk.buy(key, "a")
    desk.clock.now_ms += 7
    settlement = desk.buy(key, "b", "a")
    revision = settlement.link.record["teacher_revision"]
    signed = signer.receipt(settlement, revision)
    body = signed.verify(signer.public_key)
    event: Any = parse_event(settlement.link.record, settlement.seq)
    assert (body.key_id, body.request_id, body.seq) == (key, event.request_id, 2)
    assert (body.charged, body.replayed, body.used_after, body.budget) == (1, 1, 2, 5)
    assert (body.ledger_head, body.teacher_revision) == (settlement.link.hash, revision)
    assert body.delivery_digest == delivery_digest(event.items)
    assert body.issued_at_ms == desk.clock.now_ms
    assert from_header(to_header(signed)) == signed


def test_a_receipt_for_another_revision_is_not_signed(desk: Any, signer: ReceiptSigner) -> None:
    settlement = desk.buy(desk.new_key(), "a")
    with pytest.raises(ValueError, match="asked for 0000"):
        signer.receipt(settlement, "0" * 64)


def test_a_head_says_where_the_ledger_stands(desk: Any, signer: ReceiptSigner) -> None:
    key = desk.new_key(budget=5)
    settlement = desk.buy(key, "a")
    body = signer.head(desk.run(desk.ledger.head(key)), "1" * 64, 123).verify(signer.public_key)
    assert (body.key_id, body.seq, body.ledger_head) == (key, 1, settlement.link.hash)
    assert (body.used, body.budget, body.issued_at_ms) == (1, 5, 123)
    assert body.teacher_revision == "1" * 64


@pytest.mark.parametrize("billing", ["distinct", "every-call"])
def test_what_the_ledger_writes_and_the_signer_signs_makes_a_certificate(
    desk: Any, signer: ReceiptSigner, billing: Any
) -> None:
    key = desk.new_key(budget=9, billing=billing)
    settlements = [
        desk.buy(key, "a", "b", idem="one"),
        desk.buy(key, "a", "b", idem="one"),
        desk.buy(key, "b", "c"),
    ]
    desk.run(desk.ledger.grant(key, 1))
    settlements.append(desk.buy(key, "d"))
    revision = settlements[0].link.record["teacher_revision"]
    delivered = {
        item["image"]: settlement.seq
        for settlement in settlements
        for item in settlement.link.record["items"]
    }
    receipts = [signer.receipt(settlement, revision) for settlement in settlements[1:]]
    receipts.append(signer.receipt(settlements[0], revision))
    head = signer.head(desk.run(desk.ledger.head(key)), revision, 1)
    certificate = build_certificate(desk.links(key), head, receipts, delivered)
    verified = verify_certificate(certificate, signer.public_key)
    assert verified.account.used == (4 if billing == "distinct" else 5)
    assert verified.images == 4
