"""What plugins share: typed port keys, the `Ports` they are exchanged through, and the contracts behind them.

A port is a Protocol or a frozen value of ours: no driver's type crosses. One plugin provides it, others need it,
find it or take every one of it. Keys are declared here so that provider and user never import each other.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
)

from service.errors import PluginError, ServiceError
from service.events import Change

if TYPE_CHECKING:
    from aiohttp.web import Request

    from service.parts import MountedRoute, Probe

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")

Implementations = Callable[[str], Mapping[str, Callable[..., object]]]
"""Who implements a hook, by instance name; each is called with the hook's arguments by name."""

CORE = "service"
"""Whose ports need not be listed: the core's own."""


@dataclass(frozen=True)  # with slots, PortKey[Type]("name") would raise TypeError (Python 3.11)
class PortKey(Generic[T]):
    """Name and type of a port: `DATABASE: PortKey[Database] = PortKey("database")`."""

    name: str
    many: bool = False
    """True where several plugins may provide it (taken with `ports.every`)."""


class Ports:
    """The ports as one plugin sees them; given to its `lifespan` hook."""

    __slots__ = ("_implementations", "_owner", "_providers", "_provides", "_published", "_requires", "_shelf", "_uses")

    def __init__(
        self,
        owner: str,
        shelf: dict[str, list[tuple[str, object]]],
        *,
        requires: Iterable[PortKey[Any]] = (),
        uses: Iterable[PortKey[Any]] = (),
        provides: Iterable[PortKey[Any]] = (),
        providers: Mapping[str, Sequence[str]] | None = None,
        published: Iterable[Callable[..., object]] = (),
        implementations: Implementations | None = None,
    ) -> None:
        """`shelf` is shared by all plugins: by port name, who provided what. `providers` says whose port `owner` gets
        where that was decided; a port that it does not list comes from the core. `published` are the hookspecs of
        `owner`."""
        self._owner = owner
        self._shelf = shelf
        self._requires = frozenset(requires)
        self._uses = frozenset(uses)
        self._provides = frozenset(provides)
        self._providers = providers or {}
        self._published = tuple(published)
        self._implementations = implementations or (lambda hook: {})

    def need(self, key: PortKey[T]) -> T:
        """The port. Raises PluginError if nobody provides it or the plugin does not list it in `requires`."""
        offers = self._offers(key, self._requires, "requires")
        if not offers:
            raise PluginError(f"plugin {self._owner} needs the port {key.name}, and nobody has provided it yet.")
        return offers[0]

    def find(self, key: PortKey[T]) -> T | None:
        """The port, or None if nobody provides it. Raises PluginError if the plugin does not list it in `uses`."""
        offers = self._offers(key, self._requires | self._uses, "uses")
        return offers[0] if offers else None

    def every(self, key: PortKey[T]) -> Sequence[T]:
        """All that was provided under a key declared with `many=True`, in opening order."""
        return self._offers(key, self._requires | self._uses, "uses")

    def provide(self, key: PortKey[T], port: T) -> None:
        """Offer the port to others. Raises PluginError if the plugin does not list it in `provides`, has provided it
        already (unless `key.many`), or if it is the core's."""
        if key not in self._provides:
            raise PluginError(
                f"plugin {self._owner} provides the port {key.name} without saying so; "
                f"write provides = ({key.name.upper()},) in its class Plugin."
            )
        offers = self._shelf.setdefault(key.name, [])
        owners = [owner for owner, _ in offers]
        if CORE in owners:
            raise PluginError(f"plugin {self._owner}: the port {key.name} is the core's own; give yours another name.")
        if self._owner in owners and not key.many:
            raise PluginError(f"plugin {self._owner} provides the port {key.name} twice; provide it once.")
        offers.append((self._owner, port))

    def hook(self, spec: Callable[Concatenate[Any, P], R]) -> Callable[P, dict[str, R]]:
        """A hook of the plugin's own class `Hooks`, as a function: it asks every plugin that implements the hook and
        returns what each returned, by instance name, in opening order.

        Call it while the application is built: in a lifespan, where those who implement it need not be open yet, or in
        another hook, where they are. It raises PluginError for what fails, and once the service serves.
        """
        name = getattr(spec, "__name__", repr(spec))
        if spec not in self._published:
            raise PluginError(
                f"plugin {self._owner} takes the hook {name}, which it does not publish; "
                f"write @hookspec and def {name} in its class Hooks."
            )
        signature = inspect.signature(spec)

        def ask(*args: P.args, **kwargs: P.kwargs) -> dict[str, R]:
            given = dict([*signature.bind(None, *args, **kwargs).arguments.items()][1:])
            return {plugin: cast(R, call(**given)) for plugin, call in self._implementations(name).items()}

        return ask

    def _offers(self, key: PortKey[T], listed: frozenset[PortKey[Any]], attribute: str) -> list[T]:
        offers = self._shelf.get(key.name, [])
        if key in listed:
            chosen = self._providers.get(key.name, ())
            return [cast(T, port) for owner, port in offers if owner in chosen or owner == CORE]
        if any(owner == CORE for owner, _ in offers):
            return [cast(T, port) for owner, port in offers]
        raise PluginError(
            f"plugin {self._owner} takes the port {key.name} without saying so; "
            f"write {attribute} = ({key.name.upper()},) in its class Plugin."
        )


