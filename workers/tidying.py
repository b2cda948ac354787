"""Now and then a worker removes what nobody needs any more."""

from __future__ import annotations

import threading

import structlog

from core.settings import Settings
from core.storage import FolderArtifacts, Store, tidy

log = structlog.get_logger("rewardsmith.tidying")

PERIOD_SECONDS = 60.0


def tidy_until(stopping: threading.Event, store: Store, settings: Settings) -> None:
    """Tidy once a minute until told to stop; a database that is away is waited for."""
    artifacts = FolderArtifacts(settings.artifacts_path)
    while not stopping.wait(PERIOD_SECONDS):
        try:
            gone = tidy(store, artifacts, settings.retention_days)
        except Exception:
            # Whatever it is, the next minute may be better, and nothing is lost by waiting.
            log.exception("not tidied")
            continue
        if gone.jobs or gone.files:
            log.info("tidied", jobs=gone.jobs, files=gone.files)
