"""The folder that a user takes home: it plays in an environment of its own, without us."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx2
import numpy as np
import pytest
import yaml

from core.records.outcome import Outcome
from tests.builders import an_outcome
from tests.shells import stories
from tests.stack import QUICK_TASK, stack

ROOT = Path(__file__).parents[2]


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def finished(store):
    return stories.a_finished_job(store)


def listed(card: str) -> set[str]:
    """The files that a card's table names."""
    cells = re.findall(r"^\| (.*?) \|", card, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)}


def test_a_bundle_holds_what_its_card_says(api, finished):
    files = unpacked(api.get(f"/v1/jobs/{finished}/best/bundle.zip").content)
    card = files["README.md"].decode()
    assert listed(card) == set(files) - {"README.md"}
    assert "play.py" not in card, "nobody is told to run what is not there"
    assert "python reward.py" in card
    limits = card.split("## Limits")[1]
    assert "There is no video: none was asked for." in limits


def test_a_design_whose_files_are_elsewhere_is_not_called_unconfirmed(api, store):
    job_id = stories.a_finished_job(store, video="a" * 64)
    card = unpacked(api.get(f"/v1/jobs/{job_id}/best/bundle.zip").content)["README.md"].decode()
    assert "**better**" in card
    assert "confirmed" not in card.split("## Limits")[1]
    assert "There is no policy: the server that wrote this does not have its file" in card
    assert "There is no video: the server that wrote this does not have its file" in card
    assert "<video" not in card


def test_a_design_that_was_not_confirmed_is_called_so(api, store):
    job_id = stories.a_job_that_awaits_feedback(store)
    card = unpacked(api.get(f"/v1/jobs/{job_id}/best/bundle.zip").content)["README.md"].decode()
    assert "There is no policy: the design has not been confirmed." in card


def test_before_the_end_the_card_says_when_there_will_be_a_film(api, store):
    job_id = stories.a_job_that_awaits_feedback(store, video="a" * 64)
    files = unpacked(api.get(f"/v1/jobs/{job_id}/best/bundle.zip").content)
    assert "the winner is filmed after the confirmation." in files["README.md"].decode()
    assert "replay.mp4" not in files, "what people judge is a policy of the search"


def test_the_same_facts_give_the_same_bytes(api, finished):
    first, second = (api.get(f"/v1/jobs/{finished}/best/bundle.zip") for _ in range(2))
    assert first.content == second.content
    assert first.headers["etag"] == second.headers["etag"]
    assert first.headers["content-disposition"] == f"attachment; filename={finished}.zip"


def test_results_and_history_are_those_of_the_job(api, finished):
    files = unpacked(api.get(f"/v1/jobs/{finished}/best/bundle.zip").content)
    results = json.loads(files["results.json"])
    assert results["verdict"] == "better"
    assert results["fitness"] == {"0.0": [0.8, 0.8, 0.9], "native": [0.1, 0.2, 0.3]}
    lines = [json.loads(line) for line in files["history.jsonl"].splitlines()]
    assert [(x["candidate"], x["status"]) for x in lines] == [
        ("0.0", "trained"),
        ("0.1", "rejected"),
    ]
    assert lines[1]["rejection"].startswith("line 3")
    assert files["curves.csv"].decode().splitlines()[1] == "0.0,search,0,0,return,500,10.0"
    assert files["components.csv"].decode().splitlines()[1].startswith("component,near,")


def test_the_card_is_read_by_the_hub(api, finished):
    text = unpacked(api.get(f"/v1/jobs/{finished}/best/bundle.zip").content)["README.md"].decode()
    head = yaml.safe_load(text.split("---")[1])
    (result,) = head["model-index"][0]["results"]
    assert result["dataset"]["name"] == "PointPark-v0"
    assert result["metrics"][0]["value"].startswith("0.")
    assert "reinforcement-learning" in head["tags"]


def test_a_hostile_task_stays_text_in_the_card(api, store):
    from tests.builders import a_task

    text = "**bold** <script>alert(1)</script>\n---\n[x](javascript:1)"
    outcome: Outcome = an_outcome()
    job_id = stories.a_finished_job(store, outcome, task=a_task(description=text))
    card = unpacked(api.get(f"/v1/jobs/{job_id}/best/bundle.zip").content)["README.md"].decode()
    assert "<script>" not in card.replace("\\<script\\>", "")
    assert card.count("\n---\n") == 1


