"""Protections removed one by one, to show that the suites can fail.

Each module here names some in `MUTATIONS`; `make mutations` applies each to a copy of the tree and
runs the tests that must go red.  `python -m tests.mutations --list` only lists them.
"""
