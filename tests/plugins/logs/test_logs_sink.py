"""The sink under what outputs do: nobody reads, the disk is full, the reader has gone, the process ends."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from plugins.logs.sink import UNRENDERED_COUNT, Sink

WAIT_S = 10.0
"""A bound for conditions that hold within milliseconds."""


def say_lost(count):
    return b"lost %d\n" % count


def render(exchange):
    return f"{exchange.request_id}\n".encode()


def until(condition):
    """Wait for a condition that another thread makes true."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def read_all(source):
    """Everything up to the end of the pipe, as lines."""
    return source.readall().splitlines()


class Reader:
    """Reads a pipe to its end in a thread, from when it is told to."""

    def __init__(self, source):
        self._source = source
        self.lines = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        self.lines = read_all(self._source)

    def join(self):
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


@pytest.fixture
def pipe():
    """The two ends of a pipe as files; closing one twice does no harm."""
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as source, open(writing, "wb", buffering=0) as target:
        yield source, target


def test_close_writes_what_was_queued(pipe):
    reading, writing = pipe
    sink = Sink(writing.fileno(), render=render, say_lost=say_lost)
    sink.open()
    for number in range(100):
        sink.put(b"line %d\n" % number)
    sink.close()
    writing.close()
    assert read_all(reading) == [b"line %d" % number for number in range(100)]


def test_lines_are_written_without_being_asked(pipe):
    reading, writing = pipe
    sink = Sink(writing.fileno(), render=render, say_lost=say_lost)
    sink.open()
    for expected in (b"first\n", b"second\n"):
        sink.put(expected)
        assert reading.read(100) == expected
    sink.close()


def test_lines_of_many_threads_all_arrive_once(pipe):
    reading, writing = pipe
    reader = Reader(reading)
    sink = Sink(writing.fileno(), render=render, say_lost=say_lost)
    sink.open()

    def write(name):
        for number in range(2_000):
            sink.put(b"%d %d\n" % (name, number))

    writers = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    sink.close()
    writing.close()
    reader.join()
    assert sorted(reader.lines) == sorted(b"%d %d" % (name, number) for name in range(4) for number in range(2_000))


def test_lines_of_several_processes_in_one_pipe_stay_whole(pipe):
    """Each process has a sink of its own, and the pipe is full most of the time."""
    reading, writing = pipe
    sinks = [Sink(writing.fileno(), render=render, say_lost=say_lost, queue_bytes=2**26) for _ in range(4)]
    for name, sink in enumerate(sinks):
        for number in range(3_000):
            sink.put(b"%d" % name * 300 + b" %d\n" % number)
    reader = Reader(reading)
    for sink in sinks:
        sink.open()
    closing = [threading.Thread(target=sink.close) for sink in sinks]
    for thread in closing:
        thread.start()
    for thread in closing:
        thread.join()
    writing.close()
    reader.join()
    assert sorted(reader.lines) == sorted(
        b"%d" % name * 300 + b" %d" % number for name in range(4) for number in range(3_000)
    )


def test_a_pipe_that_nobody_reads_blocks_nobody_and_its_losses_are_said_once_it_is_read(pipe):
    reading, writing = pipe
    sink = Sink(writing.fileno(), render=render, say_lost=say_lost, queue_bytes=100_000)
    sink.open()
    line = b"x" * 999 + b"\n"
    began = time.monotonic()
    for _ in range(2_000):
        sink.put(line)
    assert time.monotonic() - began < 1.0
    reader = Reader(reading)
    sink.close()
    writing.close()
    reader.join()
    *kept, last = reader.lines
    assert set(kept) == {line[:-1]}
    assert last == b"lost %d" % (2_000 - len(kept))


def test_memory_of_a_stuck_pipe_is_bounded(pipe):
    _, writing = pipe
    sink = Sink(writing.fileno(), render=render, say_lost=say_lost, queue_bytes=100_000)
    line = b"x" * 999 + b"\n"
    for _ in range(1_000):
        sink.put(line)
    assert sum(map(len, sink._queue)) == 100_000


def test_close_gives_up_on_a_pipe_that_nobody_reads(pipe, monkeypatch):
    monkeypatch.setattr("plugins.logs.sink.CLOSE_WITHIN_S", 0.05)
    reading, writing = pipe
    sink = Sink(writing.fileno(), render=render, say_lost=say_lost)
    sink.open()
    sink.put(b"x" * 1_000_000 + b"\n")
    sink.close()
    assert sink._writer.is_alive()
    assert len(read_until_idle(reading, sink)) == 1_000_001


def read_until_idle(reading, sink):
    """Let the stuck writer end; its bytes."""
    data = b""
    while not data.endswith(b"\n"):
        data += reading.read(65_536)
    sink._writer.join(WAIT_S)
    return data


def test_a_full_disk_is_survived_and_counted():
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        sink = Sink(full, render=render, say_lost=say_lost)
        sink.open()
        for _ in range(3):
            sink.put(b"line\n")
        until(lambda: sink._lost_count == 3)
        sink.put(b"line\n")
        until(lambda: sink._lost_count == 4)
        sink.close()
    finally:
        os.close(full)


def test_losses_of_a_failed_output_are_said_when_it_works_again(tmp_path):
    file = tmp_path / "log"
    descriptor = os.open("/dev/full", os.O_WRONLY)
    sink = Sink(descriptor, render=render, say_lost=say_lost)
    sink.open()
    sink.put(b"a\nb\n")
    until(lambda: sink._lost_count == 2)
    healed = os.open(file, os.O_WRONLY | os.O_CREAT)
    os.dup2(healed, descriptor)
    sink.put(b"c\n")
    sink.close()
    os.close(healed)
    os.close(descriptor)
    assert file.read_bytes() == b"c\nlost 2\n"


