"""API keys: only a whole, known, living key opens the door, and the ledger never learns a secret."""

import asyncio
import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teacher_service.access import keys
from teacher_service.access.keys import InvalidApiKey, authenticate, mint
from teacher_service.access.rates import InvalidRate
from teacher_service.metering.ledger import KeyRecord, LedgerUnavailable, NewKey


class OneKey:
    """The single method that authentication asks of a ledger."""

    def __init__(self, new: NewKey | None, *, revoked: bool = False) -> None:
        self._new, self._revoked = new, revoked
        self.asked: list[str] = []

    async def key(self, key_id: str) -> KeyRecord | None:
        self.asked.append(key_id)
        new = self._new
        if new is None or key_id != new.key_id:
            return None
        fields = {name: getattr(new, name) for name in new.__dataclass_fields__}
        return KeyRecord(
            **fields,
            used=0,
            used_in_window=0,
            window_ends_at_ms=None,
            held=0,
            revoked=self._revoked,
            created_at_ms=0,
        )


def enter(ledger: Any, header: str | None) -> KeyRecord:
    return asyncio.run(authenticate(ledger, header))


def refusal(ledger: Any, header: str | None) -> str:
    with pytest.raises(InvalidApiKey) as caught:
        enter(ledger, header)
    return str(caught.value)


def test_a_minted_key_opens_the_door() -> None:
    text, new = mint("Ada", 10, "600/minute", "every-call")
    record = enter(OneKey(new), f"Bearer {text}")
    assert (record.key_id, record.name, record.budget) == (new.key_id, "Ada", 10)
    assert (record.rate, record.billing) == ("600/minute", "every-call")


@pytest.mark.parametrize("form", ["bearer {}", "BEARER {}", "Bearer   {}", "Bearer {} "])
def test_the_scheme_is_read_as_http_defines_it(form: str) -> None:
    text, new = mint("a", 1)
    assert enter(OneKey(new), form.format(text)).key_id == new.key_id


def test_the_ledger_stores_a_salted_hash_and_not_the_secret() -> None:
    text, new = mint("a", 1)
    prefix, key_id, secret = text.split("_")
    assert (prefix, key_id) == ("rtn", new.key_id)
    assert len(bytes.fromhex(secret)) == 32
    assert new.secret_hash == hashlib.sha256(new.salt + secret.encode()).digest()
    assert secret not in repr(new)


def test_no_two_keys_share_an_id_a_secret_or_a_salt() -> None:
    minted = [mint("a", 1) for _ in range(100)]
    assert len({text for text, _ in minted}) == 100
    assert len({new.key_id for _, new in minted}) == 100
    assert len({new.salt for _, new in minted}) == 100


def test_a_rate_that_is_none_is_refused_when_the_key_is_made() -> None:
    with pytest.raises(ValueError, match="rate"):
        mint("a", 1, "fast")


@pytest.mark.parametrize("header", [None, ""])
def test_a_request_without_a_key_is_told_how_to_send_one(header: str | None) -> None:
    assert "Authorization: Bearer" in refusal(OneKey(None), header)


def malformed() -> list[str]:
    # Of the form that ``mint`` gives, but the same each time: tests are named after it.
    key_id, secret = "198dabbe2827fba7", "1f3711176aa516f3634947a079505ca94b397906cb7010055c01bcdc4c3815fe"
    text = f"rtn_{key_id}_{secret}"
    return [
        text,
        f"Basic {text}",
        "Bearer",
        "Bearer ",
        f"Bearer{text}",
        f"Bearer {text} {text}",
        f"Bearer {text[:-1]}",
        f"Bearer {text}0",
        f"Bearer {text.upper()}",
        f"Bearer rtn_{key_id}",
        f"Bearer rtn_{key_id}_",
        f"Bearer rtn__{secret}",
        f"Bearer xtn_{key_id}_{secret}",
        f"Bearer rtn_{key_id}_{secret[:-1]}g",
        f"Bearer rtn_{key_id}_{secret[:-1]}é",
        f"Bearer {text}\n",
        "Bearer rtn_' OR 1=1 --_x",
    ]


