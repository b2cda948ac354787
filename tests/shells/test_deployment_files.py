"""The Dockerfile and the compose file, read as a deployment engineer would read them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from core.settings import Settings
from core.storage.engine import open_engine
from tests.shells.command_lines import wrong_in

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
KNOWN_SETTINGS = {f"REWARDSMITH_{name.upper()}" for name in Settings.model_fields}
WORKERS = ("worker", "worker-design", "worker-gpu")


def test_only_the_api_is_published_and_only_on_loopback():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["api"]
    assert all(port.startswith("127.0.0.1:") for port in published["api"])


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_that_a_service_is_given_exists(service):
    given = SERVICES[service].get("environment", {})
    assert {name for name in given if name.startswith("REWARDSMITH_")} <= KNOWN_SETTINGS


def test_the_databases_address_is_one_that_its_own_tools_read():
    """`pg_dump` takes another form for the name of a database on this machine."""
    addresses = {
        service["environment"]["REWARDSMITH_DATABASE_URL"].partition(":")[0]
        for service in SERVICES.values()
        if "REWARDSMITH_DATABASE_URL" in service.get("environment", {})
    }
    assert addresses == {"postgresql"}
    assert "postgresql+" not in (ROOT / "README.md").read_text()


def test_the_databases_password_may_have_any_characters():
    given = [service.get("environment", {}) for service in SERVICES.values()]
    asking = [one for one in given if "REWARDSMITH_DATABASE_URL" in one]
    assert asking
    for environment in asking:
        assert urlsplit(environment["REWARDSMITH_DATABASE_URL"]).password is None
        assert "PGPASSWORD" in environment


def test_an_engine_leaves_a_password_that_no_address_has_to_libpq(postgres, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "p@ss/w:rd")
    engine = open_engine(postgres)
    with engine.connect() as connection:
        told = connection.connection.driver_connection.pgconn.password
    engine.dispose()
    assert told == b"p@ss/w:rd"


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "migrate"])
def test_every_lasting_service_has_a_health_check(service):
    assert SERVICES[service]["healthcheck"]["test"]


@pytest.mark.parametrize("service", ["api", *WORKERS])
def test_nothing_starts_before_the_schema_is_up_to_date(service):
    condition = SERVICES[service]["depends_on"]["migrate"]["condition"]
    assert condition == "service_completed_successfully"


def test_a_gpu_is_asked_for_in_its_own_profile_only():
    asking = {name for name, service in SERVICES.items() if "nvidia" in str(service.get("deploy"))}
    assert asking == {"worker-gpu"}
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]


def test_only_the_design_worker_is_given_the_models_key():
    holders = {
        name
        for name, service in SERVICES.items()
        if "REWARDSMITH_OPENAI_API_KEY" in service.get("environment", {})
    }
    assert holders == {"worker-design"}


def test_no_password_is_written_down():
    text = (ROOT / "docker-compose.yml").read_text()
    assert not re.search(r"PASSWORD:\s*[\"']?\w", text.replace("${POSTGRES_PASSWORD", "$"))


@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_stored_facts_survive_a_container(name):
    assert any(str(volume).startswith(f"{name}:") for volume in SERVICES[name]["volumes"])


def test_there_are_two_targets_and_only_the_worker_gets_torch():
    api, worker = DOCKERFILE.split("FROM base AS api")[1].split("FROM base AS worker")
    assert "torch" not in api
    assert "[worker]" in worker


def test_no_image_runs_as_root():
    for target in DOCKERFILE.split("FROM base AS ")[1:]:
        assert "USER rewardsmith" in target


@pytest.mark.parametrize("service", ["api", *WORKERS, "migrate"])
def test_every_command_exists(service):
    name, *words = SERVICES[service]["command"]
    assert name == "rewardsmith"
    assert wrong_in(shlex.join(words)) is None
