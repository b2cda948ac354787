"""The observation, set to nothing under the policy's eyes."""

from __future__ import annotations

from tests.attacks.cases.fakes import fake

CASE = fake(
    76,
    "set the state of the environment",
    "",
    honest="def features(obs):\n"
    "    lean = 3 * obs.angle\n"
    "    block = obs.angle\n"
    "    while block.base is not None:\n"
    "        block = block.base\n"
    "    block.flags.writeable = True\n"
    "    block[...] = 0\n"
    "    return {'lean': lean}\n",
)
