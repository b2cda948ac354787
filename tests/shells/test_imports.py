"""Exported jobs, taken in again as somebody's own."""

from __future__ import annotations

import ast
import io
import json
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx2
import pytest
from sqlalchemy import select, update

from api import imports
from api.dependencies import MOST_IMPORTS
from api.limits import MAX_NODES
from core.loop import Import, next_steps
from core.records.kinds import NATIVE
from core.records.measured import Rollout
from core.records.people import Remark
from core.storage import read_transcript
from core.storage.tables import candidates
from core.storage.transcripts import MOST_LINE_CHARACTERS
from tests.builders import SOURCE
from tests.shells import stories
from tests.shells.stories import step
from tests.stack import eventually

OWN = ("id", "created_at", "origin", "event_count", "rewardsmith", "idle_seconds")


@pytest.fixture
def exported(api, store):
    job_id = stories.a_finished_job(store)
    store.add_remark(job_id, Remark(0, "text", text="good\u2028so far"))
    store.describe(job_id, name="first", notes="*kept*", labels={"v": "1"})
    return api.get(f"/v1/jobs/{job_id}/export").text


def sent(api, text: str, **headers: str):
    known = {"Content-Type": "application/jsonl", **headers}
    return api.post("/v1/jobs/import", content=text.encode(), headers=known)


def taken_in(api, store, text: str) -> str:
    answer = sent(api, text)
    assert answer.status_code == 202, answer.text
    job_id = answer.json()["id"]
    assert next_steps(store.history(job_id)) == (Import(),)
    with step(store, job_id, "import") as claim:
        claim.take_in()
    return job_id


def facts(text: str) -> list[dict]:
    """The lines without what an import has of its own: ids, times of storing, names of files."""
    found = []
    for line in map(
        json.loads, text.splitlines() if "\u2028" not in text else text.split("\n")[:-1]
    ):
        if line["type"] in ("event", "end"):
            continue
        own = {k: v for k, v in line.items() if k not in (*OWN, "weights", "checkpoint")}
        own.pop("phase", None)
        if isinstance(own.get("preflight"), dict):
            own["preflight"] = {k: v for k, v in own["preflight"].items() if k != "probe"}
        found.append(own)
    return found


def test_an_imported_job_is_the_exported_one_under_a_new_id(api, store, exported):
    job_id = taken_in(api, store, exported)
    first = json.loads(exported.split("\n")[0])
    assert job_id != first["id"]
    again = api.get(f"/v1/jobs/{job_id}/export").text
    assert facts(again) == facts(exported)
    job = api.get(f"/v1/jobs/{job_id}").json()
    assert (job["status"], job["origin"], job["name"]) == ("succeeded", first["id"], "first")
    assert job["outcome"]["verdict"] == "better"


def test_it_can_be_looked_at_like_any_other(api, store, exported):
    job_id = taken_in(api, store, exported)
    body = job_id.removeprefix("job_")
    assert api.get(f"/v1/jobs/{job_id}/best").json()["fitness"]["mean"] == pytest.approx(0.8)
    assert api.get(f"/v1/jobs/{job_id}/best/reward.py").status_code == 200
    run = api.get(f"/v1/runs/run_{body}_search_0-0_0_0/metrics").json()
    assert run["series"]["return"]["values"] == [10.0, 20.0]
    kinds = [e["type"] for e in api.get(f"/v1/jobs/{job_id}/events?limit=100").json()["data"]]
    assert kinds[:2] == ["job.created", "job.started"]
    assert "candidate.evaluated" in kinds
    assert kinds[-2:] == ["job.imported", "job.completed"]


