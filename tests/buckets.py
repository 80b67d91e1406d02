"""An S3-compatible service of the tests' own on loopback: moto's server, which checks the signature of each request."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from socket import create_connection
from typing import Any

import boto3

from tests.ports import free_port

SECONDS = 60
USER = "lake"
_SET_UP_ACTIONS = 3  # answered before signatures are checked
_MAY_USE_BUCKETS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
_numbers = count(1)


@dataclass
class Buckets:
    """The service, and the key of a user that may do everything with buckets."""

    url: str
    key_id: str
    key: str
    _server: "subprocess.Popen[bytes]"
    bundle: str | None = None  # of certificates to trust

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.key_id,
            "AWS_SECRET_ACCESS_KEY": self.key,
            "AWS_REGION": "us-east-1",
        }

    def new(self) -> str:
        """Return the address of a prefix in a new, empty bucket."""
        name = f"bucket-{next(_numbers)}"
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}/of/the.lake"

    def client(self) -> Any:
        return _client("s3", self.url, self.key_id, self.key, self.bundle)

    def objects(self, prefix: str) -> dict[str, int]:
        """Return the size of each object below the address ``prefix``, by its key."""
        bucket, _, below = prefix.removeprefix("s3://").partition("/")
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=below)
        return {found["Key"]: found["Size"] for page in pages for found in page.get("Contents", [])}

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Let the service accept connections and answer nothing."""
        self._server.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._server.send_signal(signal.SIGCONT)


@contextmanager
def running_buckets(*options: str, scheme: str = "http", bundle: str | None = None) -> Iterator[Buckets]:
    """Start a service, and stop it at the end; ``options`` are moto's, ``bundle`` the certificate to trust."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port), *options]
    environment = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": str(_SET_UP_ACTIONS)}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(server, port)
        url = f"{scheme}://localhost:{port}"
        root = _client("iam", url, "root", "root", bundle)
        root.create_user(UserName=USER)
        root.put_user_policy(UserName=USER, PolicyName="buckets", PolicyDocument=json.dumps(_MAY_USE_BUCKETS))
        key = root.create_access_key(UserName=USER)["AccessKey"]
        yield Buckets(url, key["AccessKeyId"], key["SecretAccessKey"], server, bundle)
    finally:
        server.kill()
        server.wait()


def _client(service: str, url: str, key_id: str, key: str, bundle: str | None = None) -> Any:
    return boto3.client(
        service, "us-east-1", endpoint_url=url, aws_access_key_id=key_id, aws_secret_access_key=key, verify=bundle
    )


def _wait_for(server: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, "moto's server has ended"
        with suppress(OSError), create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("moto's server does not answer")
