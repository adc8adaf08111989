"""What goes over the wire: addresses, bytes, cut connections and held answers."""

import json
import socket
import threading
import time

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from over_http import JOB, client, post

from airflow_qianfan.api.signing import BceV1Auth
from airflow_qianfan.emulator import Assumptions, QianfanEmulator


def test_answer_over_http(emulator):
    answer = post(emulator, "CreateFineTuningJob", JOB)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["x-bce-request-id"] == answer.json()["requestId"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/v2/finetuning?Action=Nothing", 400, "InvalidURI"),
        ("POST", "/v2/finetuning", 400, "InvalidURI"),
        ("POST", "/v2/finetuning?Action=DescribeModel", 400, "InvalidURI"),
        ("POST", "/v2/finetuning?Action=DescribeFineTuningJobs&Action=x", 400, "InvalidURI"),
        ("POST", "/v2/finetuning?action=DescribeFineTuningJobs", 400, "InvalidURI"),
        ("POST", "/v2/nothing?Action=DescribeModel", 404, "InvalidURI"),
        ("POST", "/v2/finetuning/?Action=DescribeFineTuningJobs", 404, "InvalidURI"),
        ("POST", "/v2/%66inetuning?Action=DescribeFineTuningJobs", 404, "InvalidURI"),
        ("POST", "/", 404, "InvalidURI"),
        ("GET", "/v2/finetuning?Action=DescribeFineTuningJobs", 400, "InvalidHTTPRequest"),
        ("PROPFIND", "/v2/model?Action=DescribeModel", 400, "InvalidHTTPRequest"),
    ],
)
def test_wrong_address_or_method_is_an_error_of_the_service(emulator, method, path, status, code):
    with client(emulator) as http:
        answer = http.request(method, path, content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_body_that_is_too_large_is_refused():
    with QianfanEmulator(assumptions=Assumptions(max_body_bytes=1000)) as emulator:
        answer = post(emulator, "CreateFineTuningJob", {"name": "x" * 1000})
        assert (answer.status_code, answer.json()["code"]) == (413, "InvalidHTTPRequest")
        assert emulator.journal[-1]["outcome"] == "refused"


def test_answers_do_not_wait_for_acknowledgements(emulator):
    with client(emulator) as http:
        http.post("/v2/finetuning", params={"Action": "DescribeFineTuningJobs"}, json={})
        (connection,) = emulator._connections.values()
        # Without it, the system holds each answer back for 40 ms.
        assert connection.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_unsigned_request_is_refused(emulator):
    answer = httpx.post(emulator.endpoint + "/v2/model?Action=DescribeModel", json={})
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidHTTPAuthHeader")
    assert answer.headers["X-Bce-Error-Code"] == "InvalidHTTPAuthHeader"


def exchange(emulator, data):
    """Send bytes and return all that comes back until the other side is quiet or closes."""
    with socket.create_connection(("127.0.0.1", emulator.port), timeout=5) as raw:
        raw.sendall(data)
        raw.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := raw.recv(65536):
            answer += chunk
    return answer


@pytest.mark.parametrize(
    "head",
    [
        b"POST * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v2/model?Action=%ff HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"POST /%ff%00 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"POST /v2/model HTTP/1.1\r\nHost: \xff\xfe\r\nContent-Length: 0\r\nAuthorization: \xff\r\n\r\n",
        b"POST /v2/model HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n",
        b"POST /v2/model HTTP/1.0\r\n\r\n",
        b"POST /v2/model HTTP/1.1\r\nHost: x\r\nContent-Length: nine\r\n\r\n",
        b"GET /v2/model HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /_emulator/../v2/model HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_strange_requests_are_answered_below_500(emulator, head):
    answer = exchange(emulator, head)
    if head.startswith(b"\x16") and not answer:
        return
    assert 400 <= int(answer.split()[1]) < 500, answer


SIGNED = httpx.Request("POST", "http://localhost:1/v2/model?Action=DescribeModel", json={"modelId": "amv-1"})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_bytes_on_the_wire_are_never_accepted(emulator, data):
    request = next(BceV1Auth(emulator.access_key, emulator.secret_key).auth_flow(SIGNED))
    lines = [b"POST /v2/model?Action=DescribeModel HTTP/1.1"]
    keep = (b"host", b"x-bce-date", b"authorization")
    lines += [b": ".join(header) for header in request.headers.raw if header[0].lower() in keep]
    end = [b"Content-Length: 2", b"Connection: close", b"", b"{}"]
    index = data.draw(st.integers(0, len(lines) - 1))
    line = lines[index]
    # Unaltered, the signature is accepted and the body is looked at.
    assert b"InappropriateJSON" in exchange(emulator, b"\r\n".join([*lines, *end]))
    position = data.draw(st.integers(0, len(line) - 1))
    lines[index] = line[:position] + bytes([data.draw(st.integers(0, 255))]) + line[position + 1 :]
    answer = exchange(emulator, b"\r\n".join([*lines, *end]))
    status = int(answer.split()[1]) if answer else 400
    assert status < 500
    if b"InappropriateJSON" in answer:
        names = [item.partition(b":")[0].lower() for item in lines]
        values = [item.partition(b":")[2].strip() for item in lines]
        original = [line.partition(b":")[0].lower(), line.partition(b":")[2].strip()]
        assert [names[index], values[index]] == original or lines[index].upper() == line.upper()


def test_session_token_over_http_and_in_the_connection():
    with QianfanEmulator(
        session_token="to ken", access_key="AK", secret_key="SK", api_key="bce-v3/AK/1"
    ) as emulator:
        assert post(emulator, "DescribeFineTuningJobs").status_code == 200
        connection = json.loads(emulator.connection_json)
        assert connection == {
            "conn_type": "qianfan",
            "login": "AK",
            "password": "SK",
            "host": emulator.endpoint,
            "extra": {"session_token": "to ken", "api_key": "bce-v3/AK/1"},
        }
        emulator.session_token = None
        assert post(emulator, "DescribeFineTuningJobs").json()["code"] == "SignatureDoesNotMatch"


def test_many_clients_at_once_lose_nothing(tmp_path):
    with QianfanEmulator(state=tmp_path / "state") as emulator:

        def work(number):
            with client(emulator) as http:
                for turn in range(10):
                    body = {**JOB, "name": f"job-{number}-{turn}"}
                    http.post(
                        "/v2/finetuning", params={"Action": "CreateFineTuningJob"}, json=body
                    ).raise_for_status()

        threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(emulator.jobs) == len(emulator.journal) == 80
        assert [entry["seq"] for entry in emulator.journal] == list(range(1, 81))


def test_reset_and_lost_answer_cut_the_connection(emulator):
    emulator.fail_next("CreateFineTuningJob", kind="reset")
    with pytest.raises(httpx.NetworkError):
        post(emulator, "CreateFineTuningJob", JOB)
    assert emulator.jobs == []
    emulator.fail_next("CreateFineTuningJob", kind="lost_answer")
    with pytest.raises(httpx.NetworkError):
        post(emulator, "CreateFineTuningJob", JOB)
    assert len(emulator.jobs) == 1
    assert httpx.get(emulator.endpoint + "/_emulator/health").json() == {"status": "ok"}


def test_timeout_holds_one_answer_and_no_other(emulator):
    called = threading.Event()
    ended = []
    emulator.answer("/v2/dataset", "DescribeDatasets", lambda body: called.set())
    emulator.fail_next("DescribeDatasets", kind="timeout", seconds=3600)

    def held():
        with pytest.raises(httpx.TransportError):
            post(emulator, "DescribeDatasets", route="dataset", timeout=60)
        ended.append(True)

    waiting = threading.Thread(target=held)
    waiting.start()
    assert called.wait(30), "the held request did not arrive"
    assert post(emulator, "DescribeFineTuningJobs").status_code == 200
    assert not ended
    emulator.stop()
    waiting.join(30)
    assert ended


def test_held_answer_comes_when_its_time_is_over(emulator):
    emulator.fail_next("DescribeFineTuningJobs", kind="timeout", seconds=0.3)
    started = time.monotonic()
    assert post(emulator, "DescribeFineTuningJobs").status_code == 200
    assert time.monotonic() - started >= 0.3
