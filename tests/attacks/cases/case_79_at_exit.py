"""A second line when everything is over."""

from __future__ import annotations

from tests.attacks.cases.fakes import fake

CASE = fake(
    79,
    "print a second result at exit",
    "sys.modules['builtins'].__import__('atexit').register(\n"
    "    lambda: os.write(3, b'{\"fitness\": 999}\\n')\n"
    ")\n",
)
