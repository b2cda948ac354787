"""The worker's end of the sandbox: how children live, misbehave and end."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from core.sandbox import (
    MIB,
    BadFrame,
    ChildDied,
    ChildMisbehaved,
    ChildTimedOut,
    Isolation,
    IsolationTooWeak,
    Limits,
    LockFailed,
    Sandbox,
    ZygoteFailed,
    clean_text,
)
from core.sandbox.control import send_message
from tests.rim.storing import until

pytestmark = pytest.mark.slow  # a sandbox is started, and children are waited for

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LIMITS = Limits(wall_seconds=20, cpu_seconds=10, memory_bytes=128 * MIB)
SHORT = Limits(wall_seconds=0.5, cpu_seconds=10, memory_bytes=128 * MIB)

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs pidfd")


@pytest.fixture(scope="module")
def sandbox():
    sandbox = Sandbox(["sandbox_entries"], import_paths=[HERE])
    yield sandbox
    sandbox.close()


@pytest.fixture
def own_sandbox():
    sandbox = Sandbox(["sandbox_entries"], import_paths=[HERE])
    yield sandbox
    sandbox.close()


def live(sandbox, life, limits=LIMITS):
    """Spawn a child that lives so."""
    child = sandbox.spawn("sandbox_entries:run_life", limits)
    child.send({"life": life})
    return child


def has_gone(pid, seconds=5):
    """Wait for the end of a process that is not our child."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ready, _, _ = select.select([watched], [], [], seconds)
    os.close(watched)
    return bool(ready)


def test_a_frame_goes_in_and_comes_back(sandbox):
    with sandbox.spawn("sandbox_entries:echo", LIMITS) as child:
        child.send({"number": 1}, {"weights": b"\x00\x01"})
        frame = child.receive()
    assert (frame.header, frame.blobs) == ({"number": 1}, {"weights": b"\x00\x01"})


def test_large_blobs_go_in_and_come_back(sandbox):
    blob = bytes(range(256)) * 80_000
    with sandbox.spawn("sandbox_entries:echo", LIMITS) as child:
        child.send({}, {"blob": blob})
        assert child.receive().blobs["blob"] == blob


def test_a_child_reports_how_it_ended(sandbox):
    with live(sandbox, "returns") as child:
        end = child.wait(5)
    assert (end.exit_code, end.signal, end.stderr_tail) == (0, None, "")
    assert end.max_rss_bytes > MIB
    assert 0 < end.cpu_seconds < 5


def test_an_open_file_that_a_child_is_given_is_an_open_file_there(sandbox, tmp_path):
    path = tmp_path / "shared"
    path.write_text("to the child")
    with sandbox.spawn("sandbox_entries:read_link", LIMITS, [path.open("r+b")]) as child:
        assert child.receive().header == {"read": "to the child"}


def test_links_connect_two_children_and_are_taken_over(sandbox):
    ours, theirs = socket.socketpair()
    with ours, sandbox.spawn("sandbox_entries:echo_links", LIMITS, [theirs]) as child:
        assert theirs.fileno() == -1
        ours.sendall(b"floats")
        assert ours.recv(100) == b"FLOATS"
        assert child.wait(5).exit_code == 0
        assert ours.recv(100) == b""


def test_twenty_children_one_after_the_other(sandbox):
    pids = set()
    for number in range(20):
        with sandbox.spawn("sandbox_entries:echo", LIMITS) as child:
            child.send({"number": number})
            assert child.receive().header == {"number": number}
            pids.add(child.pid)
    assert len(pids) == 20


def test_several_children_at_once(sandbox):
    children = [sandbox.spawn("sandbox_entries:echo", LIMITS) for _ in range(5)]
    for number, child in enumerate(children):
        child.send({"number": number})
    assert [child.receive().header["number"] for child in children] == list(range(5))
    for child in children:
        child.close()


def test_children_that_are_asked_for_at_once_are_locked_beside_each_other(sandbox):
    """The zygote forks the next one while one locks itself; each spawn is answered with its own."""

    def work(number):
        with sandbox.spawn("sandbox_entries:echo", LIMITS) as child:
            child.send({"number": number})
            return child.pid, child.receive().header["number"]

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(work, range(64)))
    assert [number for _, number in found] == list(range(64))
    assert len({pid for pid, _ in found}) == 64


