"""A server process for the client tests, and the settings clients need to reach it.

Invariant: the server is signalled through its own process handle, and is gone when the `with` block ends.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from queue import Empty, Queue

ACCESS_KEY = "CLIENTSCLIENTSCL"
SECRET_KEY = "clients-secret-for-tests-only-0123456789"
REGION = "us-east-1"
START_LIMIT_SECONDS = 180
STOP_LIMIT_SECONDS = 60


class Node:
    def __init__(self, binary, directory, size, keys=True, tls=False):
        """Gives the server the keys above; without `keys`, it uses users.toml of its data directory.

        With `tls` it speaks HTTPS, by a certificate of its own.
        """
        self.binary = binary
        self.directory = Path(directory)
        self.size = size
        self.keys = keys
        self.tls = tls
        self.process = None
        self.endpoint = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def start(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RINGBOLT_")}
        if self.keys:
            environment |= {"RINGBOLT_ACCESS_KEY": ACCESS_KEY, "RINGBOLT_SECRET_KEY": SECRET_KEY}
        command = [self.binary, "serve", "--data", str(self.data()), "--listen", "127.0.0.1:0"]
        command += ["--admin-listen", "off", "--size", self.size, "--shards", "4", "--memory", "512MiB"]
        if self.tls:
            command += ["--tls", "self-signed"]
        with open(self.log_path(), "ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        found = Queue()
        threading.Thread(target=self._read_stdout, args=(self.process.stdout, found), daemon=True).start()
        try:
            self.endpoint = found.get(timeout=START_LIMIT_SECONDS)
        except Empty:
            self.endpoint = None
        if self.endpoint is None:
            self.kill()
            sys.exit(f"the server gave no endpoint; its log:\n{self.log_path().read_text()}")

    @staticmethod
    def _read_stdout(stdout, found):
        """Continues to read after the endpoint, because a full pipe would stop the server."""
        for line in stdout:
            match = re.search(r"https?://127\.0\.0\.1:\d+", line)
            if match:
                found.put(match.group())
        found.put(None)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Sends SIGTERM, and returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=STOP_LIMIT_SECONDS)

    def data(self):
        return self.directory / "data"

    def authority(self):
        """Returns the file of the certificate that clients have to trust, or None without TLS."""
        return self.data() / "tls-self-signed.crt" if self.tls else None

    def log_path(self):
        return self.directory / "stderr.log"


def scratch_directory(parent):
    return tempfile.TemporaryDirectory(prefix="clients-", dir=parent)


def aws_environment(endpoint, directory, authority=None):
    """Returns the environment of a new user with these keys, without settings of the user who runs the tests."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    config = Path(directory) / "aws-config"
    # awscli 1 signs URLs with signature version 2 unless told otherwise; the server takes version 4 only.
    config.write_text("[default]\ns3 =\n    signature_version = s3v4\n    addressing_style = path\n"
                      "    multipart_threshold = 5MB\n"
                      "    multipart_chunksize = 5MB\n")
    trust = {"AWS_CA_BUNDLE": str(authority)} if authority else {}
    return environment | trust | {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }
