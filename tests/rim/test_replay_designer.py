"""The `replay` designer, and how designers are chosen by name."""

import json
from dataclasses import replace

import pytest

from core.designers import DesignerSettings, make_designer
from core.designers.openai import OpenAIDesigner
from core.designers.replay import ReplayDesigner, write_recording
from core.errors import ConfigurationError, DesignerUnavailable, UnknownDesigner
from core.records.asking import Ask, Brief, Exchange, Prompt, Reply, Usage
from core.records.spec import DesignerChoice
from core.records.task import Task

PROMPT = Prompt((("system", "rules"), ("user", "Größe ≥ 1 \ud83d?")))
BRIEF = Brief(Task("t", "E-v0", "d"), 0, 0, "seed", "replace", 1)
REPLY = Reply(
    "text",
    "truncated",
    "cut",
    model="m",
    finish_reason="length",
    usage=Usage(3, None),
    request={"model": "m"},
    response={"choices": [1]},
    notes=("waited",),
)


def ask(slot=0, attempt=0, prompt=PROMPT):
    return Ask(0, slot, attempt, BRIEF, prompt)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "job.json"
    write_recording([Exchange(0, 0, 0, PROMPT, REPLY, "openai")], path)
    return path


def test_what_was_recorded_comes_back_whole(recording):
    assert ReplayDesigner(recording).answer(ask()) == REPLY


def test_a_drifted_prompt_is_a_note_and_no_error(recording):
    drifted = ask(prompt=Prompt((("user", "another question"),)))
    reply = ReplayDesigner(recording).answer(drifted)
    assert reply.text == "text"
    assert any("prompt drifted" in note for note in reply.notes)


def test_what_was_not_recorded_says_which_slot_is_missing(recording):
    with pytest.raises(
        DesignerUnavailable, match=r"iteration 0, slot 3, attempt 1.*record"
    ) as caught:
        ReplayDesigner(recording).answer(ask(3, 1))
    assert caught.value.retry_after_seconds is None


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("{", id="no JSON"),
        pytest.param("[]", id="no recording"),
        pytest.param(json.dumps({"format": "other", "exchanges": []}), id="another format"),
        pytest.param(json.dumps({"format": "rewardsmith-recording/1"}), id="no exchanges"),
    ],
)
def test_a_file_that_is_no_recording_is_told_by_name(tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(DesignerUnavailable, match=r"broken\.json"):
        ReplayDesigner(path)


def test_a_missing_recording_is_told_by_name(tmp_path):
    with pytest.raises(DesignerUnavailable, match=r"nothing\.json"):
        ReplayDesigner(tmp_path / "nothing.json")


# --- the choice of a designer -----------------------------------------------------------------


def test_a_recording_is_found_by_its_plain_name(recording):
    settings = DesignerSettings(recordings=recording.parent)
    designer = make_designer(DesignerChoice("replay", recording="job"), settings)
    assert designer.name == "replay"


@pytest.mark.parametrize("name", ["../job", "/etc/passwd", "", ".hidden", "a/b"])
def test_a_recording_outside_its_folder_is_refused(tmp_path, name):
    settings = DesignerSettings(recordings=tmp_path)
    with pytest.raises(ConfigurationError, match="plain name"):
        make_designer(DesignerChoice("replay", recording=name), settings)


def test_the_jobs_model_goes_before_the_setting():
    settings = DesignerSettings(api_key="k", model="usual")
    made = make_designer(DesignerChoice("openai", model="special"), settings)
    assert isinstance(made, OpenAIDesigner)
    assert made.model == "special"


def test_a_missing_key_names_the_setting():
    with pytest.raises(ConfigurationError, match="REWARDSMITH_OPENAI_API_KEY"):
        make_designer(DesignerChoice("openai"), DesignerSettings())


def test_an_endpoint_of_ones_own_needs_no_key():
    settings = DesignerSettings(base_url="http://localhost:11434/v1", model="local")
    assert make_designer(DesignerChoice("openai"), settings).name == "openai"


def test_an_unknown_designer_is_answered_with_the_nearest_name():
    with pytest.raises(UnknownDesigner, match=r"evolution, openai, replay.*Did you mean 'openai'"):
        make_designer(DesignerChoice("opnai"), DesignerSettings())


def test_settings_do_not_show_their_key():
    assert "k-1" not in repr(replace(DesignerSettings(), api_key="k-1"))