# --- the application itself, provided by the core


@dataclass(frozen=True, slots=True)
class About:
    """What runs here, to be shown. Nothing is decided on it: what a plugin may depend on is in `Run`, as `strict`."""

    version: str
    """Pegboard's own."""
    environment: str
    """The name of the environment whose settings apply."""
    plugins: tuple[str, ...]
    """Instance names of those that are on, in the order in which they were opened."""


class Serving(Protocol):
    """What the core tells plugins of the application that they are part of."""

    @property
    def about(self) -> About:
        """What runs here."""

    @property
    def draining(self) -> bool:
        """True from the first sign of the end: readiness fails, work goes on."""

    @property
    def routes(self) -> Sequence[MountedRoute]:
        """Every route as served; empty until all is declared."""

    @property
    def probes(self) -> Sequence[Probe]:
        """Every probe declared; empty until all is declared."""

    def excuse(self, prefix: str) -> None:
        """Say, in a lifespan, that routes named `prefix` and `prefix.…` may be missing here: settings for them are then
        told, and no fault."""

    def answer(self, question: str, function: Callable[[], object]) -> None:
        """Say, in a lifespan, who answers `question` while the service runs; one of a plugin's own is called
        `f"{run.name}.NAME"`. `function` is synchronous and quick and gives plain data, of 256 KiB as JSON at most. Who
        asks is a command, with `ask_service`. Raises PluginError where the question is answered already."""

    async def wait_declared(self) -> None:
        """Return once every plugin has declared its parts."""


class Changes(Protocol):
    """Where writers announce what they committed."""

    def announce(self, change: Change) -> None:
        """Hand `change` to every `changes` hook: after COMMIT, before the writer's answer leaves."""


SERVING: PortKey[Serving] = PortKey("serving")
CHANGES: PortKey[Changes] = PortKey("changes")


# --- database


class Transaction(Protocol):
    """One transaction on one connection; committed when its block ends, rolled back when it raises."""

    async def fetch(self, sql: str, *args: object) -> Sequence[Mapping[str, object]]:
        """Rows as mappings of column name to value."""

    async def fetch_json(self, sql: str, *args: object) -> bytes | None:
        """As `Database.fetch_json`, in this transaction."""

    async def execute(self, sql: str, *args: object) -> None:
        """Run one statement for its effect."""


