"""The scorer's seeds, searched for in all the memory of the processes that train and act.

It is told what to look for, which a real attack is not; it holds every byte shifted by one, so that it
does not find itself.  It looks for integers of 8 bytes, for Python's own, and for digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.attacks.bench import HELD_OUT
from tests.attacks.cases.kinds import Trial
from tests.rim.laboratory_parts import ESCAPE

if TYPE_CHECKING:
    from tests.attacks.bench import Bench

LOW, HIGH = 2**30 - 1, 30  # Python keeps integers in digits of 30 bits
KNOWN = HELD_OUT[0] + 65_536  # planted by the program itself; its lower half is that of all seeds


def shifted(text: bytes) -> bytes:
    return bytes((byte + 1) % 256 for byte in text)


def disguised(seed: int) -> list[bytes]:
    """Return the seed as an integer of 8 bytes, and as one of Python's, shifted."""
    digits = (seed & LOW).to_bytes(4, "little") + (seed >> HIGH).to_bytes(4, "little")
    return [shifted(seed.to_bytes(8, "little")), shifted(digits)]


HUNT = f"""
import numpy as np
{ESCAPE}
builtins = sys.modules["builtins"]
ctypes = builtins.__import__("ctypes")
HALF = np.frombuffer({shifted(HELD_OUT[0].to_bytes(4, "little"))[:2]}, np.uint16)[0]

def regions():
    for line in builtins.open("/proc/self/maps"):
        span, rights, _, _, _, *name = line.split()
        if rights[:2] == "rw" and name in ([], ["[heap]"], ["[stack]"]):
            start, end = (int(half, 16) for half in span.split("-"))
            yield (ctypes.c_char * (end - start)).from_address(start)

def hunt(patterns, digits):
    found = set()
    for memory in regions():
        shifted = np.frombuffer(memory, np.uint8) + np.uint8(1)
        text = shifted.tobytes()
        found |= {{number for number in digits if number in text}}
        for place in np.flatnonzero(shifted.view(np.uint16)[::2] == HALF).tolist():
            found |= {{text[4 * place : 4 * place + 8]}} & patterns
    return found
"""
PATTERNS = [pattern for seed in (KNOWN, *HELD_OUT) for pattern in disguised(seed)]
DIGITS = [shifted(str(seed).encode()) for seed in HELD_OUT[:1]]
SOURCE = f"""{HUNT}
planted = np.array([{KNOWN - 1}]) + 1
FOUND = hunt(set({PATTERNS}), {DIGITS})
CONTROL = len(FOUND & set({disguised(KNOWN)}))

def features(obs):
    return {{"lean": 3 * obs.angle / (len(FOUND) == CONTROL)}}

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
