"""The benchmarks use names of the package, which may change; what they simulate is checked, not timed."""

import importlib
import pkgutil
import random

import pytest

import benchmarks
from benchmarks import import_time, planning
from benchmarks.report import Goal, Section, goals_table
from benchmarks.trainings import Training, number_of


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(benchmarks.__path__)])
def test_module_can_be_imported(name):
    importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("kind", import_time.OURS)
def test_modules_whose_import_is_measured_exist(kind):
    assert import_time.OURS[kind]
    for module in import_time.OURS[kind]:
        importlib.import_module(module)


@pytest.mark.parametrize("kind", [planning.EVEN, planning.RECORDED])
def test_planned_polls_are_few_and_not_late(kind):
    rng = random.Random(20)
    runs = planning.trainings(kind, lambda rng: planning.THREE_HOURS, 300, rng)
    outcome = planning.Outcome(runs, rng)
    assert outcome.fewer >= 5
    assert outcome.delay <= outcome.fixed_delay + 3


def test_ages_of_trainings_are_spread_over_their_length():
    ages = sorted(1_000 - Training(number_of(place, 1_000_000, 360), 360).created for place in range(100))
    assert all(3.6 * (n - 2) <= age <= 3.6 * (n + 2) for n, age in enumerate(ages))


def test_training_queues_runs_and_is_done():
    training = Training(number_of(0, 1_000_000, 360), 360)
    assert [training.status(1_000 + age) for age in (0, 35, 36, 359, 360)] == [
        "Waiting",
        "Waiting",
        "Running",
        "Running",
        "Done",
    ]
    assert [training.progress(1_000 + age) for age in (36, 198, 359)] == ["0%", "50%", "99%"]


def test_missed_goal_is_marked():
    section = Section("Calls", [Goal("fast", "1.0 ×", True), Goal("faster", "0.5 ×", False)], [])
    assert goals_table([section]).splitlines()[2:] == [
        "| Calls | fast | 1.0 × | reached |",
        "| Calls | faster | 0.5 × | **missed** |",
    ]
