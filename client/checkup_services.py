"""What `rewardsmith doctor` asks others: database, broker, workers, and the endpoint of a model."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import time
from urllib.parse import urlsplit

from client.finding import Finding
from core.errors import ConfigurationError, RewardsmithError
from core.settings import PREFIX, Settings

ANSWER_SECONDS = 3.0
TOTAL_SECONDS = 10.0  # for all of an endpoint's answer
MOST_BYTES = 1 << 20
SILENT_SECONDS = 60.0


def database(settings: Settings) -> Finding:
    """Ask the database for its revision.  An embedded one that is not there yet is no fault."""
    from core.storage import open_store

    if not _is_made(settings):
        fix = "`rewardsmith serve` makes it."
        return Finding("database", True, "SQLite, not made yet", fix)
    try:
        store = open_store(settings.database_url)
        with contextlib.closing(store):
            store.check_schema()
            store.check_writes()
    except RewardsmithError as error:
        return Finding("database", False, error.found, _database_fix(error))
    kind = settings.database_url.partition(":")[0].partition("+")[0]
    return Finding("database", True, f"{kind}, up to date")


def _is_made(settings: Settings) -> bool:
    """Tell whether an embedded database is there; to ask one that is not would make it."""
    file = settings.private_paths().get(f"{PREFIX}DATABASE_URL")
    return file is None or file.exists()


def _database_fix(error: RewardsmithError) -> str:
    """Say what to do, which is not to upgrade where the database is ahead of the program."""
    from migrations import knows

    if isinstance(error, ConfigurationError):
        return f"Set REWARDSMITH_DATABASE_URL to {error.expected}."
    revision = error.found.removeprefix("revision ")
    if error.found.startswith("revision ") and not knows(revision):
        return "It was made by a newer version of the program; use that one."
    return error.hint or "Run `rewardsmith db upgrade`."


def keys(settings: Settings) -> Finding:
    """Look whether somebody could open a server that asks for keys."""
    from core.storage import open_store
    from core.storage.engine import USER

    if settings.keys == "unless-loopback" and _is_loopback(settings.api_host):
        return Finding("keys", True, f"none needed: the server listens on {settings.api_host}")
    try:
        with contextlib.closing(open_store(settings.database_url)) as store:
            found = _is_made(settings) and store.keys.any_valid()
    except RewardsmithError as error:
        if error.where == USER:  # a worker's user sees none, and needs none
            fix = "Ask again in the server's environment, whether one is valid."
            return Finding("keys", True, f"not for this {USER} to see", fix)
        return Finding("keys", False, error.found, error.hint or "Mend the database first.")
    fix = "" if found else "Make one with `rewardsmith keys create OWNER`."
    return Finding("keys", found, "at least one is valid" if found else "none is valid", fix)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def broker(settings: Settings) -> Finding:
    """Have the broker answer; one in a folder is part of the data folder."""
    url = settings.broker_url.partition(";")[0]  # others are for when this one is away
    where = urlsplit(url)
    if where.scheme == "filesystem":
        return Finding("broker", True, "a folder inside the data folder")
    import redis

    address = f"{where.hostname or 'localhost'}:{where.port or 6379}"
    waits = {"socket_timeout": ANSWER_SECONDS, "socket_connect_timeout": ANSWER_SECONDS}
    meanwhile = "Workers find their steps in the database meanwhile, a little later."
    try:
        with contextlib.closing(redis.Redis.from_url(url, **waits)) as client:
            client.ping()
            memory = client.info("memory")
    except redis.AuthenticationError as error:
        fix = f"Correct user and password in REWARDSMITH_BROKER_URL. {meanwhile}"
        return Finding("broker", False, f"{address}: {error}", fix)
    except (redis.RedisError, OSError, ValueError) as error:
        fix = f"Start it, or correct REWARDSMITH_BROKER_URL. {meanwhile}"
        return Finding("broker", False, f"{address}: {error}", fix)
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        found = f"{where.scheme} at {address} answers, and drops messages when its memory is full"
        return Finding(
            "broker", True, found, f"Set its maxmemory-policy to noeviction, not {policy}."
        )
    return Finding("broker", True, f"{where.scheme} at {address} answers")


def workers(settings: Settings) -> Finding:
    """Look whether somebody does what there is to do."""
    from core.storage import open_store

    if not _is_made(settings):
        return Finding("workers", True, "nothing to do yet")
    try:
        with contextlib.closing(open_store(settings.database_url)) as store:
            standing = store.standing()
            there = any(one.alive for one in store.crew.workers())
    except RewardsmithError:
        return Finding("workers", False, "not known", "Mend the database first.")
    seen, waited = standing.sign_of_life_seconds, standing.oldest_queued_seconds
    last = "never" if seen is None else f"{seen:.0f} s ago"
    found = f"{standing.open} jobs to work on, last sign of life {last}"
    silent = seen is None or seen > SILENT_SECONDS
    # Where only steps that rest are left, nobody shows a sign of life, and all is well.
    unseen = standing.open and not there and not standing.claimed
    unheard = standing.jobs.get("queued") and (waited or 0.0) > SILENT_SECONDS
    if silent and (unseen or unheard):
        fix = "Start one with `rewardsmith worker`, or look into the log of the one that runs."
        return Finding("workers", False, found, fix)
    return Finding("workers", True, found)


def designer(settings: Settings) -> Finding:
    """Ask the endpoint of the designer `openai` for its models; without one there is `evolution`."""
    url, key = settings.openai_base_url, settings.openai_api_key
    if key is None and "api.openai.com" in url:
        fix = "Set REWARDSMITH_OPENAI_API_KEY, or REWARDSMITH_OPENAI_BASE_URL for another endpoint."
        return Finding("designer", True, "evolution only; no model is configured", fix)
    import httpx2

    name = f"openai at {urlsplit(url).hostname}"
    try:
        status, models = ask_for_models(url, None if key is None else key.get_secret_value())
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
        fix = "Start it, or correct REWARDSMITH_OPENAI_BASE_URL. Jobs that need it wait meanwhile."
        return Finding("designer", False, f"{name}: {error or type(error).__name__}", fix)
    return _refused(name, status) or _served(name, settings.openai_model, models)


def _refused(name: str, status: int) -> Finding | None:
    """Say what a status other than 200 means for jobs, as far as it says anything of them."""
    if 300 <= status < 400:
        fix = "Set REWARDSMITH_OPENAI_BASE_URL to the final address: redirects are not followed."
        return Finding("designer", False, f"{name} sends elsewhere (status {status})", fix)
    if status in (401, 403):
        fix = "Correct REWARDSMITH_OPENAI_API_KEY, then resume the jobs that paused."
        return Finding("designer", False, f"{name} refuses the key (status {status})", fix)
    if status == 402:
        fix = "Top the account up, or name another endpoint in REWARDSMITH_OPENAI_BASE_URL."
        return Finding("designer", False, f"{name} wants credit (status {status})", fix)
    if status == 404:  # some servers have no list, and answer questions all the same
        fix = "Look whether REWARDSMITH_OPENAI_BASE_URL is whole: it usually ends in /v1."
        return Finding("designer", True, f"{name} answers, but has no list of models", fix)
    if status >= 500:
        fix = "Wait, or name another endpoint in REWARDSMITH_OPENAI_BASE_URL."
        return Finding("designer", False, f"{name} is out of order (status {status})", fix)
    return None


def _served(name: str, model: str | None, models: list[str]) -> Finding:
    """Compare the model that is asked with those that an endpoint says it has."""
    from core.designers import OPENAI_MODEL

    asked = model or OPENAI_MODEL
    if not models:
        return Finding("designer", True, f"{name} answers, and does not say which models it has")
    if asked in models:
        return Finding("designer", True, f"{name} has {asked}")
    few = ", ".join(sorted(models)[:5])
    fix = f"Set REWARDSMITH_OPENAI_MODEL to one that it has, such as: {few}."
    if model is None:  # jobs that name their own models are none the worse for it
        found = f"{name} has no {asked}, which jobs ask that name no model"
        return Finding("designer", True, found, fix)
    return Finding("designer", False, f"{name} has no model {model}", fix)


def ask_for_models(url: str, key: str | None) -> tuple[int, list[str]]:
    """Return the status of an endpoint's list of models and their names, as far as it can be read.

    Raises:
        httpx2.HTTPError: no answer.
        TimeoutError: one that does not end.
    """
    import httpx2

    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    until, said = time.monotonic() + TOTAL_SECONDS, b""
    with httpx2.stream("GET", f"{url}/models", headers=headers, timeout=ANSWER_SECONDS) as answer:
        for piece in answer.iter_bytes():
            said += piece
            if time.monotonic() > until or len(said) > MOST_BYTES:
                raise TimeoutError(f"the list of its models did not end within {TOTAL_SECONDS:g} s")
        status = answer.status_code
    try:
        return status, [str(one["id"]) for one in json.loads(said)["data"]]
    except (ValueError, TypeError, KeyError):
        return status, []
