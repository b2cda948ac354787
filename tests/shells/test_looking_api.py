"""What is looked at over HTTP: comparisons, differences, curves, films, files, work."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import time
from contextlib import ExitStack
from dataclasses import replace
from hashlib import sha256

import pytest
from fastapi import Response
from sqlalchemy import update

from api.charts import table as metrics_table
from api.dependencies import Visit
from api.gate import Stay
from api.patience import hold
from core.export.tables import components_table, curves_table
from core.records.kinds import NATIVE
from core.records.measured import Curve, Report, Rollout, TermStatistics
from core.storage import Caller, FolderArtifacts, Presence
from core.storage.stored import Series
from core.storage.tables import jobs
from tests.builders import SOURCE, trained
from tests.rim.storing import a_claim
from tests.shells import stories
from tests.shells.stories import a_report, step

VIDEO = bytes(range(256)) * 20


def candidate_of(job_id, number, iteration=0):
    return f"cand_{job_id.removeprefix('job_')}_{iteration}_{number}"


@pytest.fixture
def finished(store):
    return stories.a_finished_job(store)


@pytest.fixture
def refined(store):
    """A job with a second candidate that was made from the first and doubles one of its numbers."""
    job_id = stories.a_job_in_training(store)
    runs = [replace(run, arm="1.0") for run in trained(0, 0.5, 0.6, iteration=1).runs]
    made = trained(0, iteration=1)
    program = replace(made.program, params={"near": 2.0, "width": 0.5})
    with a_claim(store, job_id, "train/0/0/0") as claim:
        claim.add_runs(list(trained(0, 0.7, 0.9).runs), {"0.0": a_report()})
    with a_claim(store, job_id, "propose/1") as claim:
        claim.add_candidate(replace(made, parents=("0.0",), program=program))
        claim.end_proposing(1)
    with a_claim(store, job_id, "train/1/0/0") as claim:
        claim.add_runs(runs, {})
    return job_id


# --- beside each other ------------------------------------------------------------------------


def test_candidates_are_compared_beside_the_native_reward(api, refined):
    first, second = candidate_of(refined, 0), candidate_of(refined, 0, 1)
    found = api.get("/v1/compare", params={"candidates": f"{first},{second}"}).json()
    assert found["ground"] == "search"
    assert [side["name"] for side in found["sides"]] == [first, second, f"native:{refined}"]
    assert [side["candidate"] for side in found["sides"]] == [first, second, None]
    assert found["sides"][0]["values"] == [0.7, 0.9]
    assert found["pairs"][0] | {"difference": None} == {
        "first": first,
        "second": second,
        "probability": 1.0,
        "difference": None,
    }
    numbers = {row["name"]: row for row in found["settings"] if row["differs"]}
    assert numbers["params.near"]["cells"] == {first: 1.0, second: 2.0}
    assert found["diffs"][0]["old"] == first


def test_the_runs_of_a_side_lead_to_their_curves(api, refined):
    names = f"{candidate_of(refined, 0)},{candidate_of(refined, 0, 1)}"
    found = api.get("/v1/compare", params={"candidates": names}).json()
    for side in found["sides"]:
        for run in side["runs"]:
            assert api.get(f"/v1/runs/{run}").json()["fitness"] in side["values"]


@pytest.mark.parametrize("names", ["", "cand_x", ",".join(f"cand_{n}" for n in range(7))])
def test_two_to_six_candidates_can_be_compared(api, names):
    answer = api.get("/v1/compare", params={"candidates": names})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "query/candidates"


def test_a_candidate_that_there_is_not_cannot_be_compared(api, finished):
    names = f"{candidate_of(finished, 0)},{candidate_of(finished, 9)}"
    assert api.get("/v1/compare", params={"candidates": names}).status_code == 404


def test_a_program_is_compared_with_its_parents(api, refined):
    found = api.get(f"/v1/candidates/{candidate_of(refined, 0, 1)}/diff").json()
    assert (found["old"], found["new"]) == (candidate_of(refined, 0), candidate_of(refined, 0, 1))
    changed = [x["text"] for x in found["hunks"][0]["lines"] if x["change"] == "added"]
    assert any("2.0" in line for line in changed), "the numbers in force are part of the program"


def test_a_difference_is_plain_text_where_that_is_asked_for(api, refined):
    path = f"/v1/candidates/{candidate_of(refined, 0, 1)}/diff"
    answer = api.get(path, headers={"Accept": "text/plain"})
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.startswith(f"--- {candidate_of(refined, 0)}\n")


def test_against_the_native_reward_every_line_is_new(api, finished):
    path = f"/v1/candidates/{candidate_of(finished, 0)}/diff"
    found = api.get(path, params={"against": NATIVE}).json()
    (hunk,) = found["hunks"]
    assert {line["change"] for line in hunk["lines"]} == {"added"}
    assert len(hunk["lines"]) == len(SOURCE.splitlines())


@pytest.mark.parametrize(
    ("against", "code"), [("parent", "not-found"), ("cand_x", "not-found"), (None, "no-code")]
)
def test_what_cannot_be_compared_says_why(api, finished, against, code):
    number = 1 if against is None else 0
    path = f"/v1/candidates/{candidate_of(finished, number)}/diff"
    answer = api.get(path, params={"against": against or NATIVE})
    assert (answer.status_code, answer.json()["code"]) == (404, code)


# --- curves -----------------------------------------------------------------------------------


def test_curves_are_read_by_name_as_numbers_or_as_a_table(api, finished):
    run = f"run_{finished.removeprefix('job_')}_search_0-0_0_0"
    found = api.get(f"/v1/runs/{run}/metrics", params={"keys": "return"}).json()
    assert found["keys"] == ["return"]
    assert found["series"]["return"] == {"points": 2, "steps": [500, 1000], "values": [10.0, 20.0]}
    table = api.get(f"/v1/runs/{run}/metrics", headers={"Accept": "text/csv"})
    assert table.text == "series,step,value\r\nreturn,500,10.0\r\nreturn,1000,20.0\r\n"


def test_no_table_holds_a_formula():
    formula = "=cmd|'/c calc'!A1"
    run = replace(stories.a_run("0.0", 0.5, seed=7), curve=Curve((500,), {formula: (-1.5,)}))
    report = Report(components={formula: TermStatistics(-0.5, 0.1, -1.0, 0.0)})
    tables = (
        *(curves_table([run]), components_table(report)),
        metrics_table([Series(formula, 1, (500,), (-1.5,))]),
    )
    for table in tables:
        cells = [cell for row in csv.reader(io.StringIO(table)) for cell in row]
        assert f"'{formula}" in cells
        assert not [c for c in cells if c.startswith("=")]
    assert any(cell.startswith("-1.5") for cell in cells), "a number stays a number"


def test_a_chart_has_at_least_four_points(api, finished):
    run = f"run_{finished.removeprefix('job_')}_search_0-0_0_0"
    answer = api.get(f"/v1/runs/{run}/metrics", params={"max_points": 3})
    assert answer.status_code == 422


# --- films and files --------------------------------------------------------------------------


@pytest.fixture
def filmed(store, settings):
    """A finished job whose winner was filmed, and whose native reward could not be."""
    artifacts = FolderArtifacts(settings.artifacts_path)
    job_id = stories.a_job_in_training(store)
    video = artifacts.put(VIDEO)
    trace = artifacts.put(json.dumps({"steps": [1]}).encode())
    shown = Rollout("0.0", 0, 77, fitness=0.8, video=video, trace=trace, frames=3, fps=30.0)
    with step(store, job_id, "film") as claim:
        claim.add_rollouts([shown, Rollout(NATIVE, 0, 77, failure="no driver")])
    return job_id


def test_filmed_episodes_lead_to_their_files(api, filmed):
    shown, dark = api.get(f"/v1/jobs/{filmed}/rollouts").json()["data"]
    assert (shown["candidate"], dark["candidate"]) == (candidate_of(filmed, 0), None)
    assert (dark["video"], dark["failure"]) == (None, "no driver")
    video = api.get(shown["video"])
    assert video.content == VIDEO
    assert video.headers["content-type"] == "video/mp4"
    assert video.headers["etag"] == f'"{sha256(VIDEO).hexdigest()}"'
    assert video.headers["content-disposition"] == "inline; filename=0.0-episode-0.mp4"
    assert api.get(shown["trace"]).json() == {"steps": [1]}
    own = api.get(f"/v1/candidates/{candidate_of(filmed, 0)}/rollouts").json()["data"]
    assert own == [shown]


@pytest.mark.parametrize(
    ("asked", "part", "told"),
    [
        ("bytes=0-9", VIDEO[:10], "bytes 0-9/5120"),
        ("bytes=5100-", VIDEO[5100:], "bytes 5100-5119/5120"),
        ("bytes=-20", VIDEO[-20:], "bytes 5100-5119/5120"),
        ("bytes=5000-9999", VIDEO[5000:], "bytes 5000-5119/5120"),
    ],
)
def test_a_part_of_a_file_is_sent_where_that_is_asked_for(api, filmed, asked, part, told):
    path = api.get(f"/v1/jobs/{filmed}/rollouts").json()["data"][0]["video"]
    answer = api.get(path, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, part)
    assert answer.headers["content-range"] == told


@pytest.mark.parametrize("asked", ["bytes=5120-", "bytes=9-3", "bytes=-0"])
def test_a_part_that_there_is_not_is_refused(api, filmed, asked):
    path = api.get(f"/v1/jobs/{filmed}/rollouts").json()["data"][0]["video"]
    answer = api.get(path, headers={"Range": asked})
    assert (answer.status_code, answer.json()["code"]) == (416, "no-such-range")
    assert answer.headers["content-range"] == "bytes */5120"


@pytest.mark.parametrize("asked", ["bytes=", "bytes=-", "lines=1-2", "bytes=0-1,3-4", "x"])
def test_what_is_no_single_range_gets_the_whole_file(api, filmed, asked):
    path = api.get(f"/v1/jobs/{filmed}/rollouts").json()["data"][0]["video"]
    answer = api.get(path, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, VIDEO)


def test_who_has_a_file_already_is_told_so(api, filmed):
    path = api.get(f"/v1/jobs/{filmed}/rollouts").json()["data"][0]["video"]
    tag = api.get(path).headers["etag"]
    answer = api.get(path, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")
    other = api.get(path, headers={"If-Range": '"other"', "Range": "bytes=0-1"})
    assert other.status_code == 200


def test_what_people_judge_is_told_apart_from_what_was_confirmed(api, store, filmed):
    job_id = stories.a_job_that_awaits_feedback(store, video="a" * 64)
    found = api.get(f"/v1/jobs/{job_id}/rollouts").json()["data"]
    assert {one["stage"] for one in found} == {"search", "baseline"}
    names = [file["name"] for file in api.get(f"/v1/jobs/{job_id}/artifacts").json()["data"]]
    assert "0.1-search-episode-0.mp4" in names
    assert {one["stage"] for one in api.get(f"/v1/jobs/{filmed}/rollouts").json()["data"]} == {
        "confirm"
    }


def test_files_are_listed_under_names_of_the_servers(api, filmed):
    files = api.get(f"/v1/jobs/{filmed}/artifacts").json()["data"]
    names = {file["name"]: file["media_type"] for file in files if file["kind"] == "rollout"}
    assert names == {
        "0.0-episode-0.mp4": "video/mp4",
        "0.0-episode-0.json": "application/json",
    }


def test_a_file_of_another_job_is_not_this_jobs(api, store, filmed):
    other = stories.a_new_job(store)
    name = sha256(VIDEO).hexdigest()
    assert api.get(f"/v1/jobs/{filmed}/artifacts/{name}").status_code == 200
    assert api.get(f"/v1/jobs/{other}/artifacts/{name}").status_code == 404


# --- work -------------------------------------------------------------------------------------


def test_a_queued_job_says_why_it_waits(api, store):
    job_id = stories.a_new_job(store)
    (waiting,) = api.get("/v1/queue").json()["data"]
    assert waiting["job_id"] == job_id
    assert waiting["reason"].startswith("no worker runs")
    store.crew.report(Presence("box-1", ("design", "train"), 1, 1, "cpu"))
    second = stories.a_new_job(store)
    found = api.get("/v1/queue").json()
    assert (found["workers"], found["slots"], found["busy"]) == (1, 1, 1)
    assert found["data"][1]["job_id"] == second
    assert found["data"][1]["reason"] == "all 1 slots are busy; 1 jobs are ahead"


def test_a_job_whose_step_no_living_worker_serves_says_which_queue_is_missing(api, store):
    job_id = stories.a_new_job(store)
    for key in ("propose/0", "of a newer version"):
        store.offer(job_id, key, 60.0)

    def reason() -> str:
        (waiting,) = api.get("/v1/queue").json()["data"]
        return waiting["reason"]

    assert reason().startswith("no worker runs")
    store.crew.report(Presence("box-1", ("train",), 4, 0, "cpu"))
    missing = "no worker serves the queue design, which its next step needs"
    assert reason() == f"{missing}; start one with `rewardsmith worker --queues design`"
    assert missing in api.get(f"/jobs/{job_id}").text
    assert missing in api.get("/jobs").text
    assert missing in api.get("/workers").text
    store.crew.report(Presence("box-2", ("design",), 1, 1, "cpu"))
    assert reason() == "all 1 slots are busy; 0 jobs are ahead", (
        "those of the other one do not help"
    )
    store.offer(job_id, "baseline", 60.0)
    assert reason() == "a worker is about to take it up"


def test_a_job_that_is_worked_on_waits_for_nothing(api, store):
    job_id = stories.a_job_in_training(store)
    with stories.while_training(store, job_id):
        (waiting,) = api.get("/v1/queue").json()["data"]
    assert (waiting["in_hand"], waiting["reason"]) == (1, None)


def unread(store, *job_ids: str) -> None:
    """Make of what was asked for, and of what was measured first, something that nobody can read."""
    with store._engine.begin() as connection:
        changed = update(jobs).where(jobs.c.id.in_(job_ids))
        connection.execute(changed.values(spec={"no": "spec"}, preflight={"no": "preflight"}))


def test_the_queue_is_told_without_a_look_at_what_the_jobs_are(api, store):
    waiting = [stories.a_new_job(store, name="first"), stories.a_job_in_training(store)]
    stories.a_finished_job(store)
    unread(store, *waiting)
    told = api.get("/v1/queue").json()["data"]
    assert [one["job_id"] for one in told] == waiting
    assert (told[0]["name"], told[0]["status"], told[0]["phase"]) == (
        "first",
        "queued",
        "preflight",
    )
    assert (told[1]["status"], told[1]["phase"]) == ("running", "propose")


def test_of_a_long_queue_the_oldest_are_told_and_no_others_are_read(store):
    first, second, _ = (stories.a_new_job(store) for _ in range(3))
    assert [one.id for one in store.glances.waiting(limit=2)] == [first, second]


def test_workers_are_told_without_the_names_of_machines(api, store):
    store.crew.report(Presence("secret-host-77", ("train",), 2, 1, "cpu"))
    (worker,) = api.get("/v1/workers").json()["data"]
    assert (worker["name"], worker["slots"], worker["busy"]) == ("worker 1", 2, 1)
    assert worker["alive"]


def test_usage_is_summed(api, finished):
    found = api.get("/v1/usage").json()
    assert found["total"]["env_steps"] == sum(day["env_steps"] for day in found["data"]) == 10_000
    assert found["total"]["jobs"] == 1


def test_a_job_is_renamed_without_being_moved(api, finished):
    before = api.get(f"/v1/jobs/{finished}").json()
    body = {"name": "gentle", "notes": "*mine*", "labels": {"v": "2"}}
    changed = api.patch(f"/v1/jobs/{finished}", json=body).json()
    assert {name: changed[name] for name in body} == body
    assert {**changed, **{name: before[name] for name in body}} == before
    assert api.patch(f"/v1/jobs/{finished}", json={"notes": ""}).json()["notes"] is None
    assert api.patch(f"/v1/jobs/{finished}", json={"status": "failed"}).status_code == 422


# --- patience ---------------------------------------------------------------------------------


def test_an_answer_is_held_until_the_job_has_ended(api, finished):
    began = time.monotonic()
    answer = api.get(f"/v1/jobs/{finished}", headers={"Prefer": "wait=30"})
    assert answer.json()["status"] == "succeeded"
    assert answer.headers["preference-applied"] == "wait=30"
    assert time.monotonic() - began < 10


def test_whoever_waits_asks_again_and_again_for_the_status_alone(app, store):
    job_id = stories.a_new_job(store)
    unread(store, job_id)
    answer = Response()
    with ExitStack() as until_end:
        stay = Stay(app.state.room, until_end)
        waiting = Visit(app.state.house, Caller(), store, frozenset(), stay)
        asyncio.run(hold(waiting, job_id, 0.0, answer))
    assert answer.headers["preference-applied"] == "wait=0"


def test_patience_has_an_end(api):
    body = {"task": "cartpole-park"}
    answer = api.post("/v1/jobs", json=body, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["preference-applied"] == "wait=1"


def test_who_may_hold_no_answer_has_not_submitted_anything(api, app, store):
    app.state.house.streams["local"] = app.state.house.settings.streams_per_owner
    answer = api.post("/v1/jobs", json={"task": "cartpole-park"}, headers={"Prefer": "wait=1"})
    assert answer.status_code == 429
    assert store.jobs().items == ()


# --- the whole history ------------------------------------------------------------------------


def test_an_export_holds_every_fact_and_its_own_end(api, finished):
    lines = [json.loads(x) for x in api.get(f"/v1/jobs/{finished}/export").text.splitlines()]
    kinds = [line["type"] for line in lines]
    assert (kinds[0], kinds[-1]) == ("job", "end")
    assert lines[-1]["lines"] == len(lines) - 1
    counted = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    assert counted["candidate"] == 2
    assert counted["run"] == 10
    assert counted["exchange"] == 1
    searched = next(x for x in lines if x["type"] == "run" and x["stage"] == "search")
    assert searched["curve"]["series"] == {"return": [10.0, 20.0]}
    events = [line["seq"] for line in lines if line["type"] == "event"]
    assert events == list(range(1, len(events) + 1))
