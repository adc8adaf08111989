"""Starting and stopping, and starting again."""

import socket
import threading

import httpx
import pytest
from over_http import JOB, client, post

from airflow_qianfan.emulator import QianfanEmulator


def test_stop_ends_held_and_idle_connections_and_leaves_no_thread():
    before = threading.active_count()
    emulator = QianfanEmulator()
    emulator.start()
    idle = client(emulator)
    idle.post("/v2/finetuning", params={"Action": "DescribeFineTuningJobs"}, json={})
    called = threading.Event()
    emulator.answer("/v2/dataset", "DescribeDatasets", lambda body: called.set())
    emulator.fail_next("DescribeDatasets", kind="timeout", seconds=3600)
    errors = []

    def held():
        try:
            post(emulator, "DescribeDatasets", route="dataset", timeout=60)
        except httpx.TransportError as error:
            errors.append(error)

    waiting = threading.Thread(target=held)
    waiting.start()
    half = socket.create_connection(("127.0.0.1", emulator.port))
    half.sendall(b"POST /v2/model HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert called.wait(30), "the held request did not arrive"
    emulator.stop()
    waiting.join(30)
    assert len(errors) == 1
    assert threading.active_count() == before
    idle.close()
    half.close()


def test_emulator_starts_again_on_the_same_port_with_the_same_state():
    emulator = QianfanEmulator()
    emulator.start()
    endpoint = emulator.endpoint
    post(emulator, "CreateFineTuningJob", JOB)
    emulator.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(endpoint + "/_emulator/health")
    with emulator:
        assert emulator.endpoint == endpoint
        assert len(post(emulator, "DescribeFineTuningJobs").json()["result"]["jobList"]) == 1
    emulator.stop()
