"""Addresses to listen on: what is bound, what is refused and how that is said."""

from __future__ import annotations

import asyncio
import datetime
import errno
import ipaddress
import os
import signal
import socket
import ssl
import stat
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector, UnixConnector
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from service.listening import Address, ListenError, _why_not, bind, turn_away

# --- addresses


@pytest.fixture
def taken() -> socket.socket:
    sock = socket.create_server(("127.0.0.1", 0))
    yield sock  # type: ignore[misc]
    sock.close()


async def test_busy_port_is_one_sentence_and_closes_nothing_twice(start: Any, taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    worker = await start("--port", str(port))
    code, _ = await worker.ended()
    assert code == os.EX_UNAVAILABLE
    assert worker.out.strip() == (
        f"pegboard: port {port} on 127.0.0.1 is taken by another process; stop it, or choose another: --port {port + 1}"
    )


WAITING = """
    import asyncio, pathlib
    from contextlib import asynccontextmanager
    from service.api import hookimpl

    class Plugin:
        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports):
            print("opening", flush=True)
            while not pathlib.Path("go").exists():
                await asyncio.sleep(0.01)
            yield
    """


async def test_port_that_another_begins_to_listen_on_meanwhile_is_one_sentence(start: Any, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))  # by both, since neither listens yet
        port = other.getsockname()[1]
        worker = await start("--port", str(port), waiting=WAITING)
        await worker.line("opening")
        other.listen()
        (tmp_path / "go").touch()
        code, _ = await worker.ended()
    assert code == os.EX_UNAVAILABLE, worker.out
    assert f"pegboard: port {port} on 127.0.0.1 is taken by another process" in worker.out
    assert "hello closed" in worker.out
    assert "Traceback" not in worker.out


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("192.0.2.1", "service.host: '192.0.2.1' is no address of this machine; write: host = \"127.0.0.1\""),
        ("a..b", "service.host: 'a..b' is no address of this machine (not a host name); write: host = \"127.0.0.1\""),
        ("a" * 70, "is no address of this machine (not a host name); write: host"),
    ],
)
def test_host_that_is_none_of_ours_is_one_sentence(host: str, said: str) -> None:
    with pytest.raises(ListenError) as caught:
        bind(Address("service.host", host, 0))
    assert said in str(caught.value)
    assert caught.value.exit_code == os.EX_UNAVAILABLE


def test_host_that_does_not_resolve_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ListenError) as caught:
        bind(Address("service.host", "nowhere.example", 80))
    assert str(caught.value) == (
        "service.host: 'nowhere.example' is no address of this machine (Name or service not known); "
        'write: host = "127.0.0.1"'
    )


@pytest.mark.parametrize(
    ("code", "port", "said"),
    [
        (errno.EACCES, 80, "port 80 needs privileges that this user lacks; choose one above 1023: --port 3000"),
        (errno.EADDRINUSE, 65_535, "stop it, or choose another: --port 3000"),
        (errno.ENOBUFS, 80, "cannot listen on ::1 port 80: No buffer space available; choose another with --host"),
    ],
)
def test_address_that_the_system_refuses_is_one_sentence(code: int, port: int, said: str) -> None:
    assert said in _why_not(OSError(code, os.strerror(code)), Address("service.host", "::1", port))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::", "::1"])
def test_host_may_be_a_name_or_an_address_of_either_kind(host: str) -> None:
    try:
        sock = bind(Address("service.host", host, 0))
    except ListenError:
        assert ":" in host, "only IPv6 may be missing here"
        pytest.skip("this machine has no IPv6")
    with sock:
        assert sock.getsockname()[1] > 0
        assert not sock.getblocking()


@pytest.mark.skipif(sys.platform != "linux", reason="TCP elsewhere has no such thing")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_who_has_connected_is_served_and_who_comes_later_is_not_answered(host: str) -> None:
    try:
        sock = bind(Address("service.host", host, 0))
    except ListenError:
        pytest.skip("this machine has no IPv6")
    with sock, socket.socket(sock.family) as later:
        sock.listen(8)
        with socket.create_connection(sock.getsockname()[:2]) as early:
            turn_away(sock)
            turn_away(sock)  # another worker does it too
            later.setblocking(False)
            assert later.connect_ex(sock.getsockname()) == errno.EINPROGRESS
            accepted, _ = sock.accept()
            with accepted:
                early.sendall(b"asks")
                assert accepted.recv(4) == b"asks"
                accepted.sendall(b"is told")
                assert early.recv(7) == b"is told"
            with pytest.raises(BlockingIOError):
                sock.accept()


