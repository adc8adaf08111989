"""All that makes data ready for training, in one operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_qianfan import links
from airflow_qianfan.arguments import member, option
from airflow_qianfan.exceptions import QianfanError, QianfanTerminalStateError, QianfanValidationError
from airflow_qianfan.operators.base.dataset import DatasetArguments, ImportArguments
from airflow_qianfan.operators.base.publish import QianfanPublishingOperator
from airflow_qianfan.operators.base.wait import QianfanWaitingOperator
from airflow_qianfan.operators.dataset import DATASET, IMPORT
from airflow_qianfan.triggers import load as load_trigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.api.objects import RemoteObject
    from airflow_qianfan.operators.base.origin import Origin
    from airflow_qianfan.triggers.base.trigger import QianfanTrigger

VERSION = "dataset.VersionImport"
BY_VERSION = "dataset.QianfanDatasetVersionImportTrigger"
PUBLICATION = "dataset.QianfanDatasetPublishTrigger"


class QianfanDatasetOperator(
    QianfanPublishingOperator, ImportArguments, DatasetArguments, QianfanWaitingOperator
):
    """Make data ready for training: create a data set, or a new version of one, import files and publish.

    One run of this task makes one version and imports into it once, whatever crashes: a retry goes on where
    the attempt before ended. A cleared task imports anew, into a version of its own, unless the import still
    goes on and has the same arguments; see ``on_clear``. It fails where the import fails, and names
    ``errDownloadUrl``, and where the import brings no sample.

    Returns ``dataset_id``, ``dataset_version_id``, ``import_task_id`` (None where the answer that held it was
    lost), ``sample_count``, ``status``, ``version_number`` and ``console_url``. The ids are XComs as soon as
    they are known.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/9mnzot7x8 and https://cloud.baidu.com/doc/qianfan-api/s/dmnzqtolr
        and https://cloud.baidu.com/doc/qianfan-api/s/lmnzqpt7v and
        https://cloud.baidu.com/doc/WENXINWORKSHOP/s/1lyyakavj
    """

    action = "dataset.CreateImportTask"
    dataset_action = "dataset.CreateDataset"
    version_action = "dataset.CreateDatasetVersion"
    publish_action = "dataset.PublishDatasetVersion"
    custom_operator_name = "Prepare data set"
    kind_path = IMPORT
    trigger_path = "dataset.QianfanDatasetImportTrigger"
    operator_extra_links = links.DATASET
    asset_collection = "datasets"

    dataset_id: str | None = member(
        "data set that gets a new version, ``dg-…``; None creates a data set.", default=None
    )
    data_format: str | None = member(
        "of a new data set: ``PromptResponse``, ``Role``, ``Text``, ``DPO_PromptChosenRejected`` …",
        default=None,
    )
    description: str | None = member(
        "description of a new version of an existing data set; a mark is added by which it is found again.",
        default=None,
    )
    wait_for_completion: bool = option(
        "cannot be turned off: data are published once they are imported.", default=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.wait_for_completion:
            raise ValueError("wait_for_completion=False: data are published only once they are imported")
        self._known: dict[str, Any] = {}

    def _kind(self, path: str) -> type[RemoteObject]:
        from airflow_qianfan.api.actions import load

        kind: type[RemoteObject] = load(path)
        return kind

    @property
    def kinds(self) -> Sequence[type[RemoteObject]]:
        """The data set, its version and the import."""
        return self._kind(DATASET), self._kind(VERSION), self.kind

    # ------------------------------------------------------------------ create and import

    def submit(self, context: Context) -> dict[str, Any]:
        """Create what is missing, begin the import, and return the ids."""
        files = self._check()
        dataset_id, find_first = self._find_dataset(context)
        self._learn(context, dataset_id=dataset_id)
        version = self.submission(
            context,
            self._kind(VERSION),
            lambda origin: self._create_version(origin, dataset_id),
            given=find_first,
            # Files are not mixed with those of an earlier import.
            purpose=files,
        )
        version_id = version.submit()
        self.console_url = self.console_page(version.kind(version_id=version_id))
        self._learn(context, dataset_version_id=version_id)
        self._main = self.submission(
            context,
            self.kind,
            lambda origin: self.make_request(version_id=version_id),
            owns_parent=True,
            may_exist=version.was_found,
        )
        self.object_id = self._main.submit()
        if self.object_id == version_id:
            self.trigger_path = BY_VERSION  # type: ignore[misc]
            self.log.warning(
                "The id of the import into %s is not known, since the answer that held it was lost; "
                "the version tells how far it is.",
                version_id,
            )
        else:
            self._learn(context, import_task_id=self.object_id)
        return self._known

    def _check(self) -> Sequence[str]:
        """Refuse bad arguments before anything is created, and return the files."""
        given = ("dataset_name", "data_format", "storage_type", "storage_path")
        if self.dataset_id and (both := [name for name in given if getattr(self, name)]):
            raise QianfanValidationError(
                f"{', '.join(both)}: a data set that exists has its own; leave dataset_id out to create one",
                action="CreateDataset",
                parameters=("dataset_id", *both),
            )
        if self.dataset_id:
            self.make_request(self.version_action)
        else:
            self.make_request(self.dataset_action, dataset_name=self.dataset_name or "made")
        files: Sequence[str] = self.make_request(version_id="not known yet").files
        return files

    def _find_dataset(self, context: Context) -> tuple[str, Any]:
        """Return the data set, and what finds its version V1 where it is new."""
        if self.dataset_id:
            return self.dataset_id, None
        kind = self._kind(DATASET)
        dataset = self.submission(
            context, kind, lambda origin: self.make_create(origin, self.dataset_action, kind)
        )
        dataset_id = dataset.submit()
        return dataset_id, lambda: self.first_version(dataset, dataset_id)

    def _create_version(self, origin: Origin, dataset_id: str) -> Any:
        return self.make_create(origin, self.version_action, self._kind(VERSION), dataset_id=dataset_id)

    def _learn(self, context: Context, **ids: str) -> None:
        self._known |= ids
        self.push_ids(context, **ids)

    # ------------------------------------------------------------------ publish

    def finished(self, context: Context, output: dict[str, Any]) -> dict[str, Any]:
        """Publish what is imported, and wait on; return what a DAG works with, once it is published."""
        if self.trigger_path == PUBLICATION:
            names = ("status", "version_number", "console_url")
            return {
                **dict.fromkeys(("dataset_id", "dataset_version_id", "import_task_id", "sample_count")),
                **self._known,
                **{name: output.get(name) for name in names},
            }
        self._check_samples(context, output.get("sample_count"))
        version_id = self.object_id = self._known["dataset_version_id"]
        self.trigger_path = PUBLICATION  # type: ignore[misc]
        if self._is_killed:
            raise QianfanError(f"{version_id} was not published, since this task was ended")
        from airflow_qianfan.operators.base.begin import begin_once

        request = self.make_request(self.publish_action, version_id=version_id)
        begin_once(self.hook, self.target, request, self.log)
        return self._wait(context)

    def _check_samples(self, context: Context, samples: int | None) -> None:
        self._known["sample_count"] = samples
        if samples == 0:
            self.ended(context)
            raise QianfanTerminalStateError(
                f"the import into {self._known['dataset_version_id']} has brought no sample: check the files "
                "and their format",
                state="ImportFinished",
                url=self.console_url,
            )
        if samples is None:
            self.log.warning("The service does not show how many samples were imported.")

    def published(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return what the asset event tells of the version."""
        names = ("dataset_id", "dataset_version_id", "version_number", "sample_count")
        return {**{name: result.get(name) for name in names}, "state": result.get("status")}

    # ------------------------------------------------------------------ over deferrals

    def make_trigger(self, **kwargs: Any) -> QianfanTrigger:
        """Return the trigger that waits; it carries what is needed when the task goes on."""
        carry = {**self._known, "trigger_path": self.trigger_path, "deadline": self.deadline()}
        return super().make_trigger(carry=carry, **kwargs)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take over from the trigger: publish, or end."""
        carry = event.get("carry") if isinstance(event, dict) else None
        if isinstance(carry, dict):
            self._known = dict(carry)
            self.trigger_path = self._known.pop("trigger_path", self.trigger_path)  # type: ignore[misc]
            self._deadline = self._known.pop("deadline", None)
        return super().execute_complete(context, event)

    def restore_ids(self, context: Context, ids: dict[str, str]) -> None:
        """Take over the id of what was waited for."""
        id_name = load_trigger(self.trigger_path).id_name
        super().restore_ids(context, {self.kind.id_name: ids.get(id_name) or self._known.get(id_name, "")})
