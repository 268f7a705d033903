"""`pegboard auth hash`: what stands in the column with the passwords."""

from __future__ import annotations

import sys

import click

from plugins.auth.login.passwords import LONGEST_BYTES, Cost, hasher_of


def hash_command(cost: Cost) -> click.Command:
    """Each hash has that cost."""

    @click.command("hash", short_help="Make the hash of a password.")
    def hash_password() -> None:
        """Make the argon2id hash of a password, for the column that people log in against, and print it.

        The password is asked for, or read from standard input: one line. It never stands in the command itself, where
        the shell would remember it.

        \b
        Example:
          pegboard auth hash
          psql -c "UPDATE users SET password_hash = '$(pegboard auth hash < password.txt)' WHERE id = 1"
        """
        if sys.stdin.isatty():
            password = click.prompt("Password", hide_input=True, confirmation_prompt="Again", err=True)
        else:
            password = sys.stdin.readline().rstrip("\r\n")
        try:
            size = len(password.encode())
        except UnicodeEncodeError:  # bytes that are no text in this terminal's encoding
            raise click.UsageError("The password is not in UTF-8.") from None
        if not size or size > LONGEST_BYTES:
            raise click.UsageError(f"A password has 1 to {LONGEST_BYTES:,} bytes.")
        click.echo(hasher_of(cost).hash(password))

    return hash_password
