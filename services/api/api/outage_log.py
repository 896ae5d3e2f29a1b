"""Log an outage once when it begins and once when it ends."""

import structlog

logger = structlog.get_logger(__name__)


class OutageLog:
    """Log `failed` as a warning at the first failure, and `recovered` at the first success after it."""

    def __init__(self, failed: str, recovered: str) -> None:
        self._failed, self._recovered = failed, recovered
        self._is_outage = False

    def record_failure(self, reason: str) -> None:
        """Log the outage, unless it is logged already."""
        if not self._is_outage:
            logger.warning(self._failed, reason=reason)
        self._is_outage = True

    def record_success(self) -> None:
        """Log the end of the outage, if there was one."""
        if self._is_outage:
            logger.info(self._recovered)
        self._is_outage = False
