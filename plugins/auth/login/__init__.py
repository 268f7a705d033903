"""Log in with a name and a password: from the settings to the routes.

Table   [plugins.auth.login]
Needs   DATABASE, with the schema `pegboard`; provides HIDDEN: the column with the hashes
Routes  auth.token, auth.refresh, auth.logout
Raises  InvalidCredentials 401, InvalidToken 401, RateLimited 429, Unavailable 503 where too many log in at once
Source  RFC 6749 section 5.1, RFC 9700 section 4.14, RFC 9106 (argon2), OWASP ASVS 5.0 V6

- `settings.py`   what an operator can say
- `bodies.py`     what a client sent
- `throttle.py`   how many attempts there may be
- `accounts.py`   the operator's table
- `passwords.py`  hashes, in threads
- `handlers.py`   the answers
- `opening.py`    all of these put together
"""
