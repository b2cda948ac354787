"""What two programs do not share, as hunks, as rows and as text."""

from __future__ import annotations

import difflib
import subprocess

from hypothesis import given
from hypothesis import strategies as st

from core.differences import MOST_PAIRS, hunks, side_by_side, unified

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


def every_second(word: str, lines: int, between: str = "same {n}") -> str:
    """A text in which every second line is its own, and the others stand in all such texts."""
    return "\n".join(x for n in range(lines // 2) for x in (between.format(n=n), f"{word} {n}"))


def changes(old: str, new: str) -> list[str]:
    return [line.change for hunk in hunks(old, new) for line in hunk.lines]


def test_what_differs_in_texts_too_long_to_be_compared_line_by_line_is_one_block():
    lines = int(MOST_PAIRS**0.5) + 2
    old, new = (f"head\n{every_second(word, lines)}\ntail" for word in ("old", "new"))
    inner = lines - 1  # they begin with the same line
    assert changes(old, new) == ["same", "same", *["removed"] * inner, *["added"] * inner, "same"]
    changed = [row for row in side_by_side(old, new) if row.differs]
    assert len(changed) == inner
    text = unified(old, new, "a", "b").splitlines()
    assert sum(line.startswith("-old") for line in text) == lines // 2
    assert [x[0] for x in text[2:]] == ["@", " ", " ", *["-"] * inner, *["+"] * inner, " "]


def test_lines_are_still_compared_one_by_one_where_one_text_is_short():
    long = every_second("old", 5_000)
    assert changes(long, long.splitlines()[3]).count("same") == 1


def test_lines_that_stand_everywhere_hold_long_texts_together_nowhere():
    old, new = (every_second(word, 300, between="") for word in ("old", "new"))
    assert changes(old, new) == ["same", *["removed"] * 299, *["added"] * 299]


@given(LINES, LINES)
def test_the_text_is_that_of_diff(old, new):
    told = difflib.unified_diff(old, new, "a", "b", n=3, lineterm="")
    ours = unified("".join(f"{x}\n" for x in old), "".join(f"{x}\n" for x in new), "a", "b")
    assert ours == "".join(f"{line}\n" for line in told)


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
