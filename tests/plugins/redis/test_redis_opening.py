"""Ways to Redis: what the operator is told at the start, and that no secret is ever in it."""

from __future__ import annotations

import asyncio
import datetime
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plugins.redis.opening import Unusable
from service.errors import PluginError, SettingsError
from service.testing.redis import RedisServer

CANARY = "c4n4ry:p@ss/w?rd#"
ENCODED = "c4n4ry%3Ap%40ss%2Fw%3Frd%23"
SECRETS = (CANARY, ENCODED, "c4n4ry")


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def tcp() -> Iterator[RedisServer]:
    """A server on TCP with two users: `api` has everything, `poor` nearly nothing."""
    with RedisServer(has_port=True) as server, socket.socket(socket.AF_UNIX) as sock:
        sock.connect(server.socket)
        for command in (f'ACL SETUSER api on ">{CANARY}" ~* &* +@all', f'ACL SETUSER poor on ">{CANARY}" +hello'):
            sock.sendall(f"{command}\r\n".encode())
            assert sock.recv(100) == b"+OK\r\n"
        yield server


# --- URLs that lead somewhere


@pytest.mark.parametrize(
    "form",
    [
        "redis://api:{password}@127.0.0.1:{port}/0",
        "redis://api:{password}@127.0.0.1:{port}/5",
        "redis://localhost:{port}",
        "unix://api:{password}@{socket}?db=3",
        "unix://{socket}",
    ],
)
async def test_url_leads_to_the_server_in_every_form(tcp, open_redis, form):
    url = form.format(password=ENCODED, port=tcp.port, socket=tcp.socket)
    async with open_redis(url) as opened:
        await opened.redis.set("key", b"1", ttl_s=60)
        assert await opened.redis.get("key") == b"1"
    [said] = opened.said
    assert re.fullmatch(r"Redis \d+\.\d+\.\d+ at \S+, database \d", said)
    assert not [secret for secret in SECRETS if secret in said]


async def test_database_of_the_url_is_used(tcp, open_redis, say):
    async with open_redis(f"redis://127.0.0.1:{tcp.port}/7") as opened:
        await opened.redis.set("here", b"1", ttl_s=60)
        assert "db7:keys=1" in say(tcp, "INFO keyspace")
        await opened.redis.delete("here")


async def test_connections_are_called_by_our_name(tcp, open_redis, say):
    async with open_redis(f"redis://127.0.0.1:{tcp.port}") as opened:
        await opened.redis.get("key")
        assert "name=pegboard" in say(tcp, "CLIENT LIST")


# --- mistakes: someone has to correct something, so the start ends


@pytest.mark.parametrize(
    ("url", "words", "write"),
    [
        ("redis://api:c4n4ry-wrong@127.0.0.1:{port}", "wrong user or password", "redis://user:password@host:6379/0"),
        ("redis://nobody:{password}@127.0.0.1:{port}", "wrong user or password", "redis://user:password@host:6379/0"),
        ("redis://:{password}@127.0.0.1:{port}", "the url has a password, and it wants none", "redis://user:"),
        ("redis://poor:{password}@127.0.0.1:{port}", "the user may not use it", "redis://user:password@host:6379/0"),
        ("redis://127.0.0.1:{port}/99", "there is no database of that number", "redis://user:password@host:6379/0"),
        ("rediss://127.0.0.1:{port}?ssl_ca_certs=/nowhere.pem", "a certificate or key", "redis://user:password@"),
        ("redis+cluster://127.0.0.1:{port}", "it is no part of a cluster", "redis://user:password@host:6379/0"),
        ("redis+sentinel://127.0.0.1:{port}/mymaster", "it is no Sentinel", "redis://user:password@host:6379/0"),
    ],
)
async def test_mistake_in_the_url_stops_the_start_with_the_line_to_write(tcp, open_redis, caplog, url, words, write):
    said: list[str] = []
    faults = []
    with pytest.raises(PluginError) as stopped:
        async with open_redis(url.format(port=tcp.port, password=ENCODED), said, faults=faults):
            raise AssertionError("opened")
    [(path, text, written)] = faults
    assert path == ("url",)
    assert words in text
    assert str(written).startswith(write)
    assert str(stopped.value) == f"{text}; correct the url."
    assert said == []
    assert not [secret for secret in SECRETS if secret in text + caplog.text]


