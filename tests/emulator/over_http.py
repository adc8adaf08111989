"""Signed calls of a running emulator."""

import httpx

from airflow_qianfan.api.signing import BceV1Auth

JOB = {"name": "nightly", "model": "ERNIE-Speed-8K", "trainMode": "SFT"}
DATASET = {"sourceType": "Platform", "versions": [{"versionId": "ds-1"}]}


def client(emulator, **options):
    auth = BceV1Auth(emulator.access_key, emulator.secret_key, emulator.session_token)
    # The certificates that it would load are not needed over plain HTTP, and take longer than the call.
    return httpx.Client(base_url=emulator.endpoint, auth=auth, verify=False, **options)


def post(emulator, action, body=None, route="finetuning", **options):
    with client(emulator, **options) as http:
        return http.post(f"/v2/{route}", params={"Action": action}, json=body or {})


def create_task(emulator):
    job_id = post(emulator, "CreateFineTuningJob", JOB).json()["result"]["jobId"]
    body = {"jobId": job_id, "hyperParameterConfig": {"epoch": 1}, "datasetConfig": DATASET}
    return post(emulator, "CreateFineTuningTask", body).json()["result"]["taskId"]