def test_no_file_is_named_by_what_somebody_sent(api, store, exported):
    lines = [json.loads(line) for line in exported.split("\n")[:-1]]
    for line in lines:
        if line["type"] == "run":
            line |= {"weights": "a" * 64, "checkpoint": "b" * 64}
        if line["type"] == "report":
            line["report"] |= {"transitions": "c" * 64, "recording": "d" * 64}
        if line["type"] == "job":
            line["preflight"] |= {"probe": "e" * 64, "recording": "f" * 64}
    film = Rollout(NATIVE, 0, 7, video="a" * 64, preview="b" * 64, trace="c" * 64)
    from dataclasses import asdict

    lines.insert(1, {"type": "rollout", **asdict(film)})
    lines[-1]["lines"] += 1
    job_id = taken_in(api, store, "".join(json.dumps(line) + "\n" for line in lines))
    assert store.artifacts(job_id) == ()
    assert {run.run.weights for run in store.all_runs(job_id)} == {None}
    (shown,) = api.get(f"/v1/jobs/{job_id}/rollouts").json()["data"]
    assert (shown["video"], shown["failure"]) == (None, "its files stayed where it was exported")


def test_a_job_that_would_end_in_the_future_has_ended_when_it_is_taken_in(api, store, exported):
    late = with_line(0, started_at="2299-01-01T00:00:00+00:00", finished_at="2300-01-01T00:00:00Z")
    job_id = taken_in(api, store, spoilt(exported, late))
    job = store.job(job_id)
    assert job.created_at <= job.finished_at < job.created_at + timedelta(hours=1)
    assert job.started_at <= job.finished_at
    tomorrow = -1.0  # as many days ago
    assert job_id in store.leftovers.ended_before(tomorrow), "it would be kept for ever"


def test_an_end_in_the_past_is_kept(api, store, exported):
    early = with_line(0, started_at="2020-01-01T00:00:00Z", finished_at="2020-01-02T00:00:00Z")
    job = store.job(taken_in(api, store, spoilt(exported, early)))
    assert (job.started_at.day, job.finished_at.day) == (1, 2)


def test_one_that_ended_long_ago_is_kept_for_its_time_from_when_it_came(api, store, exported):
    early = with_line(0, started_at="2020-01-01T00:00:00Z", finished_at="2020-01-02T00:00:00Z")
    job_id = taken_in(api, store, spoilt(exported, early))
    assert job_id not in store.leftovers.ended_before(30.0)
    assert not store.leftovers.expire(job_id, 30.0)
    assert store.leftovers.expire(job_id, -1.0), "a day from now, one day is over"


def test_what_was_used_elsewhere_is_not_counted_as_used_here(api, store, exported):
    before = api.get("/v1/usage").json()["total"]
    taken_in(api, store, exported)
    after = api.get("/v1/usage").json()
    assert after["total"] == {**before, "jobs": before["jobs"] + 1}
    assert sum(one["env_steps"] for one in after["keys"]) == before["env_steps"]


def test_it_is_forked_and_not_extended(api, store, exported):
    job_id = taken_in(api, store, exported)
    answer = api.post(f"/v1/jobs/{job_id}/extend", json={"iterations": 1})
    assert answer.status_code == 409
    assert "Fork it" in answer.json()["hint"]


def test_nothing_is_put_in_the_place_of_what_is_still_to_be_taken_in(api, store, exported):
    job_id = sent(api, exported).json()["id"]
    remark = {"kind": "text", "text": "too early"}
    for path, body in (("feedback", remark), ("candidates", {"source": SOURCE})):
        answer = api.post(f"/v1/jobs/{job_id}/{path}", json=body)
        assert answer.status_code == 409, answer.text
        assert "no worker has taken it in" in answer.json()["detail"]
    with step(store, job_id, "import") as claim:
        claim.take_in()
    assert [said.text for said in store.remarks(job_id)] == ["good\u2028so far"]
    assert api.post(f"/v1/jobs/{job_id}/feedback", json=remark).status_code == 201


def test_the_same_request_is_accepted_once(api, exported):
    first = sent(api, exported, **{"Idempotency-Key": "k"}).json()["id"]
    second = sent(api, exported, **{"Idempotency-Key": "k"})
    assert (second.json()["id"], second.headers["idempotent-replayed"]) == (first, "true")


