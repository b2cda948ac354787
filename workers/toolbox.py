"""The composition root: settings in, the outside world out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from core.designers import make_designer
from core.sandbox import Sandbox
from core.settings import Settings
from core.steps import Toolbox
from core.storage import FolderArtifacts
from core.training.held_out import held_out_seeds
from core.training.laboratory import CHECK_PRELOAD, PRELOAD, JailedLaboratory


@dataclass(frozen=True, slots=True)
class Bench:
    """What a worker process owns: the tools for steps, and the sandbox behind them."""

    tools: Toolbox
    sandbox: Sandbox


def open_bench(settings: Settings, *, trains: bool) -> Bench:
    """Start the sandbox and put the tools together.

    Args:
        settings: of this machine.
        trains:   whether training must be possible; a design-only worker stays light.

    Raises:
        IsolationTooWeak: the machine offers less isolation than the operator requires.
    """
    preload: Sequence[str] = PRELOAD if trains else CHECK_PRELOAD
    folders = [Path(folder) for folder in settings.environment_paths]
    sandbox = Sandbox(preload, import_paths=folders)
    sandbox.ensure_started()
    artifacts = FolderArtifacts(settings.artifacts_path)
    tools = Toolbox(
        designer=lambda spec: make_designer(spec.designer, settings),
        laboratory=JailedLaboratory(sandbox, artifacts),
        held_out=partial(held_out_seeds, settings.secret_key()),
    )
    return Bench(tools, sandbox)
