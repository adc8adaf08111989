"""The benchmarks use the package's own names, which may change."""

import importlib
import pkgutil

import pytest

import benchmarks


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(benchmarks.__path__)])
def test_module_can_be_imported(name):
    importlib.import_module(f"benchmarks.{name}")
