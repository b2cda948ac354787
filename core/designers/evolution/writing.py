"""Write a design down: the module, and the reply around it, in the form a model is asked for."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from core.designers.evolution.reading import Reading
from core.designers.evolution.terms import LIVING, Design, Term, in_words, number
from core.syntax import expression_tree

_WIDTH = 96
_PLAIN = 0.5  # wishes below this clarity are not told as read from the text

WHO = (
    "This is no language model: it is a search over a typed grammar of reward terms. It reads the "
    "comparisons of the fitness; of the text it uses only numbers, number words, and words near the "
    "names and meanings of the fields."
)


def write_module(design: Design) -> str:
    """Return the source of the program; `parsing.read_design` reads it back."""
    parts = ["import numpy as np"]
    params = [pair for term in design.terms for pair in term.params]
    if params:
        lines = [f'    "{name}": {number(value)},' for name, value in params]
        parts.append("\n".join(["PARAMS = {", *lines, "}"]))
    blocks = ["\n\n".join(parts)]
    if design.features:
        entries = [_entry(f.name, f.code, f.comment) for f in design.features]
        blocks.append(_function("features(obs)", entries))
    if design.terms:
        entries = [_entry(t.name, t.code, t.comment) for t in design.terms]
        blocks.append(_function("reward(obs, action, next_obs, params)", entries))
    return "\n\n\n".join(blocks) + "\n"


def _function(signature: str, entries: Sequence[str]) -> str:
    return "\n".join([f"def {signature}:", "    return {", *entries, "    }"])


def _entry(name: str, code: str, comment: str) -> str:
    line = f'        "{name}": {code},'
    if len(line) > _WIDTH:
        line = "\n".join([f'        "{name}": (', *_wrapped(code), "        ),"])
    return f"        # {comment}\n{line}"


def _wrapped(code: str) -> list[str]:
    """Break a product over lines, one factor each."""
    factors: list[str] = []
    node = expression_tree(code)
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        factors.insert(0, _factor(node.right))
        node = node.left
    factors.insert(0, _factor(node))
    return [f"            {'* ' if i else ''}{factor}" for i, factor in enumerate(factors)]


def _factor(node: ast.expr) -> str:
    text = ast.unparse(node)
    return f"({text})" if isinstance(node, ast.BinOp | ast.UnaryOp) else text


def write_reply(module: str, prediction: str, idea: str, reading: Reading) -> str:
    """Return the whole reply: analysis, prediction, code."""
    return (
        f"{WHO}\n\n{_read(reading)}\n{idea}\n\nPrediction: {prediction}\n\n```python\n{module}```\n"
    )


def _read(reading: Reading) -> str:
    plain = [w for w in reading.wishes if w.clarity >= _PLAIN]
    if not plain:
        return "No word of the text is near a field, so the terms are drawn by chance."
    lines = []
    if asked := "; ".join(in_words(w) for w in plain if w.asked):
        lines.append(f"The fitness asks for: {asked}.")
    told = [w for w in plain if not w.asked][:6]
    if said := "; ".join(f'"{_quotable(w.why)}" is read as {in_words(w)}' for w in told):
        lines.append(f"From the text: {said}.")
    return "\n".join(lines)


def _quotable(words: str) -> str:
    """Keep letters, digits and spaces only: the text is not ours, and must not break the reply."""
    return "".join(c for c in words if c.isalnum() or c in " .-")[:80]


def predict(design: Design) -> str:
    """Say what the search expects of a design, as claims that are held against what happens."""
    main = main_term(design)
    if main is None:
        named = f"; feature {design.features[0].name} used" if design.features else ""
        return f"fitness better than native{named}"
    return f"fitness better than native; component {main.name} rises"


def main_term(design: Design) -> Term | None:
    """Return the heaviest term that is about the state, not about living or effort."""
    about = [term for term in design.terms if term.name not in LIVING] or list(design.terms)
    return max(about, key=lambda term: abs(term.weight), default=None)
