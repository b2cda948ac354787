"""The lock: real attacks from inside a jailed child, each of them refused.

Not covered: what no lock of this kind can hold back (bugs of the kernel, side channels through
caches, asking whether a path exists and how large it is).
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from core.errors import ConfigurationError
from core.sandbox import MIB, Limits, Sandbox, expect_hidden
from core.sandbox.lock import interpreter_folders
from core.sandbox.start import clean_environment
from tests.rim.sandbox_entries import ATTACKS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the lock is made of Linux")

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LIMITS = Limits(wall_seconds=20, cpu_seconds=10, memory_bytes=256 * MIB)
NUMBERS = {
    "x86_64": {
        "clone": 56,
        "bpf": 321,
        "userfaultfd": 323,
        "perf_event_open": 298,
        "keyctl": 250,
    },
    "aarch64": {
        "clone": 220,
        "bpf": 280,
        "userfaultfd": 282,
        "perf_event_open": 241,
        "keyctl": 219,
    },
}


@pytest.fixture(scope="module")
def sandbox():
    os.environ["REWARDSMITH_TEST_SECRET"] = "key"
    sandbox = Sandbox(["sandbox_entries"], import_paths=[HERE])
    sandbox.require(3)
    yield sandbox
    sandbox.close()
    del os.environ["REWARDSMITH_TEST_SECRET"]


@pytest.fixture(scope="module")
def secret():
    """A file that everybody may read, so that only the lock stands before it."""
    with tempfile.TemporaryDirectory(prefix="secret-") as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "secret"
        path.write_text("key")
        path.chmod(0o644)
        yield str(path)


def ask(sandbox, entry, header=None, limits=LIMITS):
    with sandbox.spawn(f"sandbox_entries:{entry}", limits) as child:
        if header is not None:
            child.send(header)
        answer = child.receive().header
        assert child.wait(5).exit_code == 0
    return answer


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_attack_is_refused(sandbox, secret, attack):
    order = {"attack": attack, "secret": secret, **NUMBERS[platform.machine()]}
    answer = ask(sandbox, "try_attack", order)
    assert "refused" in answer, answer
    assert Path(secret).read_text() == "key"


@pytest.mark.parametrize("attack", ["private memory", "shared memory"])
def test_too_much_memory_is_an_error_that_the_program_sees(sandbox, secret, attack):
    answer = ask(sandbox, "try_attack", {"attack": attack, "secret": secret})
    assert answer["refused"] in {"MemoryError", "OSError"}


@pytest.mark.slow
@pytest.mark.parametrize("attack", [name for name in ATTACKS if name != "shared memory"])
def test_a_child_that_may_use_a_gpu_is_refused_the_same_attacks(sandbox, secret, attack):
    """All but one: its address space has no limit.  Without a GPU the driver is not shown."""
    order = {"attack": attack, "secret": secret, **NUMBERS[platform.machine()]}
    answer = ask(sandbox, "try_attack", order, replace(LIMITS, gpu=True))
    assert "refused" in answer, answer


@pytest.fixture(scope="module")
def introduction(sandbox):
    return ask(sandbox, "introduce", {"who": "are you"})


def test_the_child_has_only_its_streams_open(introduction):
    assert introduction["descriptors"] == [0, 1, 2, 3]


def test_the_environment_holds_nothing_of_the_workers(introduction):
    assert set(introduction["environment"]) <= {*clean_environment(), "LC_CTYPE"}


def test_the_child_has_no_capability_and_can_gain_none(introduction):
    assert introduction["capabilities"] == [0, 0, 0]
    assert introduction["no_new_privileges"] == 1


def test_the_child_is_under_a_seccomp_filter(introduction):
    assert introduction["seccomp"] == 2


def test_modules_were_warmed_up_before_the_fork(introduction):
    assert introduction["warmed_up"] is True


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give users away")
def test_children_that_live_at_once_have_users_of_their_own(sandbox):
    with (
        sandbox.spawn("sandbox_entries:introduce", LIMITS) as first,
        sandbox.spawn("sandbox_entries:introduce", LIMITS) as second,
    ):
        for child in (first, second):
            child.send({"who": "are you"})
        users = {first.receive().header["uid"], second.receive().header["uid"]}
    assert len(users) == 2
    assert all(64_000 <= user < 65_500 for user in users)


def test_threads_can_be_started(sandbox):
    assert ask(sandbox, "start_threads") == {"found": [0, 1, 2, 3]}


def test_the_standard_library_can_be_imported_behind_the_lock(sandbox):
    assert ask(sandbox, "import_lazily") == {"name": "xml.dom.minidom"}


def test_what_lies_in_the_checkout_must_be_preloaded(sandbox):
    with sandbox.spawn("sandbox_entries:import_from_checkout", LIMITS) as child:
        tail = child.wait(5).stderr_tail
    assert "core.loop was not loaded before the sandbox closed" in tail


@pytest.mark.parametrize("through_a_link", [False, True])
def test_data_in_a_folder_that_children_may_read_are_refused(tmp_path, through_a_link):
    shown, link = tmp_path / "shown", tmp_path / "link"
    shown.mkdir()
    link.symlink_to(shown)
    home = (link if through_a_link else shown) / "home"
    with pytest.raises(ConfigurationError, match=f"HOME: .*{home}.* in {shown}"):
        expect_hidden({"HOME": home}, [shown])
    expect_hidden({"HOME": home}, [tmp_path / "beside"])
    expect_hidden({"HOME": home}, [shown / "home" / "environments"])


def test_data_among_the_packages_of_the_interpreter_are_refused():
    home = interpreter_folders()[0] / "home"
    with pytest.raises(ConfigurationError, match="HOME"):
        expect_hidden({"HOME": home})


def test_data_beside_the_folders_of_a_virtual_environment_are_not_readable(tmp_path):
    """As `python -m venv .` makes it, with the data in the same folder."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    script = (
        "from pathlib import Path; from core.sandbox.lock import expect_hidden; "
        f"expect_hidden({{'HOME': Path({str(tmp_path / '.rewardsmith')!r})}})"
    )
    subprocess.run([tmp_path / "bin" / "python", "-c", script], cwd=ROOT, check=True)


