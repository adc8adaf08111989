"""The example DAGs, and what they did to the emulator."""

from __future__ import annotations

from pathlib import Path

from airflow_qianfan.emulator import QianfanEmulator

EXAMPLES = Path(__file__).parents[2] / "dags_examples"


def effects(emulator: QianfanEmulator) -> list[str]:
    """Return the calls that have changed something, oldest first."""
    return [call["action"] for call in emulator.journal if call["effect"]]
