"""`rewardsmith tidy`: remove what nobody needs any more, now."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from client.console import JsonFlag, Screen


def tidy(
    days: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=36_500,  # as of the setting
            help="Delete jobs that ended so long ago; REWARDSMITH_RETENTION_DAYS.",
        ),
    ] = None,
    orphans: Annotated[
        bool, typer.Option(help="Also remove files older than a day that no job refers to.")
    ] = False,
    json_output: JsonFlag = False,
) -> None:
    """Delete jobs past their time, and files of deleted jobs; workers do the same once a minute."""
    from core.settings import read_settings
    from core.storage import FolderArtifacts, open_store, remove_orphans
    from core.storage import tidy as tidy_up

    settings, screen = read_settings(), Screen(json_output)
    artifacts = FolderArtifacts(settings.artifacts_path)
    with closing(open_store(settings.database_url)) as store:
        store.check_schema()
        gone = tidy_up(store, artifacts, settings.retention_days if days is None else days)
        lost = remove_orphans(store, artifacts) if orphans else 0
    screen.emit({"jobs": gone.jobs, "files": gone.files, "orphans": lost})
    screen.say(f"{gone.jobs} jobs and {gone.files + lost} files are gone.")
