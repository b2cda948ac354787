"""The leak audit: no prompt names a field that only the metric may see, nor shows the native reward.

The second wall.  The first are the parts of a prompt, which show neither (`core.methods.prompting`,
`core.words.without_metric`, `core.context`).  What a designer wrote is free: a program may well arrive
at the native reward by itself, and later prompts quote it.

What is compared is the stream of names, numbers and signs: spaces, brackets around terms, `self.`,
`np.` and leading underscores make no difference, other names and another order of terms do.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from core.context import Native
from core.errors import PromptLeak
from core.records.asking import Prompt
from core.records.task import Field
from core.syntax import expression_tree

LeakKind: TypeAlias = Literal["metric_field", "native_reward"]

_TOKEN = re.compile(r"[A-Za-z_]\w*|\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+|\*\*|[-+*/%<>=\[\],]=?")
_DROPPED = frozenset({"self", "np", "numpy", "math", "torch"})
_PROGRAM = re.compile(r"^<<<DATA program [^\n]* (\w+)\n.*?^\1 DATA>>>$", re.MULTILINE | re.DOTALL)
_UNKNOWN = Native()
_OPERANDS = 2  # a computation of fewer says nothing of the environment


@dataclass(frozen=True, slots=True)
class Leak:
    """Something that a prompt must not show.

    `found` is the field's name, or the expression or name of the native reward; `message` is the
    number of the message, counted from 0.
    """

    kind: LeakKind
    found: str
    message: int


def audit_prompt(
    prompt: Prompt,
    fields: Sequence[Field],
    native: Native = _UNKNOWN,
    *,
    written: Iterable[str] = (),
    told: Iterable[str] = (),
) -> tuple[Leak, ...]:
    """Return what a prompt shows and must not.

    Args:
        prompt:  the messages; those of the assistant, and programs that are quoted as data, are the
                 designer's own and are not looked at.
        fields:  the task's fields.
        native:  what the native reward is made of, as `core.context.native_reward` finds it.
        written: what designers wrote in this job (programs, analyses, replies); it may be repeated.
        told:    what the user wrote; it may give the native reward away.
    """
    own = [
        (i, _ours(text)) for i, (role, text) in enumerate(prompt.messages) if role != "assistant"
    ]
    authored = "\n".join(written)
    free = f"{authored}\n" + "\n".join(told)
    leaks = [
        Leak("metric_field", name, i)
        for name in sorted(_metric_only(fields))
        if not _names(authored, name)
        for i, text in own
        if _names(text, name)
    ]
    return (*leaks, *_native_leaks(own, native, fields, free))


def refuse_leaks(leaks: Sequence[Leak]) -> None:
    """Raise for a prompt that leaks.

    Raises:
        PromptLeak: names the first few leaks and where they stand.
    """
    if not leaks:
        return
    words = {"metric_field": "the field of the metric", "native_reward": "the native reward's"}
    told = [f"{words[leak.kind]} {leak.found!r} in message {leak.message}" for leak in leaks[:3]]
    raise PromptLeak(
        "; ".join(told),
        expected="a prompt that shows neither fields of the metric nor the native reward",
        where="prompt",
        hint="If a field of the task bears an everyday word as its name, rename it; else this is a "
        "mistake of the method, and nothing was sent.",
    )


def _ours(text: str) -> str:
    return _PROGRAM.sub("", text)


def _metric_only(fields: Sequence[Field]) -> set[str]:
    return {f.name for f in fields if not {"policy", "reward"} & set(f.visible)}


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


# --- the native reward ------------------------------------------------------------------------


def _native_leaks(
    own: Sequence[tuple[int, str]], native: Native, fields: Sequence[Field], free: str
) -> list[Leak]:
    visible = {f.name for f in fields if {"policy", "reward"} & set(f.visible)}
    found = {_stream(e): e for e in native.expressions if _telling(e)}
    found |= {_stream(name): name for name in native.names if name not in visible}
    if not found:  # mostly there is nothing to hide, and the texts are long
        return []
    allowed = _stream(free)
    streams = [(i, _stream(text)) for i, text in own]
    return [
        Leak("native_reward", expression, i)
        for stream, expression in found.items()
        if stream not in allowed
        for i, text in streams
        if stream in text
    ]


def _telling(expression: str) -> bool:
    """Tell whether an expression computes something of at least two operands."""
    try:
        tree = expression_tree(expression)
    except SyntaxError:
        return False
    computes = any(isinstance(n, ast.BinOp | ast.Compare) for n in ast.walk(tree))
    functions = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    inner = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    operands = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.Name | ast.Attribute | ast.Constant)
        and id(n) not in functions
        and id(n) not in inner
    ]
    return computes and len(operands) >= _OPERANDS


@lru_cache(maxsize=64)
def _stream(text: str) -> str:
    """Return the tokens, each between two spaces, so that containment respects their ends.

    The questions of one step share most of their messages, and all that was written before.
    """
    kept = [_plain(token) for token in _TOKEN.findall(text) if token not in _DROPPED]
    return f" {' '.join(kept)} "


@lru_cache(maxsize=4096)
def _plain(token: str) -> str:
    """Return how a token is compared; prompts have few different ones, thousands of times."""
    if token[0].isdigit() or token[0] == ".":
        return f"{float(token):g}"
    return token.lstrip("_") or token
