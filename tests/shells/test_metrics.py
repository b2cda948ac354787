"""What a monitor is told: requests, jobs, and whether work is moving."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import insert, update

from api.dependencies import House
from api.metrics import is_moving
from core.ports import Progress
from core.prices import read_prices
from core.storage import Caller, Standing
from core.storage.clock import now
from core.storage.engine import writing
from core.storage.tables import claims, jobs
from tests.rim.storing import a_claim, a_job
from tests.shells.conftest import ON_SQLITE
from tests.shells.stories import a_finished_job


def told(api) -> dict[str, float]:
    text = api.get("/metrics").text
    found = re.findall(r"^(rewardsmith_\S+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_jobs_of_all_owners_are_counted_by_status(api, store):
    a_finished_job(store.of(Caller("alice")))
    a_job(store.of(Caller("mallory")))
    numbers = told(api)
    assert numbers['rewardsmith_jobs{status="succeeded"}'] == 1
    assert numbers['rewardsmith_jobs{status="queued"}'] == 1
    assert numbers["rewardsmith_queued_seconds"] < 60


def test_a_worker_that_beats_moves_the_work(api, store, engine):
    claim = a_claim(store, a_job(store).id, "preflight")
    claim.beat(Progress("probing", 1, 2))
    numbers = told(api)
    assert numbers["rewardsmith_steps_claimed"] == 1
    assert numbers["rewardsmith_sign_of_life_seconds"] < 60
    assert numbers["rewardsmith_work_moving"] == 1
    silent = update(claims).values(heartbeat_at=now(-120.0), expires_at=now(-100.0))
    writing(engine, lambda c: c.execute(silent))
    numbers = told(api)
    assert numbers["rewardsmith_steps_claimed"] == 0
    assert numbers["rewardsmith_sign_of_life_seconds"] >= 119
    assert numbers["rewardsmith_work_moving"] == 0


def test_a_job_that_rests_waits_for_nobody(api, store, engine):
    claim = a_claim(store, a_job(store).id, "preflight")
    claim.wait(600.0, "The endpoint asked for it.")
    claim.release()
    old = update(claims).values(heartbeat_at=now(-120.0))
    writing(engine, lambda c: c.execute(old))
    numbers = told(api)
    assert (numbers["rewardsmith_jobs_resting"], numbers["rewardsmith_work_moving"]) == (1, 1)
    awake = update(claims).values(resting_until=now(-1.0))
    writing(engine, lambda c: c.execute(awake))
    numbers = told(api)
    assert (numbers["rewardsmith_jobs_resting"], numbers["rewardsmith_work_moving"]) == (0, 0)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"owner": "w", "expires_at": now(60.0)}, id="somebody works on it"),
        pytest.param({"offered_until": now(60.0)}, id="it was announced"),
        pytest.param({"owner": "w", "expires_at": now(-1.0)}, id="its owner vanished"),
    ],
)
def test_a_job_does_not_rest_while_another_of_its_steps_is_wanted(store, engine, values):
    job = a_job(store)
    claim = a_claim(store, job.id, "preflight")
    claim.wait(600.0, "The endpoint asked for it.")
    claim.release()
    assert store.standing().resting == 1
    other = insert(claims).values(job_id=job.id, step_key="train/0/0/0", lapses=0, **values)
    writing(engine, lambda c: c.execute(other))
    assert store.standing().resting == 0


def test_a_job_that_nobody_takes_up_stops_the_work(api, store, engine):
    a_job(store)
    assert told(api)["rewardsmith_work_moving"] == 1
    writing(engine, lambda c: c.execute(update(jobs).values(created_at=now(-61.0))))
    assert told(api)["rewardsmith_work_moving"] == 0


@pytest.mark.parametrize(
    ("standing", "moving"),
    [
        pytest.param(Standing({}, 0, None, None), True, id="nothing was ever asked for"),
        pytest.param(Standing({"succeeded": 9}, 0, None, 1e6), True, id="all is done"),
        pytest.param(Standing({"paused": 1}, 0, None, 1e6), True, id="people are waited for"),
        pytest.param(Standing({"running": 1}, 0, None, 1e6), False, id="a worker is gone"),
        pytest.param(Standing({"running": 1}, 1, None, 3.0), True, id="a worker works"),
        pytest.param(Standing({"queued": 1}, 0, 5.0, None), True, id="the first job is new"),
        pytest.param(Standing({"queued": 1}, 0, 5.0, 1e6), True, id="the first job after a rest"),
        pytest.param(Standing({"queued": 1}, 0, 90.0, None), False, id="nobody ever came"),
        pytest.param(Standing({"queued": 1}, 0, 90.0, 1e6), False, id="nobody comes any more"),
        pytest.param(Standing({"queued": 9}, 1, 1e6, 3.0), True, id="there is a queue"),
        pytest.param(Standing({"running": 2}, 0, None, 1e6, 2), True, id="all rest"),
        pytest.param(Standing({"running": 2}, 0, None, 1e6, 1), False, id="one of two rests"),
        pytest.param(Standing({"running": 1, "queued": 1}, 0, 5.0, 1e6, 1), True, id="a new one"),
    ],
)
def test_work_moves_as_long_as_workers_show_signs_of_life(standing, moving):
    assert is_moving(standing) == moving


@ON_SQLITE
def test_requests_are_counted_by_route_and_never_by_what_strangers_write(api):
    api.get("/v1/tasks")
    api.get("/v1/tasks")
    api.get("/v1/jobs/job_x")
    for path in ("/nowhere-1", "/nowhere-2"):
        api.get(path)
    api.request("BREW", "/v1/tasks")
    numbers = told(api)
    counted = {k: v for k, v in numbers.items() if k.startswith("rewardsmith_requests_total")}
    tasks = next(v for k, v in counted.items() if '/tasks"' in k and 'status="200"' in k)
    assert tasks == 2
    assert sum(v for k, v in counted.items() if 'route="other"' in k) >= 2
    assert not [k for k in counted if "nowhere" in k or "job_x" in k or "BREW" in k]
    assert any(k.startswith("rewardsmith_request_seconds_bucket") for k in numbers)


@ON_SQLITE
def test_a_page_and_the_api_below_the_same_name_are_counted_apart(api):
    api.get("/jobs")
    api.get("/v1/jobs")
    counted = [k for k in told(api) if k.startswith("rewardsmith_requests_total")]
    assert sum('route="/jobs"' in k for k in counted) == 1
    assert sum('route="/v1/jobs"' in k for k in counted) == 1


@ON_SQLITE
def test_numbers_need_a_key_with_their_own_scope(built, settings, store):
    built.state.house = House(settings, store, lambda *_: None, read_prices())
    client = TestClient(built, base_url="http://api.example")
    assert client.get("/metrics").status_code == 401
    for scopes, status in ((["jobs:read"], 403), (["metrics:read"], 200)):
        _, key = store.keys.create("monitor", scopes=scopes)
        headers = {"Authorization": f"Bearer {key}"}
        assert client.get("/metrics", headers=headers).status_code == status
        other = 200 if status == 403 else 403
        assert client.get("/v1/jobs", headers=headers).status_code == other
