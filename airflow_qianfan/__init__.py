"""Apache Airflow provider for fine-tuning models on Baidu Qianfan (千帆)."""

__version__ = "0.1.0"
