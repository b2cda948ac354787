"""`rewardsmith export`: a job's numbers as files that other programs read."""

from __future__ import annotations

import csv
import json
import struct
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.cli import app as command
from client.console import OK, USAGE
from client.tables import COLUMNS
from tests.databases import emptied
from tests.shells import stories


@pytest.fixture
def database_url(shared_sqlite):
    return emptied(shared_sqlite)


@pytest.fixture
def export(server, monkeypatch, tmp_path):
    monkeypatch.setenv("REWARDSMITH_API_URL", server)
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str):
        return CliRunner().invoke(command, ["export", *arguments])

    return invoke


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def test_tables_hold_every_candidate_and_every_point(export, store, tmp_path):
    job_id = stories.a_finished_job(store)
    told = json.loads(export(job_id, "--to", "csv", "-o", "tables", "--json").stdout)
    assert told["files"] == ["tables/candidates.csv", "tables/curves.csv"]
    first, second = rows(tmp_path / "tables" / "candidates.csv")
    assert tuple(first) == COLUMNS
    assert (first["key"], float(first["fitness"]), first["seeds"]) == (
        "0.0",
        pytest.approx(0.8),
        "2",
    )
    assert (second["status"], second["fitness"]) == ("rejected", "")
    points = rows(tmp_path / "tables" / "curves.csv")
    returns = [
        p for p in points if (p["series"], p["seed"], p["stage"]) == ("return", "0", "search")
    ]
    assert [(int(p["step"]), float(p["value"])) for p in returns] == [(500, 10.0), (1000, 20.0)]
    measured = [p for p in points if p["series"] == "fitness"]
    assert [float(p["value"]) for p in measured] == [0.7, 0.9]


def test_a_spreadsheet_takes_nothing_that_a_model_wrote_for_a_formula(export, store, tmp_path):
    job_id = stories.a_new_job(store)
    with stories.step(store, job_id, "propose/0") as claim:
        claim.add_candidate(stories.rejected(0, '=HYPERLINK("http://x")'))
        claim.end_proposing(0)
    assert export(job_id, "--to", "csv").exit_code == OK
    (row,) = rows(tmp_path / f"{job_id}-csv" / "candidates.csv")
    assert row["rejection"] == '\'=HYPERLINK("http://x")'


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("onnx", "a bundle without a policy, expected a job whose design was confirmed"),
        ("minari", "no recorded episode, expected a finished job with films"),
    ],
)
def test_what_a_job_does_not_have_is_not_written(export, store, tmp_path, form, said):
    job_id = stories.a_finished_job(store)  # as if elsewhere: there are no files
    told = export(job_id, "--to", form, "-o", "there", "--json")
    assert told.exit_code == USAGE
    for part in said.split(", "):
        assert part in told.stderr
    assert not (tmp_path / "there").exists()


def test_a_page_is_saved_as_one_file(export, store, tmp_path):
    job_id = stories.a_finished_job(store)
    assert export(job_id, "--to", "html", "-o", "job.html").exit_code == OK
    assert (tmp_path / "job.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_tensorboard_finds_a_folder_for_every_arm_and_seed(export, store, tmp_path):
    pytest.importorskip("tensorboardX")
    job_id = stories.a_finished_job(store)
    assert export(job_id, "--to", "tensorboard", "-o", "board").exit_code == OK
    (file,) = (tmp_path / "board" / "search" / "0.0" / "seed-1").glob("events.out.tfevents.*")
    told = {(e.summary.value[0].tag, e.step): e.summary.value[0].simple_value for e in events(file)}
    assert told["return", 500] == 10.0
    assert told["return", 1000] == 20.0
    assert told["fitness", 1000] == pytest.approx(0.9)


def events(file: Path):
    """Read a file of TensorBoard's events: length, checksum, message, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    data = file.read_bytes()
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        event = Event.FromString(data[12 : 12 + size])
        if event.summary.value:
            yield event
        data = data[12 + size + 4 :]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["job_x", "--to", "pdf"], "pdf"),
        (["job_x"], "--to"),
        (["job_x", "--to", "html", "-o", "nowhere/job.html"], "no folder"),
        (["job_x", "--to", "csv"], "no job"),
    ],
)
def test_what_cannot_be_written_is_usage(export, arguments, words):
    result = export(*arguments)
    assert result.exit_code == USAGE
    assert words in result.stderr


def test_a_folder_is_not_written_over_a_file(export, store, tmp_path):
    (tmp_path / "taken").write_text("mine")
    result = export(stories.a_finished_job(store), "--to", "csv", "-o", "taken")
    assert result.exit_code == USAGE
    assert (tmp_path / "taken").read_text() == "mine"
