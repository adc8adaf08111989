import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_qianfan.api.signing import BceV1Auth
from airflow_qianfan.emulator import Assumptions, QianfanEmulator, StateError

JOB = {"name": "nightly", "model": "ERNIE-Speed-8K", "trainMode": "SFT"}
DATASET = {"sourceType": "Platform", "versions": [{"versionId": "ds-1"}]}


@pytest.fixture
def emulator():
    with QianfanEmulator(task_seconds=100) as running:
        yield running


def client(emulator, **options):
    auth = BceV1Auth(emulator.access_key, emulator.secret_key, emulator.session_token)
    return httpx.Client(base_url=emulator.endpoint, auth=auth, **options)


def post(emulator, action, body=None, route="finetuning", **options):
    with client(emulator, **options) as http:
        return http.post(f"/v2/{route}", params={"Action": action}, json=body or {})


def create_task(emulator):
    job_id = post(emulator, "CreateFineTuningJob", JOB).json()["result"]["jobId"]
    body = {"jobId": job_id, "hyperParameterConfig": {"epoch": 1}, "datasetConfig": DATASET}
    return post(emulator, "CreateFineTuningTask", body).json()["result"]["taskId"]


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
        began = time.monotonic()
        for _ in range(50):
            http.post("/v2/finetuning", params={"Action": "DescribeFineTuningJobs"}, json={})
    assert time.monotonic() - began < 1.5  # with them: 40 ms each, 2 seconds


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


def test_journal_and_inspection(emulator):
    task_id = create_task(emulator)
    post(emulator, "DescribeFineTuningTask", {"taskId": "task-1"})
    journal = httpx.get(emulator.endpoint + "/_emulator/journal").json()
    assert journal == emulator.journal
    assert [entry["seq"] for entry in journal] == [1, 2, 3]
    assert [entry["effect"] for entry in journal] == [True, True, False]
    assert journal[1]["ids"] == {"jobId": emulator.jobs[0]["jobId"], "taskId": task_id}
    assert (journal[2]["status"], journal[2]["code"]) == (404, "NoSuchKey")
    assert emulator.tasks[0]["taskId"] == task_id
    assert emulator.tasks[0]["request"]["hyperParameterConfig"] == {"epoch": 1}
    assert emulator.jobs[0]["request"] == JOB
    assert emulator.models == []


def test_clock_is_advanced_from_python_and_http(emulator):
    task_id = create_task(emulator)
    emulator.advance(50)
    assert emulator.tasks[0]["runStatus"] == "Running"
    answer = httpx.post(emulator.endpoint + "/_emulator/clock", json={"advance": 5000})
    assert answer.json()["offset"] == 5050
    assert httpx.get(emulator.endpoint + "/_emulator/clock").json()["now"] > time.time() + 5000
    detail = post(emulator, "DescribeFineTuningTask", {"taskId": task_id}).json()["result"]
    assert detail["runStatus"] == "Done"
    for bad in ({"advance": -1}, {"advance": 1e300}, {}, []):
        assert httpx.post(emulator.endpoint + "/_emulator/clock", json=bad).status_code == 400
    with pytest.raises(ValueError, match="positive"):
        emulator.advance(-1)


def test_reset_forgets_everything(emulator):
    create_task(emulator)
    emulator.fail_next(kind="reset")
    emulator.advance(10)
    assert httpx.post(emulator.endpoint + "/_emulator/reset").json() == {"status": "ok"}
    assert (emulator.jobs, emulator.tasks, emulator.journal) == ([], [], [])
    assert httpx.get(emulator.endpoint + "/_emulator/faults").json() == []
    assert httpx.get(emulator.endpoint + "/_emulator/clock").json()["offset"] == 0
    assert post(emulator, "CreateFineTuningJob", JOB).status_code == 200
    emulator.reset()
    assert emulator.jobs == []


def test_faults_are_ordered_over_http(emulator):
    faults = emulator.endpoint + "/_emulator/faults"
    order = {"kind": "server_error", "action": "DescribeFineTuningJobs", "count": 2}
    assert httpx.post(faults, json=order).json()[0]["kind"] == "server_error"
    httpx.post(faults, json=[{"kind": "numeric"}, {"kind": "false"}])
    assert [order["kind"] for order in httpx.get(faults).json()] == ["server_error", "numeric", "false"]
    assert post(emulator, "DescribeFineTuningJobs").status_code == 500
    assert httpx.delete(faults).json() == []
    assert post(emulator, "DescribeFineTuningJobs").status_code == 200
    for bad in ({"kind": "quake"}, {}, [7], {"kind": "reset", "action": "Nope"}):
        answer = httpx.post(faults, json=bad)
        assert answer.status_code == 400
        assert answer.json()["error"]
    assert httpx.post(faults, content=b"{").status_code == 400
    assert httpx.get(faults).json() == []


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
    emulator.fail_next("DescribeFineTuningJobs", kind="timeout", seconds=0.6)
    started = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        post(emulator, "DescribeFineTuningJobs", timeout=0.2)
    assert post(emulator, "DescribeFineTuningJobs").status_code == 200
    assert time.monotonic() - started < 0.55
    emulator.fail_next("DescribeFineTuningJobs", kind="timeout", seconds=0.3)
    started = time.monotonic()
    assert post(emulator, "DescribeFineTuningJobs").status_code == 200
    assert time.monotonic() - started >= 0.3