def test_unix_socket_takes_who_has_connected_and_refuses_who_comes_later(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind(Address("service.listen", path=path)) as sock, socket.socket(socket.AF_UNIX) as early:
        sock.listen(8)
        early.connect(str(path))
        turn_away(sock)
        turn_away(sock)
        with socket.socket(socket.AF_UNIX) as later, pytest.raises(ConnectionRefusedError):
            later.connect(str(path))
        sock.accept()[0].close()


# --- a unix socket


def write_plugin(folder: Path, name: str, code: str) -> None:
    (folder / "plugins" / f"{name}.py").write_text(dedent(code))


async def get(connector: UnixConnector | TCPConnector, url: str) -> tuple[int, bytes]:
    async with ClientSession(connector=connector) as session, session.get(url) as response:
        return response.status, await response.read()


async def test_unix_socket_serves_and_is_removed_at_the_end(start: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.sock"
    service = await start("--workers", "2", config='listen = "unix:run.sock"')
    await service.line(r"serving +\d+ routes on unix:run.sock, 2 workers")
    await service.line(r"try +curl --unix-socket run.sock http://localhost/")
    assert await get(UnixConnector(str(path)), "http://localhost/hello") == (200, b'{"hello":"world"}')
    code, _ = await service.command("reload")
    assert code == 0
    assert (await get(UnixConnector(str(path)), "http://localhost/hello"))[0] == 200
    service.send(signal.SIGTERM)
    assert (await service.ended())[0] == 0
    assert not path.exists()


async def test_unix_socket_that_was_left_behind_is_taken_over_and_a_live_one_is_not(start: Any, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(tmp_path / "run.sock"))
    service = await start(config='listen = "unix:run.sock"')
    await service.line("serving")
    other = await start(config='listen = "unix:run.sock"')
    code, _ = await other.ended()
    path = tmp_path / "run.sock"
    assert (code, other.out.strip()) == (
        os.EX_UNAVAILABLE,
        'pegboard: run.sock is taken by another process; choose another, as in listen = "unix:run.sock-2"',
    )
    assert (await get(UnixConnector(str(path)), "http://localhost/hello"))[0] == 200


@pytest.mark.parametrize(
    ("setting", "mode"), [("", 0o600), ('socket_mode = "660"', 0o660), ('socket_mode = "0666"', 0o666)]
)
async def test_unix_socket_has_the_mode_that_is_set_whatever_the_umask(
    start: Any, tmp_path: Path, setting: str, mode: int
) -> None:
    before = os.umask(0o027)
    try:
        service = await start(config=f'listen = "unix:run.sock"\n{setting}')
    finally:
        os.umask(before)
    await service.line("serving")
    assert stat.S_IMODE((tmp_path / "run.sock").stat().st_mode) == mode


async def test_unix_socket_gets_another_mode_by_a_reload_and_by_none_that_fails(start: Any, tmp_path: Path) -> None:
    service = await start(config='listen = "unix:run.sock"')
    await service.line("serving")
    config, path = tmp_path / "config.toml", tmp_path / "run.sock"
    text = config.read_text().replace("[service]", '[service]\nsocket_mode = "666"')
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        write_plugin(tmp_path, "waiting", WAITING)
        waiting = f"{text}[plugins.waiting]\nenabled = true\n"
        config.write_text(waiting.replace("[service]", f"[service]\noperator = {{ port = {port} }}"))
        reloading = asyncio.create_task(service.command("reload"))
        await service.line("opening")
        other.listen()  # so that all is ready, and then one address fails
        (tmp_path / "go").touch()
        code, out = await reloading
        assert (code, f"port {port} on 127.0.0.1 is taken by another process" in out) == (1, True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config.write_text(text)
    assert (await service.command("reload"))[0] == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    assert (await get(UnixConnector(str(path)), "http://localhost/hello"))[0] == 200


@pytest.mark.parametrize("instead", ["nothing", "a socket that was left behind"])
async def test_unix_socket_whose_file_has_gone_is_bound_again_by_a_reload(
    start: Any, tmp_path: Path, instead: str
) -> None:
    service = await start(config='listen = "unix:run.sock"')
    await service.line("serving")
    path = tmp_path / "run.sock"
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"GET /gate HTTP/1.1\r\nHost: t\r\n\r\n")
    async with asyncio.timeout(30):
        while b'"running":1' not in (await get(UnixConnector(str(path)), "http://localhost/state"))[1]:
            pass
    path.unlink()
    if instead != "nothing":
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(path))
    code, out = await service.command("reload")
    assert (code, out[:8]) == (0, "Reloaded")
    assert (await get(UnixConnector(str(path)), "http://localhost/hello"))[0] == 200
    (tmp_path / "open").touch()
    assert b"200 OK" in await reader.read()  # and the old one finishes what it has
    writer.close()
    service.send(signal.SIGTERM)
    assert (await service.ended())[0] == 0
    assert not path.exists()


async def test_unix_socket_whose_place_another_has_taken_is_told_by_a_reload_and_left_to_it(
    start: Any, tmp_path: Path
) -> None:
    service = await start(config='listen = "unix:run.sock"')
    await service.line("serving")
    path = tmp_path / "run.sock"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        code, out = await service.command("reload")
        assert (code, out) == (
            1,
            "pegboard: not reloaded, the service goes on as it was: run.sock is taken by another process; choose "
            'another, as in listen = "unix:run.sock-2"\n',
        )
        service.send(signal.SIGTERM)
        assert (await service.ended())[0] == 0
        assert path.is_socket()


async def test_unix_socket_of_a_reload_that_fails_is_not_left_behind(start: Any, tmp_path: Path) -> None:
    service = await start(config='listen = "unix:run.sock"')
    await service.line("serving")
    path, config = tmp_path / "run.sock", tmp_path / "config.toml"
    path.unlink()
    write_plugin(tmp_path, "nope", "nope")
    config.write_text(config.read_text() + "[plugins.nope]\nenabled = true\n")
    assert (await service.command("reload"))[0] == 1
    assert not path.exists()


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        ("unix:config.toml", "config.toml is a file that is there already; choose another, as in listen ="),
        ("unix:no/such/folder.sock", "no/such/folder.sock: No such file or directory; name a short path in a folder"),
        (f"unix:{'x' * 120}", "the path is too long for a unix socket; name a short path in a folder that is yours"),
    ],
)
async def test_unix_socket_that_cannot_be_is_one_sentence(start: Any, listen: str, said: str) -> None:
    service = await start(config=f'listen = "{listen}"')
    code, _ = await service.ended()
    assert code == os.EX_UNAVAILABLE
    assert said in service.out
    assert service.out.count("\n") == 1


