"""The worker's end of the sandbox: finds or starts the zygote, and spawns jailed children."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import core
from core.sandbox import kernel
from core.sandbox.child import Child
from core.sandbox.control import Messages, fingerprint, peer_is_ours, send_message
from core.sandbox.frames import Link
from core.sandbox.limits import Limits
from core.sandbox.outcomes import Isolation, IsolationTooWeak, LockFailed, ZygoteFailed
from core.sandbox.start import start_zygote

_ANSWER_SECONDS = 30.0
_MAX_SOCKET_PATH = 90  # the kernel takes 107; the zygote adds its number for a moment
MAX_LINKS = 16


class Sandbox:
    """A zygote shared by all workers that name the same socket, and the children it forks.

    The object holds no connection, so it may be inherited over a fork.
    """

    def __init__(
        self,
        preload: Sequence[str],
        *,
        import_paths: Sequence[Path] = (),
        socket_path: Path | None = None,
    ) -> None:
        """Say what children need; nothing is started yet.

        Args:
            preload:      modules to import before forking; one that defines `warm_up()` has it
                called once.  Entries of children must lie in these modules.
            import_paths: the operator's own folders, importable and readable in the jail.
            socket_path:  where workers meet; its folder must be private.  None for a new one.
        """
        self._preload = tuple(preload)
        self._import_paths = tuple(Path(path).resolve() for path in import_paths)
        self._root = Path(core.__file__).resolve().parent.parent
        self._temporary: Path | None = None
        self._folder_owner = self._zygote_owner = os.getpid()
        if socket_path is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="rewardsmith-"))
            socket_path = self._temporary / "zygote"
        self._path = socket_path.absolute()
        self._zygote: subprocess.Popen[bytes] | None = None
        self._isolation: Isolation | None = None

    @property
    def isolation(self) -> Isolation:
        """The level that the zygote's self-test found, and the attacks that got through."""
        if self._isolation is None or not self._own_zygote_lives():
            self.ensure_started()
        assert self._isolation is not None
        return self._isolation

    def require(self, level: int) -> None:
        """Refuse to go on below a level of isolation.

        Raises:
            IsolationTooWeak: says what is missing and how to get it.
        """
        found = self.isolation
        if found.level < level:
            raise IsolationTooWeak(
                f"level {found.level}; these attacks got through: {', '.join(found.failed)}",
                expected=f"isolation level {level}",
                where="sandbox",
                hint=_advice(found.level),
            )

    def ensure_started(self) -> None:
        """Make sure that a zygote answers, starting one if none does; wait until it is ready.

        Raises:
            ZygoteFailed: it cannot be started, or another one with other modules answers.
        """
        if self._greet() or self._isolation_after_start():
            return
        raise ZygoteFailed("no answer", expected="a zygote that has just started", where=self._name)

    def spawn(self, entry: str, limits: Limits, links: Sequence[Link] = ()) -> Child:
        """Fork a child, lock it, and have it call `entry(channel, links)`.

        Args:
            entry:  "module:function" in a preloaded module.
            limits: what it may use; the wall clock starts now.
            links:  connected stream sockets, or files, that the child gets.  They are taken over:
                closed here when the call returns or raises, so that their ends are noticed.

        Raises:
            ZygoteFailed: no zygote, or the entry is not in a preloaded module.
            LockFailed:   the wall could not be raised; nothing was run.
        """
        if len(links) > MAX_LINKS:
            raise ValueError(f"expected at most {MAX_LINKS} links, but found {len(links)}")
        with contextlib.ExitStack() as given:
            for link in links:
                given.enter_context(contextlib.closing(link))
            try:
                return self._spawn(entry, limits, links)
            except _NoZygote:
                self.ensure_started()
            try:
                return self._spawn(entry, limits, links)
            except _NoZygote as error:
                raise ZygoteFailed(f"{error}", where=self._name, hint="Try again.") from error

    def close(self) -> None:
        """End the zygote, and with it all children, if this process has started it."""
        self._end_own_zygote()
        if self._temporary is not None and self._folder_owner == os.getpid():
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _own_zygote_lives(self) -> bool:
        ours = self._zygote is not None and self._zygote_owner == os.getpid()
        return ours and self._zygote is not None and self._zygote.poll() is None

    @property
    def _name(self) -> str:
        return f"sandbox at {self._path}"

    def _spawn(self, entry: str, limits: Limits, links: Sequence[Link]) -> Child:
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            control = Messages(ours.enter_context(self._connect()))
            channel, childs_channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            ours.enter_context(channel)
            theirs.enter_context(childs_channel)
            errors, childs_errors = os.pipe()
            ours.callback(os.close, errors)
            theirs.callback(os.close, childs_errors)
            streams = [childs_channel.fileno(), childs_errors, *(link.fileno() for link in links)]
            answer = _ask(control, {"spawn": entry, "limits": limits.to_json()}, streams)
            _refuse_fault(answer, entry)
            child = Child(answer["pid"], control, channel, errors, limits, answer["resident_bytes"])
            ours.pop_all()
            return child

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_ANSWER_SECONDS)
        try:
            connection.connect(str(self._path))
        except OSError as error:
            connection.close()
            raise _NoZygote(f"nobody answers ({error.strerror})") from error
        if not peer_is_ours(connection):
            connection.close()
            raise ZygoteFailed("a process of another user", expected="ours", where=self._name)
        return connection

    def _greet(self) -> bool:
        """Ask a running zygote who it is; return False if there is none."""
        try:
            with self._connect() as connection:
                answer = _ask(Messages(connection), {"hello": True})
        except _NoZygote:
            return False
        if answer["fingerprint"] != fingerprint(self._root, self._preload, self._import_paths):
            raise ZygoteFailed(
                "a zygote with other preloaded modules or paths",
                where=self._name,
                hint="Give each set of modules a socket of its own, or restart the old workers.",
            )
        found = answer["isolation"]
        self._isolation = Isolation(found["level"], tuple(found["failed"]))
        return True

    def _isolation_after_start(self) -> bool:
        """Start a zygote unless another worker is just doing that."""
        self._make_private_folder()
        with _held_lock(self._path.with_name(self._path.name + ".lock")):
            if not self._greet():
                self._start()
            return self._greet()

    def _make_private_folder(self) -> None:
        folder = self._path.parent
        if len(str(self._path)) > _MAX_SOCKET_PATH:
            raise ZygoteFailed(
                f"{len(str(self._path))} characters",
                expected=f"a socket path of at most {_MAX_SOCKET_PATH} characters",
                where=self._name,
                hint="Choose a shorter data folder.",
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise ZygoteFailed(
                f"{folder} belongs to, or can be written by, others",
                expected="a private folder for the sandbox's socket",
                hint=f"chown it to the worker's user and `chmod 700 {folder}`.",
            )

    def _start(self) -> None:
        self._end_own_zygote()
        self._zygote = start_zygote(self._root, self._path, self._preload, self._import_paths)
        self._zygote_owner = os.getpid()

    def _end_own_zygote(self) -> None:
        if self._zygote is not None and self._zygote_owner == os.getpid():
            self._zygote.kill()
            self._zygote.wait()
        self._zygote = None


class _NoZygote(Exception):
    """Nobody listens at the socket, or it hung up before it answered."""


def _ask(
    messages: Messages, message: dict[str, Any], descriptors: Sequence[int] = ()
) -> dict[str, Any]:
    try:
        send_message(messages.connection, message, descriptors)
        while (answer := messages.read()) is None:
            if messages.closed:
                raise _NoZygote("it hung up")
    except TimeoutError:
        raise ZygoteFailed(f"no answer within {_ANSWER_SECONDS:g} s", where="sandbox") from None
    except (BrokenPipeError, ConnectionResetError) as error:
        raise _NoZygote("it hung up") from error
    return answer


def _refuse_fault(answer: dict[str, Any], entry: str) -> None:
    if answer.get("kind") == "lock":
        raise LockFailed(answer["error"], expected="a locked child", where="sandbox")
    if "error" in answer:
        raise ZygoteFailed(answer["error"], expected="an entry of a preloaded module", where=entry)


@contextlib.contextmanager
def _held_lock(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _advice(level: int) -> str:
    if level > 0:
        return (
            "Use a Linux kernel of 5.13 or newer with Landlock enabled "
            "(`cat /sys/kernel/security/lsm` names it)."
        )
    if kernel.machine() is None:
        return (
            "Run the worker on Linux, x86-64 or arm64, kernel 5.13 or newer: on this machine itself, "
            "in a container or in WSL2."
        )
    return (
        "Something around the worker weakens Linux's own walls (no seccomp, another kernel such as "
        "gVisor, limits that are not kept); docs/security.md says which wall stops what."
    )