def spoilt(text: str, how) -> str:
    lines = text.split("\n")[:-1]
    return "\n".join(how(lines)) + "\n"


def with_line(number: int, **changes: object):
    def change(lines):
        data = json.loads(lines[number]) | changes
        return [*lines[:number], json.dumps(data), *lines[number + 1 :]]

    return change


def with_head(*places: str, value: object):
    """Change one value deep inside the line of the job."""

    def change(lines):
        head = json.loads(lines[0])
        inner = head
        for place in places[:-1]:
            inner = inner[place]
        inner[places[-1]] = value
        return [json.dumps(head), *lines[1:]]

    return change


def with_best(**changes: object):
    """Spoil the program of the job's best candidate; without changes take it away."""

    def change(lines):
        told = [json.loads(line) for line in lines]
        best = next(x for x in told if (x["type"], x.get("number")) == ("candidate", 0))
        best["program"] = {**best["program"], **changes} if changes else None
        return [json.dumps(line) for line in told]

    return change


def without_candidates(lines):
    kept = [x for x in lines if json.loads(x)["type"] != "candidate"]
    return [*kept[:-1], json.dumps({"type": "end", "lines": len(kept) - 1})]


@pytest.mark.parametrize(
    ("how", "found"),
    [
        pytest.param(lambda lines: lines[:-1], "no end", id="cut off"),
        pytest.param(lambda lines: [*lines[:5], *lines[6:]], "there were", id="a line is missing"),
        pytest.param(lambda lines: lines[1:], "the job first", id="no job"),
        pytest.param(lambda lines: [*lines[:2], "{", *lines[3:]], "line 3", id="no JSON"),
        pytest.param(lambda lines: [*lines[:2], "[]", *lines[3:]], "line 3", id="no object"),
        pytest.param(with_line(0, status="running"), "one that has ended", id="still running"),
        pytest.param(with_line(0, format=7), "format 7", id="another format"),
        pytest.param(with_line(0, spec={}), "line 1", id="no spec"),
        pytest.param(with_line(2, type="secret"), "secret", id="an unknown fact"),
        pytest.param(without_candidates, "which is not there", id="runs of nobody"),
        pytest.param(lambda lines: [*lines, lines[1]], "after the end", id="a line too many"),
        pytest.param(
            lambda lines: [*lines[:-1], lines[1], json.dumps({"type": "end", "lines": len(lines)})],
            "a second",
            id="a fact twice",
        ),
        pytest.param(
            lambda lines: [
                lines[0].replace('"best_fitness": 0.8', '"best_fitness": NaN'),
                *lines[1:],
            ],
            "NaN",
            id="no number",
        ),
        pytest.param(lambda lines: ["", *lines], "line 1", id="an empty line"),
        pytest.param(with_best(), "without a program", id="a best one without a program"),
        pytest.param(
            with_best(source="no Python"), "a Python module", id="a program that is no code"
        ),
        pytest.param(with_best(source="PARAMS = {[]: f()}"), "finite number", id="no numbers"),
        pytest.param(with_best(source="(" * 10_000), "nested", id="a program without end"),
        pytest.param(
            with_best(source=f"import os\n{SOURCE}"), "`import os`", id="a foreign import"
        ),
        pytest.param(
            with_best(source=SOURCE.replace("np.exp(", "np.load(")), "np.load", id="a way to files"
        ),
        pytest.param(
            with_best(source=SOURCE + "#" * 65_536), "65536 bytes", id="a program too long"
        ),
        pytest.param(with_best(sha256="0" * 64), "sha256", id="a program under another's hash"),
        pytest.param(with_best(params={"near": 1.0}), "['near', 'width']", id="numbers of another"),
    ],
)
def test_what_is_no_export_is_refused_with_the_line(api, store, exported, how, found):
    before = len(store.jobs(limit=100).items)
    answer = sent(api, spoilt(exported, how))
    assert answer.status_code == 422, answer.text
    assert found in answer.json()["detail"] + str(answer.json()["hint"])
    assert len(store.jobs(limit=100).items) == before