# --- TLS


def write_certificate(folder: Path, *, serial: int) -> bytes:
    """A certificate for 127.0.0.1 that signs itself, in cert.pem, and key.pem; returns it in PEM form."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pegboard test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), serial)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "cert.pem").write_bytes(pem)
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem


TLS = 'tls = { cert = "cert.pem", key = "key.pem" }'


async def test_tls_serves_and_a_reload_reads_the_certificate_anew(start: Any, tmp_path: Path) -> None:
    first = write_certificate(tmp_path, serial=1)
    service = await start(config=TLS)
    port = (await service.line(r"https://127\.0\.0\.1:(\d+)"))[1]
    url = f"https://127.0.0.1:{port}/hello"
    trusting = ssl.create_default_context(cadata=first.decode())
    assert await get(TCPConnector(ssl=trusting), url) == (200, b'{"hello":"world"}')
    second = write_certificate(tmp_path, serial=2)
    code, _ = await service.command("reload")
    assert code == 0
    trusting = ssl.create_default_context(cadata=second.decode())
    assert (await get(TCPConnector(ssl=trusting), url))[0] == 200


async def test_who_does_not_speak_tls_in_time_is_closed(start: Any, tmp_path: Path) -> None:
    write_certificate(tmp_path, serial=1)
    service = await start("--set", "service.timeouts.header=100ms", config=TLS)
    port = int((await service.line(r"https://127\.0\.0\.1:(\d+)"))[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(
    ("cert", "key", "said"),
    [
        (None, b"", "service.tls.cert: cert.pem cannot be read (No such file or directory); name a file that this"),
        (
            b"no",
            b"no",
            "service.tls: cert.pem and key.pem are no certificate and its key (not in PEM form)",
        ),
    ],
)
async def test_tls_files_that_do_not_serve_are_one_sentence(
    start: Any, tmp_path: Path, cert: bytes | None, key: bytes, said: str
) -> None:
    if cert is not None:
        (tmp_path / "cert.pem").write_bytes(cert)
    (tmp_path / "key.pem").write_bytes(key)
    service = await start(config=TLS)
    code, _ = await service.ended()
    assert code == os.EX_CONFIG
    assert service.out.startswith("pegboard: " + said)
    assert service.out.count("\n") == 1


async def test_clients_that_do_not_agree_on_tls_hold_no_end(start: Any, tmp_path: Path) -> None:
    """One speaks plain HTTP, one says nothing, one is idle and will not say goodbye."""
    trusted = write_certificate(tmp_path, serial=1)
    service = await start(config=TLS, shutdown="60s")
    port = int((await service.line(r"https://127\.0\.0\.1:(\d+)"))[1])
    trusting = ssl.create_default_context(cadata=trusted.decode())
    idle = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port))
    with trusting.wrap_socket(idle, server_hostname="127.0.0.1"):
        others = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        others[0].sendall(b"GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
        service.send(signal.SIGTERM)
        code, took_s = await service.ended()
        for sock in others:
            sock.close()
    assert (code, took_s < 20) == (0, True)


async def test_client_that_is_agreeing_on_tls_at_the_end_is_served(start: Any, tmp_path: Path) -> None:
    trusted = write_certificate(tmp_path, serial=1)
    service = await start(config=TLS)
    service.port = int((await service.line(r"https://127\.0\.0\.1:(\d+)"))[1])
    trusting = ssl.create_default_context(cadata=trusted.decode())
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    service.send(signal.SIGTERM)
    await service.stopped_listening()
    await writer.start_tls(trusting, server_hostname="127.0.0.1")
    writer.write(b"GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()
    assert (await service.ended())[0] == 0


# --- the operators' listener

CONSOLE = """
    from service.api import Answer, Door, Route, hookimpl

    class Plugin:
        @hookimpl
        def routes(self):
            yield Route("GET", "/console", lambda request: Answer.json("console"), name="console", door=Door.OPERATOR)
    """


async def test_operators_have_a_listener_of_their_own(start: Any) -> None:
    service = await (await start(config="operator = { port = 0 }", console=CONSOLE, health="")).served()
    main = f"http://127.0.0.1:{service.port}"
    operator = (await service.line(r"operator +(http://127\.0\.0\.1:\d+)"))[1]
    found = {
        (name, path): (await get(TCPConnector(), f"{url}{path}"))[0]
        for name, url in (("main", main), ("operator", operator))
        for path in ("/console", "/hello", "/health/live")
    }
    assert found == {
        ("main", "/console"): 404,
        ("main", "/hello"): 200,
        ("main", "/health/live"): 200,
        ("operator", "/console"): 200,
        ("operator", "/hello"): 404,
        ("operator", "/health/live"): 200,
    }


@pytest.mark.parametrize(("strict", "status"), [("true", 404), ("false", 200)])
async def test_operators_routes_without_a_listener_need_strict_to_be_off(start: Any, strict: str, status: int) -> None:
    service = await (await start(config=f"strict = {strict}", console=CONSOLE)).served()
    assert (await get(TCPConnector(), f"http://127.0.0.1:{service.port}/console"))[0] == status
    service.send(signal.SIGINT)
    await service.ended()
    said = "GET /console (console) is for operators and not served, since nothing guards it here; give operators a "
    assert (said in service.out) is (strict == "true")


async def test_operators_port_that_is_taken_is_one_sentence(start: Any, taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    service = await start(config=f"operator = {{ port = {port} }}")
    code, _ = await service.ended()
    assert (code, service.out.strip()) == (
        os.EX_UNAVAILABLE,
        f"pegboard: port {port} on 127.0.0.1 is taken by another process; stop it, or choose another: "
        f"service.operator.port, as in port = {port + 1}",
    )


# --- systemd


async def test_systemd_is_told_when_it_is_ready_reloads_and_stops(start: Any, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify.sock"))
        ear.settimeout(30)
        service = await (await start(environ={"NOTIFY_SOCKET": str(tmp_path / "notify.sock")})).served()
        assert (await service.command("reload"))[0] == 0
        service.send(signal.SIGTERM)
        assert (await service.ended())[0] == 0
        told = [ear.recv(200).decode() for _ in range(4)]
    assert [line.partition("\n")[0] for line in told] == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
    assert told[1].partition("\n")[2].startswith("MONOTONIC_USEC=")


async def test_operators_listener_that_stays_outlives_a_move_of_the_other(start: Any, tmp_path: Path) -> None:
    """Retiring workers turn away who comes to what nobody else listens on, and to nothing else."""
    service = await (await start(config="operator = { port = 0 }", console=CONSOLE)).served()
    url = (await service.line(r"operator +(http://127\.0\.0\.1:\d+)"))[1] + "/console"
    _, writer = await service.asked("/hang")  # which keeps the old worker there
    await service.until(lambda answer: '"running":1' in answer)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = tmp_path / "config.toml"
    config.write_text(config.read_text().replace("[service]\nport = 0", f"[service]\nport = {port}"))
    assert (await service.command("reload"))[0] == 0
    await service.stopped_listening()  # by now it has turned away who comes there
    service.port = port
    assert "200 OK" in await service.get("/hello")
    async with asyncio.timeout(10):
        assert (await get(TCPConnector(), url))[0] == 200
    writer.close()
