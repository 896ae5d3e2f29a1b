"""Connections to the broker whose URL looks the same in the banner and in logs as in the setting."""

from typing import Any

import kombu
from celery.app.amqp import AMQP


class Connection(kombu.Connection):
    """A connection that shows the scheme of Redis instead of the path of our transport's class."""

    def as_uri(self, include_password: bool = False, *args: Any, **options: Any) -> str:
        """Return the URL. A password is masked; kombu itself also shows a mask for no password."""
        shown: str = super().as_uri(include_password or not self.password, *args, **options)
        return f"{'rediss' if self.ssl else 'redis'}://{shown.partition('://')[2]}"


class CheckedAMQP(AMQP):
    """Celery's factory of connections."""

    Connection = Connection
