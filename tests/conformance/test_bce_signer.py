"""The signer of Baidu's own ``bce-python-sdk``, in the ways its users call it."""

import json

import httpx
import pytest
from baidubce.auth.bce_credentials import BceCredentials
from baidubce.auth.bce_v1_signer import sign
from baidubce.utils import get_canonical_time

from airflow_qianfan.emulator import QianfanEmulator

NOW = 1_705_398_515
BODY = b'{"maxKeys": 5}'


@pytest.fixture(scope="module")
def emulator():
    with QianfanEmulator(session_token=None, clock=lambda: NOW) as running:
        yield running


def send(emulator, names, *, headers=None, secret=None, host=None, expiration=1800):
    credentials = BceCredentials(emulator.access_key, secret or emulator.secret_key)
    sent = {
        b"Host": f"127.0.0.1:{emulator.port}".encode(),
        b"Content-Type": b"application/json",
        b"Content-Length": str(len(BODY)).encode(),
        b"x-bce-date": get_canonical_time(NOW),
        **(headers or {}),
    }
    to_sign = {**sent, b"Host": host} if host else sent
    query = {b"Action": b"DescribeFineTuningJobs"}
    arguments = {"timestamp": NOW, "expiration_in_seconds": expiration, "headers_to_sign": names}
    authorization = sign(credentials, b"POST", b"/v2/finetuning", to_sign, query, **arguments)
    url = f"{emulator.endpoint}/v2/finetuning?Action=DescribeFineTuningJobs"
    return httpx.post(url, content=BODY, headers={**sent, b"Authorization": authorization})


@pytest.mark.parametrize(
    "names",
    [
        None,
        [b"host"],
        [b"host", b"x-bce-date"],
        [b"x-bce-date", b"content-type", b"host"],
        {b"host", b"x-bce-date", b"content-length", b"content-type"},
    ],
)
def test_signature_of_the_package_is_accepted(emulator, names):
    answer = send(emulator, names)
    assert answer.status_code == 200, answer.text
    assert json.loads(answer.text)["result"]["pageInfo"]["maxKeys"] == 5


def test_more_headers_of_the_service_are_signed_along(emulator):
    more = {b"x-bce-meta": "中文 /:~".encode(), b"content-md5": b"abc=="}
    assert send(emulator, None, headers=more).status_code == 200
    assert send(emulator, [b"host"], headers=more).status_code == 200


def test_host_may_be_signed_without_its_port(emulator):
    assert send(emulator, [b"host"], host=b"127.0.0.1").status_code == 200
    assert send(emulator, [b"host"], host=b"qianfan.baidubce.com").status_code == 400


@pytest.mark.parametrize("expiration", [1, 180000])
def test_shortest_and_longest_validity_of_the_examples(emulator, expiration):
    assert send(emulator, [b"host"], expiration=expiration).status_code == 200


def test_wrong_secret_is_refused(emulator):
    answer = send(emulator, None, secret="wrong")
    assert answer.json()["code"] == "SignatureDoesNotMatch"