def test_stop_is_fast_with_held_and_idle_connections_and_leaves_no_thread():
    before = threading.active_count()
    emulator = QianfanEmulator()
    emulator.start()
    idle = client(emulator)
    idle.post("/v2/finetuning", params={"Action": "DescribeFineTuningJobs"}, json={})
    emulator.fail_next(kind="timeout", seconds=60)
    errors = []

    def held():
        try:
            post(emulator, "DescribeFineTuningJobs", timeout=30)
        except httpx.HTTPError as error:
            errors.append(error)

    waiting = threading.Thread(target=held)
    waiting.start()
    half = socket.create_connection(("127.0.0.1", emulator.port))
    half.sendall(b"POST /v2/model HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    while not (emulator.journal and emulator.journal[-1]["fault"]):
        time.sleep(0.01)
    started = time.monotonic()
    emulator.stop()
    assert time.monotonic() - started < 1
    waiting.join(5)
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


def test_session_token_over_http_and_in_the_connection():
    with QianfanEmulator(session_token="to ken", access_key="AK", secret_key="SK") as emulator:
        assert post(emulator, "DescribeFineTuningJobs").status_code == 200
        connection = json.loads(emulator.connection_json)
        assert connection == {
            "conn_type": "qianfan",
            "login": "AK",
            "password": "SK",
            "host": emulator.endpoint,
            "extra": {"session_token": "to ken"},
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


def test_state_file_keeps_all_over_a_restart(tmp_path):
    path = tmp_path / "state"
    with QianfanEmulator(task_seconds=100, state=path) as emulator:
        task_id = create_task(emulator)
        body = {"modelSetName": "set", "modelType": "Text2Text"}
        post(emulator, "CreateCustomModelSet", body, route="model")
        emulator.advance(50)
        post(emulator, "StopFineTuningTask", {"taskId": task_id})
        before = (emulator.jobs, emulator.tasks, emulator.journal)
    with QianfanEmulator(task_seconds=1, state=path) as emulator:
        assert (emulator.jobs, emulator.tasks, emulator.journal) == before
        assert emulator.tasks[0]["runStatus"] == "Stopped"
        assert httpx.get(emulator.endpoint + "/_emulator/clock").json()["offset"] == 50
        post(emulator, "DeleteFineTuningTask", {"taskId": task_id})
        emulator.reset()
    with QianfanEmulator(state=path) as emulator:
        assert (emulator.jobs, emulator.tasks, emulator.journal) == ([], [], [])


def test_state_file_belongs_to_one_emulator(tmp_path):
    path = tmp_path / "state"
    with QianfanEmulator(state=path), pytest.raises(StateError, match="another process"):
        QianfanEmulator(state=path).start()


@pytest.mark.parametrize("content", [b"not a database" * 100, b'{"jobs": {}}'])
def test_broken_state_file_is_an_error(tmp_path, content):
    path = tmp_path / "state"
    path.write_bytes(content)
    with pytest.raises(StateError, match="state"):
        QianfanEmulator(state=path).start()
    assert path.read_bytes() == content
    with pytest.raises(StateError, match="cannot open"):
        QianfanEmulator(state=tmp_path / "missing" / "state").start()


def test_damaged_and_foreign_state_files_are_errors(tmp_path):
    import sqlite3

    path = tmp_path / "state"
    with QianfanEmulator(state=path) as emulator:
        for number in range(200):
            post(emulator, "CreateFineTuningJob", {**JOB, "name": f"job{number}"})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StateError):
        QianfanEmulator(state=path).start()
    foreign = tmp_path / "foreign"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE mine (a)")
    connection.close()
    with pytest.raises(StateError, match="not written by this version"):
        QianfanEmulator(state=foreign).start()


# The command line


def run(*arguments, **options):
    command = [sys.executable, "-m", "airflow_qianfan.emulator", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def started(process):
    """Return the endpoint and the connection that a started process prints."""
    endpoint = process.stdout.readline().strip().rpartition(" ")[2]
    name, _, value = shlex.split(process.stdout.readline())[0].partition("=")
    assert name == "AIRFLOW_CONN_QIANFAN_DEFAULT"
    connection = json.loads(value)
    assert connection["host"] == endpoint
    return endpoint, connection


def call(endpoint, connection, action, body):
    auth = BceV1Auth(connection["login"], connection["password"])
    answer = httpx.post(f"{endpoint}/v2/finetuning", params={"Action": action}, json=body, auth=auth)
    answer.raise_for_status()
    return answer.json()["result"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command_line_runs_until_a_signal(number):
    keys = ["--access-key", "AK'S", "--secret-key", "S K", "--task-seconds", "0", "--log-level", "info"]
    process = run("--port", "0", *keys)
    endpoint, connection = started(process)
    assert (connection["login"], connection["password"]) == ("AK'S", "S K")
    assert "jobId" in call(endpoint, connection, "CreateFineTuningJob", JOB)
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert time.monotonic() - began < 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "CreateFineTuningJob" in err
    assert "S K" not in err


def test_killed_process_loses_nothing(tmp_path):
    arguments = ["--port", "0", "--task-seconds", "100", "--state", str(tmp_path / "state")]
    process = run(*arguments)
    endpoint, connection = started(process)
    job_id = call(endpoint, connection, "CreateFineTuningJob", JOB)["jobId"]
    body = {"jobId": job_id, "hyperParameterConfig": {}, "datasetConfig": DATASET}
    task_id = call(endpoint, connection, "CreateFineTuningTask", body)["taskId"]
    detail = call(endpoint, connection, "DescribeFineTuningTask", {"taskId": task_id})
    journal = httpx.get(endpoint + "/_emulator/journal").json()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    process = run(*arguments)
    endpoint, connection = started(process)
    assert httpx.get(endpoint + "/_emulator/journal").json() == journal
    again = call(endpoint, connection, "DescribeFineTuningTask", {"taskId": task_id})
    assert again["createDate"] == detail["createDate"]
    assert call(endpoint, connection, "StopFineTuningTask", {"taskId": task_id}) is True
    process.terminate()
    process.communicate(timeout=10)


def test_killed_in_the_middle_of_writing_every_answered_job_is_there(tmp_path):
    arguments = ["--port", "0", "--state", str(tmp_path / "state")]
    answered = []
    for turn in range(3):
        process = run(*arguments)
        endpoint, connection = started(process)
        timer = threading.Timer(0.15 + 0.1 * turn, process.kill)
        timer.start()
        try:
            for number in range(10_000):
                name = f"job-{turn}-{number}"
                answered.append(
                    call(endpoint, connection, "CreateFineTuningJob", {**JOB, "name": name})["jobId"]
                )
        except httpx.HTTPError:
            pass
        timer.join()
        process.communicate()
    with QianfanEmulator(state=tmp_path / "state") as emulator:
        ids = [job["jobId"] for job in emulator.jobs]
        assert len(answered) > 10
        assert set(answered) <= set(ids)
        assert len(ids) <= len(answered) + 3  # at most the one that was being answered
        created = [entry["ids"]["jobId"] for entry in emulator.journal if entry["effect"]]
        assert created == ids


def fails(*arguments, **options):
    process = run(*arguments, **options)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert out == ""
    assert len(err.splitlines()) == 1, err
    return err


def test_command_line_says_in_one_line_what_is_wrong(tmp_path, emulator):
    assert "cannot listen on" in fails("--port", str(emulator.port))
    broken = tmp_path / "state"
    broken.write_text("not a database")
    assert "state file" in fails("--port", "0", "--state", str(broken))
    assert "key id" in fails("--port", "0", "--access-key", "a/b")


def test_command_line_without_the_extra_says_what_to_install(tmp_path):
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError('no', name='uvicorn')")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    assert "pip install 'airflow-qianfan[emulator]'" in fails("--port", "0", env=env)


@pytest.mark.parametrize(
    "arguments", [["--port", "65536"], ["--task-seconds", "-1"], ["--task-seconds", "nan"], ["--port", "x"]]
)
def test_command_line_refuses_bad_values(arguments):
    process = run(*arguments)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "Traceback" not in err


def loaded(code):
    """Return the top-level modules that are loaded after some code ran in a new interpreter."""
    program = f"import sys; {code}; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    return set(subprocess.check_output([sys.executable, "-c", program], text=True).split())


def test_imports_are_light():
    heavy = {"airflow", "starlette", "uvicorn"}
    assert not loaded("import airflow_qianfan.emulator.pytest_plugin") & (heavy | {"pydantic", "httpx"})
    assert not loaded("import airflow_qianfan.emulator.server") & heavy
    running = "from airflow_qianfan.emulator import QianfanEmulator as E; e = E(); e.start(); e.stop()"
    assert "airflow" not in loaded(running)


def test_package_has_no_other_names():
    import airflow_qianfan.emulator

    with pytest.raises(AttributeError, match="nothing"):
        airflow_qianfan.emulator.nothing  # noqa: B018


def test_fixture_points_airflow_at_the_emulator(qianfan_emulator):
    connection = json.loads(os.environ["AIRFLOW_CONN_QIANFAN_DEFAULT"])
    assert connection["host"] == qianfan_emulator.endpoint
    assert post(qianfan_emulator, "DescribeFineTuningJobs").status_code == 200
