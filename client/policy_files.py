"""The policy of a job's best design as a graph of ONNX, and the filmed episodes as Minari datasets."""

from __future__ import annotations

import json
import os
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from client.extras import load
from client.jobs import Job
from core.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

    from api.comparison_views import RolloutView

ROOM = "MINARI_DATASETS_PATH"  # where Minari looks for datasets and writes them


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as a bundle has it: `policy.json`, and the weights as safetensors bytes."""

    card: Mapping[str, Any]
    weights: bytes


def policy_of(job: Job) -> Policy:
    """Return the policy of the best confirmation run.

    Raises:
        InvalidInput: there is none yet.
        ApiProblem, Unreachable: as every request.
    """
    with TemporaryDirectory() as folder:
        file = job.best.save_bundle(Path(folder) / "bundle.zip")
        with zipfile.ZipFile(file) as bundle:
            if "policy.json" not in bundle.namelist():
                raise InvalidInput(
                    "a bundle without a policy",
                    expected="a job whose design was confirmed, and whose files are on its server",
                    where=f"job {job.id}",
                    hint="The bundle's README.md says what is missing, and why.",
                )
            card = json.loads(bundle.read("policy.json"))
            return Policy(card, bundle.read("policy.safetensors"))


def write_onnx(job: Job, file: Path) -> list[Path]:
    """Write the policy as a graph of ONNX, and return where it is.

    Designed features are no part of it; `core/export/to_onnx.py`, which is in the bundle as well, says
    what is.

    Raises:
        ConfigurationError: onnx is not installed.
        InvalidInput: there is no policy yet.
    """
    onnx = load("onnx", extra="onnx")
    tensors_of = load("safetensors.numpy", extra="onnx").load
    from core.export.to_onnx import graph_of

    policy = policy_of(job)
    onnx.save(graph_of(dict(policy.card), tensors_of(policy.weights)), file)
    return [file]


def write_minari(job: Job, folder: Path) -> list[Path]:
    """Write a dataset per arm of the filmed episodes into a folder, and return where they are.

    Observations are flat, rewards are the environment's own; `infos` have what each component of the
    designed reward paid, NaN at the reset.  `minari.load_dataset` finds them where MINARI_DATASETS_PATH
    names the folder.

    Raises:
        ConfigurationError: minari is not installed.
        InvalidInput: nothing was filmed, or the folder has such a dataset already.
    """
    minari = load("minari", extra="minari")
    load("h5py", extra="minari")
    filmed = [one for one in job.rollouts() if one.recording and one.stage == "confirm"]
    if not filmed:
        raise InvalidInput(
            "no recorded episode",
            expected="a finished job with films",
            where=f"job {job.id}",
            hint="`evaluation.rollouts` says how many are filmed; an imported job has no files.",
        )
    spaces = _spaces(policy_of(job).card)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for arm, episodes in groupby(filmed, key=lambda one: one.arm):
        name = _dataset_name(job, arm)
        if (folder / name).exists():
            raise InvalidInput(
                f"the dataset {name}", expected="a folder without it", where=f"{folder}"
            )
        with _told_where(folder), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="minari")  # of what it would like to know
            minari.create_dataset_from_buffers(
                dataset_id=name,
                buffer=[_buffer(job, number, one) for number, one in enumerate(episodes)],
                algorithm_name=str(job.document["spec"]["training"]["algorithm"]),
                author="Rewardsmith",
                description=_description(job, arm),
                data_format="hdf5",
                **spaces,
            )
        written.append(folder / name)
    return written


@contextmanager
def _told_where(folder: Path) -> Iterator[None]:
    """Let Minari write into a folder."""
    before = os.environ.get(ROOM)
    os.environ[ROOM] = str(folder.absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ[ROOM]
        else:
            os.environ[ROOM] = before


def _dataset_name(job: Job, arm: str) -> str:
    task, who = (re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-") for text in (_task(job), arm))
    return f"rewardsmith/{task}/{'native' if arm == 'native' else f'candidate-{who}'}-v0"


def _task(job: Job) -> str:
    return str(job.document["spec"]["task"]["name"])


def _description(job: Job, arm: str) -> str:
    who = "the native reward" if arm == "native" else f"candidate {arm} of job {job.id}"
    return f"Filmed episodes of the policy that {who} taught on {_task(job)}."


def _spaces(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spaces, the observation's flat."""
    import numpy as np

    box = (spaces := load("gymnasium.spaces", extra="minari")).Box
    action = card["action"]
    if action["kind"] == "discrete":
        chosen = spaces.Discrete(action["n"])
    else:
        low, high = (np.asarray(action[end], np.float32) for end in ("low", "high"))
        chosen = box(low, high, dtype=np.float32)
    shape = (card["inputs"]["observation"],)
    return {
        "observation_space": box(-np.inf, np.inf, shape, np.float32),
        "action_space": chosen,
    }


def _buffer(job: Job, number: int, one: RolloutView) -> Any:
    """Return an episode as Minari wants it."""
    tensors_of = load("safetensors.numpy", extra="minari").load
    assert one.recording is not None  # others were left out
    with TemporaryDirectory() as folder:
        file = job.save_artifact(one.recording.rpartition("/")[2], Path(folder) / "recording")
        lived: Mapping[str, np.ndarray[Any, Any]] = tensors_of(file.read_bytes())
    return load("minari.data_collector", extra="minari").EpisodeBuffer(
        id=number,
        seed=one.seed,
        observations=lived["observations"],
        actions=lived["actions"],
        **{name: lived[name] for name in ("rewards", "terminations", "truncations")},
        infos={"components": _components(lived)},
    )


def _components(lived: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was paid, by name, with a value for the reset as well."""
    import numpy as np

    return {
        name.removeprefix("component."): np.concatenate([[np.float32(np.nan)], values])
        for name, values in lived.items()
        if name.startswith("component.")
    }
