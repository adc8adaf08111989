"""An account that all clients of a test lead to."""

from __future__ import annotations

import pytest
from account import Account


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account whose trainings and versions take an hour."""
    monkeypatch.setenv("AIRFLOW__QIANFAN__SETTLE_SECONDS", "30")
    account = Account()
    account.patch(monkeypatch)
    return account
