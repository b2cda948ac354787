"""A thread in the background that goes on forging."""

from __future__ import annotations

from tests.attacks.cases.fakes import fake

CASE = fake(
    80,
    "rewrite results in the background",
    "time = sys.modules['time']\n"
    "def forge():\n"
    "    while True:\n"
    "        for module in list(sys.modules.values()):\n"
    "            for name in ('fitness', 'episodes', 'result', 'returns'):\n"
    "                if name in vars(module):\n"
    "                    module.__dict__[name] = 999.0\n"
    "        time.sleep(0.001)\n"
    "sys.modules['builtins'].__import__('_thread').start_new_thread(forge, ())\n",
)
