"""Tokens that are not to be accepted any more although they have not expired: which, and how every worker knows.

- `held.py`      what is revoked, in memory; `messages.py` one of it as text
- `following.py` keeps that as the store has it; `doubt.py` what happens where the store is gone
- `stores.py`    where revocations are kept: `in_redis.py`, and PostgreSQL (`auth/store/revocations.py`)
- `revoking.py`  a new revocation; `opening.py` all of it for one worker; `settings.py` what an operator can say
"""
