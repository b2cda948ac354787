"""`python -m tests.attacks.without`: which attacks get through when one wall is taken away.

One line of JSON per wall and kind of worker; `docs/security.md` has the table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from core.sandbox.attacks import every_case
from tests.attacks.modes import MODES
from tests.mutations.mutation import Mutation, copied_tree

_LOCK = "core/sandbox/lock.py"
_REACHED = ("reached", "lives on", "ChildDied")
WALLS = (
    Mutation("Landlock", _LOCK, "landlock_abi=version,", "landlock_abi=0,", ()),
    Mutation("seccomp", _LOCK, "seccomp=seccomp.available(),", "seccomp=False,", ()),
    Mutation("limits", _LOCK, "    _limit_resources(limits, jail)\n", "    pass\n", ()),
    Mutation(
        "Landlock and seccomp",
        _LOCK,
        "        landlock_abi=version,\n        seccomp=seccomp.available(),\n",
        "        landlock_abi=0,\n        seccomp=False,\n",
        (),
    ),
)
_RUN = """
import json
from tests.attacks.modes import MODES, run
print(json.dumps(run(MODES[{number}])))
"""


def main() -> None:
    """Take each wall away in a copy of the tree, and attack as root and as an ordinary user."""
    cases = {n: case for n, case in every_case().items() if case.ends in ("refused", "orphaned")}
    with copied_tree() as tree:
        text = (tree / _LOCK).read_text(encoding="utf-8")
        for wall in WALLS:
            (tree / _LOCK).write_text(wall.applied(tree), encoding="utf-8")
            for number, mode in enumerate(MODES[:2]):
                done = subprocess.run(
                    [sys.executable, "-c", _RUN.format(number=number)],
                    cwd=tree,
                    env=os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
                    stdout=subprocess.PIPE,
                    check=True,
                )
                found = json.loads(done.stdout)
                through = [n for n in cases if found[str(n)] in _REACHED]
                level = int(found["isolation"].split()[0])
                told = {"without": wall.name, "as": mode.name, "level": level, "through": through}
                print(json.dumps(told), flush=True)
            (tree / _LOCK).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
