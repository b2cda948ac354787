"""What the doctor says of the services around this machine: what is wrong, and how to mend it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import psycopg
import pytest
import redis
from psycopg import sql
from sqlalchemy import make_url, update

import migrations
from client.checkup import device, prices, secret
from client.checkup_services import broker, database, designer, keys, workers
from client.finding import Finding
from core.settings import Settings
from core.storage import Presence, Store
from core.storage.clock import now
from core.storage.engine import writing
from core.storage.tables import claims
from migrations.roles import WORKER, make_roles
from tests.databases import fresh_database, user_of
from tests.rim.storing import a_claim, a_job
from tests.stack import valkey_url


@pytest.fixture
def settings(tmp_path):
    return lambda **given: Settings(home=tmp_path, **given)


# --- this machine -----------------------------------------------------------------------------


def test_the_secret_is_to_be_read_by_its_owner_alone(settings, tmp_path):
    file = tmp_path / "secret"
    assert secret(settings()).fix == "The first worker makes it."
    assert not file.exists()
    settings().secret_key()
    assert secret(settings()).ok
    file.chmod(0o640)
    found = secret(settings())
    assert (found.ok, found.fix.endswith(f"chmod 600 {file}.")) == (False, True)
    file.write_text("not a key")
    assert "64 hexadecimal digits" in secret(settings()).found
    assert secret(settings(secret="s" * 32)) == Finding(
        "secret", True, "given by REWARDSMITH_SECRET"
    )


def test_a_model_without_a_price_is_told(settings, tmp_path):
    assert prices(settings()).fix == ""
    assert "budgets of money are refused" in prices(settings(openai_model="my-own-model")).fix
    own = tmp_path / "prices.toml"
    own.write_text('price = [{ model = "my-own-*", input = 1, output = 2 }]')
    named = settings(openai_model="my-own-model", prices=own)
    assert prices(named) == Finding("prices", True, "models with a price: 1")
    own.write_text("price = 3")
    assert (prices(named).ok, str(own) in prices(named).found) == (False, True)


def test_a_gpu_that_is_not_there_is_told_before_a_training_fails(settings):
    assert device(settings()).ok
    found = device(settings(device="cuda:63"))
    assert (found.ok, "REWARDSMITH_DEVICE=cpu" in found.fix) == (False, True)


# --- the endpoint of a model ------------------------------------------------------------------


@contextmanager
def endpoint(status: int, body: bytes) -> Iterator[str]:
    """Answer every question the same, but only to who shows the right key."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            right = self.headers["Authorization"] == "Bearer sk-right"
            self.send_response(status if right and self.path == "/v1/models" else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


USUAL = json.dumps({"data": [{"id": "gpt-5-mini"}]}).encode()
MODELS = json.dumps({"data": [{"id": "small"}, {"id": "large"}]}).encode()


@pytest.mark.parametrize(
    ("status", "body", "model", "key", "ok", "found", "fix"),
    [
        pytest.param(200, MODELS, "small", "sk-right", True, "has small", "", id="all is well"),
        pytest.param(200, USUAL, None, "sk-right", True, "has gpt-5-mini", "", id="the usual"),
        pytest.param(200, MODELS, "smal", "sk-right", False, "no model smal", "large", id="typo"),
        pytest.param(200, MODELS, "small", "sk-no", False, "401", "API_KEY", id="a wrong key"),
        pytest.param(503, b"", "small", "sk-right", False, "503", "Wait", id="out of order"),
        pytest.param(302, b"", "small", "sk-right", False, "302", "redirects", id="elsewhere"),
        pytest.param(402, b"", "small", "sk-right", False, "402", "Top", id="no credit"),
        pytest.param(405, b"", "small", "sk-right", True, "does not say", "", id="no list"),
        pytest.param(200, b"[1]", "small", "sk-right", True, "does not say", "", id="nonsense"),
    ],
)
def test_an_endpoint_is_asked_for_its_models(settings, status, body, model, key, ok, found, fix):
    with endpoint(status, body) as url:
        given = {"openai_base_url": url, "openai_model": model, "openai_api_key": key}
        told = designer(settings(**given))
    assert told.ok is ok
    assert found in told.found
    assert fix in told.fix
    assert bool(told.fix) is not ok, "a fix where there is something to mend, and only there"
    assert key not in told.found + told.fix


def test_an_endpoint_without_a_list_is_no_fault_and_may_have_a_wrong_address(settings):
    with endpoint(404, b"") as url:
        told = designer(settings(openai_base_url=url, openai_api_key="sk-right"))
    assert told.ok
    assert "no list of models" in told.found
    assert "/v1" in told.fix


def test_an_address_that_ends_in_a_slash_is_the_same_address(settings):
    """The designer's own client takes it for that; asked for `//models`, servers refuse a right key."""
    with endpoint(200, USUAL) as url:
        assert designer(settings(openai_base_url=f"{url}/", openai_api_key="sk-right")).ok


def test_where_the_usual_model_is_missing_it_is_said_who_asks_it(settings):
    with endpoint(200, MODELS) as url:
        told = designer(settings(openai_base_url=url, openai_api_key="sk-right"))
    assert told.ok, "jobs may name their model"
    assert "no gpt-5-mini, which jobs ask that name no model" in told.found
    assert "large" in told.fix


def test_an_endpoint_that_is_not_there_is_named(settings):
    told = designer(settings(openai_base_url="http://127.0.0.1:1/v1", openai_api_key="sk"))
    assert not told.ok
    assert "127.0.0.1" in told.found
    assert "REWARDSMITH_OPENAI_BASE_URL" in told.fix


def test_a_list_of_models_that_does_not_end_is_given_up(settings, monkeypatch):
    monkeypatch.setattr("client.checkup_services.MOST_BYTES", 1_000)
    with endpoint(200, b" " * 100_000) as url:
        told = designer(settings(openai_base_url=url, openai_api_key="sk-right"))
    assert not told.ok
    assert "did not end" in told.found


# --- the database and the workers -------------------------------------------------------------


def test_a_database_that_takes_no_writes_is_named_so(settings, database_url, store):
    assert database(settings(database_url=database_url)).ok
    if database_url.startswith("sqlite"):
        return
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = sql.Identifier(str(make_url(database_url).database))
        told = sql.SQL("ALTER DATABASE {} {} default_transaction_read_only")
        connection.execute(told.format(name, sql.SQL("SET")) + sql.SQL(" = on"))
        try:
            found = database(settings(database_url=database_url))
        finally:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(told.format(name, sql.SQL("RESET")))
    assert not found.ok
    assert "takes no writes" in found.found
    assert "standby" in found.fix


@pytest.mark.slow  # starts a PostgreSQL
def test_a_workers_user_sees_no_key_and_needs_none(settings, postgres):
    with fresh_database(postgres) as url:
        migrations.upgrade(url)
        make_roles(url)
        with user_of(url, WORKER) as worker:
            given = settings(database_url=worker, keys="always")
            assert [check(given).ok for check in (database, keys, workers)] == [True] * 3
            assert "server's environment" in keys(given).fix


@pytest.mark.slow  # starts a PostgreSQL
def test_a_user_without_rights_is_told_so(settings, postgres):
    with fresh_database(postgres) as url, psycopg.connect(url, autocommit=True) as connection:
        migrations.upgrade(url)
        connection.execute("CREATE ROLE strangers")
        with user_of(url, "strangers") as stranger:
            given = settings(database_url=stranger)
            told = database(given)
            assert not workers(given).ok
        connection.execute("DROP ROLE strangers")
    assert not told.ok
    assert "permission denied" in told.found
    assert "rewardsmith db roles" in told.fix


@pytest.mark.parametrize(
    ("url", "found", "fix"),
    [
        pytest.param("sqlite:///{file}", "not a database", "REWARDSMITH_DATABASE_URL", id="text"),
        pytest.param("mysql://host/x", "mysql", "Set REWARDSMITH_DATABASE_URL to", id="another"),
        pytest.param("postgresql://u:p@h:port/x", "no database URL", "Set REWARD", id="no port"),
        pytest.param("postgresql://u:p[w@127.0.0.1:1/x", "refused", "reached", id="a password"),
        pytest.param("postgresql://127.0.0.1:1/x?a=b", '"a"', "reached", id="no such option"),
    ],
)
def test_a_database_that_is_none_is_named_with_what_to_do(settings, tmp_path, url, found, fix):
    (tmp_path / "text.db").write_text("no database at all " * 100)
    given = settings(database_url=url.format(file=tmp_path / "text.db"))
    told = database(given)
    assert not told.ok
    assert found in told.found
    assert fix in told.fix
    assert not workers(given).ok


def test_a_database_that_is_not_there_is_not_made_by_looking(settings, tmp_path):
    given = settings(keys="always")
    assert "keys create" in keys(given).fix
    assert workers(given).ok
    assert list(tmp_path.iterdir()) == []


def test_jobs_that_nobody_works_on_are_named(settings, database_url, store: Store, monkeypatch):
    monkeypatch.setattr("client.checkup_services.SILENT_SECONDS", -1.0)
    given = settings(database_url=database_url)
    assert workers(given).ok, "nothing is to be done"
    job = a_job(store)
    told = workers(given)
    assert not told.ok
    assert "1 jobs to work on, last sign of life never" in told.found
    assert "rewardsmith worker" in told.fix
    a_claim(store, job.id)
    assert workers(given).ok, "somebody does it"


def test_jobs_whose_workers_are_gone_are_named_and_those_that_rest_are_not(
    settings, database_url, store: Store, engine
):
    given = settings(database_url=database_url)
    a_claim(store, a_job(store).id)
    silent = update(claims).values(heartbeat_at=now(-7_200.0), expires_at=now(-7_000.0))
    writing(engine, lambda c: c.execute(silent))
    told = workers(given)
    assert not told.ok
    assert "last sign of life 7200 s ago" in told.found
    assert "rewardsmith worker" in told.fix
    store.crew.report(Presence("one", ("design",), 1, 0, "cpu"))
    assert workers(given).ok, "somebody is there, who waits for an endpoint, say"


# --- the broker -------------------------------------------------------------------------------


@pytest.mark.slow  # starts a Valkey
def test_a_broker_that_answers_is_asked_what_it_does_when_it_is_full(settings):
    with valkey_url() as url:
        given, client = settings(broker_url=url), redis.Redis.from_url(url)
        assert (broker(given).ok, broker(given).fix) == (True, "")
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert "noeviction" in broker(given).fix
        client.config_set("requirepass", "hunter2")
        refused = broker(given)
        client.close()
    assert not refused.ok
    assert "password" in refused.fix


def test_a_broker_that_is_away_is_named_with_what_works_without_it(settings):
    told = broker(settings(broker_url="redis://:hunter2@127.0.0.1:1/0"))
    assert not told.ok
    assert "127.0.0.1:1" in told.found
    assert "REWARDSMITH_BROKER_URL" in told.fix
    assert "Workers find their steps in the database" in told.fix
    assert "hunter2" not in told.found + told.fix
