"""Scripts, links and pictures in texts that are shown; code in texts that are written into a file."""

from __future__ import annotations

import ast
import contextlib
import io
from collections.abc import Iterator

from client.console import Screen
from core.export import Provenance, render_reward_file
from core.program import read_program
from core.records.task import Field, Task
from core.sandbox import clean_text
from tests.attacks.cases.kinds import Trial
from tests.attacks.pages import answers_with

MARKUP = (
    "<script>alert(1)</script> [x](javascript:alert(1)) ![x](http://evil/?x) "
    "<svg onload=alert(1)> \x1b[31m"
)
TERMINAL = "a \x1b[2J\x1b]0;title\x07 \x9b31m \u202e \r name"
BREAKOUT = '"""\nimport os\nos.system("touch /tmp/rewardsmith-breakout")\n"""\\'
CODE = "def reward(obs, action, next_obs, params):\n    return {'a': obs.x}\n"


def in_answers() -> Iterator[str]:
    for answer in answers_with(MARKUP):
        kind = answer.headers["content-type"].partition(";")[0]
        if kind not in ("application/json", "application/problem+json"):
            yield f"an answer of type {kind}"
        if answer.headers["x-content-type-options"] != "nosniff":
            yield "an answer whose type a browser may guess"
        policy = answer.headers["content-security-policy"]
        if "default-src 'none'" not in policy or "unsafe" in policy:
            yield f"an answer with the policy {policy}"


def in_the_terminal() -> Iterator[str]:
    told, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(complained):
        Screen().say(TERMINAL)
        Screen().complain(TERMINAL)
    for said in (told.getvalue(), complained.getvalue()):
        if clean_text(said) != said:
            yield f"a command to the terminal: {said!r}"


def in_the_file() -> Iterator[str]:
    fields = (Field("x", "obs[0]", "m", meaning=BREAKOUT),)
    task = Task(f"cart {BREAKOUT}", "CartPole-v1", BREAKOUT, fields=fields)
    provenance = Provenance(
        BREAKOUT, "0.0", BREAKOUT, BREAKOUT, BREAKOUT, None, None, False, {BREAKOUT: BREAKOUT}
    )
    program = read_program(CODE, fields, "replace")
    calls = [
        node
        for node in ast.walk(
            ast.parse(render_reward_file(task, program, "replace", 0.02, provenance))
        )
        if isinstance(node, ast.Attribute) and node.attr == "system"
    ]
    if calls:
        yield "code from a text in the downloaded file"


def run(bench: object) -> list[str]:
    return [*in_answers(), *in_the_terminal(), *in_the_file()]


CASE = Trial(89, "text", "put scripts into texts that are shown", "shown as text", run)