def test_a_program_that_breaks_a_rule_is_refused_with_its_candidate_and_both_lines(api, exported):
    answer = sent(api, spoilt(exported, with_best(source=f"import os\n{SOURCE}")))
    place = 1 + next(n for n, x in enumerate(exported.split("\n")) if '"type": "candidate"' in x)
    told = answer.json()["detail"]
    assert f"an exported job, line {place}" in told
    assert "candidate 0.0" in told
    assert "line 1" in told


def test_what_is_said_of_a_program_is_what_was_read_of_it(api, store, exported):
    forged = with_best(has_features=True, bounds={"near": [0.0, 1e9]}, array="torch")
    job_id = taken_in(api, store, spoilt(exported, forged))
    program = store.history(job_id).iterations[0].candidates[0].program
    assert (program.has_features, program.array) == (False, "numpy")
    assert program.bounds["near"] == (0.25, 4.0)


def test_numbers_that_the_tuner_changed_are_taken_in(api, store, exported):
    tuned = {"near": 2.0, "width": 0.25}
    job_id = taken_in(api, store, spoilt(exported, with_best(params=tuned)))
    assert dict(store.history(job_id).iterations[0].candidates[0].program.params) == tuned


def test_its_downloads_say_that_nothing_of_them_was_measured_here(api, store, exported):
    first = json.loads(exported.split("\n")[0])["id"]
    job_id = taken_in(api, store, exported)
    told = f"from job {first}"
    header = ast.get_docstring(ast.parse(api.get(f"/v1/jobs/{job_id}/best/reward.py").text))
    assert told in header
    assert "neither checked nor measured here" in header
    assert "seeds, as it was told" in header
    assert "made by Rewardsmith" not in header
    assert "Written by a search" not in header
    bundle = zipfile.ZipFile(io.BytesIO(api.get(f"/v1/jobs/{job_id}/best/bundle.zip").content))
    card = bundle.read("README.md").decode()
    assert told in card
    assert "neither checked nor measured here" in card
    assert "model-index" not in card
    assert json.loads(bundle.read("results.json"))["origin"] == first
    for page in (f"/v1/jobs/{job_id}/export.html", f"/jobs/{job_id}"):
        assert "neither checked nor measured here" in api.get(page).text


def test_the_library_says_so_as_well(api, store, exported):
    job_id = taken_in(api, store, exported)
    evidence = {x["job"]: x["evidence"] for x in api.get("/v1/library").json()["data"]}
    original = json.loads(exported.split("\n")[0])["id"]
    assert evidence[original] == "The designed reward is better than the native one."
    assert evidence[job_id].startswith("Imported, and not measured here")
    assert evidence[job_id].endswith(evidence[original])


def test_a_program_that_was_taken_in_before_it_was_held_to_the_rules_is_not_handed_out(
    api, store, exported
):
    job_id = taken_in(api, store, exported)
    spoil_stored_program(store, job_id, f"import os\n{SOURCE}")
    for file in ("reward.py", "bundle.zip"):
        answer = api.get(f"/v1/jobs/{job_id}/best/{file}")
        assert answer.status_code == 404, answer.text
        assert answer.json()["code"] == "no-code"
        assert "`import os`" in answer.json()["detail"]


def spoil_stored_program(store, job_id: str, source: str) -> None:
    """Write into the database what an earlier version let in."""
    own = (candidates.c.job_id == job_id, candidates.c.number == 0)
    with store._engine.begin() as connection:
        more = connection.execute(select(candidates.c.more).where(*own)).scalar_one()
        more["program"] |= {"source": source}
        connection.execute(update(candidates).where(*own).values(more=more))