def test_before_there_is_a_design_there_is_no_bundle(api, store):
    answer = api.get(f"/v1/jobs/{stories.a_new_job(store)}/best/bundle.zip")
    assert (answer.status_code, answer.json()["code"]) == (404, "no-valid-candidate-yet")


# --- for real ---------------------------------------------------------------------------------

slow = pytest.mark.slow  # a whole job is done, and a virtual environment is made


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A server, and the id of a job that was really done there, with films."""
    evaluation = {**QUICK_TASK["evaluation"], "rollouts": 2}
    with stack(tmp_path_factory.mktemp("done")) as server:
        server.serve("--workers", "2")
        job_id = server.post("/v1/jobs", {**QUICK_TASK, "evaluation": evaluation})["id"]
        assert server.finished(job_id)["status"] == "succeeded"
        shown = server.get(f"/v1/jobs/{job_id}/rollouts")["data"]
        assert [one["failure"] for one in shown] == [None] * 4
        yield server, job_id


@pytest.fixture(scope="module")
def bundle(done, tmp_path_factory):
    """The folder of that job."""
    server, job_id = done
    return unpacked_into(tmp_path_factory.mktemp("bundles") / "bundle", server, job_id)


def unpacked_into(folder: Path, server, job_id: str) -> Path:
    """Download a job's bundle and lay its files into a folder."""
    content = httpx2.get(f"{server.url}/v1/jobs/{job_id}/best/bundle.zip", timeout=60).content
    folder.mkdir()
    for name, body in unpacked(content).items():
        (folder / name).write_bytes(body)
    return folder