def run_selftest(jail):
    """Run the self-test with a weaker lock, in a process of its own."""
    script = (
        "from core.sandbox.lock import Jail; "
        "from core.sandbox.selftest import measure_isolation; "
        f"found = measure_isolation({jail}); "
        "print(found.level, *found.failed, sep='\\n')"
    )
    output = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    level, *failed = output.splitlines()
    return int(level), set(failed)


def test_the_selftest_sees_that_nothing_is_locked():
    level, failed = run_selftest("Jail((), 0, False, False, False)")
    assert level == 0
    assert failed >= {
        "read a world-readable file",
        "list folders",
        "write to the folder of temporary files",
        "open a TCP socket",
        "open a unix socket",
        "fork",
        "signal the parent",
        "become another program",
    }


def test_the_selftest_sees_that_landlock_is_missing():
    level, failed = run_selftest("Jail((), 0, True, False, False)")
    assert level == 1
    assert failed >= {"read a world-readable file", "write to the folder of temporary files"}
    assert "open a TCP socket" not in failed


def test_a_child_gives_way_to_whoever_else_wants_its_core(sandbox):
    for limits in (LIMITS, replace(LIMITS, niceness=0), replace(LIMITS, niceness=7)):
        with sandbox.spawn("sandbox_entries:introduce", limits) as child:
            assert psutil.Process(child.pid).nice() == min(19, os.nice(0) + limits.niceness)


@pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists() or os.geteuid() != 0,
    reason="the kernel weighs no sessions, or lets ordinary users set a weight only now and then",
)
def test_a_childs_session_gives_way_where_the_kernel_weighs_sessions(sandbox):
    for niceness in (0, 7):
        with sandbox.spawn(
            "sandbox_entries:introduce", replace(LIMITS, niceness=niceness)
        ) as child:
            told = Path(f"/proc/{child.pid}/autogroup").read_text(encoding="ascii")
            assert told.split()[1:] == ["nice", str(niceness)]
