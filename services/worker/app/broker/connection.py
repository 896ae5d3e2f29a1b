"""Connections to the broker whose URL looks the same in the banner and in logs as in the setting."""

from typing import Any

import kombu
from celery.app.amqp import AMQP


class Connection(kombu.Connection):
    """A connection whose URL shows a masked password only if there is one."""

    def as_uri(self, include_password: bool = False, *args: Any, **options: Any) -> str:
        """Return the URL. A password is masked; kombu itself also shows a mask for no password."""
        return super().as_uri(include_password or not self.password, *args, **options)


class CheckedAMQP(AMQP):
    """Celery's factory of connections."""

    Connection = Connection