def test_a_child_that_cannot_be_locked_is_refused_with_the_reason(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    sandbox = Sandbox(["sandbox_entries"], import_paths=[HERE, mine])
    try:
        sandbox.ensure_started()
        mine.rmdir()  # a rule of the wall names it
        with pytest.raises(LockFailed, match="FileNotFoundError"):
            sandbox.spawn("sandbox_entries:echo", LIMITS)
        mine.mkdir()
        with sandbox.spawn("sandbox_entries:echo", LIMITS) as child:
            child.send({"locked": True})
            assert child.receive().header == {"locked": True}
    finally:
        sandbox.close()


def test_a_worker_that_hangs_up_before_its_child_is_locked_harms_nobody(own_sandbox):
    own_sandbox.ensure_started()
    hasty = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(8)]
    for connection in hasty:
        connection.connect(str(own_sandbox._path))
        ours, theirs = socket.socketpair()
        order = {"spawn": "sandbox_entries:echo", "limits": LIMITS.to_json()}
        send_message(connection, order, [theirs.fileno(), theirs.fileno()])
        for end in (connection, ours, theirs):
            end.close()
    with own_sandbox.spawn("sandbox_entries:echo", LIMITS) as child:
        child.send({"still": "there"})
        assert child.receive().header == {"still": "there"}
    zygote = psutil.Process(own_sandbox._zygote.pid)
    until(lambda: not zygote.children())
    descriptors = zygote.num_fds()
    with own_sandbox.spawn("sandbox_entries:echo", LIMITS):
        pass
    until(lambda: not zygote.children() and zygote.num_fds() == descriptors)


def test_a_child_that_prints_does_not_disturb_its_answers(sandbox):
    with live(sandbox, "prints a lot") as child:
        assert child.receive().header == {"done": True}
        assert "line 19999" in child.wait(5).stderr_tail


def test_a_finished_answer_survives_a_late_reader(sandbox):
    with live(sandbox, "two answers", SHORT) as child:
        assert has_gone(child.pid)
        assert [child.receive().header["number"] for _ in range(2)] == [1, 2]
        with pytest.raises(ChildDied):
            child.receive()


def test_waiting_without_an_answer_gives_none_and_harms_nobody(sandbox):
    with sandbox.spawn("sandbox_entries:echo", LIMITS) as child:
        assert child.receive_or_none(0.05) is None
        child.send({"late": True})
        assert child.receive().header == {"late": True}


@pytest.mark.parametrize("life", ["endless loop", "catch everything", "endless C call"])
def test_who_runs_past_the_wall_deadline_is_killed(sandbox, life):
    with live(sandbox, life, SHORT) as child:
        started = time.monotonic()
        with pytest.raises(ChildTimedOut) as caught:
            child.receive()
        assert time.monotonic() - started < 1.5
    assert caught.value.exit.signal == signal.SIGKILL
    assert has_gone(child.pid)


@pytest.mark.slow
def test_who_uses_too_much_processor_time_is_killed(sandbox):
    limits = Limits(wall_seconds=20, cpu_seconds=1)
    with (
        live(sandbox, "endless loop", limits) as child,
        pytest.raises(ChildTimedOut, match="processor time") as caught,
    ):
        child.receive()
    assert caught.value.exit.signal == signal.SIGXCPU


def test_who_does_not_answer_in_the_given_time_is_killed(sandbox):
    with (
        sandbox.spawn("sandbox_entries:echo", LIMITS) as child,
        pytest.raises(ChildTimedOut, match=r"no answer within 0\.1 s"),
    ):
        child.receive(timeout_seconds=0.1)
    assert has_gone(child.pid)


def test_who_does_not_end_after_its_answer_is_killed(sandbox):
    with sandbox.spawn("sandbox_entries:answer_then_linger", LIMITS) as child:
        assert child.receive().header == {"answer": 42}
        with pytest.raises(ChildTimedOut, match="did not end"):
            child.wait(0.1)
    assert has_gone(child.pid)


@pytest.mark.slow
def test_the_zygote_kills_who_is_overdue_although_nobody_asks(sandbox):
    with live(sandbox, "endless loop", SHORT) as child:
        assert has_gone(child.pid, seconds=10)
        with pytest.raises(ChildTimedOut):
            child.receive()


@needs_linux
def test_a_memory_hog_ends(sandbox):
    with live(sandbox, "memory hog") as child, pytest.raises(ChildDied) as caught:
        child.receive()
    assert "memory" in str(caught.value).lower()
    assert caught.value.exit.max_rss_bytes < 1024 * MIB


@needs_linux
def test_a_hog_of_shared_memory_ends(sandbox):
    with live(sandbox, "shared memory hog") as child, pytest.raises(ChildDied):
        child.receive()


@needs_linux
def test_a_fork_bomb_makes_no_process(sandbox):
    with live(sandbox, "fork bomb") as child:
        assert child.receive().header == {"refused": 1000}


def test_a_flood_of_output_ends_the_child_and_keeps_only_its_end(sandbox):
    limits = Limits(wall_seconds=20, memory_bytes=128 * MIB, stderr_bytes=MIB)
    with (
        live(sandbox, "flood", limits) as child,
        pytest.raises(ChildMisbehaved, match="printed more than") as caught,
    ):
        child.receive()
    assert len(caught.value.exit.stderr_tail) <= 8 * 1024


