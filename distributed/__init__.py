"""A distributed Airflow whose parts fail, one after the other: ``python -m distributed``."""
