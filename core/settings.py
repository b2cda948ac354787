"""What differs between machines: read once from the environment by a shell, and passed on.

Every setting is an environment variable, `REWARDSMITH_` and its name in capitals.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core.errors import ConfigurationError

SECRET_BYTES = 32
PREFIX = "REWARDSMITH_"
# Beyond these a database's clock overflows, or ends: SQLite then gave a step to two workers at once.
LONGEST_SECONDS = 86_400.0
LONGEST_DAYS = 36_500.0


class Settings(BaseSettings):
    """The settings of one machine.  Secrets do not show in its text."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    home: Path = Field(
        Path(".rewardsmith"),
        description="Folder for everything that is kept: database, broker, artifacts, secret.",
    )
    database_url: str = Field(
        default_factory=lambda known: f"sqlite:///{_home(known) / 'rewardsmith.db'}",
        repr=False,
        description="`sqlite:///file` or `postgresql://user:password@host/database`. "
        "A SQLite file in the home unless given.",
    )
    broker_url: str = Field(
        "filesystem://",
        repr=False,
        description="Celery's broker: `filesystem://` (a folder in the home) or `redis://host`.",
    )
    artifacts_path: Path = Field(
        default_factory=lambda known: _home(known) / "artifacts",
        description="Folder of weights, checkpoints and recorded transitions; "
        "`artifacts` in the home unless given.",
    )
    recordings_path: Path = Field(
        default_factory=lambda known: _home(known) / "recordings",
        description="Folder of recorded answers for the designer `replay`; "
        "`recordings` in the home unless given.",
    )
    environment_paths: Annotated[tuple[Path, ...], NoDecode] = Field(
        (),
        description="Folders with your own environments, separated by colons: importable and "
        "readable, nothing else, inside the sandbox. The home may not lie in one.",
    )
    secret: SecretStr | None = Field(
        None,
        min_length=32,
        description="Key from which held-out seeds are derived, the same for all workers. "
        "A file `secret` in the home, made on first use, unless given.",
    )

    openai_api_key: SecretStr | None = Field(
        None, description="Key of the endpoint that the designer `openai` asks."
    )
    openai_base_url: str = Field(
        "https://api.openai.com/v1", description="Any OpenAI-compatible endpoint."
    )
    openai_model: str | None = Field(
        None, description="Model that the designer `openai` asks where a job names none."
    )
    openai_max_tokens: int = Field(
        16_000, ge=256, le=1_000_000, description="Longest answer of the model, in tokens."
    )
    prices: Path | None = Field(
        None,
        description="Your own table of what models cost, in the form of `core/prices.toml`, which "
        "counts unless given.",
    )
    designer_attempts: int = Field(
        5, ge=1, le=20, description="How often one question is sent before the designer rests."
    )
    designer_attempt_seconds: float = Field(
        180.0,
        gt=0,
        le=LONGEST_SECONDS,
        allow_inf_nan=False,
        description="Total deadline of one attempt.",
    )
    designer_call_seconds: float = Field(
        900.0,
        gt=0,
        le=LONGEST_SECONDS,
        allow_inf_nan=False,
        description="Deadline of a question over all attempts.",
    )

    designer_calls_per_minute: float | None = Field(
        None,
        ge=1,
        le=1_000_000,
        allow_inf_nan=False,
        description="Calls that all workers together make of one model of an endpoint; any number "
        "unless given.",
    )

    required_isolation: int = Field(
        3, ge=0, le=5, description="Isolation level below which no generated code is run."
    )
    allow_weaker_isolation: Literal["", "i-understand"] = Field(
        "",
        description="`i-understand` lets generated code run below the required level; "
        "every run is marked with the level it had.",
    )

    api_host: str = Field("127.0.0.1", description="Address on which the server listens.")
    api_port: int = Field(8700, ge=0, le=65_535, description="Its port; 0 picks a free one.")
    processes: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes of the server behind its one address, where one core is not enough for "
        "it. Limits on requests and streams hold for each of them.",
    )
    retention_days: float | None = Field(
        None,
        gt=0,
        le=LONGEST_DAYS,
        allow_inf_nan=False,
        description="Days after its end at which a job is deleted with all it owns; kept unless given.",
    )
    keys: Literal["unless-loopback", "always"] = Field(
        "unless-loopback",
        description="When the server asks for keys (`rewardsmith keys create`): `always`, or always "
        "except where it listens on the loopback alone. Choose `always` behind a reverse proxy.",
    )
    jobs_per_owner: int = Field(
        1_000, ge=1, le=1_000_000, description="Unfinished jobs that one owner may have."
    )
    requests_per_minute: int = Field(
        1_200, ge=1, le=10_000_000, description="Requests a minute with one key."
    )
    requests_at_once: int = Field(
        40,
        ge=1,
        le=1_000,
        description="Requests that a process of the server works on at a time. Five times as many may "
        "wait for two seconds; all others are told at once to come back.",
    )
    streams_per_owner: int = Field(
        50, ge=1, le=10_000, description="Event streams that one owner may have open."
    )
    webhook_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Hosts that webhooks may reach wherever they are and without TLS, `host` or "
        "`host:port`, separated by commas.",
    )
    lease_seconds: float = Field(
        15.0,
        ge=1.0,
        le=LONGEST_SECONDS,
        allow_inf_nan=False,
        description="How long a silent worker keeps its step before another one takes it.",
    )
    stop_seconds: float = Field(
        25.0,
        ge=1.0,
        le=3_600.0,
        allow_inf_nan=False,
        description="Seconds after which a worker that was told to stop ends, whatever it waits for. "
        "Until five before, it waits for answers of a model that are on their way, so that nobody pays "
        "for them twice. What kills workers must wait longer.",
    )
    worker_slots: int = Field(
        1,
        ge=1,
        le=256,
        description="Steps that one machine trains at the same time, each in a process: one per GPU, "
        "or up to one per core.",
    )
    training_nice: int = Field(
        10,
        ge=0,
        le=19,
        description="By how much trainings give way to a server, a database or whatever else wants "
        "their core; the workers themselves never do.",
    )
    device: str = Field(
        "cpu",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Where packs are trained: `cpu`, `cuda`, `cuda:N`, or `auto` (a GPU where there is "
        "one and the extra `gpu-sim` simulates the task on it; its physics is not bit for bit that of "
        "the CPU).",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least serious messages that are logged."
    )

    @field_validator("home", "artifacts_path", "recordings_path")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @field_validator("openai_api_key")
    @classmethod
    def _header(cls, key: SecretStr | None) -> SecretStr | None:
        """Take a key that a header can carry: what is read from a file often ends in a newline."""
        if key is None:
            return None
        text = key.get_secret_value().strip()
        if not re.fullmatch("[!-~]+", text):
            raise ValueError("expected a key of printable ASCII characters, without spaces")
        return SecretStr(text)

    @field_validator("openai_base_url")
    @classmethod
    def _address(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", url) or not _is_address(url):
            raise ValueError("expected an address such as https://host/v1, without user or query")
        return url.rstrip("/")

    @field_validator("broker_url")
    @classmethod
    def _broker(cls, url: str) -> str:
        if not all(map(_is_address, url.split(";"))):  # of which the first that answers is taken
            raise ValueError(
                "expected an address such as redis://:password@host:6379/0; what is special in a "
                "password is written with %, such as %2F for /"
            )
        return url

    @field_validator("environment_paths", mode="before")
    @classmethod
    def _split(cls, given: Any) -> Any:
        return (
            [part for part in given.split(os.pathsep) if part] if isinstance(given, str) else given
        )

    @field_validator("webhook_hosts", mode="before")
    @classmethod
    def _names(cls, given: Any) -> Any:
        names = given.split(",") if isinstance(given, str) else given
        return [name.strip().lower() for name in names if name.strip()]

    @field_validator("environment_paths")
    @classmethod
    def _folders(cls, paths: tuple[Path, ...]) -> tuple[Path, ...]:
        for path in paths:
            if not path.is_dir():
                raise ValueError(f"`{path}` is not a folder")
        return tuple(path.absolute() for path in paths)

    def private_paths(self) -> dict[str, Path]:
        """Return what generated code must not read, by the variable that can move it."""
        found = {
            f"{PREFIX}HOME": self.home,
            f"{PREFIX}ARTIFACTS_PATH": self.artifacts_path,
            f"{PREFIX}RECORDINGS_PATH": self.recordings_path,
        }
        kind, _, file = self.database_url.partition(":///")
        if kind.startswith("sqlite"):
            found[f"{PREFIX}DATABASE_URL"] = Path(file.partition("?")[0])
        return found

    def secret_key(self) -> bytes:
        """Return the key from which secret seeds are derived; make its file on first use.

        Raises:
            ConfigurationError: the file cannot be made, or does not hold a key.
        """
        if self.secret is not None:
            return self.secret.get_secret_value().encode()
        path = self.home / "secret"
        try:
            if not path.exists():
                _make_secret(path)
            text = path.read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(str(error), where=str(path), hint=_SECRET_HINT) from error
        return _read_secret(text, path)


_SECRET_HINT = "Make the file readable for the service, or set REWARDSMITH_SECRET."


def read_settings(**given: Any) -> Settings:
    """Return the settings of the environment, those given taking their place.

    Raises:
        ConfigurationError: a setting cannot be read; names the variable, never its value.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = PREFIX + str(first["loc"][0]).upper() if first["loc"] else PREFIX
        raise ConfigurationError(first["msg"], where=name) from None


def _is_address(url: str) -> bool:
    """Tell whether a URL has a host that can be looked up, and a port that is one."""
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def _home(known: dict[str, Any]) -> Path:
    # An unreadable home is reported by its own field; what is derived from it must not hide that.
    home: Path = known.get("home", Path(".rewardsmith"))
    return home.expanduser().absolute()


def _make_secret(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".secret-")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        _link_once(name, path)
    finally:
        os.unlink(name)


def _link_once(name: str, path: Path) -> None:
    # A link appears complete and never replaces one: of two processes, the first one's key holds.
    try:
        os.link(name, path)
    except FileExistsError:
        return


def _read_secret(text: str, path: Path) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != SECRET_BYTES:
        raise ConfigurationError(
            "something else",
            expected=f"{2 * SECRET_BYTES} hexadecimal digits",
            where=str(path),
            hint="Restore the file; a new key would change the held-out seeds of running jobs.",
        )
    return key
