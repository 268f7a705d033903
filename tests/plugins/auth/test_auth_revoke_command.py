"""What `pegboard auth revoke` refuses before it opens anything; what it does is tested with the real command."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from plugins.auth.commands.revoke import revoke_command
from plugins.auth.revocation.opening import Revocation
from plugins.auth.revocation.settings import RevocationSettings

NO_JTI = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say what to revoke, one of: --token, --jti, --subject, --everyone."),
        (("--jti", "a", "--everyone"), "say what to revoke, one of"),
        (("--jti", ""), "nothing has no name."),
        (("--subject", ""), "nothing has no name."),
        (("--token", "a.b"), "is no token: it is not three parts of base64url, or too long."),
        (("--token", "a." + "b" * 9000 + ".c"), "is no token: it is not three parts of base64url, or too long."),
        (("--token", NO_JTI), "has no jti to be told apart by; revoke its subject, with --subject."),
        (("--jti", "a", "--issued-before", "2026-01-01T00:00:00Z"), "is for --subject and --everyone."),
        (("--everyone", "--issued-before", "2026-01-01T00:00:00"), "is no time with a zone"),
        (("--everyone", "--issued-before", "yesterday"), "is no time with a zone"),
        (("--everyone", "--issued-before", "1969-12-31T00:00:00Z"), "is no time with a zone"),
        (("--everyone", "--issued-before", "9999-01-01T00:00:00Z"), "is in the future."),
        (("--everyone", "--keep", "30"), "a duration is a number and one of"),
        (("--everyone", "--keep", "10ms"), "a revocation lasts for a second at least."),
    ],
)
def test_revoke_refuses_what_makes_no_sense(make_run: Any, arguments: tuple[str, ...], said: str) -> None:
    """Before anything is opened."""
    run = make_run()
    command = revoke_command(Revocation(RevocationSettings(), run, expires_s=60, leeway_s=0), run)
    ended = CliRunner().invoke(command, arguments, terminal_width=200)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert said in " ".join(ended.stderr.split())
