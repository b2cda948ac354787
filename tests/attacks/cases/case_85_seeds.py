"""The scorer's seeds, searched for in all the memory of the processes that train and act.

It is told what to look for, which a real attack is not; it holds the numbers shifted, so that it
does not find itself.  It looks for integers of 4 and 8 bytes, for Python's own, and for digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.attacks.bench import HELD_OUT
from tests.attacks.cases.kinds import Trial
from tests.rim.laboratory_parts import ESCAPE

if TYPE_CHECKING:
    from tests.attacks.bench import Bench

SHIFT = 1_000_003
LOW, HIGH = 2**30 - 1, 30  # Python keeps integers in digits of 30 bits


def disguised(seed: int) -> tuple[int, int, int, bytes]:
    return seed + SHIFT, (seed & LOW) + SHIFT, (seed >> HIGH) + SHIFT, shifted(str(seed).encode())


def shifted(text: bytes) -> bytes:
    return bytes(byte + 1 for byte in text)


HUNT = f"""
import numpy as np
{ESCAPE}
builtins = sys.modules["builtins"]
ctypes = builtins.__import__("ctypes")

def regions():
    for line in builtins.open("/proc/self/maps"):
        span, rights, _, _, _, *name = line.split()
        if rights[:2] == "rw" and name in ([], ["[heap]"], ["[stack]"]):
            start, end = (int(half, 16) for half in span.split("-"))
            yield (ctypes.c_char * (end - start)).from_address(start)

def hunt(wanted):
    counts = [0] * len(wanted)
    for memory in regions():
        words = np.frombuffer(memory, np.uint32) + np.uint32({SHIFT})
        text = (np.frombuffer(memory, np.uint8) + np.uint8(1)).tobytes()
        for place, (whole, low, high, digits) in enumerate(wanted):
            counts[place] += int((words == whole).sum()) + text.count(digits)
            counts[place] += int(((words[:-1] == low) & (words[1:] == high)).sum())
    return counts
"""
KNOWN = 1_654_321_987
SOURCE = f"""{HUNT}
planted = np.array([{KNOWN + SHIFT}]) - {SHIFT}
CONTROL, *SEEDS = hunt({[disguised(seed) for seed in (KNOWN, *HELD_OUT)]})

def features(obs):
    return {{"lean": 3 * obs.angle / (sum(SEEDS) == 0)}}

def reward(obs, action, next_obs, params):
    return {{"control": CONTROL + 0 * obs.x}}
"""


def run(bench: Bench) -> list[str]:
    """Trainer and actor break where a seed is found; what was planted shows that the search finds."""
    made = bench.train({"0.0": SOURCE}, record=False).runs[0]
    if made.status == "failed" or made.curve is None:
        return [f"seeds were found, or the search broke: {made.failure}"]
    control = made.curve.series.get("component.control", (0.0,))[-1]
    return [] if control else ["the search finds nothing at all"]


CASE = Trial(85, "fitness", "read the scorer's seeds", "absent", run)
