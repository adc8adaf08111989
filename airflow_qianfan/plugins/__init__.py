"""What the provider adds to Airflow's UI: a tab on its task instances, and a page. See docs/ui.md."""
