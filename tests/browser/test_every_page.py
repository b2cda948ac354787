"""Every page, in every state, by day and by night, on a desk and in a hand: no serious fault."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow  # a real browser

PAGES = {
    "jobs": "/jobs",
    "new": "/jobs/new",
    "queued": "/jobs/{queued}",
    "training": "/jobs/{training}",
    "finished": "/jobs/{finished}",
    "failed": "/jobs/{failed}",
    "blocked": "/jobs/{blocked}",
    "awaiting": "/jobs/{awaiting}",
    "iteration": "/jobs/{finished}/iterations/0",
    "cost": "/jobs/{finished}/cost",
    "candidate": "/candidates/{first}",
    "rejected": "/candidates/{second}",
    "compare": "/compare?c={judged}_0_0&c={judged}_0_1",
    "library": "/library",
    "tasks": "/tasks",
    "task": "/tasks/cartpole-park",
    "workers": "/workers",
}


def address(name: str, jobs: dict[str, str]) -> str:
    own = f"cand_{jobs['finished'].removeprefix('job_')}"
    judged = f"cand_{jobs['awaiting'].removeprefix('job_')}"
    names = {"first": f"{own}_0_0", "second": f"{own}_0_1", "judged": judged}
    return PAGES[name].format(**jobs, **names)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_accessibility_fault(look, told, name, scheme):
    url, jobs = told
    eyes = look(url, color_scheme=scheme)
    eyes.go(address(name, jobs))
    assert eyes.faults() == []


@pytest.mark.parametrize("name", PAGES)
def test_every_page_fits_a_hand(look, told, name):
    url, jobs = told
    eyes = look(url, viewport={"width": 360, "height": 720})
    eyes.go(address(name, jobs))
    assert eyes.overflow() <= 0
    assert eyes.faults() == []


@pytest.mark.parametrize("name", PAGES)
def test_every_page_works_without_a_script(look, told, name):
    url, jobs = told
    eyes = look(url, java_script_enabled=False)
    page = eyes.go(address(name, jobs))
    assert page.locator("h1").count() == 1
    if name in ("candidate", "finished"):
        assert page.locator("svg.chart").first.is_visible()


def test_filters_and_forms_work_without_a_script(look, told):
    url, jobs = told
    page = look(url, java_script_enabled=False).go("/jobs")
    page.select_option("select[name=status]", "failed")
    page.click("text=Filter")
    assert "status=failed" in page.url
    assert page.locator("a.title").count() == 1
    page.goto(f"{url}/jobs/{jobs['awaiting']}")
    page.fill("textarea[name=text]", "It jumps.")
    page.click("button:has-text('Send')")
    assert page.locator("text=It jumps.").first.is_visible()


def test_a_policy_without_inline_scripts_stands_on_every_page(look, told):
    url, jobs = told
    eyes = look(url)
    for name in PAGES:
        answer = eyes.page.goto(url + address(name, jobs))
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy, name
        assert "unsafe" not in policy, name
