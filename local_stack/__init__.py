"""A real Airflow, the Qianfan emulator and PostgreSQL as processes: for the demo and the system tests."""
