"""Replies whose fences are nested, missing or forged."""

from __future__ import annotations

import time

from core.errors import ProgramRejected
from core.program import read_program
from core.records.task import Field
from core.replies import read_reply
from tests.attacks.cases.kinds import Trial

MOST_SECONDS = 5.0  # it takes a tenth of that; what grows with the square of a reply takes minutes
FIELDS = (Field("x", "obs[0]"),)
GOOD = "def reward(obs, action, next_obs, params):\n    return {'a': obs.x}\n"
EVIL = "import os\ndef reward(obs, action, next_obs, params):\n    return {'a': os.getpid()}\n"

SOUND = {
    "a fence in a fence": f"````python\n'''\n```\nx\n```\n'''\n{GOOD}````\n",
    "a fence in a text": f'```python\nWORDS = """\n```\n"""\n{GOOD}```\n',
    "another block first": f"```python\n{EVIL}```\nNo, this:\n```python\n{GOOD}```\n",
    "two functions": f"```python\n{GOOD}\n{GOOD}```\n",
}
REFUSED = {
    "no fence": GOOD,
    "an open fence": f"```python\n{GOOD}",
    "a wrong name": f"```python\n{GOOD.replace('reward', 'rewrad')}```\n",
    "nothing": "",
    "fences alone": "```\n" * 10_000,
    "fences that shrink": "".join(f"{'`' * n}\n{'`' * n}\n" for n in range(800, 2, -1)),
    "another import": f"```python\n{EVIL}```\n",
}


def program_of(reply: str) -> str:
    try:
        return read_program(read_reply(reply).source, FIELDS, "replace").source
    except ProgramRejected:
        return ""


def run(bench: object) -> list[str]:
    began = time.process_time()
    lost = [f"{name}: no program, or another" for name in REFUSED if program_of(REFUSED[name])]
    for name, reply in SOUND.items():
        source = program_of(reply)
        if "import os" in source or (
            name != "two functions" and GOOD.splitlines()[1] not in source
        ):
            lost.append(f"{name}: {source!r}")
    if (spent := time.process_time() - began) > MOST_SECONDS:
        lost.append(f"{spent:.1f} s of reading")
    return lost


CASE = Trial(91, "text", "hide a program behind fences", "one program, or none", run)
