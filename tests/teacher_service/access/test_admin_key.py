"""The admin key: long enough, out of sight, and from a file that is nobody else's."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from teacher_service.access.admin_key import AdminKey, InvalidAdminKey, load_admin_key
from teacher_service.errors import InvalidArgument
from teacher_service.options import settings_from

TEXT = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "admin.key"
    path.write_text(TEXT + "\n")
    path.chmod(0o600)
    return path


def test_the_key_is_known_again_and_no_other(file: Path) -> None:
    for key in (AdminKey(TEXT), load_admin_key(SecretStr(TEXT), None), load_admin_key(None, file)):
        assert key is not None
        key.check(f"Bearer {TEXT}")
        for wrong in (None, "", TEXT, f"Basic {TEXT}", f"Bearer {TEXT}x", f"Bearer {TEXT[:-1]}", "Bearer é"):
            with pytest.raises(InvalidAdminKey):
                key.check(wrong)


def test_there_is_none_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compose file passes on a variable that is not set as an empty one."""
    monkeypatch.setenv("TEACHER_ADMIN_KEY", "")
    monkeypatch.setenv("TEACHER_ADMIN_KEY_FILE", "")
    settings = settings_from()
    assert load_admin_key(settings.admin_key, settings.admin_key_file) is None


def test_it_comes_from_the_environment_and_stays_out_of_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_ADMIN_KEY", TEXT)
    settings = settings_from()
    assert settings.admin_key is not None
    assert TEXT not in repr(settings) + str(settings.admin_key) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TEXT[:-1], "32 to 512"),
        ("x" * 513, "32 to 512"),
        (TEXT + " " + TEXT, "no spaces"),
        ("ü" * 40, "ASCII"),
        ("rtn_0123456789abcdef_" + "0" * 64, "an API key cannot be"),
    ],
)
def test_a_text_that_is_no_admin_key_is_refused_without_repeating_it(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match="TEACHER_ADMIN_KEY: ") as refused:
        load_admin_key(SecretStr(text), None)
    assert words in str(refused.value)
    assert text not in str(refused.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_file_that_others_may_read_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(InvalidArgument, match=f"may be read by others .*{mode:04o}.*chmod 600"):
        load_admin_key(None, file)


def test_a_file_that_is_missing_or_holds_no_key_is_refused(file: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"Cannot read the admin key file .*nothing"):
        load_admin_key(None, file.with_name("nothing"))
    file.write_text("short")
    with pytest.raises(InvalidArgument, match=r"admin\.key: an admin key has 32"):
        load_admin_key(None, file)


def test_two_admin_keys_are_one_too_many(file: Path) -> None:
    with pytest.raises(InvalidArgument, match="both set"):
        load_admin_key(SecretStr(TEXT), file)
