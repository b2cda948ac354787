"""The mutations themselves: each still finds its protection.  `make mutations` tries them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutations.listing import every_mutation

ROOT = Path(__file__).resolve().parent.parent.parent
MUTATIONS = every_mutation()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_protection_stands_where_the_mutation_looks_for_it(mutation):
    assert mutation.applied(ROOT) != (ROOT / mutation.file).read_text()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_tests_that_must_go_red_exist(mutation):
    for test in mutation.red:
        path, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / path).read_text()


def test_no_two_mutations_have_the_same_name():
    names = [mutation.name for mutation in MUTATIONS]
    assert len(set(names)) == len(names)
