"""Webhooks from the request to the receiver: what is told, to whom, how often, and what it may cost."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from core.records.spec import Webhook
from core.settings import Settings
from core.storage import Caller
from core.storage.engine import writing
from core.webhooks import pause_after, send
from core.webhooks.schedule import PAUSES_SECONDS
from tests.builders import a_spec
from tests.receiver import receiving
from tests.shells import stories
from tests.shells.conftest import ON_SQLITE
from tests.stack import eventually
from workers import delivering

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes here").decode()


@pytest.fixture
def settings(tmp_path, database_url) -> Settings:
    home = tmp_path / "home"
    return Settings(home=home, database_url=database_url, webhook_hosts="127.0.0.1, Hooks.Test")


@pytest.fixture
def deliver(store, settings):
    """Send what is due, and return how many messages that were."""
    with ThreadPoolExecutor(delivering.AT_ONCE) as pool:
        sender = delivering.Sender(store, settings, pool, threading.Event())
        yield lambda: sum(work.result() for work in sender.look())


@pytest.fixture
def hurry(engine):
    """Let every message that waits be due now."""

    def made_due() -> None:
        past = text("UPDATE deliveries SET not_before = created_at")
        writing(engine, lambda connection: connection.execute(past))

    return made_due


def a_told_job(store, url: str, *events: str) -> str:
    webhook = Webhook(url, events or ("job.completed",), SECRET)
    job, _ = store.create_job(
        a_spec(),
        idempotency_key=None,
        body_sha256="0" * 64,
        name=None,
        labels={},
        webhook=webhook,
    )
    return job.id


def verified(got, secret: str = SECRET) -> dict:
    """Check a message as the specification tells receivers to, and return what it says."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    told = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    expected = base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode()
    assert got.headers["webhook-signature"] == f"v1,{expected}"
    return json.loads(got.body)


# --- the request ------------------------------------------------------------------------------


def test_a_job_names_who_is_told_and_the_secret_is_shown_once(api):
    asked = {"url": "http://127.0.0.1:1/x", "events": ["job.completed", "best.changed"]}
    body = {"task": "cartpole-park", "webhook": asked}
    answer = api.post("/v1/jobs", json=body, headers={"Idempotency-Key": "k"})
    shown = answer.json()["webhook"]
    assert {name: shown[name] for name in asked} == asked
    assert shown["secret"].startswith("whsec_")
    again = api.post("/v1/jobs", json=body, headers={"Idempotency-Key": "k"})
    assert again.json()["webhook"] == shown, "whoever lost the answer asks for it again"
    later = api.get(f"/v1/jobs/{answer.json()['id']}").json()
    assert later["webhook"] == {**asked, "secret": None}
    assert shown["secret"] not in json.dumps(api.get("/v1/jobs").json())


def test_an_export_is_handed_on_and_holds_no_webhook(api):
    webhook = {"url": "http://127.0.0.1:1/x?who=canary", "secret": SECRET}
    job = api.post("/v1/jobs", json={"task": "cartpole-park", "webhook": webhook}).json()
    told = api.get(f"/v1/jobs/{job['id']}/export").text
    assert job["id"] in told
    assert SECRET not in told
    assert "canary" not in told


def test_a_secret_may_be_brought_along_so_that_one_serves_all_jobs(api):
    webhook = {"url": "http://127.0.0.1:1/x", "secret": SECRET}
    answer = api.post("/v1/jobs", json={"task": "cartpole-park", "webhook": webhook})
    assert answer.json()["webhook"]["secret"] == SECRET
    assert answer.json()["webhook"]["events"] == ["job.completed"]