@pytest.mark.parametrize(
    "life",
    [
        "not a frame",
        "forged magic",
        "4 GB header",
        "4 billion blobs",
        "huge blob",
        "NaN",
        "infinity",
        "deep nesting",
        "no object",
    ],
)
def test_who_sends_a_bad_frame_is_killed(sandbox, life):
    with live(sandbox, life) as child, pytest.raises(ChildMisbehaved, match="bad frame") as caught:
        child.receive()
    assert caught.value.exit.signal == signal.SIGKILL


def test_a_short_frame_is_no_answer(sandbox):
    with live(sandbox, "short frame", SHORT) as child, pytest.raises(ChildTimedOut):
        child.receive()


def test_who_sends_half_a_frame_and_ends_has_died(sandbox):
    with live(sandbox, "half a frame") as child, pytest.raises(ChildDied):
        child.receive()


@pytest.mark.slow
def test_who_closes_its_channel_and_lives_on_is_killed(sandbox):
    with live(sandbox, "closes its channel") as child, pytest.raises(ChildMisbehaved):
        child.receive()
    assert has_gone(child.pid)


@pytest.mark.parametrize(
    ("life", "exit_code", "number"),
    [
        pytest.param("sys.exit", 7, None, id="sys.exit"),
        pytest.param("os._exit(0)", 0, None, id="os._exit(0) is no success without an answer"),
        pytest.param("os.abort", None, signal.SIGABRT, id="os.abort"),
        pytest.param("segfault", None, signal.SIGSEGV, id="segmentation fault"),
        pytest.param("kills itself", None, signal.SIGKILL, id="kill -9 of itself"),
        pytest.param("returns", 0, None, id="returning without an answer"),
        pytest.param("recursion", 1, None, id="unbounded recursion"),
        pytest.param("lying exception", 1, None, id="an exception whose text raises"),
        pytest.param("huge message", 1, None, id="an exception with a huge text"),
    ],
)
def test_who_ends_before_its_answer_has_died(sandbox, life, exit_code, number):
    with live(sandbox, life) as child, pytest.raises(ChildDied) as caught:
        child.receive()
    assert (caught.value.exit.exit_code, caught.value.exit.signal) == (exit_code, number)
    assert len(caught.value.exit.stderr_tail) <= 8 * 1024


def test_the_last_words_of_a_child_are_clean(sandbox):
    with live(sandbox, "dirt") as child:
        assert child.wait(5).stderr_tail == "red nul \ufffd\ufffd \ufffd\ufffd\ufffd end\n"


def test_text_is_cleaned_of_what_harms_readers():
    dirty = "a\x00b\x1b[31mc\x1b]0;title\x07d\u202ee\u2066f\ud800g\x9bh\ufeffi\tj\n"
    assert clean_text(dirty) == "abcdefghi\tj\n"


def test_a_bad_header_is_the_senders_error_and_harms_no_child(sandbox):
    with sandbox.spawn("sandbox_entries:echo", LIMITS) as child:
        with pytest.raises(BadFrame):
            child.send({"score": float("nan")})
        child.send({"score": 1.0})
        assert child.receive().header == {"score": 1.0}


def test_leaving_the_context_ends_the_child(sandbox):
    with live(sandbox, "endless loop") as child:
        pass
    assert has_gone(child.pid)


def test_a_killed_child_reports_the_signal(sandbox):
    with live(sandbox, "endless loop") as child:
        child.kill()
        child.kill()
        assert child.wait(5).signal == signal.SIGKILL


@pytest.mark.parametrize(
    "entry", ["os:abort", "sandbox_entries:nothing", "sandbox_entries", "core.sandbox.boot:main"]
)
def test_an_entry_must_lie_in_a_preloaded_module(sandbox, entry):
    with pytest.raises(ZygoteFailed):
        sandbox.spawn(entry, LIMITS)


def test_a_module_that_cannot_be_imported_is_named(tmp_path):
    sandbox = Sandbox(["no_such_module"], socket_path=tmp_path / "zygote")
    with pytest.raises(ZygoteFailed, match="No module named 'no_such_module'"):
        sandbox.ensure_started()


