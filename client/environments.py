"""What can be known of an environment before there is a job: built and probed in the sandbox here."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.context import native_reward, observation_excerpt
from core.errors import EnvironmentUnusable, InvalidFitness
from core.fitness import describe
from core.records.measured import Preflight
from core.records.task import Task


@dataclass(frozen=True, slots=True)
class Checked:
    """What a job would find.

    Attributes:
        preflight: spaces, time limit, speed, fields, fitness of the random policy.
        measured:  the fitness in one sentence.
        hidden:    names of fields that no prompt and no program ever sees.
        excerpt:   the observation's code as a prompt may show it; "" where none is found.
        withheld:  computations of the native reward that no prompt may show.
    """

    task: Task
    preflight: Preflight
    measured: str
    hidden: tuple[str, ...]
    excerpt: str
    withheld: tuple[str, ...]


def check_environment(task: Task, import_paths: Sequence[Path], isolation: int) -> Checked:
    """Build an environment in a jailed child and live some random episodes in it.

    Args:
        task:         with an environment, a fitness, and fields if it names any.
        import_paths: folders from which the child may import.
        isolation:    level that the sandbox must have.

    Raises:
        EnvironmentUnusable: it cannot be built or stepped; says why.
        InvalidFitness: the fitness names a field that the environment does not give.
        SandboxFailed: there is no wall that is good enough on this machine.
    """
    from core.sandbox import Sandbox
    from core.storage import FolderArtifacts
    from core.training.probing import probe_task

    sandbox = Sandbox(["core.training.preflight"], import_paths=list(import_paths))
    try:
        sandbox.ensure_started()
        sandbox.require(isolation)
        with tempfile.TemporaryDirectory() as folder:
            artifacts = FolderArtifacts(Path(folder))
            found = probe_task(sandbox, artifacts, task, 0, lambda _: None, source=True)
    finally:
        sandbox.close()
    hidden = tuple(f.name for f in found.fields if not {"policy", "reward"} & set(f.visible))
    return Checked(
        task=replace(task, fields=found.fields),
        preflight=found,
        measured=describe(task.fitness, found.fields),
        hidden=hidden,
        excerpt=observation_excerpt(found.source, hidden),
        withheld=native_reward(found.source).expressions,
    )


UNUSABLE = (EnvironmentUnusable, InvalidFitness)
"""What a check finds, as opposed to what keeps it from looking."""
