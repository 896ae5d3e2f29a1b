"""A renamed setting accepts its old name for one release."""

import pytest

from api.settings import ApiSettings


@pytest.mark.parametrize(
    ("old", "name"),
    [
        ("REFUSED_RETRY_SECONDS", "rejected_retry_seconds"),
        ("REFUSED_PATIENCE_SECONDS", "rejected_timeout_seconds"),
    ],
)
def test_api_setting_with_old_name_is_read(old: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(old, "7")
    assert getattr(ApiSettings(), name) == 7


def test_api_setting_with_both_names_uses_new_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUSED_RETRY_SECONDS", "7")
    monkeypatch.setenv("REJECTED_RETRY_SECONDS", "8")
    assert ApiSettings().rejected_retry_seconds == 8
