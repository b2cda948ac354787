"""A result on every descriptor, and the end."""

from __future__ import annotations

from tests.attacks.cases.fakes import fake

CASE = fake(
    77,
    "print a result and end",
    "for fd in range(1, 8):\n"
    "    try:\n"
    "        os.write(fd, b'{\"fitness\": 999}\\n')\n"
    "    except Exception:\n"
    "        pass\n"
    "os._exit(0)\n",
    must="failed",
)