@pytest.mark.parametrize("header", malformed())
def test_a_malformed_header_is_refused_unlooked_up_and_not_repeated(header: str) -> None:
    ledger = OneKey(None)
    message = refusal(ledger, header)
    assert ledger.asked == []
    assert len(header) < 20 or header[-20:] not in message


@settings(max_examples=100)
@given(st.text(max_size=120))
def test_any_text_is_refused_quietly(header: str) -> None:
    refusal(OneKey(None), header)


def test_a_wrong_secret_and_an_unknown_key_get_the_same_answer() -> None:
    text, new = mint("a", 1)
    other, _ = mint("b", 1)
    wrong_secret = text[:-64] + other[-64:]
    ledger = OneKey(new)
    assert refusal(ledger, f"Bearer {wrong_secret}") == refusal(ledger, f"Bearer {other}")


def test_every_digit_of_the_secret_counts() -> None:
    text, new = mint("a", 1)
    for position in range(len(text) - 64, len(text)):
        digit = "0" if text[position] != "0" else "1"
        refusal(OneKey(new), f"Bearer {text[:position]}{digit}{text[position + 1 :]}")


def test_a_revoked_key_is_refused_and_only_its_holder_learns_why() -> None:
    text, new = mint("a", 1)
    ledger = OneKey(new, revoked=True)
    assert "was revoked" in refusal(ledger, f"Bearer {text}")
    wrong = f"{text[:-1]}{'0' if text[-1] != '0' else '1'}"
    assert "revoked" not in refusal(ledger, f"Bearer {wrong}")


def test_a_revoked_key_is_let_in_only_to_read_and_only_whole() -> None:
    text, new = mint("a", 1)
    ledger = OneKey(new, revoked=True)
    assert asyncio.run(authenticate(ledger, f"Bearer {text}", may_be_revoked=True)).revoked  # type: ignore[arg-type]
    wrong = f"{text[:-1]}{'0' if text[-1] != '0' else '1'}"
    with pytest.raises(InvalidApiKey, match="not known"):
        asyncio.run(authenticate(ledger, f"Bearer {wrong}", may_be_revoked=True))  # type: ignore[arg-type]


def test_known_and_unknown_keys_cost_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not timed, which would flicker, but counted: one hash and one constant-time comparison each."""
    work: list[tuple[int, int]] = []
    compare_digest = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        work.append((len(one), len(other)))
        return compare_digest(one, other)

    monkeypatch.setattr(keys.hmac, "compare_digest", compare)
    text, new = mint("a", 1)
    stranger, _ = mint("b", 1)
    enter(OneKey(new), f"Bearer {text}")
    refusal(OneKey(new), f"Bearer {stranger}")
    refusal(OneKey(new, revoked=True), f"Bearer {text}")
    assert work == [(32, 32)] * 3
    assert len(keys._NO_SALT) == len(new.salt)


def test_a_key_works_against_a_real_ledger(tmp_path: Path) -> None:
    from teacher_service.metering.sqlite.store import SqliteLedger

    async def story() -> None:
        ledger = SqliteLedger(tmp_path / "ledger.sqlite")
        await ledger.open()
        text, new = mint("a", 1)
        await ledger.create_key(new)
        assert (await authenticate(ledger, f"Bearer {text}")).key_id == new.key_id
        await ledger.revoke(new.key_id)
        with pytest.raises(InvalidApiKey):
            await authenticate(ledger, f"Bearer {text}")
        await ledger.close()
        with pytest.raises(LedgerUnavailable):
            await authenticate(ledger, f"Bearer {text}")

    asyncio.run(story())


@pytest.mark.parametrize("rate", ["600/minute;1/day", "1/99999999999999999999 days", "fast"])
def test_no_key_is_made_with_a_rate_that_could_not_be_kept(rate: str) -> None:
    with pytest.raises(InvalidRate):
        mint("Ada", 10, rate)
