"""What the tests of the designer without a model share: asking it, and real transitions."""

import ast
import re
from functools import cache

import numpy as np

import tests.rim.box2d  # noqa: F401
from core.designers.evolution import EvolutionDesigner
from core.designers.evolution.reading import read_task
from core.envs import make_batch
from core.program import read_program
from core.records.asking import Ask, Brief, Prompt
from core.records.rounds import Candidate
from core.replies import read_reply
from core.tasks import catalogue

TASKS = list(catalogue())
PARK = catalogue()["cartpole-park"]
SEEDS, SLOTS = range(8), range(12)


def ask(task, slot=0, *, seed=0, iteration=0, attempt=0, operator="seed", mode="replace", **brief):
    asked = Brief(task, iteration, slot, operator, mode, seed, **brief)
    return Ask(iteration, slot, attempt, asked, Prompt(()))


def answer(*arguments, **named):
    return EvolutionDesigner().answer(ask(*arguments, **named)).text


def program_of(text, task, mode="replace"):
    return read_program(read_reply(text).source, task.fields, mode)


@cache
def seeded(name):
    task = catalogue()[name]
    return [program_of(answer(task, slot, seed=s), task) for s in SEEDS for slot in SLOTS]


def candidate(program, number=0, *, report=None, iteration=0):
    return Candidate(iteration, number, "seed", "trained", program=program, report=report)


@cache
def transitions(name, rows=8, steps=40):
    """Return the layout and real transitions under random actions."""
    task = catalogue()[name]
    batch = make_batch(task, rows)
    rng = np.random.default_rng(0)
    state = batch.reset(list(range(rows)))
    found = []
    for _ in range(steps):
        action = random_action(batch.action, rows, rng)
        step = batch.step(action)
        found.append((state.copy(), action, step.next_block.copy()))
        state = step.state
    batch.close()
    states, actions, nexts = (np.concatenate(part) for part in zip(*found, strict=True))
    return batch.layout, states, actions, nexts


def random_action(space, rows, rng):
    if space["kind"] == "discrete":
        return rng.integers(space["n"], size=rows)
    size = (rows, space["size"])
    return rng.uniform(space["low"], space["high"], size).astype(np.float32)


def structure(source):
    """Return the code without the numbers of PARAMS."""
    return ast.dump(ast.parse(re.sub(r"PARAMS = \{.*?\}", "PARAMS = {}", source, flags=re.S)))


def asked(fitness, fields=(), description=""):
    found = read_task(description, fields, {}, fitness=fitness).wishes
    return [(w.aim, w.quantity.name, w.target) for w in found if w.asked]