def alone(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run something that cannot see this repository."""
    known = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(python), *arguments], cwd=cwd, env=known, capture_output=True, text=True, check=False
    )


@slow
@pytest.mark.timeout(600)
def test_it_plays_in_a_new_environment_and_reproduces_what_was_stored(bundle, tmp_path):
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    pinned = ["-c", str(ROOT / "constraints.txt"), "-r", str(bundle / "requirements.txt")]
    subprocess.run([python, "-m", "pip", "install", "-q", *pinned], check=True)
    assert alone(python, "-c", "import core", cwd=bundle).returncode != 0
    played = alone(python, "play.py", cwd=bundle)
    assert played.returncode == 0, played.stdout + played.stderr
    recorded = json.loads((bundle / "results.json").read_text())["episodes"]
    assert len(recorded) == 2
    assert played.stdout.count("as recorded") == 2, played.stdout
    other = alone(python, "play.py", "--episodes", "1", "--seed", "3", cwd=bundle)
    assert other.returncode == 0, other.stderr


@slow
def test_a_number_that_was_changed_is_found_out(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path, dirs_exist_ok=True)
    results = json.loads((tmp_path / "results.json").read_text())
    results["episodes"][0]["native_return"] += 1.0
    (tmp_path / "results.json").write_text(json.dumps(results))
    played = alone(Path(sys.executable), "play.py", cwd=tmp_path)
    assert played.returncode == 1
    assert "recorded: native_return" in played.stdout


@slow
def test_sb3_trains_on_the_exported_reward(bundle):
    code = (
        "from reward import make_env\n"
        "from stable_baselines3 import PPO\n"
        "model = PPO('MlpPolicy', make_env(), n_steps=64, batch_size=32, n_epochs=1, device='cpu')\n"
        "model.learn(256)\n"
        "print(model.num_timesteps)\n"
    )
    trained = alone(Path(sys.executable), "-W", "ignore", "-c", code, cwd=bundle)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.strip() == "256"


@slow
def test_the_policy_acts_alike_in_sb3(bundle):
    code = (
        "import json\n"
        "from play import Player, HERE\n"
        "from to_sb3 import model_of\n"
        "from stable_baselines3 import PPO\n"
        "player = Player()\n"
        "model_of(player).save('model.zip')\n"
        "model = PPO.load('model.zip', device='cpu')\n"
        "known = json.loads((HERE / 'results.json').read_text())['episodes'][0]\n"
        "obs, _ = player.env.reset(seed=known['seed'])\n"
        "total, over = 0.0, False\n"
        "while not over:\n"
        "    obs, _, ended, cut, info = player.env.step(model.predict(obs, deterministic=True)[0])\n"
        "    total, over = total + info['native_reward'], ended or cut\n"
        "print(abs(total - known['native_return']) < 1e-6)\n"
    )
    acted = alone(Path(sys.executable), "-W", "ignore", "-c", code, cwd=bundle)
    assert acted.returncode == 0, acted.stderr
    assert acted.stdout.strip() == "True"


@slow
def test_the_policy_acts_alike_in_onnx(bundle):
    pytest.importorskip("onnxruntime")
    acted = alone(Path(sys.executable), "-W", "ignore", "to_onnx.py", cwd=bundle)
    assert acted.returncode == 0, acted.stdout + acted.stderr
    assert re.search(r"\d{2,} recorded steps, largest difference from play.py: 0\b", acted.stdout)


@slow
def test_a_policy_that_sees_designed_features_acts_alike_elsewhere(done, tmp_path):
    """What is designed here is the state alone, so that the winner has features for certain."""
    pytest.importorskip("onnxruntime")
    server, _ = done
    evaluation = {**QUICK_TASK["evaluation"], "rollouts": 1}
    asked = {**QUICK_TASK, "design": "features", "evaluation": evaluation}
    job_id = server.post("/v1/jobs", asked)["id"]
    assert server.finished(job_id)["status"] == "succeeded"
    folder = unpacked_into(tmp_path / "bundle", server, job_id)
    card = json.loads((folder / "policy.json").read_text())
    assert card["inputs"]["features"] > 0
    for script, said in (
        ("play.py", "as recorded"),
        ("to_onnx.py", "largest difference from play.py: 0"),
    ):
        acted = alone(Path(sys.executable), "-W", "ignore", script, cwd=folder)
        assert acted.returncode == 0, acted.stdout + acted.stderr
        assert said in acted.stdout


@slow
def test_the_command_writes_the_same_graph(done, bundle, tmp_path):
    onnx = pytest.importorskip("onnx")
    server, job_id = done
    file = tmp_path / "policy.onnx"
    told = server.run("export", job_id, "--to", "onnx", "-o", str(file), "--json")
    assert json.loads(told.stdout)["files"] == [str(file)]
    card = json.loads((bundle / "policy.json").read_text())
    assert onnx.load(file).metadata_props[0].value == card["sha256"]


@slow
def test_the_filmed_episodes_are_minari_datasets(done, tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    server, job_id = done
    folder = tmp_path / "datasets"
    told = server.run("export", job_id, "--to", "minari", "-o", str(folder), "--json")
    assert told.returncode == 0, told.stderr
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    shown = server.get(f"/v1/jobs/{job_id}/rollouts")["data"]
    names = sorted(str(Path(file).relative_to(folder)) for file in json.loads(told.stdout)["files"])
    assert names[1] == "rewardsmith/cartpole/native-v0"
    for name, arm in zip(names, (shown[0]["arm"], "native"), strict=True):
        dataset = minari.load_dataset(name)
        own = [one for one in shown if one["arm"] == arm]
        assert dataset.total_episodes == 2
        for episode, known in zip(dataset.iterate_episodes(), own, strict=True):
            assert len(episode.actions) == known["length"] == len(episode.observations) - 1
            assert episode.rewards.sum() == pytest.approx(known["native_return"], rel=1e-5)
            assert (episode.terminations | episode.truncations)[-1]
            assert episode.terminations[-1] == known["terminated"]
        paid = episode.infos["components"] if arm != "native" else {}
        assert all(np.isfinite(values[1:]).all() for values in paid.values())
        assert bool(paid) == (arm != "native")
    again = server.run("export", job_id, "--to", "minari", "-o", str(folder))
    assert (again.returncode, "a folder without it" in again.stderr) == (2, True)


@slow
def test_it_holds_film_and_pictures_and_its_card_says_so(bundle):
    card = (bundle / "README.md").read_text()
    there = {file.name for file in bundle.iterdir() if file.is_file()}
    assert listed(card) <= there
    assert {"play.py", "policy.json", "replay.mp4", "curves.png"} <= listed(card)
    assert "python play.py" in card
    assert '<video src="replay.mp4"' in card
    assert (bundle / "replay.mp4").read_bytes()[4:8] == b"ftyp"
    for name in ("curves.png", "components.png"):
        assert (bundle / name).read_bytes().startswith(b"\x89PNG")
