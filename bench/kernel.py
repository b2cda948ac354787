"""How long one gradient step takes: the stacked torch update against the compiled kernel.

Both are timed in turn in one run, on one thread, so that a busy machine disturbs the ratio least:

    python bench/kernel.py [seconds per case]
"""

from __future__ import annotations

import statistics
import sys
import time
from itertools import pairwise

import numpy as np
import torch

from core.training.kernel import load, why_absent
from core.training.networks import Shapes, initial_parameters
from core.training.ppo import Experience, Stack, hyper_of, new_stack, update
from core.training.settings import PPOSettings

FORMS = {
    "obs 4, 2 choices": Shapes(4, (64, 64), 2, False),
    "obs 11, actions 3": Shapes(11, (64, 64), 3, True),
    "obs 17, actions 6": Shapes(17, (64, 64), 6, True),
}
MEMBERS = (1, 8, 16, 64)
MINIBATCHES = (64, 256)
ROWS = 2048
SETTINGS = PPOSettings()


def a_stack(shapes: Shapes, members: int) -> Stack:
    stack, rng = new_stack(shapes, members), np.random.default_rng(0)
    for name, drawn in initial_parameters(shapes, rng, 0.0).items():
        stack.params[name].copy_(torch.from_numpy(drawn))
    return stack


def some_experience(shapes: Shapes, members: int) -> Experience:
    def normal(*size: int) -> torch.Tensor:
        return torch.randn(members, ROWS, *size)

    choices = torch.randint(0, shapes.actions, (members, ROWS))
    actions = normal(shapes.actions) if shapes.continuous else choices
    density = -1.4 * shapes.actions if shapes.continuous else -0.7
    return Experience(normal(shapes.inputs), actions, normal() * 0.1 + density, normal(), normal())


def seconds(call, *arguments) -> float:
    start = time.thread_time()  # what others do meanwhile does not count
    call(*arguments)
    return time.thread_time() - start


def main() -> None:
    patience = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    torch.set_num_threads(1)
    kernel = load()
    if kernel is None:
        sys.exit(f"no compiled kernel: {why_absent()}")
    print("| form | K | minibatch | torch us | kernel us | us per member | ratio | GFLOP/s |")
    print("|---|---|---|---|---|---|---|---|")
    for name, shapes in FORMS.items():
        for members in MEMBERS:
            for size in MINIBATCHES:
                order = np.random.default_rng(1).permutation(ROWS)
                batches = np.array_split(order, ROWS // size) * max(1, 8 // members)
                stack = a_stack(shapes, members)
                experience = some_experience(shapes, len(stack.flat))
                hyper = hyper_of([SETTINGS] * members)
                few, slow, fast = batches[: max(1, 16 // members)], [], []
                end = time.perf_counter() + patience
                while time.perf_counter() < end or len(fast) < 3:
                    slow.append(seconds(update, stack, experience, hyper, few) / len(few))
                    arguments = (stack, experience, hyper, batches)
                    fast.append(seconds(kernel.update, *arguments) / len(batches))
                torch_us, kernel_us = statistics.median(slow) * 1e6, statistics.median(fast) * 1e6
                print(
                    f"| {name} | {members} | {size} | {torch_us:.0f} | {kernel_us:.0f} "
                    f"| {kernel_us / members:.1f} | {torch_us / kernel_us:.1f} "
                    f"| {operations(shapes, size) * members / kernel_us / 1e3:.0f} |",
                    flush=True,
                )


def operations(shapes: Shapes, rows: int) -> float:
    """Return the floating-point operations of one gradient step's matrix products."""
    total = 0
    for outputs in (shapes.actions, 1):
        sizes = (shapes.inputs, *shapes.hidden, outputs)
        products = [a * b for a, b in pairwise(sizes)]
        total += 3 * sum(products) - products[0]  # forward, weights', and inputs' but the first
    return 2.0 * rows * total


if __name__ == "__main__":
    main()
