"""Bearer tokens for tests: what a plugin does for whom, in a service where `auth` is on and knows `TOKEN_SECRET`.

    service = await make_service(["auth", "hello"], {"plugins": {"auth": {"secret": TOKEN_SECRET}}})
    headers = {"Authorization": f"Bearer {make_token('ada', role='admin')}"}

Its secret is no secret, so no other service accepts them.
"""

from __future__ import annotations

from service.run import Clock, SystemClock

TOKEN_SECRET = "known to every test, and therefore no secret"  # noqa: S105  # as it says
"""What `make_token` signs with: HS256."""


def make_token(
    subject: str = "1",
    *,
    role: str | list[str] | None = None,
    expires_s: float = 3600.0,
    clock: Clock | None = None,
    **claims: object,
) -> str:
    """A token for `subject` that lives from now on for `expires_s` seconds, by `clock` if the service has one; further
    `claims` are in it as they are."""
    import jwt  # inside: few tests need it

    now_s = (clock or SystemClock()).now()
    known = {"sub": subject, "role": role, "iat": int(now_s), "exp": int(now_s + expires_s), **claims}
    present = {name: value for name, value in known.items() if value is not None}
    return jwt.encode(present, TOKEN_SECRET, algorithm="HS256")
