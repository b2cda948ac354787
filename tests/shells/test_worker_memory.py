"""What a worker holds after it has handled something large."""

from __future__ import annotations

import subprocess
import sys

import pytest

FILMS = """
import resource, sys, threading
from pathlib import Path
from workers.memory import give_large_blocks_back

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20

def handle():
    for _ in range(4):
        film = bytes(20 << 20)
        copies = [film[: 6 << 20], film[: 3 << 20]]
        del film, copies

asked = sys.argv[1] == "asked"
if asked and not give_large_blocks_back():
    sys.exit("this C library has no such limit")
before = resident()
thread = threading.Thread(target=handle)
thread.start()
thread.join()
print(resident() - before)
"""


def kept(asked: str) -> float:
    """Return the MiB by which a process is larger after one of its threads has handled four films."""
    command = [sys.executable, "-c", FILMS, asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "no such limit" in done.stderr:
        pytest.skip(done.stderr)
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_film_took_goes_back_to_the_machine():
    assert kept("asked") < 2.0
    assert kept("left to itself") > 10.0  # else nothing has to be asked any more
