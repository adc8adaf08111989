"""Users who may see some things and not others, as Airflow's simple auth manager has none."""

from __future__ import annotations

import json
from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


def name_without(*rights: tuple[str, str | None]) -> str:
    """Return the name of a user who lacks rights that the role gives.

    :param rights: DAG ids, each with what may not be read of it, such as ``XCOM``; None is the DAG
        itself, and with it all else.
    """
    return json.dumps(rights)


class AuthManager(SimpleAuthManager):
    """Gives each user the rights of the role, less those that the name tells."""

    def is_authorized_dag(
        self, *, user: Any, access_entity: Any = None, details: Any = None, **more: Any
    ) -> bool:
        missing = {tuple(right) for right in json.loads(user.username)} if user.username[:1] == "[" else set()
        dag_id = details.id if details else None
        entity = access_entity.name if access_entity else None
        if missing & {(dag_id, entity), (dag_id, None)}:
            return False
        return super().is_authorized_dag(user=user, access_entity=access_entity, details=details, **more)
