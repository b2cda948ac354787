"""`rewardsmith doctor`: one line per part of the machine, and a fix for each that does not work."""

from __future__ import annotations

import typer

from client.console import FAILED, OK, JsonFlag, Screen


def doctor(json_output: JsonFlag = False) -> None:
    """Check this machine: one line per part, with a fix for what does not work."""
    from dataclasses import asdict

    from client.checkup import examine

    screen = Screen(json_output)
    findings = examine()
    sound = all(finding.ok for finding in findings)
    screen.emit({"ok": sound, "checks": [asdict(finding) for finding in findings]})
    for finding in findings:
        mark = "ok  " if finding.ok else "FAIL"
        screen.say(f"{mark} {finding.name:14} {finding.found}")
        if finding.fix:
            screen.say(f"     {'':14} {finding.fix}")
    raise typer.Exit(OK if sound else FAILED)
