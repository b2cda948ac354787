"""Episodes before a camera, for real: the jail lives them, what is outside draws and encodes."""

from __future__ import annotations

import io
import json
import subprocess
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from core.errors import FilmingFailed, ScoringFailed, StepInterrupted
from core.ports import Arm, FilmOrder, Progress
from core.records.kinds import NATIVE
from core.records.measured import Run
from core.records.spec import Training
from core.records.task import Field, Fitness, Task
from core.training import filming, painting, video
from core.training.video import Pictures, encode_mp4, encode_preview, fitted, run_attended
from tests.rim.laboratory_parts import CART_POLE, ignore, linear_policy, program

# A sandbox is started, and videos are encoded.
pytestmark = pytest.mark.slow

NOW = Progress("filming", 0, 1)
RUNG = {"stage": "confirm", "rung": 0, "status": "scored", "fitness": 1.0}
BALANCE = linear_policy([[0, 0, -1, -0.5, 0], [0, 0, 1, 0.5, 0]], [0, 0], 5)
PROGRAM = program(
    "import numpy as np\n"
    "def features(obs):\n    return {'lean': np.abs(obs.angle)}\n"
    "def reward(obs, action, next_obs, params):\n"
    "    return {'upright': 1.0 - np.abs(next_obs.angle), 'still': -np.abs(next_obs.v)}\n"
)
PENDULUM = Task(
    "inverted-pendulum",
    "InvertedPendulum-v5",
    "Balance.",
    fields=(Field("x", "obs[0]"), Field("angle", "obs[1]")),
    fitness=Fitness("return"),
)


@pytest.fixture(scope="module")
def cart_pole(laboratory):
    return laboratory.preflight(CART_POLE, Training(), 0, ignore)


def an_order(laboratory, task, preflight, policy, code=None, seed=5):
    run = Run(
        arm=NATIVE if code is None else "0.0",
        seed=500,
        weights=laboratory.artifacts.put(policy),
        **RUNG,
    )
    return FilmOrder(
        task=replace(task, fields=preflight.fields),
        preflight=preflight,
        arm=Arm(run.arm, code),
        run=run,
        episode=0,
        held_out=(seed,),
        mode="replace",
        weight=0.02,
    )


@pytest.fixture(scope="module")
def filmed(laboratory, cart_pole):
    order = an_order(laboratory, CART_POLE, cart_pole, BALANCE, PROGRAM)
    return laboratory.film(order, ignore)


def lived(task, seed, act):
    """Native return and length of the same episode in gymnasium, by hand."""
    env = gymnasium.make(task.environment)
    obs, _ = env.reset(seed=seed)
    total, steps, over = 0.0, 0, False
    while not over:
        obs, reward, terminated, truncated, _ = env.step(act(obs))
        total, steps, over = total + reward, steps + 1, terminated or truncated
    return total, steps


def test_a_filmed_episode_is_the_one_that_gymnasium_lives(filmed):
    total, steps = lived(CART_POLE, 5, lambda o: int(o[2] + 0.5 * o[3] > 0))
    assert filmed.failure is None
    assert (filmed.native, filmed.length, filmed.fitness) == (total, steps, total)
    assert (filmed.arm, filmed.seed, filmed.training_seed) == ("0.0", 5, 500)


