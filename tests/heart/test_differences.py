"""What two programs do not share, as hunks, as rows and as text."""

from __future__ import annotations

import subprocess

from hypothesis import given
from hypothesis import strategies as st

from core.differences import hunks, side_by_side, unified

OLD = "\n".join(["import numpy as np", *(f"line {n}" for n in range(20)), "end", ""])
NEW = OLD.replace("line 3\n", "line three\nand a half\n").replace("line 15\n", "")
LINES = st.lists(st.sampled_from(["a", "b", "", "  c", "def f():"]), max_size=12)


def test_equal_texts_have_no_hunks():
    assert hunks(OLD, OLD) == ()
    assert unified(OLD, OLD, "old", "new") == ""
    assert not any(row.differs for row in side_by_side(OLD, OLD))


def test_a_hunk_shows_the_change_with_the_lines_around_it():
    first, second = hunks(OLD, NEW)
    assert [(line.change, line.text) for line in first.lines] == [
        ("same", "line 0"),
        ("same", "line 1"),
        ("same", "line 2"),
        ("removed", "line 3"),
        ("added", "line three"),
        ("added", "and a half"),
        ("same", "line 4"),
        ("same", "line 5"),
        ("same", "line 6"),
    ]
    assert (first.old_start, first.old_count, first.new_start, first.new_count) == (2, 7, 2, 8)
    assert [line.text for line in second.lines if line.change == "removed"] == ["line 15"]


def test_lines_know_their_numbers_on_both_sides():
    removed = next(x for x in hunks(OLD, NEW)[1].lines if x.change == "removed")
    assert (removed.old, removed.new) == (17, None)
    same = hunks(OLD, NEW)[1].lines[0]
    assert (same.text, same.old, same.new) == ("line 12", 14, 15)


def test_a_replaced_line_stands_beside_its_replacement():
    changed = [row for row in side_by_side(OLD, NEW) if row.differs]
    shown = [(r.left and r.left.text, r.right and r.right.text) for r in changed]
    assert shown == [("line 3", "line three"), (None, "and a half"), ("line 15", None)]


@given(LINES, LINES)
def test_the_rows_hold_both_texts_whole(old, new):
    rows = side_by_side("\n".join(old), "\n".join(new))
    left = [row.left.text for row in rows if row.left]
    right = [row.right.text for row in rows if row.right]
    assert left == "\n".join(old).splitlines()
    assert right == "\n".join(new).splitlines()


def test_patch_can_use_the_text(tmp_path):
    (tmp_path / "reward.py").write_text(OLD)
    subprocess.run(
        ["patch", "-s", "reward.py"],
        cwd=tmp_path,
        input=unified(OLD, NEW, "a", "b"),
        text=True,
        check=True,
    )
    assert (tmp_path / "reward.py").read_text() == NEW


def test_hunks_count_as_the_text_does():
    for old, new in [(OLD, NEW), ("", "a\n"), ("a\n", ""), ("a\nb\n", "b\n")]:
        told = [line for line in unified(old, new, "a", "b").splitlines() if line.startswith("@@")]
        for hunk, line in zip(hunks(old, new), told, strict=True):
            ranges = [
                f"{start}" if count == 1 else f"{start},{count}"
                for start, count in (
                    (hunk.old_start, hunk.old_count),
                    (hunk.new_start, hunk.new_count),
                )
            ]
            assert line == f"@@ -{ranges[0]} +{ranges[1]} @@"
