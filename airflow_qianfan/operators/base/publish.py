"""Tells Airflow what was published: an event of the asset that gets a new version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_qianfan.arguments import option
from airflow_qianfan.asset_uris import COLLECTIONS, alias_name, asset_uri
from airflow_qianfan.exceptions import QianfanError
from airflow_qianfan.operators.base.poll import QianfanPollingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class QianfanPublishingOperator(QianfanPollingOperator):
    """Emits an asset event once what it publishes is there: one for each version, whatever crashes.

    The asset's id is often made by the task itself, and its host stands in the connection, so the outlet is
    an alias, ``qianfan:model-sets`` and the like; the event is the asset's.
    """

    asset_collection: ClassVar[str]
    """What gets a version: one of :data:`airflow_qianfan.asset_uris.COLLECTIONS`."""

    emit_asset: bool = option(
        "emit an event of the asset ``qianfan://<endpoint host>/…`` that gets the version, with its ids, "
        "state and metrics; it starts the DAGs that are scheduled by it.",
        default=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.emit_asset:
            from airflow.sdk import AssetAlias

            self.outlets = [*self.outlets, AssetAlias(alias_name(self.asset_collection))]

    def run_action(self, context: Context) -> dict[str, Any]:
        """Publish it, and tell Airflow; see the base class."""
        return self._emit(context, super().run_action(context))

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take over from the trigger; see :meth:`QianfanPollingOperator.execute_complete`."""
        result = super().execute_complete(context, event)
        return self._emit(context, result)

    def published(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return what the event tells, with both ids that :class:`airflow_qianfan.asset_uris.Collection`
        names; without them where there is no version.

        Airflow stores it unencrypted: ids, words and numbers only.

        :param result: what the task returns.
        """
        raise NotImplementedError

    def metrics_of(self, fine_tuning_task_id: str | None) -> dict[str, Any]:
        """Return a training's ids and metrics; a training that cannot be read fails no publication."""
        ids: dict[str, Any] = {"fine_tuning_task_id": fine_tuning_task_id}
        if not fine_tuning_task_id:
            return {}
        from airflow_qianfan.api.actions import load

        try:
            training = self.hook.call(load("finetuning.DescribeFineTuningTask")(task_id=fine_tuning_task_id))
        except QianfanError as error:
            self.log.warning("The asset event has no metrics of the training: %s.", error.what_happened())
            return ids
        output = training.output()
        return ids | {name: output[name] for name in ("fine_tuning_job_id", "metrics")}

    def _emit(self, context: Context, result: dict[str, Any]) -> dict[str, Any]:
        outlet_events: Any = context.get("outlet_events")
        if self.emit_asset and outlet_events is not None:
            try:
                self._tell(context, result)
            except Exception as error:
                # What was published is there and paid for; another attempt might publish again.
                why = error.what_happened() if isinstance(error, QianfanError) else type(error).__name__
                self.log.error(
                    "No asset event, so DAGs that are scheduled by the asset do not start by themselves. "
                    "What was published is not affected. The reason: %s",
                    why,
                )
                self.log.debug("No asset event.", exc_info=not isinstance(error, QianfanError))
        return result

    def _tell(self, context: Context, result: dict[str, Any]) -> None:
        collection = COLLECTIONS[self.asset_collection]
        extra = self.published(result)
        object_id, version_id = extra.get(collection.id_name), extra.get(collection.version_name)
        if not object_id or not version_id:
            self.log.info("No asset event: this task has made no version yet.")
            return
        uri = asset_uri(self.asset_collection, object_id, self.hook.client.endpoint)
        from airflow_qianfan.operators.base.asset_event import emit_once

        emit_once(
            context,
            self.log,
            uri,
            extra,
            alias=alias_name(self.asset_collection),
            version_name=collection.version_name,
            is_watched=collection.is_watched,
            only_latest=collection.is_replaced,
        )
