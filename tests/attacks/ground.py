"""The ground of the attacks: secrets, folders and listeners outside the jail."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from core.sandbox.attacks import Target

KEY_NAME = "REWARDSMITH_OPENAI_API_KEY"


@contextmanager
def laid_out() -> Iterator[tuple[Target, Path]]:
    """Yield the target, and a folder that the jail may read; remove everything afterwards.

    The worker, which this process is, holds a secret in its environment and in an open file.
    """
    token = f"attack-{secrets.token_hex(6)}"
    folder = Path(tempfile.mkdtemp(prefix=f"{token}-"))
    before = os.environ.get(KEY_NAME)
    try:
        with ExitStack() as stack:
            yield _build(folder, token, stack), folder / "readable"
    finally:
        os.environ.pop(KEY_NAME, None)
        if before is not None:
            os.environ[KEY_NAME] = before
        for left in (
            Path("/dev/shm", f"{token}-spoil"),
            Path(os.__file__).with_name(f"{token}.py"),
        ):
            left.unlink(missing_ok=True)
        shutil.rmtree(folder)


def _build(folder: Path, token: str, stack: ExitStack) -> Target:
    folder.chmod(0o755)
    secret, canary = folder / "secret", f"canary-{secrets.token_hex(8)}"
    secret.write_text(canary)
    secret.chmod(0o644)
    os.environ[KEY_NAME] = canary
    os.set_inheritable(stack.enter_context(secret.open("rb")).fileno(), True)
    readable, shared = folder / "readable", folder / "shared"
    readable.mkdir(mode=0o755)
    (readable / "link").symlink_to(secret)
    shared.mkdir()
    shared.chmod(0o1777)
    tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    udp.bind(("127.0.0.1", 0))
    for address in (str(folder / "socket"), f"\0{token}"):
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.bind(address)
        listener.listen()
    (folder / "socket").chmod(0o777)
    return Target(
        str(secret),
        shared=str(shared),
        token=token,
        private=_private_file(folder),
        link=str(readable / "link"),
        canary=canary,
        tcp=tcp.getsockname()[1],
        udp=udp.getsockname()[1],
        unix=str(folder / "socket"),
        abstract=token,
    )


def _private_file(folder: Path) -> str:
    """Root's own file; an ordinary user has none of another's, and takes the machine's."""
    if os.geteuid() != 0:
        return "/etc/shadow"
    private = folder / "private"
    private.write_text("private")
    private.chmod(0o600)
    return str(private)
