"""A real Airflow and a local Qianfan on this machine: `make demo`, `make up` and the system tests."""