class Database(Protocol):
    """PostgreSQL, as plugins see it. Every method raises ServiceErrors only: SQLSTATEs are mapped behind it."""

    @property
    def is_own(self) -> bool:
        """True where this service runs the server: what a plugin keeps there it may make unasked."""

    async def fetch_json(self, sql: str, *args: object) -> bytes | None:
        """The JSON text of the only column of the only row, undecoded; None if there is no row or it is NULL.

        The column's SQL type is `json`. Limited by the read timeout.
        """

    async def fetch(self, sql: str, *args: object) -> Sequence[Mapping[str, object]]:
        """Rows as mappings of column name to value. Limited by the read timeout."""

    async def count(self, sql: str, *args: object) -> int | None:
        """The number in the only column of the only row. Limited by a timeout for counting, shorter than others; None
        where it took longer."""

    async def write(self, sql: str, *args: object) -> bytes | None:
        """Run one statement that writes, and commit it. Returns as `fetch_json` does.

        Limited by the write timeout. Tried again where another transaction got in the way (40001, 40P01), then 409;
        never once it may have been committed: a connection that is lost meanwhile raises OutcomeUnknown.
        """

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction with the write timeout; lock conflicts (40001, 40P01) become 409."""

    def listen(
        self,
        channel: str,
        receive: Callable[[str], None],
        *,
        begun: Callable[[], None] = lambda: None,
        lost: Callable[[], None] = lambda: None,
    ) -> AbstractAsyncContextManager[None]:
        """Call `receive(payload)` for every NOTIFY on `channel`, over a connection that heals itself: one for all who
        listen, and none of the pool's.

        `begun()` is called whenever it begins to hear, before the block is entered too: all that was notified before
        may have been missed. `lost()` is called when it has ceased to hear; a connection that dies without a word is
        noticed after 3 s at most. The functions are quick and do not wait.
        """


DATABASE: PortKey[Database] = PortKey("database")


# --- redis

Reply: TypeAlias = "int | bytes | Sequence[Reply] | None"
"""What a script may return."""


@dataclass(frozen=True, slots=True)
class Script:
    """Lua that Redis runs as one step: `KEYS[1]` is the first of its keys, `ARGV[1]` the first of its arguments.

    It reaches no key but those in KEYS. In a cluster all of them have one slot: `{42}:hits`, `{42}:blocked`.
    """

    source: str
    digest: str = field(init=False)
    """What Redis calls it once it has seen it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest())


