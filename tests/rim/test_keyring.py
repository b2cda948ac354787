"""Keys: made once, shown once, and worth nothing when they ended, were revoked, or were guessed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from core.errors import InvalidInput, NotFound
from core.storage.clock import now
from core.storage.engine import reading, writing
from core.storage.tables import keys


def test_a_key_opens_what_it_was_made_for(store):
    made, key = store.keys.create("alice", "laptop", ["jobs:read"], days=7)
    found = store.keys.find(key)
    assert (found.id, found.owner, found.scopes) == (made.id, "alice", ("jobs:read",))
    assert abs(made.expires_at - made.created_at - timedelta(days=7)) < timedelta(seconds=1)


def test_the_secret_is_stored_nowhere(store, engine):
    _, key = store.keys.create("alice")
    secret = key.partition(".")[2]
    with reading(engine) as connection:
        row = connection.execute(select(keys)).mappings().one()
    assert secret not in str(dict(row))
    assert len(secret) == 43, "256 bits"


def test_two_keys_have_nothing_in_common(store):
    (_, one), (_, other) = store.keys.create("alice"), store.keys.create("alice")
    assert not set(one.split(".")) & set(other.split("."))


@pytest.mark.parametrize(
    "guess",
    [
        pytest.param(lambda key: "", id="nothing"),
        pytest.param(lambda key: key.partition(".")[2], id="the secret alone"),
        pytest.param(lambda key: key.partition(".")[0], id="the id alone"),
        pytest.param(lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"), id="one letter off"),
        pytest.param(lambda key: key + "A", id="one letter more"),
        pytest.param(lambda key: key + "\n", id="a line break more"),
        pytest.param(lambda key: "rws_" + "0" * 16 + key[20:], id="another key's id"),
        pytest.param(lambda key: key.upper(), id="in capitals"),
    ],
)
def test_what_is_not_the_very_key_is_none(store, guess):
    _, key = store.keys.create("alice")
    assert store.keys.find(guess(key)) is None


def test_a_revoked_key_is_none_from_now_on(store):
    made, key = store.keys.create("alice")
    first = store.keys.revoke(made.id)
    assert store.keys.find(key) is None
    assert store.keys.revoke(made.id) == first
    assert not store.keys.any_valid()


def test_a_key_that_has_ended_is_none(store, engine):
    made, key = store.keys.create("alice", days=1)
    assert store.keys.any_valid()
    ended = update(keys).where(keys.c.id == made.id).values(expires_at=now(-1.0))
    writing(engine, lambda c: c.execute(ended))
    assert store.keys.find(key) is None
    assert not store.keys.any_valid()


def test_the_last_use_is_known_to_the_minute(store, engine):
    made, key = store.keys.create("alice")
    store.keys.find(key)
    first = store.keys.list()[0].last_used_at
    assert abs(first - made.created_at) < timedelta(seconds=60)
    store.keys.find(key)
    assert store.keys.list()[0].last_used_at == first, "not every use is a write"
    writing(engine, lambda c: c.execute(update(keys).values(last_used_at=now(-61.0))))
    store.keys.find(key)
    assert store.keys.list()[0].last_used_at >= first


def test_making_and_revoking_is_written_down(store):
    made, _ = store.keys.create("alice")
    store.keys.revoke(made.id)
    store.keys.revoke(made.id)
    told = store.keys.audit(subject=made.id)
    assert [(entry.owner, entry.action) for entry in told] == [
        ("operator", "keys.revoke"),
        ("operator", "keys.create"),
    ]
    assert store.keys.audit(owner="alice") == ()


def test_a_key_that_nobody_has_cannot_be_revoked(store):
    with pytest.raises(NotFound, match="rewardsmith keys list"):
        store.keys.revoke("0" * 16)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param({"owner": ""}, "lower-case", id="nobody"),
        pytest.param({"owner": "Alice"}, "lower-case", id="capitals"),
        pytest.param({"owner": "a\x00"}, "lower-case", id="a NUL"),
        pytest.param({"owner": "a" * 65}, "64", id="a long name"),
        pytest.param({"scopes": ["jobs:wirte"]}, "jobs:write", id="an unknown scope"),
        pytest.param({"scopes": []}, "jobs:read", id="no scope"),
        pytest.param({"days": 0}, "1 to 3650", id="no time"),
        pytest.param({"days": 4_000}, "1 to 3650", id="for ever"),
    ],
)
def test_a_key_that_cannot_be_is_refused_in_words(store, given, words):
    with pytest.raises(InvalidInput, match=words):
        store.keys.create(**{"owner": "alice", **given})
