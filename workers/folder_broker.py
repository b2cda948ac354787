"""Celery's `filesystem://` broker with messages that appear whole.

Kombu writes a message under its final name, and a worker that looks meanwhile takes half of it: it
cannot be decoded, and the worker serves nothing more.  Here a message gets its name when it is whole.
"""

from __future__ import annotations

import os
import uuid
from time import monotonic
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils import json


class Channel(filesystem.Channel):
    """A channel that writes beside and renames."""

    # Kombu's own channels disagree about the name of the second argument.
    def _put(self, queue: Any, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]
        name = f"{round(monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"
        path = os.path.join(self.data_folder_out, name)
        try:
            with open(f"{path}.part", "wb") as half:
                half.write(json.dumps(payload).encode())  # type: ignore[no-untyped-call]
            os.replace(f"{path}.part", path)
        except OSError as error:
            raise ChannelError(f"Cannot add file {path!r} to directory") from error


class Transport(filesystem.Transport):
    """Kombu's transport with this channel."""

    Channel = Channel


def use_whole_messages() -> None:
    """Have Celery take this transport for `filesystem://`."""
    TRANSPORT_ALIASES["filesystem"] = f"{__name__}:Transport"
