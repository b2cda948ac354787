"""Bring a program in the style of LESR (arXiv 2407.13237) here, and show that it stayed the same.

Such a program is a pair of NumPy functions for one state at a time:

    revise_state(s) -> updated_s            the state [D], then extra dimensions, [D + F]
    intrinsic_reward(updated_s) -> float    added to the environment's reward with a weight

Ours are called on many rows at once, by field name.  The pair is not rewritten: its two functions are
called with the state's dimensions as columns, [D, B] instead of [D], for which `s[0] ** 2` means the
same.  What decides for one state alone (`if`, `min`, `float`, a norm over several dimensions without
`axis=0`) must be rewritten by hand; the comparison on 10,000 states finds it, and so do the checks of a
job.  A loop over rows would keep even that, but would be far slower than a program may be.  This is an
example and not a part of the service, because nothing in a job needs it: what it prints is a program
like any other, to be handed in to a job in mode `add`.

    python examples/lesr_pair.py examples/cartpole_pair.py \\
        cart_position cart_velocity pole_angle pole_angular_velocity > program.py

The reward is computed of the state that was reached.  The fields are those of the observation in its
order; `name[i]` is a dimension of a field that is a vector.
"""

import sys
from pathlib import Path

import numpy as np

HINT = "Rewrite what is for one state alone: np.where, np.minimum, axis=0."
STATES = 10_000
TOLERANCE = 1e-4  # of float32


def load(source):
    """Return the namespace of a module's text, which is trusted: it is the user's own."""
    module = {}
    exec(compile(source, "pair.py", "exec"), module)
    return module


def one_by_one(source, states):
    """Return what the pair gives for states [N, D], as it was meant: revised [N, D + F], reward [N]."""
    pair = load(source)
    revised = [np.asarray(pair["revise_state"](state), np.float64) for state in states]
    return np.stack(revised), np.array([float(pair["intrinsic_reward"](one)) for one in revised])


def adapted(source, fields):
    """Return the text of a program: the pair, and `features` and `reward` that call it on columns."""
    state = np.random.default_rng(0).normal(size=len(fields))
    extra = len(one_by_one(source, state[None])[0][0]) - len(fields)
    if extra < 1:
        raise SystemExit(f"revise_state must add to its {len(fields)} dimensions; it adds {extra}.")
    entries = ", ".join(f'"extra_{i}": revised[{len(fields) + i}]' for i in range(extra))
    return f"""{source.strip()}


def features(obs):
    revised = revise_state({columns("obs", fields)})
    return {{{entries}}}


def reward(obs, action, next_obs, params):
    revised = revise_state({columns("next_obs", fields)})
    return {{"intrinsic": intrinsic_reward(revised)}}
"""


def columns(owner, fields):
    """Return the expression that puts the fields of `obs` or `next_obs` together as [D, B]."""
    parts = [f"{owner}.{name.replace('[', '[:, ')}" for name in fields]
    return f"np.stack([{', '.join(parts)}])"


def difference(source, states):
    """Return the largest difference between the pair and its batched form, relative to 1 + |value|."""
    revised, reward = one_by_one(source, states.astype(np.float64))
    pair = load(source)
    together = pair["revise_state"](np.ascontiguousarray(states.T))
    paid = np.broadcast_to(pair["intrinsic_reward"](together), len(states))
    return max(
        np.max(np.abs(ours - theirs) / (1 + np.abs(theirs)))
        for ours, theirs in ((np.stack(list(together)).T, revised), (paid, reward))
    )


def main(path, *fields):
    source = Path(path).read_text(encoding="utf-8")
    states = np.random.default_rng(0).normal(size=(STATES, len(fields))).astype(np.float32)
    try:
        largest = difference(source, states)
    except (TypeError, ValueError, IndexError) as error:
        raise SystemExit(f"The pair cannot be called on columns: {error}. {HINT}") from error
    if largest > TOLERANCE:
        raise SystemExit(f"On columns the pair gives other numbers, by {largest:.2g}. {HINT}")
    print(adapted(source, fields))
    print(f"Equal on {STATES} states to {largest:.1g}.", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