class Redis(Protocol):
    """Redis, as plugins see it. Keys and channels are this service's own: the plugin that provides it prefixes them.

    Every method raises ServiceErrors only. While Redis is away that is Unavailable, and at once; no command waits for
    longer than its timeout, and none is tried twice. One that raised may have been done all the same.
    """

    async def get(self, key: str) -> bytes | None:
        """The value, or None where there is none."""

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """The value of each key, in one round trip; in a cluster in one for each slot, and not of one moment."""

    async def set(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """Keep `value` for so many seconds, to the millisecond. Nothing is kept for ever."""

    async def delete(self, *keys: str) -> None:
        """Remove those that are there."""

    async def script(self, script: Script, *, keys: Sequence[str], args: Sequence[str | bytes | int] = ()) -> Reply:
        """Run it. It is sent in whole only where Redis does not know it yet, or any more."""

    async def publish(self, channel: str, message: bytes) -> None:
        """Tell all who listen now, on every server. That it returns does not mean that anyone has heard it."""

    def subscribe(
        self,
        channel: str,
        receive: Callable[[bytes], None],
        *,
        begun: Callable[[], None],
        lost: Callable[[], None],
    ) -> AbstractAsyncContextManager[None]:
        """Call `receive(message)` for every message on `channel`, in order, over one connection for all who listen,
        which comes back by itself.

        `begun()` is called whenever it begins to hear, the first time too: all that was published before may have been
        missed, so read anew what the messages are about. `lost()` is called when it has ceased to hear: until it has
        begun again, what is known may be out of date. The block is entered also while Redis is away, and then hears
        later. The functions are quick and do not wait.
        """


REDIS: PortKey[Redis] = PortKey("redis")


# --- who asks


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. Anonymous is one too."""

    subject: str | None
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, object] | None = None
    scheme: str = "anonymous"


ANONYMOUS = Principal(subject=None)


class Authenticator(Protocol):
    """A scheme of authentication. A plugin may provide several; the first that recognises a request decides."""

    @property
    def scheme(self) -> str:
        """What it is called, as in `Principal.scheme`."""

    @property
    def challenge(self) -> str:
        """What a 401 says of it in WWW-Authenticate: `ApiKey realm="api"` (RFC 9110, section 11.6.1)."""

    def recognises(self, request: Request) -> bool:
        """True if the request has credentials of this scheme, right or wrong. Quick, and never waits."""

    def authenticate(self, request: Request) -> Principal | Awaitable[Principal]:
        """Whose they are; at once where that can be. Raises InvalidToken, or another kind of Unauthenticated."""


@dataclass(frozen=True, slots=True)
class Operators:
    """Says that operators' routes may be served on the main address: who provides this refuses everyone else there."""

    who: str
    """Whom it lets through, to be told: `principals with the role admin`."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """Columns that no client may see or write, whatever else says so: what a login compares."""

    schema: str
    table: str
    columns: frozenset[str]


AUTHENTICATOR: PortKey[Authenticator] = PortKey("authenticator", many=True)
OPERATORS: PortKey[Operators] = PortKey("operators")
HIDDEN: PortKey[Hidden] = PortKey("hidden", many=True)


# --- what they may do

Action = Literal["read", "list", "create", "update", "delete"]
"""What is done to a resource: `read` is one row by its key, `list` is rows of it, and how many there are."""

Where: TypeAlias = "tuple[tuple[tuple[str, str], ...], ...]"
"""Alternatives, of which one must hold: each a tuple of (column, text) that must all be equal, by the column's type."""

EVERY_ROW: Final[Where] = ((),)
NO_ROW: Final[Where] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """What one principal may do to the rows of one resource, by one action. Columns go by their database names."""

    where: Where = EVERY_ROW
    """Which rows: as they are before a write, and as they are after it. A text that is no value of its column's type
    matches no row. Where several alternatives are left then, an update gives none of their columns a value, so that it
    takes no row from one alternative to another."""
    readable: frozenset[str] | None = None
    """The columns that exist for the principal; None is all."""
    writable: frozenset[str] | None = None
    """Those of them that it may give a value; None is all."""
    fingerprint: str = field(init=False)
    """The same for equal grants, in every process, and different for others: what an answer depends on."""

    def __post_init__(self) -> None:
        alternatives = {tuple(sorted(set(alternative))) for alternative in self.where}
        object.__setattr__(self, "where", tuple(sorted(alternatives)))
        object.__setattr__(self, "fingerprint", _fingerprint(self))


def _fingerprint(grant: Grant) -> str:
    """Every count and every text with its length before it: no value can pass for another one's end."""
    digest = hashlib.blake2b(digest_size=16)

    def count(number: int) -> None:
        digest.update(number.to_bytes(8, "big", signed=True))

    def text(value: str) -> None:
        data = value.encode("utf-8", "surrogatepass")
        count(len(data))
        digest.update(data)

    count(len(grant.where))
    for alternative in grant.where:
        count(len(alternative))
        for column, value in alternative:
            text(column)
            text(value)
    for columns in (grant.readable, grant.writable):
        count(-1 if columns is None else len(columns))
        for column in sorted(columns or ()):
            text(column)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Grantable:
    """A resource, as far as it can be granted: what rules that name it may say."""

    name: str
    """As in `Route.reads`."""
    columns: Mapping[str, Callable[[str], bool]]
    """All that rows can be told apart by, hidden ones too; each says whether a text is a value of it."""
    shown: frozenset[str]
    """Those that clients see where nothing forbids it."""
    key: frozenset[str]
    """Those that name a single row in a URL; empty where nothing does."""
    required: frozenset[str] = frozenset()
    """Those without which no row can be made."""
    empty: frozenset[str] = frozenset()
    """Those that are NULL in a new row that is given no value for them."""
    writes: Mapping[Action, frozenset[str]] | None = None
    """What is done to its rows beside reading them, and to which columns it gives values; None where nobody knows."""


class Access(Protocol):
    """Decides who may do what. Where nobody provides it, everyone may do everything."""

    def expect(self, resource: Grantable) -> None:
        """Say, in a lifespan, that this is there to be granted: rules that name it wrongly then stop the start."""

    def grant(self, principal: Principal, resource: str, action: Action) -> Grant | None:
        """What it may do; None is nothing. Quick, and never waits."""

    def refusal(self, principal: Principal, resource: str, action: Action) -> ServiceError:
        """What to raise where there is no grant: Forbidden, or Unauthenticated where saying who asks might help."""


ACCESS: PortKey[Access] = PortKey("access")
