"""An argument is stated once: signature, documentation, template fields and checks follow from it."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import Any, Literal

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_qianfan.arguments import (
    DeclaresArguments,
    _choices,
    airflow_option,
    member,
    option,
    templated,
)
from airflow_qianfan.compat import AirflowFailException
from airflow_qianfan.exceptions import QianfanValidationError
from airflow_qianfan.operators.finetuning import (
    QianfanCreateFineTuningJobOperator,
    QianfanDescribeFineTuningJobsOperator,
    QianfanFineTuningOperator,
)


class Fruit(DeclaresArguments, BaseOperator):
    """A fruit.

    It has two sentences.
    """

    name: str = member("what it is called.", length=(2, 5))
    parts: dict[str, Any] | str | None = member("what it is made of.", default=None, json=True)
    place: str = templated("where it grows.", default="tree")
    pause: float | None = option("seconds between two bites.", default=None, setting="poll_interval")
    retries: int = airflow_option("how often to try.", default=4)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.checked = [*getattr(self, "checked", ()), self.name]


class Sour(Fruit):
    """A sour fruit."""

    acid: float = option("how sour.", default=0.5)
    place: str = templated("where it grows, in the shade.", default="bush")


class Round(Fruit):
    """A round fruit."""

    radius: float = member("how large.")


class Lemon(Sour, Round):
    """Both."""


class Apple(DeclaresArguments, BaseOperator):
    """An apple."""

    sort: str = member("which sort.")
    color: Literal["green", "red"] = option("its colour.", default="green")
    shape: Literal["round", "oval"] | str | None = member("its shape.", default=None)


class Own(Fruit):
    """A fruit with a constructor of its own."""

    def __init__(self, *, color: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.color = color


class OwnAgain(Own):
    """One more."""

    weight: float = option("how heavy.", default=1.0)


def test_values_and_defaults_are_set():
    fruit = Fruit(task_id="x", name="pear")
    assert (fruit.name, fruit.parts, fruit.place, fruit.pause) == ("pear", None, "tree", 30.0)
    assert (fruit.task_id, fruit.retries) == ("x", 4)
    assert Fruit(task_id="x", name="pear", retries=0, place="{{ x }}", pause=5).retries == 0


def test_setting_of_airflow_stands_for_none(monkeypatch):
    monkeypatch.setenv("AIRFLOW__QIANFAN__POLL_INTERVAL", "7")
    assert Fruit(task_id="x", name="pear").pause == 7.0
    assert Fruit(task_id="x", name="pear", pause=3).pause == 3


def test_required_argument_has_to_be_given():
    with pytest.raises(TypeError, match="missing keyword argument 'name'"):
        Fruit(task_id="x")
    assert not hasattr(Fruit, "name")


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (Fruit, ["name", "parts", "place", "pause", "retries"]),
        (Sour, ["name", "acid", "place", "parts", "pause", "retries"]),
        (Lemon, ["radius", "name", "acid", "place", "parts", "pause", "retries"]),
        (OwnAgain, ["name", "weight", "parts", "place", "pause", "retries"]),
    ],
)
def test_signature_shows_all_required_arguments_first(operator, expected):
    parameters = inspect.signature(operator).parameters
    assert list(parameters) == [*expected, "kwargs"]
    assert parameters["name"].default is inspect.Parameter.empty
    assert parameters["parts"].default is None
    assert parameters["parts"].annotation == "dict[str, Any] | str | None"
    assert parameters["place"].default == ("bush" if issubclass(operator, Sour) else "tree")


def test_own_constructor_is_left_alone():
    assert list(inspect.signature(Own).parameters) == ["color", "kwargs"]


def test_documentation_names_each_argument_once_and_keeps_the_text():
    assert inspect.getdoc(Lemon) == (
        "Both.\n"
        "\n"
        ":param acid: how sour.\n"
        ":param place: where it grows, in the shade. (templated)\n"
        ":param radius: how large. (templated)\n"
        ":param name: what it is called. (templated)\n"
        ":param parts: what it is made of. (templated)\n"
        ":param pause: seconds between two bites.\n"
        ":param retries: how often to try.\n"
        ":param kwargs: Airflow's own arguments, such as ``retries``; see ``BaseOperator``."
    )
    assert inspect.getdoc(Fruit).startswith("A fruit.\n\nIt has two sentences.\n\n:param name: ")


def test_template_fields_and_renderers_follow():
    assert set(Fruit.template_fields) == {"name", "parts", "place"}
    assert set(Lemon.template_fields) == {"name", "parts", "place", "radius"}
    assert Lemon.template_fields_renderers == {"parts": "json"}


def test_own_template_fields_are_left_alone():
    class Plain(Fruit):
        """Nothing is templated."""

        template_fields = ()

    assert Plain.template_fields == ()


@pytest.mark.parametrize(
    ("operator", "more"),
    [(Fruit, {}), (Sour, {}), (Round, {"radius": 1}), (Lemon, {"radius": 1}), (Own, {"color": "red"})],
)
def test_post_init_runs_once_after_all_arguments_are_set(operator, more):
    assert operator(task_id="x", name="pear", **more).checked == ["pear"]


def test_subclass_with_its_own_constructor_and_further_arguments():
    fruit = OwnAgain(task_id="x", name="pear", color="red", weight=2.0)
    assert (fruit.color, fruit.weight, fruit.checked) == ("red", 2.0, ["pear"])
    with pytest.raises(TypeError, match="color"):
        OwnAgain(task_id="x", name="pear")


def test_subclass_of_a_user_sees_all_arguments_when_it_checks():
    class Checked(Sour):
        """With a check of its own."""

        limit: float = option("how sour at most.", default=0.4)

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.acid > self.limit:
                raise ValueError("too sour")

    with pytest.raises(ValueError, match="too sour"):
        Checked(task_id="x", name="pear")
    assert Checked(task_id="x", name="pear", limit=0.6).checked == ["pear"]


def test_default_args_of_a_dag_are_used_and_give_way():
    with DAG("fruits", default_args={"name": "plum", "acid": 0.1, "retries": 1, "not_ours": 1}):
        assert (Sour(task_id="a").name, Sour(task_id="b").acid, Sour(task_id="c").retries) == ("plum", 0.1, 1)
        assert Sour(task_id="d", name="pear", retries=2).name == "pear"
    with DAG("short", default_args={"name": "x"}), pytest.raises(ValueError, match="2 to 5 characters"):
        Sour(task_id="a")


@pytest.mark.parametrize("name", ["x", "x" * 6, ""])
def test_text_that_is_too_short_or_too_long_is_refused_when_the_dag_is_parsed(name):
    expected = f"name must have 2 to 5 characters, but '{name}' has {len(name)}"
    with DAG("length"), pytest.raises(ValueError, match=f"^{expected}$"):
        Fruit(task_id="x", name=name)


def test_long_text_is_not_shown_whole():
    with pytest.raises(ValueError, match=r"but 'x{40}…' has 300"):
        Fruit(task_id="x", name="x" * 300)


@pytest.mark.parametrize(
    "name", ["xx", "xxxxx", "{{ ds_nodash }}", "{% if x %}longer than five{% endif %}", 5]
)
def test_text_within_its_limits_and_templates_are_accepted(name):
    assert Fruit(task_id="x", name=name).name == name


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"color": "gren"}, "color must be 'green' or 'red', not 'gren'"),
        ({"color": None}, "color must be 'green' or 'red', not None"),
        ({"color": "{{ params.color }}"}, "color must be 'green' or 'red'"),
        ({"shape": "flat"}, "shape must be 'round', 'oval' or None, not 'flat'"),
        ({"sort": ""}, "sort must not be empty"),
    ],
)
def test_value_that_its_type_does_not_allow_is_refused_when_the_dag_is_parsed(arguments, says):
    with DAG("choices"), pytest.raises(ValueError, match=f"^{re.escape(says)}"):
        Apple(task_id="x", **{"sort": "Boskoop", **arguments})


@pytest.mark.parametrize(
    "arguments",
    [
        {"color": "red"},
        {"shape": "oval"},
        {"shape": None},
        {"shape": ""},
        {"shape": "[[ x ]]"},
        {"shape": "{{ x }}"},
        {"sort": "{{ x }}"},
    ],
    ids=str,
)
def test_value_that_its_type_allows_and_a_template_are_accepted(arguments):
    apple = Apple(task_id="x", **{"sort": "Boskoop", **arguments})
    assert all(getattr(apple, name) == value for name, value in arguments.items())


@pytest.mark.parametrize(
    "annotations",
    [{}, {"color": str}, {"color": Literal["green", "red"]}, {"color": "Literal[Phase.ACTIVE]"}],
)
def test_argument_that_is_stated_anew_keeps_its_choices(annotations):
    members = {"__annotations__": annotations} if annotations else {}
    pear = type("Pear", (Apple,), {**members, "color": option("its colour.", default="red")})
    assert pear(task_id="x", sort="Boskoop").color == "red"
    with pytest.raises(QianfanValidationError, match="color must be 'green' or 'red', not 'blue'"):
        pear(task_id="x", sort="Boskoop", color="blue")


@pytest.mark.parametrize(
    ("annotation", "choices"),
    [
        ("Literal['a', 'b']", ("a", "b")),
        ("Literal['a', 'b'] | str", ("a", "b")),
        ("Literal['a', 'b'] | None", ("a", "b", None)),
        ("Literal['a', 'b'] | str | None", ("a", "b", None)),
        ("Literal['a', 'b'] | int", ()),
        ("Literal['a'] | Literal['b']", ()),
        ("Literal['a', 1]", ()),
        ("Literal[Literal['a', 'b'], 'c']", ()),
        ("Literal[Phase.ACTIVE]", ()),
        ("str", ()),
        (Literal["a", "b"], ()),
        (None, ()),
    ],
    ids=str,
)
def test_only_what_is_surely_a_choice_is_taken_for_one(annotation, choices):
    assert _choices(annotation) == choices


def test_wrong_value_of_a_mapped_task_is_not_tried_again():
    with DAG("mapped"):
        mapped = Apple.partial(task_id="x").expand(sort=["Boskoop", ""])
    with pytest.raises(AirflowFailException, match="sort must not be empty"):
        mapped.unmap({"sort": ""})


def test_xcom_is_no_text_yet():
    with DAG("chain"):
        first = Fruit(task_id="a", name="pear")
        assert Fruit(task_id="b", name=first.output["name"]).upstream_task_ids == {"a"}
        assert Apple(task_id="c", sort=first.output, shape=first.output).upstream_task_ids == {"a"}


# As it is with Airflow: typos, mapping, copies

JOB = {"model": "ERNIE-Speed-8K", "train_mode": "SFT"}
TRAINING = {"hyper_parameter_config": {}, "dataset_config": {}}


def constructed(**arguments: Any) -> Any:
    return QianfanFineTuningOperator(task_id="x", **JOB, **TRAINING, **arguments)


def partial(**arguments: Any) -> Any:
    return QianfanFineTuningOperator.partial(task_id="x", **JOB, **TRAINING, **arguments).expand(name=["aa"])


def expand(**arguments: Any) -> Any:
    return QianfanFineTuningOperator.partial(task_id="x", **JOB, **TRAINING).expand(
        **{name: [value] for name, value in arguments.items()}
    )


@pytest.mark.parametrize("make", [constructed, partial, expand])
def test_typo_is_refused_and_the_right_word_is_not(make):
    with DAG("typo"), pytest.raises(TypeError, match="deferable"):
        make(deferable=True)
    with DAG("right"):
        make(deferrable=True)


@pytest.mark.parametrize("make", [constructed, partial])
def test_arguments_of_airflow_are_known(make):
    with DAG("known"):
        make(execution_timeout=None, pool="default_pool", retries=2)


def test_template_fields_of_a_mapped_operator_are_rendered():
    with DAG("mapped"):
        mapped = QianfanFineTuningOperator.partial(task_id="x", **JOB, **TRAINING).expand(name=["aa", "bb"])
    assert set(mapped.template_fields) == set(QianfanFineTuningOperator.template_fields)
    unmapped = mapped.unmap({"name": "bb"})
    assert (unmapped.name, unmapped.model, unmapped.poll_interval) == ("bb", JOB["model"], 30.0)


def test_list_operator_refuses_an_xcom_for_each_member():
    with DAG("list"), pytest.raises(ValueError, match="returns a list: leave multiple_outputs out"):
        QianfanDescribeFineTuningJobsOperator(task_id="x", multiple_outputs=True)
    assert QianfanDescribeFineTuningJobsOperator(task_id="x").multiple_outputs is False
    assert QianfanCreateFineTuningJobOperator(task_id="x", **JOB).multiple_outputs is True


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]
)
def test_copy_is_the_same(duplicate):
    with DAG("copies"):
        operator = constructed(name="mine", poll_interval=5.0)
    again = duplicate(operator)
    values = {name: getattr(operator, name) for name in QianfanFineTuningOperator.arguments}
    assert {name: getattr(again, name) for name in values} == values
    assert type(again) is QianfanFineTuningOperator


def test_dag_survives_serialization():
    from versions import DagSerialization

    with DAG("stored", schedule=None) as dag:
        train = QianfanFineTuningOperator(task_id="train", **JOB, **TRAINING, name="{{ ds_nodash }}")
        many = QianfanFineTuningOperator.partial(task_id="many", **JOB, **TRAINING).expand(name=["aa", "bb"])
        train >> many
    stored = DagSerialization.serialize_dag(dag)
    again = DagSerialization.deserialize_dag(copy.deepcopy(stored))
    assert DagSerialization.serialize_dag(dag) == stored
    one, mapped = again.task_dict["train"], again.task_dict["many"]
    assert (one.task_type, one.name, one.model) == (
        "QianfanFineTuningOperator",
        "{{ ds_nodash }}",
        JOB["model"],
    )
    assert one.operator_name == "Train"
    assert one.hyper_parameter_config == {}
    assert one.template_fields_renderers == QianfanFineTuningOperator.template_fields_renderers
    assert set(one.template_fields) == set(mapped.template_fields) == set(train.template_fields)
    assert mapped.is_mapped
    assert mapped.partial_kwargs["model"] == JOB["model"]
    assert mapped.upstream_task_ids == {"train"}
