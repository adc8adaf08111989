"""What every operator and sensor states is compared with the request that it sends."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from typing import Any, Literal, get_args, get_origin

import pytest
from airflow.sdk import BaseOperator
from annotated_types import MaxLen, MinLen
from provided import OPERATORS, SENSORS, TRIGGERS, modules

from airflow_qianfan.api import actions
from airflow_qianfan.api.actions import load
from airflow_qianfan.api.actions.base import Action, Request
from airflow_qianfan.api.objects import RemoteObject
from airflow_qianfan.arguments import REQUIRED, Argument
from airflow_qianfan.operators.base.create import QianfanCreateOperator
from airflow_qianfan.operators.base.list import QianfanListOperator
from airflow_qianfan.operators.base.operator import QianfanRequestOperator
from airflow_qianfan.operators.base.origin import Origin
from airflow_qianfan.operators.base.remove import QianfanRemovalOperator
from airflow_qianfan.operators.base.wait import QianfanWaitingOperator
from airflow_qianfan.triggers import load as load_trigger

OF_ONE_ACTION = [operator for operator in OPERATORS if issubclass(operator, QianfanRequestOperator)]
WITH_KIND = [operator for operator in OF_ONE_ACTION if hasattr(operator, "kind_path")]
WAITING = [*SENSORS, *(operator for operator in OPERATORS if issubclass(operator, QianfanWaitingOperator))]
ORIGIN = Origin(dag_id="d", run_id="r", task_id="t", map_index=-1, identity="0123456789ab")
PAGES = r"https://[\w.]*baidu\.com/\S+"

#: Operators that do more than one Action, and required members that they find out when they run.
FOUND_BY_WHOLE_STEPS = {
    "QianfanBatchInferenceOperator": set(),
    "QianfanDatasetOperator": {"dataset_id", "version_id"},
    "QianfanEvaluationOperator": set(),
    "QianfanFineTuningOperator": {"job_id"},
    "QianfanModelCompressionOperator": {"model_set_id"},
    "QianfanModelExportOperator": set(),
    "QianfanServiceOperator": {"service_id"},
}

each = pytest.mark.parametrize("operator", OF_ONE_ACTION, ids=lambda operator: operator.__name__)
each_with_kind = pytest.mark.parametrize("operator", WITH_KIND, ids=lambda operator: operator.__name__)
each_waiting = pytest.mark.parametrize("operator", WAITING, ids=lambda operator: operator.__name__)


def paths(operator: type[Any]) -> list[str]:
    """The requests of an operator, of which one that does several steps has several."""
    names = [name for name in dir(operator) if name == "action" or name.endswith("_action")]
    return [path for name in names if isinstance(path := getattr(operator, name), str)]


def requests(operator: type[Any]) -> list[type[Any]]:
    return [load(path) for path in paths(operator)]


def is_whole_step(operator: type[Any]) -> bool:
    """Whether there is an operator of the same Action that does nothing but that."""
    return operator.__name__ in FOUND_BY_WHOLE_STEPS


def members(operator: type[Any]) -> dict[str, Any]:
    """The arguments that are members of a request, by the names of the members."""
    return {
        argument.member or name: argument
        for name, argument in operator.arguments.items()
        if argument.member is not None
    }


def test_there_are_operators_and_sensors():
    assert len(OF_ONE_ACTION) >= 14
    assert len(SENSORS) >= 2
    assert all(issubclass(found, BaseOperator) for found in (*OPERATORS, *SENSORS))


@each
def test_action_is_a_request_of_that_name(operator):
    for request in requests(operator):
        assert issubclass(request, Request)
        assert issubclass(request, Action)
        assert request.action == request.__name__
    assert any(path.endswith(f".{operator.action.rpartition('.')[2]}") for path in paths(operator))


@each
def test_name_of_an_operator_is_that_of_its_action(operator):
    names = {other.__name__ for other in OPERATORS}
    for request in requests(operator):
        # A whole step has a name of its own, beside the operator of its Action.
        assert f"Qianfan{request.action}Operator" in names
    if not is_whole_step(operator):
        assert operator.__name__ == f"Qianfan{load(operator.action).action}Operator"


@each
def test_argument_is_a_member_of_a_request_and_required_where_the_member_is(operator):
    fields: dict[str, Any] = {}
    for request in requests(operator):
        fields |= request.model_fields
    for name, argument in members(operator).items():
        assert name in fields, f"{operator.__name__} states {name}, which no request has"
        if argument.default is REQUIRED:
            assert fields[name].is_required(), name
        elif argument.default is not None:
            # Where none is named, the service takes a protocol that is withdrawn.
            is_protocol = name == "protocol_version" and argument.default == fields[name].default
            assert is_protocol or isinstance(argument.default, str), "the service's defaults are left to it"


#: What several requests of one operator create, besides what its main one does.
CREATED_IN_STEPS = {
    "finetuning.CreateFineTuningJob": "finetuning.FineTuningJob",
    "dataset.CreateDataset": "dataset.Dataset",
    "dataset.CreateDatasetVersion": "dataset.DatasetVersion",
}
NEVER = Argument("", REQUIRED)


class Recorder:
    """Stands for a request class, and keeps the members that it is given."""

    def __init__(self, request: type[Any]) -> None:
        self.model_fields = request.model_fields
        self.given: dict[str, Any] = {}

    def __call__(self, **given: Any) -> Recorder:
        self.given = {name: value for name, value in given.items() if value is not None}
        return self


@each
def test_required_member_is_an_argument_or_set_by_the_operator(operator, monkeypatch):
    required = {name: "x" * 5 for name, value in operator.arguments.items() if value.default is REQUIRED}
    made = operator(task_id="it", **required)
    for path in paths(operator):
        request = load(path)
        recorder = Recorder(request)
        with monkeypatch.context() as patch:
            patch.setattr(
                actions, "load", lambda name, path=path, it=recorder: it if name == path else load(name)
            )
            is_step = any(step in CREATED_IN_STEPS for step in paths(operator)) and len(paths(operator)) > 1
            if is_step and path in CREATED_IN_STEPS:
                made.make_create(ORIGIN, path, load(CREATED_IN_STEPS[path]))
            elif issubclass(operator, QianfanCreateOperator) and path == operator.action and not is_step:
                made.make_create(ORIGIN, path, made.kind)
            else:
                made.make_request(path)
        needed = {name for name, field in request.model_fields.items() if field.is_required()}
        found_first = FOUND_BY_WHOLE_STEPS.get(operator.__name__, set())
        # What an operator needs only where it creates all, and not where something is there already.
        needed_sometimes = {name for name in needed if operator.arguments.get(name, NEVER).default is None}
        assert needed - found_first - needed_sometimes <= set(recorder.given), path
        unknown = set(recorder.given) - set(request.model_fields)
        assert unknown == set(), path


@each
def test_length_of_an_argument_is_the_rule_of_the_request(operator):
    for request in requests(operator):
        for name, argument in members(operator).items():
            field = request.model_fields.get(name)
            if field is None:
                continue
            least = max((rule.min_length for rule in field.metadata if isinstance(rule, MinLen)), default=0)
            most = [rule.max_length for rule in field.metadata if isinstance(rule, MaxLen)]
            assert argument.length == ((least, most[0]) if most else None), f"{operator.__name__}.{name}"


@each
def test_choices_of_an_argument_are_those_of_the_request(operator):
    for request in requests(operator):
        for name, argument in members(operator).items():
            field = request.model_fields.get(name)
            if field is None:
                continue
            kinds = [field.annotation, *get_args(field.annotation)]
            allowed = {value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)}
            assert set(argument.choices) - {None} == allowed, f"{operator.__name__}.{name}"


@each
def test_page_of_the_operator_is_the_page_of_its_request(operator):
    for request in requests(operator):
        (page,) = re.findall(PAGES, request.__doc__)
        assert page in re.findall(PAGES, operator.__doc__)


@pytest.mark.parametrize("sensor", SENSORS, ids=lambda sensor: sensor.__name__)
def test_page_of_a_sensor_is_that_of_what_it_polls(sensor):
    request = sensor.trigger_class().kind().describe("an id")
    assert re.findall(PAGES, type(request).__doc__) == re.findall(PAGES, sensor.__doc__)


@each
def test_documentation_says_what_is_returned_and_what_each_argument_means(operator):
    assert re.search(r"\bReturns\b", operator.__doc__)
    for name, argument in operator.arguments.items():
        assert f":param {name}: {argument.doc}" in operator.__doc__
        assert argument.doc[0].islower() or argument.doc[0] in "`'", f"{name}: {argument.doc}"
        assert argument.doc.endswith((".", "…")), f"{name}: {argument.doc}"


@each_with_kind
def test_kind_of_an_operator_is_a_kind(operator):
    kind = load(operator.kind_path)
    assert issubclass(kind, RemoteObject)
    if issubclass(operator, QianfanRemovalOperator):
        assert operator.arguments[kind.id_name].default is REQUIRED
    if issubclass(operator, QianfanCreateOperator):
        assert operator.action.rpartition(".")[2].startswith(("Create", "Purchase"))
        assert kind.id_member in load(operator.action).result_type.model_fields
        assert kind.record_key


def test_no_two_kinds_are_remembered_under_the_same_key():
    kinds = {load(operator.kind_path) for operator in WITH_KIND}
    own = [kind for kind in kinds if kind.id_name != kind.parent_name]
    assert len({kind.record_key for kind in kinds}) == len(kinds)
    assert len({kind.id_name for kind in own}) == len(own)


@each_waiting
def test_trigger_of_what_waits_is_of_the_same_kind(operator):
    trigger = load_trigger(operator.trigger_path)
    if issubclass(operator, QianfanWaitingOperator):
        assert operator.kind_path == trigger.kind_path
    else:
        assert operator.arguments[trigger.id_name].default is REQUIRED


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda trigger: trigger.__name__)
def test_trigger_states_what_its_kind_does(trigger):
    kind = trigger.kind()
    assert trigger.id_name == kind.id_name
    assert trigger.parent_name in (None, kind.parent_name)
    # Where a list shows the states, the trigger has to know which.
    assert bool(trigger.parent_name) >= kind.is_listed_with_state
    assert kind.states is not None
    assert kind.state_member in kind.model_fields


@pytest.mark.parametrize("operator", [*OPERATORS, *SENSORS], ids=lambda operator: operator.__name__)
def test_exactly_the_fields_documented_as_templated_are_templated(operator):
    # The text that inspection shows, for instance to editors.
    documented = re.findall(r"^:param (\w+):.*\(templated\)$", inspect.getdoc(operator), re.MULTILINE)
    assert set(documented) == set(operator.template_fields)
    parameters = inspect.signature(operator).parameters
    assert set(parameters) - {"kwargs"} == set(operator.arguments)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.__name__)
def test_label_in_the_graph_is_short_and_its_own(operator):
    label = operator.custom_operator_name
    assert label
    assert [other for other in OPERATORS if other.custom_operator_name == label] == [operator]


def test_lists_are_lists():
    for operator in OF_ONE_ACTION:
        is_paged = "max_keys" in load(operator.action).model_fields
        assert issubclass(operator, QianfanListOperator) is is_paged


def test_import_of_all_operators_and_sensors_loads_no_request():
    names = [*modules("operators"), *modules("sensors"), *modules("triggers")]
    code = f"import sys, {', '.join(names)}; print(*sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    loaded = set(shown.stdout.split())
    assert set(names) <= loaded
    assert {name for name in loaded if name.startswith("airflow_qianfan.api.actions")} == set()
