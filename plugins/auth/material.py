"""From settings to keys: what is wrong with them joins the one report, each fault with the line to write."""

from __future__ import annotations

from typing import Final

from yarl import URL

from plugins.auth.settings import Settings
from plugins.auth.tokens.kept import kept_secret
from plugins.auth.tokens.keys import Key, WrongKey, key_of_text, secret_key, shortest_secret
from plugins.auth.tokens.making import Maker
from plugins.auth.tokens.verifying import Rules
from service.api import PluginError, Run, Secret

FROM_ENVIRONMENT: Final = {"env": "JWT_SECRET"}
"""Where a secret should come from."""

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")

OF_ASYMMETRIC: Final = "RS256"
"""What most issuers sign with."""


class Material:
    """The keys of the settings, read once; nothing is opened before `keys`."""

    def __init__(self, settings: Settings, run: Run) -> None:
        """Tells what is wrong by `run.fault`."""
        self._settings = settings
        self._run = run
        self._has_faults = False
        self.sentences: list[str] = []
        """What the operator should know."""
        self._shortest = shortest_secret(settings.algorithms)
        self.keeps_secret = not (settings.secret or settings.keys or settings.jwks) and not run.strict
        """True where the secret is one that is made here."""
        if self.keeps_secret:
            place = f"{run.state_dir.name}/{self._file}"
            self.sentences.append(
                f"Tokens are checked with a secret of this machine's own, in {place}, as none is set; for others to "
                f'make tokens, write: secret = {{ env = "JWT_SECRET" }} under [plugins.{run.name}].'
            )
        self._secrets = self._read_secrets()
        self._keys = self._read_keys()
        self._check_jwks()
        self._check_algorithms()

    @property
    def rules(self) -> Rules:
        settings = self._settings
        return Rules(
            algorithms=frozenset(settings.algorithms),
            issuer=settings.issuer,
            audience=settings.audience,
            leeway_s=settings.leeway.seconds,
            typ=settings.typ.lower().removeprefix("application/") if settings.typ else None,
            role_claim=settings.role_claim,
            has_issuer_keys=settings.jwks is not None,
        )

    def kept(self) -> Key:
        """The secret that is kept here, made where it is not there yet. Raises PluginError."""
        return secret_key(kept_secret(self._run.state_dir, self._file), self._settings.algorithms)

    def keys(self) -> list[Key]:
        """All of them, the one that signs first. Raises PluginError."""
        own = [self.kept()] if self.keeps_secret else []
        return [*self._secrets[:1], *own, *self._keys, *self._secrets[1:]]

    def maker(self) -> Maker:
        """What makes tokens. Raises PluginError where nothing here can sign."""
        settings = self._settings
        able = [key for key in self.keys() if key.signs is not None]
        if not able:
            raise PluginError(
                f"plugin {self._run.name} has only public keys, which sign nothing; ask the issuer for a token, or set "
                f'a secret: secret = {{ env = "JWT_SECRET" }} under [plugins.{self._run.name}].'
            )
        key = min(able, key=lambda key: settings.algorithms.index(key.algorithms[0]))
        return Maker(key, settings.issuer, settings.audience, settings.typ, settings.role_claim)

    @property
    def _file(self) -> str:
        return f"{self._run.name}.secret"

    def _fault(self, path: tuple[str | int, ...], message: str, *, write: object = None) -> None:
        self._has_faults = True
        self._run.fault(path, message, write=write)

    # --- what is read

    def _read_secrets(self) -> list[Key]:
        settings = self._settings
        if not settings.secret:
            if not (settings.keys or settings.jwks) and self._run.strict:
                self._fault(
                    ("secret",),
                    "there is nothing to check tokens with: secret is missing, or the variable that it refers to is "
                    f"not set; export JWT_SECRET with {self._shortest} random bytes or more "
                    "(openssl rand -base64 48)",
                    write=FROM_ENVIRONMENT,
                )
            return []
        if not self._shortest:
            self._fault(("secret",), "is for HS256, HS384 and HS512, and algorithms names none of them")
            return []
        listed: list[tuple[tuple[str | int, ...], Secret]] = [(("secret",), settings.secret)]
        listed += [(("old_secrets", place), old) for place, old in enumerate(settings.old_secrets)]
        found: list[Key] = []
        for path, secret in listed:
            try:
                key = secret_key(secret.reveal(), settings.algorithms)
            except WrongKey as wrong:
                self._fault(path, str(wrong), write=FROM_ENVIRONMENT)
                continue
            self._weigh(path, len(secret.reveal().encode()))
            found.append(key)
        return found

    def _weigh(self, path: tuple[str | int, ...], length_bytes: int) -> None:
        if length_bytes >= self._shortest:
            return
        message = f"is {length_bytes} bytes long, and {', '.join(self._settings.algorithms)} needs {self._shortest}"
        if self._run.strict:
            self._fault(path, message, write=FROM_ENVIRONMENT)
        else:
            name = ".".join(map(str, path))
            self.sentences.append(
                f"{name} of [plugins.{self._run.name}] {message}: it can be guessed, and a strict service would not "
                "start; make one with openssl rand -base64 48."
            )

    def _read_keys(self) -> list[Key]:
        found: list[Key] = []
        for place, text in enumerate(self._settings.keys):
            try:
                found.append(key_of_text(text.reveal(), self._settings.algorithms))
            except WrongKey as wrong:
                if wrong.needs is None:
                    self._fault(("keys", place), str(wrong), write={"file": "issuer.pem"})
                else:
                    useful = [name for name in self._settings.algorithms if self._settings.secret or name[:2] != "HS"]
                    self._fault(("algorithms",), f"lacks one: keys[{place}] {wrong}", write=[*useful, wrong.needs])
        return found

    def _check_jwks(self) -> None:
        if self._settings.jwks is None:
            return
        url = URL(self._settings.jwks)
        if url.scheme != "https" and self._run.strict and url.host not in LOOPBACK:
            self._fault(
                ("jwks",),
                "is fetched in the clear, so anyone on the way could put keys of their own in its place",
                write=str(url.with_scheme("https").with_port(url.explicit_port)),
            )

    def _check_algorithms(self) -> None:
        """Each must have a key, or may get one from the issuer: else it does nothing."""
        if self._has_faults:
            return
        settings = self._settings
        has = {name for key in (*self._secrets, *self._keys) for name in key.algorithms}
        for name in settings.algorithms:
            is_hmac = name.startswith("HS")
            if name in has or (self.keeps_secret and is_hmac) or (settings.jwks and not is_hmac):
                continue
            rest = [other for other in settings.algorithms if other in has or (settings.jwks and other[:2] != "HS")]
            self._fault(
                ("algorithms",),
                f"names {name}, for which there is no key",
                write=rest or sorted(has)[:1] or [OF_ASYMMETRIC],
            )
            return
        if settings.jwks and not any(name[:2] != "HS" for name in settings.algorithms):
            self._fault(
                ("algorithms",),
                "names none that a key of the issuer's can be for, so jwks does nothing",
                write=[*settings.algorithms, OF_ASYMMETRIC],
            )
        if settings.login and not self.keeps_secret and not any(key.signs for key in (*self._secrets, *self._keys)):
            self._fault(
                ("secret",),
                "is missing, and login makes tokens: public keys sign nothing (algorithms has to name HS256 then)",
                write=FROM_ENVIRONMENT,
            )
        if settings.old_secrets and not settings.secret:
            self._fault(("old_secrets",), "are accepted beside secret, and that is missing")
