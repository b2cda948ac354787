"""`make mutations`: every protection removed in turn, and one line of JSON that says who noticed."""

from __future__ import annotations

import argparse
import json
import sys

from tests.mutations.listing import every_mutation
from tests.mutations.mutation import copied_tree, run_tests, try_out


def main() -> None:
    """Try all mutations; end with 1 if one goes unnoticed, or if a test is red without any."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations")
    parser.add_argument("--list", action="store_true", help="name the mutations, and run nothing")
    parser.add_argument("names", nargs="*", help="only mutations whose names contain one of these")
    options = parser.parse_args()
    chosen = [m for m in every_mutation() if not options.names or _is_named(m.name, options.names)]
    if options.list:
        print(json.dumps({"mutations": [{"name": m.name, "file": m.file} for m in chosen]}))
        return
    with copied_tree() as tree:
        code, said = run_tests(sorted({test for m in chosen for test in m.red}), tree)
        if code != 0:
            sys.exit(f"a test is red without any mutation:\n{said[-4000:]}")
        tried = [try_out(mutation, tree) for mutation in chosen]
    unnoticed = [one["name"] for one in tried if not one["red"]]
    print(json.dumps({"mutations": tried, "tried": len(tried), "unnoticed": unnoticed}))
    sys.exit(1 if unnoticed else 0)


def _is_named(name: str, wanted: list[str]) -> bool:
    return any(word in name for word in wanted)


if __name__ == "__main__":
    main()