def test_a_module_that_starts_threads_is_refused(tmp_path):
    (tmp_path / "threading_module.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    sandbox = Sandbox(["threading_module"], import_paths=[tmp_path])
    with pytest.raises(ZygoteFailed, match="expected one thread"):
        sandbox.ensure_started()
    sandbox.close()


def test_workers_that_name_the_same_socket_share_one_zygote(tmp_path):
    tmp_path.chmod(0o700)
    path = tmp_path / "zygote"
    workers = [
        Sandbox(["sandbox_entries"], import_paths=[HERE], socket_path=path) for _ in range(4)
    ]
    threads = [threading.Thread(target=worker.ensure_started) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    zygotes = set()
    for worker in workers:
        with worker.spawn("sandbox_entries:wait_for_ever", LIMITS) as child:
            zygotes.add(child.receive().header["zygote"])
    assert len(zygotes) == 1
    for worker in workers:
        worker.close()
    assert has_gone(zygotes.pop())


def test_workers_that_want_other_modules_need_another_socket(tmp_path):
    tmp_path.chmod(0o700)
    path = tmp_path / "zygote"
    first = Sandbox(["sandbox_entries"], import_paths=[HERE], socket_path=path)
    first.ensure_started()
    with pytest.raises(ZygoteFailed, match="other preloaded modules"):
        Sandbox(["json"], socket_path=path).ensure_started()
    first.close()


def test_a_folder_that_others_can_write_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(ZygoteFailed, match="private folder"):
        Sandbox(["json"], socket_path=tmp_path / "zygote").ensure_started()


def test_a_level_that_is_not_reached_is_refused_with_advice(sandbox, monkeypatch):
    monkeypatch.setattr(Sandbox, "isolation", Isolation(1, ("read a world-readable file",)))
    sandbox.require(1)
    with pytest.raises(IsolationTooWeak, match="Landlock"):
        sandbox.require(3)


@needs_linux
def test_the_zygote_outlives_the_thread_that_started_it(own_sandbox):
    starter = threading.Thread(target=own_sandbox.ensure_started)
    starter.start()
    starter.join()
    zygotes = set()
    for _ in range(2):
        with own_sandbox.spawn("sandbox_entries:wait_for_ever", LIMITS) as child:
            zygotes.add(child.receive().header["zygote"])
    assert len(zygotes) == 1


@needs_linux
def test_a_killed_zygote_takes_its_children_along_and_is_replaced(own_sandbox):
    with own_sandbox.spawn("sandbox_entries:wait_for_ever", LIMITS) as child:
        about = child.receive().header
        os.kill(about["zygote"], signal.SIGKILL)
        assert has_gone(child.pid)
        with pytest.raises(ZygoteFailed, match="zygote was lost"):
            child.receive()
    with own_sandbox.spawn("sandbox_entries:wait_for_ever", LIMITS) as child:
        assert child.receive().header["zygote"] != about["zygote"]


def test_where_there_is_no_lock_children_run_and_the_level_says_so():
    sandbox = Sandbox(["sandbox_elsewhere", "sandbox_entries"], import_paths=[HERE])
    assert sandbox.isolation.level == 0
    assert _echoes(sandbox)
    with live(sandbox, "endless loop", SHORT) as child, pytest.raises(ChildTimedOut):
        child.receive()
    with pytest.raises(IsolationTooWeak, match="Linux"):
        sandbox.require(3)
    sandbox.close()


def test_a_sandbox_is_usable_on_both_sides_of_a_fork(own_sandbox):
    own_sandbox.ensure_started()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if _echoes(own_sandbox) else 1)
    assert _echoes(own_sandbox)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert _echoes(own_sandbox)


def _echoes(sandbox):
    with sandbox.spawn("sandbox_entries:echo", LIMITS) as child:
        child.send({"here": True})
        return child.receive().header == {"here": True}


WORKER = """
import json, sys, time
from pathlib import Path
from core.sandbox import Limits, Sandbox
sandbox = Sandbox(["sandbox_entries"], import_paths=[Path(sys.argv[1])], socket_path=Path(sys.argv[2]))
child = sandbox.spawn("sandbox_entries:wait_for_ever", Limits(wall_seconds=60))
print(json.dumps(child.receive().header), flush=True)
time.sleep(60)
"""


@pytest.fixture
def start_worker(tmp_path):
    """Start a worker that holds a child; return it, its child's pid and its zygote's."""
    tmp_path.chmod(0o700)
    workers = []

    def start():
        command = [sys.executable, "-c", WORKER, str(HERE), str(tmp_path / "zygote")]
        worker = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        workers.append(worker)
        about = json.loads(worker.stdout.readline())
        return worker, about["pid"], about["zygote"]

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()
        worker.stdout.close()


@needs_linux
def test_when_the_worker_is_killed_its_child_dies_and_the_zygote_lives(start_worker):
    _, first_child, zygote = start_worker()
    second, second_child, same_zygote = start_worker()
    assert zygote == same_zygote
    second.kill()
    assert has_gone(second_child)
    assert not has_gone(first_child, seconds=0.1)


@needs_linux
def test_when_the_starter_is_killed_zygote_and_children_die(start_worker):
    starter, child, zygote = start_worker()
    _, other_child, _ = start_worker()
    starter.kill()
    assert has_gone(zygote)
    assert has_gone(child)
    assert has_gone(other_child)