def test_the_video_is_an_mp4_of_its_frames(laboratory, filmed, tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(laboratory.artifacts.get(filmed.video))
    said = subprocess.run(
        [video._encoder(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
        capture_output=True,
        check=True,
    )
    frames = np.frombuffer(said.stdout, np.uint8).reshape(-1, filmed.height, filmed.width, 3)
    assert len(frames) == filmed.frames
    assert filmed.frames / filmed.fps <= 10.5
    assert b"Video: h264" in said.stderr
    assert np.abs(frames[0].astype(int) - frames[-1].astype(int)).max() > 50, "it shows motion"


def test_the_preview_moves_by_itself(laboratory, filmed):
    preview = Image.open(io.BytesIO(laboratory.artifacts.get(filmed.preview)))
    assert (preview.format, preview.is_animated, preview.width) == ("WEBP", True, 160)


def test_the_trace_tells_fields_and_components_by_step(laboratory, filmed):
    trace = json.loads(laboratory.artifacts.get(filmed.trace))
    steps = trace["steps"]
    assert steps[-1] == filmed.length
    assert trace["steps_per_frame"] == filmed.steps_per_frame
    assert set(trace["components"]) == {"upright", "still"}
    assert set(trace["features"]) == {"lean"}
    angle = np.abs(trace["fields"]["angle"])
    np.testing.assert_allclose(trace["components"]["upright"], 1.0 - angle, atol=1e-5)
    assert len(trace["fields"]["all_of_it[2]"]) == len(trace["native"]) == len(steps)


def test_the_recording_has_every_step_and_what_was_paid_for_it(laboratory, filmed):
    lived = safetensors.numpy.load(laboratory.artifacts.get(filmed.recording))
    assert lived["observations"].shape == (filmed.length + 1, 4)
    assert lived["rewards"].sum() == filmed.native
    assert (lived["terminations"] | lived["truncations"]).nonzero()[0].tolist() == [
        filmed.length - 1
    ]
    env = gymnasium.make(CART_POLE.environment)
    obs, _ = env.reset(seed=filmed.seed)
    seen = [obs, *(env.step(int(action))[0] for action in lived["actions"])]
    np.testing.assert_array_equal(lived["observations"], np.array(seen, np.float32))
    angle = np.abs(lived["observations"][:, 2])
    np.testing.assert_allclose(lived["component.upright"], 1.0 - angle[1:], rtol=1e-5)
    np.testing.assert_allclose(lived["feature.lean"], angle[1:], rtol=1e-5)


def test_the_same_episode_gives_the_same_files(laboratory, cart_pole, filmed):
    order = an_order(laboratory, CART_POLE, cart_pole, BALANCE, PROGRAM)
    assert laboratory.film(order, ignore) == filmed


def test_mujoco_is_drawn_outside_the_jail(laboratory):
    preflight = laboratory.preflight(PENDULUM, Training(), 0, ignore)
    policy = linear_policy([[0.3, 3.0, 0.2, 0.5]], [0], 4, box=True)
    rollout = laboratory.film(an_order(laboratory, PENDULUM, preflight, policy), ignore)
    if rollout.failure is not None and "egl" in rollout.failure:
        pytest.skip(f"no software renderer here: {rollout.failure}")
    assert (rollout.width, rollout.height) == (320, 240)
    assert rollout.frames > 1
    assert rollout.video is not None


def test_a_machine_without_a_driver_has_a_reason_instead_of_a_video(laboratory, monkeypatch):
    monkeypatch.setattr(painting, "DRIVERS", ("nonsense", "disabled"))
    preflight = laboratory.preflight(PENDULUM, Training(), 0, ignore)
    policy = linear_policy([[0.3, 3.0, 0.2, 0.5]], [0], 4, box=True)
    rollout = laboratory.film(an_order(laboratory, PENDULUM, preflight, policy), ignore)
    assert rollout.video is None
    assert "nonsense: " in rollout.failure
    assert "apt-get install" in rollout.failure
    assert rollout.fitness is not None
    assert rollout.trace is not None


def test_code_of_the_users_is_never_drawn_outside():
    mine = replace(PENDULUM, environment="my_module:Mine-v0")
    with pytest.raises(FilmingFailed, match="never runs outside the sandbox"):
        painting.paint(mine, b"", 0, ignore, NOW)


def test_a_policy_that_breaks_is_the_arms_own_fault(laboratory, cart_pole):
    order = an_order(laboratory, CART_POLE, cart_pole, b"no weights at all", PROGRAM)
    with pytest.raises(ScoringFailed):
        laboratory.film(order, ignore)


def test_a_program_that_hangs_over_what_it_paid_is_asked_once(laboratory, cart_pole, monkeypatch):
    """A long episode is asked about in many pieces, and a worker waits for each of them."""
    monkeypatch.setattr(filming, "ASKED_AT_ONCE", 5)
    monkeypatch.setattr(filming, "LIMITS", replace(filming.LIMITS, wall_seconds=1.0))
    spawned = []
    spawn = laboratory.sandbox.spawn

    def counted(entry, *args, **kwargs):
        spawned.append(entry)
        return spawn(entry, *args, **kwargs)

    monkeypatch.setattr(laboratory.sandbox, "spawn", counted)
    hanging = program(
        "import numpy as np\n"
        "def features(obs):\n    return {'lean': np.abs(obs.angle)}\n"
        "def reward(obs, action, next_obs, params):\n    while True:\n        pass\n"
    )
    order = an_order(laboratory, CART_POLE, cart_pole, BALANCE, hanging)
    found = laboratory.film(order, ignore)
    assert found.length > 10
    assert spawned.count(filming.TERMS) == 1


# --- encoding ---------------------------------------------------------------------------------


def a_film(count=12):
    moving = np.zeros((count, 32, 48, 3), np.uint8)
    for frame in range(count):
        moving[frame, :, frame * 3 : frame * 3 + 8] = 255
    return Pictures(moving, 12.0)


def test_the_same_pictures_give_the_same_bytes():
    assert encode_mp4(a_film(), ignore, NOW) == encode_mp4(a_film(), ignore, NOW)
    assert encode_preview(a_film()) == encode_preview(a_film())


def test_an_encoder_that_fails_says_its_last_words():
    with pytest.raises(FilmingFailed, match="ended with 3: sorry"):
        run_attended(["/bin/sh", "-c", "echo sorry >&2; exit 3"], b"", {}, 10, ignore, NOW)


def test_an_encoder_that_hangs_is_ended():
    with pytest.raises(FilmingFailed, match=r"longer than 0\.5 s"):
        run_attended(["/bin/sleep", "60"], b"", {}, 0.5, ignore, NOW)


def test_who_is_interrupted_leaves_no_encoder_behind():
    def stop(progress):
        raise StepInterrupted("now")

    with pytest.raises(StepInterrupted):
        run_attended(["/bin/sleep", "60"], b"", {}, 10, stop, NOW)


@pytest.mark.parametrize(
    ("size", "small"), [((600, 400), (320, 212)), ((100, 75), (100, 74)), ((400, 4000), (24, 240))]
)
def test_pictures_are_made_to_fit_in_even_numbers(size, small):
    assert fitted(*size) == small