def test_a_line_that_broke_off_does_not_spoil_the_next(tmp_path, monkeypatch):
    """A disk that fills up in the middle of a line, and has room again."""
    written = bytearray()
    room = [3, 0, 100]

    def write(fd, data):
        space = room[0]
        if not space:
            room.pop(0)
            raise OSError(28, "No space left on device")
        taken = bytes(data[:space])
        room[0] -= len(taken)
        if not room[0]:
            room.pop(0)
        written.extend(taken)
        return len(taken)

    monkeypatch.setattr("plugins.logs.sink.os.write", write)
    sink = Sink(-1, render=render, say_lost=say_lost)
    assert sink._write(b"first\n") == 1
    assert sink._write(b"second\n") == 0
    assert written == b"fir\nsecond\n"


def test_losses_are_counted_right_after_a_line_broke_off(monkeypatch):
    def refuse(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("plugins.logs.sink.os.write", refuse)
    sink = Sink(-1, render=render, say_lost=say_lost)
    sink._torn = True
    assert sink._write(b"a\nb\n") == 2


def test_a_reader_that_has_gone_is_survived(pipe):
    reading, writing = pipe
    reading.close()
    sink = Sink(writing.fileno(), render=render, say_lost=say_lost)
    sink.open()
    sink.put(b"line\n")
    until(lambda: sink._lost_count == 1)
    sink.close()


def test_a_descriptor_made_non_blocking_by_others_still_gets_everything(pipe):
    reading, writing = pipe
    os.set_blocking(writing.fileno(), False)
    sink = Sink(writing.fileno(), render=render, say_lost=say_lost)
    sink.open()
    for _ in range(1_000):
        sink.put(b"x" * 999 + b"\n")
    reader = Reader(reading)
    sink.close()
    writing.close()
    reader.join()
    assert len(reader.lines) == 1_000


def test_an_object_that_logs_while_it_is_collected_inside_put_does_no_harm(pipe):
    """Where the collector may run is Python's choice, so that a line that logs when it is measured stands for it."""
    reading, writing = pipe
    sink = Sink(writing.fileno(), render=render, say_lost=say_lost)
    sink.open()

    class Talkative(bytes):
        def __len__(self):
            sink.put(b"farewell\n")
            return super().__len__()

    putting = threading.Thread(target=sink.put, args=(Talkative(b"line\n"),), daemon=True)
    putting.start()
    putting.join(WAIT_S)
    assert not putting.is_alive()
    sink.close()
    writing.close()
    lines = read_all(reading)
    assert lines.count(b"line") == 1
    assert set(lines) == {b"line", b"farewell"}


def test_close_can_be_called_twice(pipe):
    _, writing = pipe
    sink = Sink(writing.fileno(), render=render, say_lost=say_lost)
    sink.open()
    sink.close()
    sink.close()
    assert not sink._writer.is_alive()


def test_a_process_that_exits_while_its_output_is_stuck_is_not_held_up():
    program = textwrap.dedent(
        """
        import sys
        from plugins.logs import sink
        sink.CLOSE_WITHIN_S = 0.2
        stuck = sink.Sink(1, render=str.encode, say_lost=lambda count: b"")
        stuck.open()
        stuck.put(b"x" * 1_000_000 + b"\\n")
        stuck.close()
        sys.stderr.write("ended")
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.wait(WAIT_S) == 0
        assert process.stderr.read() == b"ended"
    finally:
        process.kill()
        process.communicate()


def test_exchanges_and_lines_are_written_in_the_order_in_which_they_came(pipe, exchange):
    reading, writing = pipe
    sink = Sink(writing.fileno(), render=render, say_lost=say_lost)
    sink.open()
    for number in range(50):
        sink.put_exchange(exchange(request_id=f"req_{number}"))
        sink.put(b"line %d\n" % number)
    sink.close()
    writing.close()
    assert read_all(reading) == [line for n in range(50) for line in (b"req_%d" % n, b"line %d" % n)]


def test_only_so_many_exchanges_wait_with_what_they_hold(pipe, exchange):
    _, writing = pipe
    rendered = []
    sink = Sink(writing.fileno(), render=lambda each: rendered.append(each) or b"line\n", say_lost=say_lost)
    for _ in range(UNRENDERED_COUNT + 100):
        sink.put_exchange(exchange())
    assert len(rendered) == 100


def test_a_crash_is_not_held_on_to(pipe, exchange):
    _, writing = pipe
    rendered = []
    sink = Sink(writing.fileno(), render=lambda each: rendered.append(each) or b"line\n", say_lost=say_lost)
    sink.put_exchange(exchange(status=500, failure=ValueError("x")))
    assert len(rendered) == 1


def test_an_exchange_that_cannot_be_rendered_is_counted_and_the_others_are_written(pipe, exchange):
    reading, writing = pipe

    def picky(each):
        if each.status == 500:
            raise TypeError("no text")
        return render(each)

    sink = Sink(writing.fileno(), render=picky, say_lost=say_lost)
    sink.open()
    for status in (200, 500, 200):
        sink.put_exchange(exchange(status=status, request_id=f"req_{status}"))
    sink.close()
    writing.close()
    assert sorted(read_all(reading)) == [b"lost 1", b"req_200", b"req_200"]