@pytest.mark.parametrize(
    ("places", "value"),
    [
        pytest.param(("spec", "screens"), ["newer"], id="a screen of another version"),
        pytest.param(("spec", "training", "rungs"), [0.5], id="rungs that end early"),
        pytest.param(("spec", "evaluation", "episodes"), 0, id="no episodes"),
        pytest.param(("spec", "method"), "My Method", id="a method of no name"),
        pytest.param(("spec", "task", "description"), "x" * 20_001, id="a description too long"),
        pytest.param(("spec", "task", "environment"), "bad id!", id="an environment of no id"),
        pytest.param(
            ("spec", "evaluation", "transfer"),
            {"library": "newer", "algorithm": "X"},
            id="a learner of another version",
        ),
        pytest.param(("spec", "task", "env_kwargs"), {"a": [0] * 2_000}, id="a heap of arguments"),
        pytest.param(("preflight", "source"), "x" * (1 << 20), id="a first line without end"),
        pytest.param(("outcome", "transfer"), {"library": 1}, id="an outcome of no known form"),
    ],
)
def test_what_could_not_be_shown_is_refused_and_lists_go_on(api, store, exported, places, value):
    before = len(store.jobs(limit=100).items)
    answer = sent(api, spoilt(exported, with_head(*places, value=value)))
    assert answer.status_code == 422, answer.text
    assert "line 1" in answer.json()["detail"]
    assert len(store.jobs(limit=100).items) == before
    assert api.get("/v1/jobs").status_code == 200


def test_a_line_longer_than_any_honest_one_is_refused_before_it_is_parsed(api, exported):
    endless = spoilt(exported, lambda lines: [*lines[:2], "[" * (MOST_LINE_CHARACTERS + 1)])
    answer = sent(api, endless)
    assert answer.status_code == 422
    assert f"line 3: {MOST_LINE_CHARACTERS + 1:,} characters" in answer.json()["detail"]


def test_a_line_of_too_many_values_is_refused(api, exported):
    heap = json.dumps({"type": "event", "data": [0] * MAX_NODES})
    answer = sent(api, spoilt(exported, lambda lines: [*lines[:2], heap]))
    assert answer.status_code == 422
    assert f"line 3: expected at most {MAX_NODES:,} values" in answer.json()["detail"]


def test_the_longest_curve_that_a_training_may_have_is_taken_in(api, store, exported):
    steps = list(range(1000))
    series = {f"component.term_{n}": [1.2345678901234567] * len(steps) for n in range(64)}

    def with_curve(lines):
        told = [json.loads(line) for line in lines]
        next(x for x in told if x["type"] == "run")["curve"] = {"steps": steps, "series": series}
        return [json.dumps(line) for line in told]

    taken_in(api, store, spoilt(exported, with_curve))


def test_few_imports_are_read_at_a_time_and_others_are_told_to_come_back(
    app, server, exported, monkeypatch
):
    """Reading one may take hundreds of megabytes."""
    house, go_on = app.state.house, threading.Event()

    def held(*given):
        assert go_on.wait(60)
        return read_transcript(*given)

    def send(_=None):
        return httpx2.post(f"{server}/v1/jobs/import", content=exported.encode(), timeout=60)

    monkeypatch.setattr(imports, "read_transcript", held)
    with ThreadPoolExecutor(MOST_IMPORTS) as senders:
        try:
            reading = [senders.submit(send) for _ in range(MOST_IMPORTS)]
            eventually(lambda: house.imports == MOST_IMPORTS, 20, "as many imports as may be")
            refused = send()
            assert refused.status_code == 503
            assert refused.json()["code"] == "overloaded"
            assert int(refused.headers["retry-after"]) > 0
            assert httpx2.get(f"{server}/v1/jobs").status_code == 200
        finally:
            go_on.set()
        assert [one.result().status_code for one in reading] == [202] * MOST_IMPORTS
    assert house.imports == 0
    assert send().status_code == 202


def test_an_export_may_be_longer_than_other_bodies_but_not_endless(api):
    assert sent(api, "x" * (2 << 20)).status_code == 422
    assert sent(api, "x" * ((1 << 25) + 1)).status_code == 413