@ON_SQLITE
@pytest.mark.parametrize(
    ("webhook", "pointer"),
    [
        ({"url": "http://hooks.example.org/x"}, "/webhook/url"),
        ({"url": "https://10.0.0.1/x"}, "/webhook/url"),
        ({"url": "https://localhost/x"}, "/webhook/url"),
        ({"url": "http://127.0.0.2/x"}, "/webhook/url"),
        ({"url": "http://127.0.0.1/x", "secret": "whsec_short"}, "/webhook/secret"),
        ({"url": "http://127.0.0.1/x", "events": ["log"]}, "/webhook/events/0"),
        ({"url": "http://127.0.0.1/x", "events": []}, "/webhook/events"),
        ({"events": ["job.completed"]}, "/webhook/url"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused_with_its_place(api, store, webhook, pointer):
    answer = api.post("/v1/jobs", json={"task": "cartpole-park", "webhook": webhook})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert store.unfinished_jobs() == ()


@ON_SQLITE
def test_a_webhook_whose_name_cannot_be_looked_up_now_may_come_back(api, store, monkeypatch):
    def look_up(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    webhook = {"url": "https://hooks.example.org/x"}
    answer = api.post("/v1/jobs", json={"task": "cartpole-park", "webhook": webhook})
    assert (answer.status_code, answer.json()["code"]) == (503, "resolver-unavailable")
    assert answer.headers["retry-after"]
    assert store.unfinished_jobs() == ()


@ON_SQLITE
def test_a_fork_is_told_apart_and_inherits_nobody(api, store):
    job_id = stories.a_finished_job(store)
    assert api.post(f"/v1/jobs/{job_id}/fork", json={}).json()["webhook"] is None
    overrides = {"webhook": {"url": "http://127.0.0.1:1/x"}}
    forked = api.post(f"/v1/jobs/{job_id}/fork", json={"overrides": overrides}).json()
    assert forked["webhook"]["secret"]


# --- the message ------------------------------------------------------------------------------


def test_a_receiver_is_told_of_the_events_that_it_wants_signed_and_in_its_own_time(store, deliver):
    with receiving() as receiver:
        job_id = a_told_job(store, receiver.url, "job.paused", "job.completed")
        store.request_pause(job_id)
        store.resume(job_id)
        store.request_cancel(job_id)
        assert deliver() == 2
        assert deliver() == 0
    told = {(said := verified(got))["type"]: said for got in receiver.received}
    assert set(told) == {"job.paused", "job.completed"}
    ended = told["job.completed"]
    assert ended["data"]["job_id"] == job_id
    assert ended["data"]["status"] == "cancelled"
    event = next(e for e in store.events(job_id) if e.kind == "job.completed")
    assert ended["timestamp"] == event.created_at.isoformat()
    assert ended["data"]["number"] == event.seq


def test_a_job_without_a_webhook_writes_no_message(store, deliver):
    job_id = stories.a_finished_job(store)
    assert store.deliveries.of(job_id) == ()
    assert deliver() == 0


def test_what_became_of_messages_can_be_read(api, store, deliver, hurry):
    with receiving(503, 204) as receiver:
        job_id = a_told_job(store, receiver.url)
        store.request_cancel(job_id)
        deliver()
        (waiting,) = api.get(f"/v1/jobs/{job_id}/webhook-deliveries").json()["data"]
        assert (waiting["status"], waiting["attempts"][0]["status"]) == ("waiting", 503)
        assert waiting["next_at"] is not None
        assert deliver() == 0, "it is tried again after a pause"
        hurry()
        deliver()
    page = api.get(f"/v1/jobs/{job_id}/webhook-deliveries").json()
    (done,) = page["data"]
    assert (done["status"], done["next_at"]) == ("delivered", None)
    assert [attempt["status"] for attempt in done["attempts"]] == [503, 204]
    assert {got.headers["webhook-id"] for got in receiver.received} == {done["id"]}
    rest = api.get(f"/v1/jobs/{job_id}/webhook-deliveries", params={"after": page["next"]}).json()
    assert rest == {"data": [], "next": page["next"]}


def test_a_receiver_that_never_takes_it_is_given_up_after_a_day(store, deliver, hurry):
    with receiving(500) as receiver:
        job_id = a_told_job(store, receiver.url)
        store.request_cancel(job_id)
        while deliver():
            hurry()
    (given_up,) = store.deliveries.of(job_id)
    assert (given_up.status, given_up.attempts) == ("failed", 11)
    assert len(receiver.received) == 11


def test_a_receiver_that_is_gone_is_not_asked_again(store, deliver):
    with receiving(410) as receiver:
        job_id = a_told_job(store, receiver.url)
        store.request_cancel(job_id)
        deliver()
    assert [one.status for one in store.deliveries.of(job_id)] == ["failed"]


def test_a_worker_that_dies_with_a_message_leaves_it_to_the_others(store, deliver, hurry):
    with receiving() as receiver:
        job_id = a_told_job(store, receiver.url)
        store.request_cancel(job_id)
        taken = store.deliveries.take("local", 60.0)
        assert deliver() == 0, "somebody has it in hand"
        hurry()
        assert deliver() == 1
        store.deliveries.settle(taken, "failed", {"status": None, "error": "late", "seconds": 99.0})
    (done,) = store.deliveries.of(job_id)
    assert (done.status, done.attempts) == ("delivered", 2)


def test_two_workers_do_not_send_the_same_message(store):
    job_id = a_told_job(store, "http://127.0.0.1:1/", "job.paused", "job.completed")
    store.request_pause(job_id)
    store.request_cancel(job_id)
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda _: store.deliveries.take("local", 60.0), range(8)))
    numbers = [one.number for one in taken if one is not None]
    assert len(numbers) == len(set(numbers)) == 2


def test_a_failing_receiver_never_touches_the_job(store, deliver):
    with receiving(500) as receiver:
        job_id = a_told_job(store, receiver.url, "job.paused")
        store.request_pause(job_id)
        before = (store.job(job_id), store.events(job_id))
        deliver()
    assert (store.job(job_id).status, store.events(job_id)) == (before[0].status, before[1])


def test_messages_go_with_their_job(store, deliver, engine):
    job_id = a_told_job(store, "http://127.0.0.1:1/")
    store.request_cancel(job_id)
    taken = store.deliveries.take("local", 60.0)
    store.delete(job_id)
    store.deliveries.settle(taken, "delivered", {"status": 204, "error": "", "seconds": 0.1})
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM deliveries")).scalar_one() == 0


def test_a_message_is_written_with_its_event_or_not_at_all(store):
    alice = store.of(Caller("alice"))
    job_id = a_told_job(alice, "http://127.0.0.1:1/")
    alice.request_cancel(job_id)
    assert [one.kind for one in alice.deliveries.of(job_id)] == ["job.completed"]


# --- many owners and hosts --------------------------------------------------------------------

MANY = 20


def a_backlog(store, url: str, count: int = MANY) -> str:
    """Leave a job with so many messages that are due."""
    job_id = a_told_job(store, url, "job.paused")
    for _ in range(count):
        store.request_pause(job_id)
        store.resume(job_id)
    return job_id


def is_let_go(released: threading.Event):
    """Return what answers nothing before it is let go."""
    return lambda handler: released.wait(60) and None


def test_a_receiver_that_never_answers_keeps_no_other_owners_messages_waiting(
    store, settings, monkeypatch
):
    monkeypatch.setattr(delivering, "PERIOD_SECONDS", 0.01)
    stopping, released = threading.Event(), threading.Event()
    thread = threading.Thread(target=delivering.deliver_until, args=(stopping, store, settings))
    with receiving() as silent, receiving() as receiver:
        silent.answer = is_let_go(released)
        a_backlog(store.of(Caller("mallory")), silent.url)
        a_backlog(store.of(Caller("alice")), receiver.url, 3)
        thread.start()
        try:
            eventually(lambda: len(receiver.received) == 3, 8, "the messages of the other owner")
            assert len(silent.received) <= delivering.MOST_OF_ONE
        finally:
            stopping.set()
            released.set()
            thread.join(20)


def test_a_long_backlog_of_one_owner_is_sent_in_turn_with_what_others_have(store, settings):
    """All go to one receiver, and one thread sends them: their order there is that of the turns."""
    with receiving() as receiver, ThreadPoolExecutor(1) as pool:
        theirs = a_backlog(store.of(Caller("mallory")), receiver.url)
        others = [a_backlog(store.of(Caller(name)), receiver.url, 2) for name in ("alice", "bob")]
        sender = delivering.Sender(store, settings, pool, threading.Event())
        assert sum(work.result() for work in sender.look()) == MANY + 4
    order = [json.loads(got.body)["data"]["job_id"] for got in receiver.received]
    assert set(order[:6]) == {theirs, *others}
    assert [order[:6].count(one) for one in others] == [2, 2]


def test_a_host_that_gave_no_answer_in_time_rests_with_all_that_one_owner_has_for_it(
    store, settings, monkeypatch
):
    monkeypatch.setattr(delivering, "TOTAL_SECONDS", 0.2)
    mine, others = store.of(Caller("mallory")), store.of(Caller("alice"))
    released = threading.Event()
    with receiving() as silent, receiving() as receiver:
        silent.answer = is_let_go(released)
        waiting = [
            a_backlog(mine, url, 5) for url in (silent.url, silent.url.replace("http", "HTTP"))
        ]
        sent = [a_backlog(one, receiver.url, 2) for one in (mine, others)]
        with ThreadPoolExecutor(delivering.AT_ONCE) as pool:
            sender = delivering.Sender(store, settings, pool, threading.Event())
            for work in sender.look():
                work.result()
            assert all(work.result() == 0 for work in sender.look()), "all that is left rests"
        released.set()
    assert 1 <= len(silent.received) <= delivering.MOST_OF_ONE
    told = [one for job_id in waiting for one in store.deliveries.of(job_id)]
    assert {(one.status, one.attempts, len(one.log)) for one in told} == {("waiting", 1, 1)}
    assert len({one.log[0]["error"] for one in told}) == 2, "what was tried, and what was not"
    assert {one.status for job_id in sent for one in store.deliveries.of(job_id)} == {"delivered"}


def test_no_message_is_given_up_without_a_last_attempt_of_its_own(store, hurry):
    job_id = a_backlog(store, "http://127.0.0.1:1/", 2)
    for _ in range(2 * len(PAUSES_SECONDS)):
        taken = store.deliveries.take("local", 60.0)
        store.deliveries.settle(taken, "waiting", {"error": "silence"}, 60.0)
        store.deliveries.rest(taken, {"error": "silence"}, lambda n: pause_after(n, lambda: 0.5))
        hurry()
    tried, other = store.deliveries.of(job_id)
    assert (tried.attempts, other.attempts) == (2 * len(PAUSES_SECONDS), len(PAUSES_SECONDS))


# --- the receiver of the documentation --------------------------------------------------------


@pytest.fixture
def documented(tmp_path):
    """The receiver of docs/api.md, as a process of its own, and its port."""
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    code = text.split("<!-- receiver -->")[1].split("```python\n")[1].split("```")[0]
    (tmp_path / "receiver.py").write_text(code)
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    environment = {**os.environ, "WEBHOOK_SECRET": SECRET, "PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "receiver.py")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process, port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@ON_SQLITE
def test_the_receiver_of_the_documentation_takes_our_message_and_no_other(
    store, documented, deliver
):
    process, port = documented
    url = f"http://127.0.0.1:{port}/"
    forged = {"webhook-id": "m", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
    eventually(lambda: send(url, forged, b"{}", ["127.0.0.1"]).status == 401, 20, "it listens")
    job_id = a_told_job(store, url)
    store.request_cancel(job_id)
    deliver()
    assert [one.status for one in store.deliveries.of(job_id)] == ["delivered"]
    assert process.stdout.readline().split() == ["job.completed", job_id]


# --- the worker -------------------------------------------------------------------------------


@ON_SQLITE
def test_a_worker_sends_what_is_due_until_it_is_told_to_stop(store, settings, monkeypatch):
    monkeypatch.setattr(delivering, "PERIOD_SECONDS", 0.01)
    stopping = threading.Event()
    thread = threading.Thread(target=delivering.deliver_until, args=(stopping, store, settings))
    with receiving() as receiver:
        thread.start()
        jobs = [a_told_job(store, receiver.url) for _ in range(6)]
        for job_id in jobs:
            store.request_cancel(job_id)
        eventually(lambda: len(receiver.received) == 6, 20, "six messages")
        stopping.set()
        thread.join(20)
    assert {verified(got)["data"]["job_id"] for got in receiver.received} == set(jobs)
