"""docs/api.md tells of every error code, exit code and header that the service has, and of no other."""

import re
import signal
from pathlib import Path

from shared.protocol import ErrorCode, Header
from teacher_service.cli import INTERRUPTED
from teacher_service.errors import CommandFailed

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_table_of_refusals_has_every_error_code_and_no_other() -> None:
    rows = re.findall(r"^\|.+\| [\d, ]+ \|(.+?)\|", section("Refusals"), re.M)
    named = {code for row in rows for code in re.findall(r"`(\w+)`", row)}
    assert named == {code.value for code in ErrorCode}


def test_the_table_of_exit_codes_is_that_of_the_errors() -> None:
    codes = {
        int(code) for code in re.findall(r"^\| (\d+) \|", section("Exit codes of `teacher-service`"), re.M)
    }
    assert codes == {
        0,
        INTERRUPTED,
        128 + signal.SIGTERM,
        *(error.exit_code for error in CommandFailed.__subclasses__()),
    }


def test_what_the_rate_headers_mean_is_said() -> None:
    for header in (Header.LIMIT_IMAGES, Header.REMAINING_IMAGES, Header.RESET_IMAGES, Header.SHOULD_RETRY):
        assert f"`{header.value}" in section("Refusals")
