"""A job whose programs a reader wrote from our prompts, answered again from its recording.

The reader saw the prompts and nothing else; every reply passed the rules and checks at first go.  Its
prompts may have changed since: that is an event, not an error.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from core.program import read_program
from core.replies import read_reply
from core.tasks import find_task
from tests.stack import stack

RECORDINGS = Path(__file__).parents[2] / "examples" / "recordings"


@pytest.mark.parametrize("task", ["cartpole-park", "hopper-stand"])
def test_what_a_reader_wrote_still_passes_every_static_rule(task):
    recording = json.loads((RECORDINGS / f"{task}.json").read_text())
    fields = find_task(task).fields
    programs = [read_reply(entry["reply"]["text"]) for entry in recording["exchanges"]]
    assert len(programs) >= 8
    assert all(read_program(p.source, fields, "replace").has_reward for p in programs)
    assert all(p.prediction and p.analysis for p in programs)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_recorded_job_ends_better_without_a_repair(tmp_path):
    with stack(tmp_path / "home") as server:
        (server.home / "recordings").mkdir(parents=True)
        shutil.copy(RECORDINGS / "cartpole-park.json", server.home / "recordings")
        server.serve("--workers", "2")
        body = {
            "task": "cartpole-park",
            "designer": {"name": "replay", "recording": "cartpole-park"},
            "iterations": 2,
            "candidates": 5,
            "evaluation": {"confirm_seeds": 5},
        }
        job_id = server.post("/v1/jobs", body)["id"]
        job = server.finished(job_id, 500)
        assert job["status"] == "succeeded", job["failure"]
        assert job["outcome"]["verdict"] == "better"
        # A screen may drop one: what it judges by hangs on this server's own held-out seeds.
        found = server.get(f"/v1/jobs/{job_id}/candidates?limit=100")["data"]
        assert not [candidate["rejection"] for candidate in found if candidate["rejection"]]
        exchanges = server.get(f"/v1/jobs/{job_id}/exchanges")["data"]
        assert {exchange["attempt"] for exchange in exchanges} == {0}
        kinds = {e["type"] for e in server.get(f"/v1/jobs/{job_id}/events?limit=100")["data"]}
        drifted = any(exchange["notes"] for exchange in exchanges)
        assert drifted == ("designer.note" in kinds)
