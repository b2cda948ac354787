"""Inputs changed in place, behind their protection too."""

from __future__ import annotations

from tests.attacks.cases.fakes import checks, rewarding

FORCE = "b = {}\nwhile b.base is not None:\n    b = b.base\nb.flags.writeable = True\nb[...] = 0\n"
BODIES = {
    "state": "obs.x[:] = 0\nreturn {'a': obs.v}",
    "action": "action[:] = 0\nreturn {'a': obs.v}",
    "next state": "next_obs.x[:] = 0\nreturn {'a': obs.v}",
    "an attribute": "obs.x = obs.v\nreturn {'a': obs.v}",
    "state, by force": FORCE.format("obs.x") + "return {'a': obs.v}",
    "next state, by force": FORCE.format("next_obs.x") + "return {'a': obs.v}",
    "action, by force": FORCE.format("action") + "return {'a': obs.v}",
}
CASE = checks(
    68,
    "change its inputs in place",
    "runtime inputs",
    {name: rewarding(body) for name, body in BODIES.items()},
)
