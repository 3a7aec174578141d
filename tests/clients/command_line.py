"""This module runs the clients that are programs: awscli and s3cmd."""

import json
import subprocess
from pathlib import Path

from node import ACCESS_KEY, REGION, SECRET_KEY, aws_environment

COMMAND_LIMIT_SECONDS = 300


def run(command, environment=None):
    done = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True,
                          timeout=COMMAND_LIMIT_SECONDS)
    if done.returncode != 0:
        raise AssertionError(f"exit status {done.returncode}: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout


class AwsCli:
    name = "awscli"
    cannot = {}

    def __init__(self, endpoint, venv, directory, bucket, authority=None):
        self.program = [Path(venv) / "bin" / "aws"]
        self.environment = aws_environment(endpoint, directory, authority)
        self.bucket = bucket

    def aws(self, *arguments):
        return run([*self.program, *arguments], self.environment)

    def uri(self, key):
        return f"s3://{self.bucket}/{key}"

    def make_bucket(self):
        self.aws("s3", "mb", f"s3://{self.bucket}")

    def put(self, path, key):
        # This is one request even above the threshold for parts.
        self.aws("s3api", "put-object", "--bucket", self.bucket, "--key", key, "--body", path)

    def get(self, key, path):
        self.aws("s3", "cp", "--no-progress", self.uri(key), path)

    def list(self, prefix):
        answer = self.aws("s3api", "list-objects-v2", "--bucket", self.bucket, "--prefix", prefix)
        contents = json.loads(answer).get("Contents", []) if answer.strip() else []
        return {entry["Key"]: entry["Size"] for entry in contents}

    def copy(self, source, target):
        self.aws("s3", "cp", "--no-progress", self.uri(source), self.uri(target))

    def range(self, key, first, last, path):
        self.aws("s3api", "get-object", "--bucket", self.bucket, "--key", key, "--range", f"bytes={first}-{last}", path)

    def multipart(self, path, key):
        self.aws("s3", "cp", "--no-progress", path, self.uri(key))

    def presign(self, key):
        return self.aws("s3", "presign", self.uri(key)).strip()

    def delete(self, key):
        self.aws("s3", "rm", self.uri(key))


class S3cmd:
    name = "s3cmd"
    cannot = {"range": "has no command for it", "presign": "signs URLs with signature version 2 only"}

    def __init__(self, endpoint, venv, directory, bucket, authority=None):
        scheme, host = endpoint.split("://")
        trust = f"ca_certs_file = {authority}\n" if authority else ""
        config = Path(directory) / "s3cmd-config"
        config.write_text(f"[default]\naccess_key = {ACCESS_KEY}\nsecret_key = {SECRET_KEY}\nhost_base = {host}\n"
                          f"host_bucket = {host}\nbucket_location = {REGION}\nuse_https = {scheme == 'https'}\n{trust}")
        self.program = [Path(venv) / "bin" / "python", Path(venv) / "bin" / "s3cmd", "-c", config, "--no-progress"]
        self.bucket = bucket

    def s3cmd(self, *arguments):
        return run([*self.program, *arguments])

    def uri(self, key):
        return f"s3://{self.bucket}/{key}"

    def make_bucket(self):
        self.s3cmd("mb", f"s3://{self.bucket}")

    def put(self, path, key):
        self.s3cmd("put", "--disable-multipart", path, self.uri(key))

    def get(self, key, path):
        self.s3cmd("get", "--force", self.uri(key), path)

    def list(self, prefix):
        found = {}
        for line in self.s3cmd("ls", "--recursive", self.uri(prefix)).splitlines():
            _date, _time, size, uri = line.split(maxsplit=3)
            found[uri.removeprefix(f"s3://{self.bucket}/")] = int(size)
        return found

    def copy(self, source, target):
        self.s3cmd("cp", self.uri(source), self.uri(target))

    def multipart(self, path, key):
        self.s3cmd("put", "--multipart-chunk-size-mb=5", path, self.uri(key))

    def delete(self, key):
        self.s3cmd("del", self.uri(key))