async def test_server_that_wants_a_password_is_told_so(private_server, open_redis, say):
    say(private_server, f'CONFIG SET requirepass "{CANARY}"')
    faults = []
    with pytest.raises(PluginError):
        async with open_redis(private_server.url, faults=faults):
            raise AssertionError("opened")
    assert faults[0][1].endswith(": it wants a password")


async def test_part_of_a_cluster_is_told_so(cluster, open_redis):
    faults = []
    with pytest.raises(PluginError):
        async with open_redis(cluster[0].url, faults=faults):
            raise AssertionError("opened")
    assert faults[0][1].endswith(": it is a part of a cluster")
    assert faults[0][2] == "redis+cluster://user:password@host:6379,host:6379"


async def test_mistake_in_the_url_is_told_with_the_place_that_names_it(make_service, tcp):
    """And the password is in none of it."""
    url = f"redis://nobody:{ENCODED}@127.0.0.1:{tcp.port}"
    for settings, way_out in (
        ({"env": "REDIS_URL"}, "export REDIS_URL=redis://user:***@host:6379/0"),
        (url, 'url = { env = "REDIS_URL" }'),
    ):
        with pytest.raises(SettingsError) as stopped:
            await make_service(["redis"], {"plugins": {"redis": {"url": settings}}}, environ={"REDIS_URL": url})
        place, _, sentence = str(stopped.value).partition("  ")
        assert re.search(r"config-\d\.toml:\d+$", place)
        assert sentence.startswith("plugins.redis.url: ")
        assert sentence.endswith(f": wrong user or password\n    write: {way_out}")
        assert not [secret for secret in SECRETS if secret in sentence]


# --- versions, by a server of few words

HELLO = (
    b"*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$%d\r\n%s\r\n$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:1\r\n"
    b"$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"
)

Few = Callable[[bytes | None], object]


@pytest.fixture
def of_version() -> Few:
    """`async with of_version(b"6.0.16") as url`: a server that says that it is of that version; of None, that it does
    not know HELLO."""

    @asynccontextmanager
    async def serving(version: bytes | None) -> AsyncIterator[str]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with closing(writer):
                while (line := await reader.readline()).startswith(b"*"):
                    words = []
                    for _ in range(int(line[1:])):
                        length = int((await reader.readline())[1:])
                        words.append((await reader.readexactly(length + 2))[:-2])
                    match words[0]:
                        case b"HELLO" if version is None:
                            writer.write(b"-ERR unknown command `HELLO`, with args beginning with: \r\n")
                        case b"HELLO":
                            writer.write(HELLO % (len(version), version))
                        case b"PING":
                            writer.write(b"+PONG\r\n")
                        case _:
                            writer.write(b"+OK\r\n")

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        try:
            yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            await asyncio.sleep(0)

    return serving


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (b"6.0.16", "it is version 6.0.16, and 6.2 is the oldest that is taken"),
        (b"5.0.14", "it is version 5.0.14, and 6.2 is the oldest that is taken"),
        (None, "it is older than version 6, and 6.2 is the oldest that is taken"),
    ],
)
async def test_server_older_than_6_2_is_refused_at_the_start(of_version, open_redis, version, words):
    faults = []
    async with of_version(version) as url:
        with pytest.raises(PluginError):
            async with open_redis(url, faults=faults):
                raise AssertionError("opened")
    assert faults[0][1].endswith(f": {words}")


@pytest.mark.parametrize("version", [b"6.2.0", b"7.4.1", b"8.0.2", b"10.1", b"255.255.255"])
async def test_server_of_6_2_or_later_is_taken(of_version, open_redis, version):
    async with of_version(version) as url, open_redis(url) as opened:
        assert not opened.is_away


# --- a server that is away: the service starts without it


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://api:c4n4ry@127.0.0.1:{port}", "connection refused"),
        ("redis://api:c4n4ry@nowhere.invalid", "there is no such host"),
        ("unix://api:c4n4ry@/nowhere/redis.sock", "there is no socket"),
        ("redis+sentinel://api:c4n4ry@127.0.0.1:{port}/mymaster?sentinel_password=c4n4ry", "connection refused"),
        ("redis+cluster://api:c4n4ry@127.0.0.1:{port}", "connection refused"),
    ],
)
async def test_server_that_is_away_does_not_stop_the_start(open_redis, caplog, url, words):
    async with open_redis(url.format(port=free_port())) as opened:
        assert opened.is_away
        with pytest.raises(Unusable, match=rf"^{words}$") as failed:
            await opened.probe.check()
        [said] = opened.said
        assert said.endswith(f" is away ({words}): going on without it until it is there")
        assert "c4n4ry" not in said + caplog.text + str(failed.value)


async def test_server_that_never_answers_does_not_stop_the_start(open_redis):
    with closing(socket.socket()) as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"redis://127.0.0.1:{mute.getsockname()[1]}"
        async with open_redis(url, timeouts={"connect": "50ms"}) as opened:
            assert "(no answer)" in opened.said[0]


async def test_server_that_comes_later_is_found(private_server, open_redis, eventually):
    private_server.stop()
    async with open_redis(private_server.url) as opened:
        private_server.start()
        await eventually(lambda: not opened.is_away)
        await opened.redis.set("key", b"1", ttl_s=60)
        assert opened.said[1] == f"Redis at {private_server.socket}, database 0 is back"


async def test_replica_is_away_since_it_may_become_the_master(private_server, open_redis, say):
    say(private_server, "REPLICAOF 127.0.0.1 1")
    async with open_redis(private_server.url) as opened:
        assert "is away (it is a replica, which takes no changes)" in opened.said[0]


async def test_server_with_too_many_clients_is_away(private_server, open_redis, say, eventually):
    say(private_server, "CONFIG SET maxclients 1")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(private_server.socket)
        sock.sendall(b"PING\r\n")
        assert sock.recv(100) == b"+PONG\r\n"
        async with open_redis(private_server.url) as opened:
            # it says why and closes: whoever is still writing may see no more than that
            assert re.search(r"is away \((it has too many connections|it closed the connection)\)", opened.said[0])
            sock.close()
            await eventually(lambda: not opened.is_away)


# --- TLS


async def test_server_that_does_not_speak_tls_is_away(tcp, open_redis):
    async with open_redis(f"rediss://127.0.0.1:{tcp.port}", timeouts={"connect": "100ms"}) as opened:
        assert "is away (no answer in TLS)" in opened.said[0]


async def test_server_that_speaks_nothing_but_tls_is_away(redis_server, redis_url, open_redis, certificate):
    async with in_tls(redis_server, certificate) as port, open_redis(f"redis://127.0.0.1:{port}") as opened:
        assert "it closed the connection; where it speaks TLS, the url begins with rediss" in opened.said[0]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 127.0.0.1, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "cert.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(made.public_bytes(pem) + private)
    return file


@asynccontextmanager
async def in_tls(server: RedisServer, certificate: Path) -> AsyncIterator[int]:
    """The port of something that speaks TLS in front of the server, as stunnel does: few builds speak it themselves."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    tasks: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65_536):
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_unix_connection(server.socket)
        for pair in ((reader, to_writer), (to_reader, writer)):
            task = asyncio.create_task(copy(*pair))
            tasks.add(task)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await asyncio.gather(*tasks)


async def test_tls_verifies_who_answers(redis_server, redis_url, open_redis, certificate):
    async with in_tls(redis_server, certificate) as port:
        async with open_redis(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}") as opened:
            await opened.redis.set("key", b"\x00" * 100_000, ttl_s=60)
            assert await opened.redis.get("key") == b"\x00" * 100_000
        faults = []
        with pytest.raises(PluginError):
            async with open_redis(f"rediss://127.0.0.1:{port}", faults=faults):
                raise AssertionError("opened")
        assert "TLS: self" in faults[0][1]
        async with open_redis(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none") as opened:
            assert not opened.is_away


async def test_tls_to_another_name_is_refused(redis_server, redis_url, open_redis, certificate):
    faults = []
    async with in_tls(redis_server, certificate) as port:
        with pytest.raises(PluginError):
            async with open_redis(f"rediss://localhost:{port}?ssl_ca_certs={certificate}", faults=faults):
                raise AssertionError("opened")
    assert "TLS: Hostname mismatch" in faults[0][1]
