"""Settings: what may differ between machines, and what must not show."""

from __future__ import annotations

import stat

import pytest

from core.errors import ConfigurationError
from core.settings import Settings, read_settings
from tests.rim.storing import at_once

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    """No setting of the machine on which the tests run."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"REWARDSMITH_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_without_any_setting_everything_lies_in_one_folder(tmp_path):
    settings = Settings()
    home = tmp_path / ".rewardsmith"
    assert settings.home == home
    assert settings.database_url == f"sqlite:///{home}/rewardsmith.db"
    assert settings.broker_url == "filesystem://"
    assert (settings.artifacts_path, settings.recordings_path) == (
        home / "artifacts",
        home / "recordings",
    )


def test_what_is_derived_from_the_home_moves_with_it(monkeypatch, tmp_path):
    monkeypatch.setenv("REWARDSMITH_HOME", "elsewhere")
    settings = Settings()
    assert settings.database_url == f"sqlite:///{tmp_path}/elsewhere/rewardsmith.db"
    assert settings.artifacts_path == tmp_path / "elsewhere" / "artifacts"


def test_by_default_generated_code_needs_full_isolation():
    settings = Settings()
    assert (settings.required_isolation, settings.allow_weaker_isolation) == (3, "")


def test_weaker_isolation_must_be_asked_for_in_so_many_words(monkeypatch):
    monkeypatch.setenv("REWARDSMITH_ALLOW_WEAKER_ISOLATION", "yes")
    with pytest.raises(ConfigurationError, match="i-understand"):
        read_settings()
    monkeypatch.setenv("REWARDSMITH_ALLOW_WEAKER_ISOLATION", "i-understand")
    assert read_settings().allow_weaker_isolation == "i-understand"


def test_environment_paths_are_folders_separated_by_colons(monkeypatch, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("REWARDSMITH_ENVIRONMENT_PATHS", f"one:{tmp_path}/two")
    assert Settings().environment_paths == (tmp_path / "one", tmp_path / "two")
    monkeypatch.setenv("REWARDSMITH_ENVIRONMENT_PATHS", "one:three")
    with pytest.raises(ConfigurationError, match="`three` is not a folder"):
        read_settings()


def test_what_is_private_is_named_by_the_variable_that_moves_it(tmp_path):
    home = tmp_path / "home"
    assert Settings(home=home).private_paths() == {
        "REWARDSMITH_HOME": home,
        "REWARDSMITH_ARTIFACTS_PATH": home / "artifacts",
        "REWARDSMITH_RECORDINGS_PATH": home / "recordings",
        "REWARDSMITH_DATABASE_URL": home / "rewardsmith.db",
    }
    elsewhere = Settings(home=home, database_url="postgresql://host/jobs").private_paths()
    assert "REWARDSMITH_DATABASE_URL" not in elsewhere
    asked = Settings(home=home, database_url="sqlite+pysqlite:///jobs.db?timeout=5")
    assert str(asked.private_paths()["REWARDSMITH_DATABASE_URL"]) == "jobs.db"


def test_an_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("REWARDSMITH_OPENAI_API_KEY", "")
    assert Settings().openai_api_key is None


def test_a_wrong_setting_is_named_and_its_value_is_not_repeated(monkeypatch):
    monkeypatch.setenv("REWARDSMITH_SECRET", "hunter2")
    with pytest.raises(ConfigurationError, match="REWARDSMITH_SECRET") as caught:
        read_settings()
    assert "hunter2" not in str(caught.value)


def test_no_secret_shows_in_the_text_of_the_settings():
    settings = Settings(
        openai_api_key="hunter2-key",
        secret="hunter2" * 10,
        database_url="postgresql://u:hunter2@host/db",
        broker_url="redis://:hunter2@host",
    )
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump()['openai_api_key']!r}"
    assert settings.openai_api_key.get_secret_value() == "hunter2-key"


def test_a_key_that_a_file_ended_with_a_newline_is_taken_without_it(monkeypatch):
    monkeypatch.setenv("REWARDSMITH_OPENAI_API_KEY", " sk-hunter2\n")
    assert read_settings().openai_api_key.get_secret_value() == "sk-hunter2"


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("sk-hünter2", id="a letter that no header takes"),
        pytest.param("sk-hunter2\nsk-hunter3", id="two lines"),
        pytest.param("Bearer sk-hunter2", id="a space"),
        pytest.param("\n", id="nothing but a newline"),
    ],
)
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(monkeypatch, key):
    monkeypatch.setenv("REWARDSMITH_OPENAI_API_KEY", key)
    with pytest.raises(ConfigurationError, match=r"OPENAI_API_KEY.*printable ASCII") as refused:
        read_settings()
    assert "nter2" not in str(refused.value)


def test_every_setting_says_what_it_is():
    assert all(len(field.description or "") > 15 for field in Settings.model_fields.values())


# --- the secret -------------------------------------------------------------------------------


def test_the_secret_is_made_on_first_use_and_kept():
    key = Settings().secret_key()
    assert len(key) == 32
    assert Settings().secret_key() == key


def test_only_its_owner_may_read_the_secret():
    settings = Settings()
    settings.secret_key()
    path = settings.home / "secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in settings.home.iterdir()] == ["secret"]


def test_processes_that_meet_on_first_use_agree_on_the_secret():
    assert len(set(at_once([lambda: Settings().secret_key()] * 8))) == 1


def test_a_given_secret_needs_no_file():
    settings = Settings(secret=KEY)
    assert settings.secret_key() == KEY.encode()
    assert not settings.home.exists()


@pytest.mark.parametrize("content", ["", "not hex", "abcd", "é"], ids=repr)
def test_a_damaged_secret_is_not_replaced(content):
    settings = Settings()
    settings.home.mkdir()
    (settings.home / "secret").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="secret"):
        settings.secret_key()
    assert (settings.home / "secret").read_text(encoding="utf-8") == content


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("file:///etc/passwd", id="no web address"),
        pytest.param("gopher://127.0.0.1:6379/_", id="another protocol"),
        pytest.param("https://user:hunter2@host/v1", id="a password where logs would show it"),
        pytest.param("https://host/v1?key=1", id="a query"),
        pytest.param("api.example/v1", id="no protocol"),
        pytest.param("https://host /v1", id="a space"),
        pytest.param("https://host:http/v1", id="a port that is none"),
        pytest.param("https://host:99999/v1", id="a port beyond all"),
        pytest.param("https://[::1/v1", id="half an address"),
        pytest.param("https://host..example/v1", id="a name with a hole"),
    ],
)
def test_an_endpoint_that_is_no_plain_address_is_refused_without_being_shown(monkeypatch, url):
    monkeypatch.setenv("REWARDSMITH_OPENAI_BASE_URL", url)
    with pytest.raises(ConfigurationError, match=r"OPENAI_BASE_URL.*https://host/v1") as refused:
        read_settings()
    assert url not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["redis://host:port/0", "redis://:hunter2/x@host", "redis://:h[2@a"]
)
def test_a_broker_whose_address_cannot_be_read_is_refused_without_being_shown(monkeypatch, url):
    """Most often its password holds what means something else in an address."""
    monkeypatch.setenv("REWARDSMITH_BROKER_URL", url)
    with pytest.raises(ConfigurationError, match=r"BROKER_URL.*written with %") as refused:
        read_settings()
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["filesystem://", "redis://:p%2Fw@[::1]:6379/0", "redis://a:6379;redis://b:6379"]
)
def test_a_broker_may_be_a_folder_an_address_or_several(url):
    assert read_settings(broker_url=url).broker_url == url


@pytest.mark.parametrize(
    "name",
    ["lease_seconds", "retention_days", "designer_attempt_seconds", "designer_call_seconds"],
)
def test_no_time_is_longer_than_the_clocks_of_databases(name):
    with pytest.raises(ConfigurationError, match=name.upper()):
        read_settings(**{name: 1e10})
