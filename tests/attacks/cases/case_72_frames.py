"""Lists of returns in the frames of whoever called, overwritten."""

from __future__ import annotations

from tests.attacks.cases.fakes import fake

CASE = fake(
    72,
    "overwrite the returns of its callers",
    "",
    honest="def features(obs):\n"
    "    frame = sys._getframe()\n"
    "    while frame is not None:\n"
    "        for name, value in list(frame.f_locals.items()):\n"
    "            if value.__class__ is list:\n"
    "                value[:] = [999.0 if v.__class__ is float else v for v in value]\n"
    "        frame = frame.f_back\n"
    "    return {'lean': 3 * obs.angle}\n",
)
