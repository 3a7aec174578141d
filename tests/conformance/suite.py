"""Starts a server with two accounts and lets ceph/s3-tests loose on it."""

import argparse
import configparser
import os
import subprocess
import sys
from pathlib import Path

from node import Node, scratch_directory

TESTS = ["s3tests/functional/test_s3.py", "s3tests/functional/test_headers.py"]
MAIN = {"access_key": "MAINMAINMAINMAIN", "secret_key": "main-secret-for-tests-only",
        "user_id": "main0000000000000000000000000000", "display_name": "M. Tester", "email": "main@example.com"}
ALT = {"access_key": "ALTALTALTALTALTA", "secret_key": "alt-secret-for-tests-only",
       "user_id": "alt00000000000000000000000000000", "display_name": "A. Tester", "email": "alt@example.com"}


def write_users(data):
    data.mkdir(parents=True)
    path = data / "users.toml"
    path.touch(mode=0o600)
    with path.open("w") as users:
        for account in (MAIN, ALT):
            fields = account | {"canonical_id": account["user_id"]}
            del fields["user_id"]
            users.write("[[account]]\n" + "".join(f'{name} = "{value}"\n' for name, value in fields.items()))


def write_configuration(path, endpoint):
    """Fills every section, also those of tests that are not run, because the suite requires it."""
    host, port = endpoint.removeprefix("http://").split(":")
    configuration = configparser.RawConfigParser()
    configuration["DEFAULT"] = {"host": host, "port": port, "is_secure": "False", "ssl_verify": "False"}
    configuration["fixtures"] = {"bucket prefix": "s3t-{random}-", "iam name prefix": "s3-tests-",
                                 "iam path prefix": "/s3-tests/"}
    configuration["s3 main"] = MAIN | {"api_name": "us-east-1"}
    configuration["s3 alt"] = ALT
    configuration["s3 tenant"] = MAIN | {"tenant": ""}
    for section in ("iam", "iam root"):
        configuration[section] = MAIN
    configuration["iam alt root"] = ALT
    unused = ("token", "aud", "sub", "azp", "user_token", "thumbprint", "KC_REALM")
    configuration["webidentity"] = dict.fromkeys(unused, "unused")
    with path.open("w") as file:
        configuration.write(file)


def run_suite(options, pytest_arguments, scratch):
    with Node(options.binary, scratch, "4GiB", keys=False) as node:
        configuration = options.output / "s3tests.conf"
        write_configuration(configuration, node.endpoint)
        # There is one attempt: boto3 would repeat every 5xx with pauses, which makes a failing server look slow.
        environment = os.environ | {"S3TEST_CONF": str(configuration), "AWS_MAX_ATTEMPTS": "1",
                                    "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=line",
                   f"--junitxml={options.output / 'results.xml'}", *TESTS, *pytest_arguments]
        status = subprocess.run(command, cwd=options.checkout, env=environment).returncode
        (options.output / "server.log").write_bytes(node.log_path().read_bytes())
    return status


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--checkout", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    options, pytest_arguments = parser.parse_known_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with scratch_directory(options.output) as scratch:
        write_users(Path(scratch) / "data")
        status = run_suite(options, pytest_arguments, scratch)
    sys.exit(status)


if __name__ == "__main__":
    main()
