"""Each client does each operation with files of each size and compares the bytes.

A check has three outcomes: `ok`, `FAIL` with its reason below the table, and `-` where the client or the size
leaves nothing to check. The last line is `N passed, N failed`; the exit status says the same.
"""

import argparse
import ssl
import sys
import time
import urllib.request
from pathlib import Path

from command_line import AwsCli, S3cmd
from content import assert_same_trees, make_file, make_tree, same_file
from library import PART_BYTES, Boto3, MinioPy
from node import Node, scratch_directory
from page import run_page

SIZES = {"0B": 0, "1B": 1, "4K": 4096, "64K-1": 65535, "64K": 65536, "64K+1": 65537, "1M": 1 << 20,
         "5M+1": (5 << 20) + 1, "100M": 100 << 20}
OPERATIONS = ["put", "get", "list", "copy", "range", "multipart", "presign", "delete"]
TREE_FILES = 3000


class Results:
    def __init__(self):
        self.cells = {}
        self.failures = []

    def check(self, row, column, action):
        """Runs `action`, which returns None for a pass and "-" if there is nothing to check."""
        try:
            outcome = action() or "ok"
        except Exception as error:  # whatever a client raises is a failed check, and the next one goes on
            outcome = "FAIL"
            self.failures.append(f"{row} {column}: {type(error).__name__}: {str(error)[:400]}")
        self.cells[row, column] = outcome

    def count(self, outcome):
        return sum(found == outcome for found in self.cells.values())

    def print_table(self, columns):
        rows = list(dict.fromkeys(row for row, _ in self.cells))
        print(f"{'':22}" + "".join(f"{column:>8}" for column in columns))
        for row in rows:
            print(f"{row:22}" + "".join(f"{self.cells.get((row, column), ''):>8}" for column in columns))


class SizeRun:
    """Runs the operations in their order on one object, for one client and one size."""

    def __init__(self, client, judge, directory, label, size, seed, authority):
        self.trust = ssl.create_default_context(cafile=authority) if authority else None
        self.client = client
        self.judge = judge
        self.size = size
        self.key = f"{client.name}/{label} file"
        self.source = make_file(directory / "source", size, seed)
        self.target = directory / "target"

    def run(self, results, row, label):
        for operation in OPERATIONS:
            results.check(f"{row} {operation}", label, lambda: self.perform(operation))

    def perform(self, operation):
        self.target.unlink(missing_ok=True)
        if operation in self.client.cannot:
            return "-"
        return getattr(self, operation)()

    def assert_target(self):
        assert same_file(self.source, self.target), f"{self.target.stat().st_size} bytes differ from what was put"

    def get_and_compare(self, key):
        self.client.get(key, self.target)
        self.assert_target()

    def put(self):
        self.client.put(self.source, self.key)
        assert "-" not in self.judge.etag(self.key), "put in parts, where one request was meant"

    def get(self):
        self.get_and_compare(self.key)

    def list(self):
        found = self.client.list(self.key)
        assert found == {self.key: self.size}, f"listed {found}"

    def copy(self):
        copied = f"{self.key}.copy"
        self.client.copy(self.key, copied)
        self.get_and_compare(copied)
        self.client.delete(copied)

    def range(self):
        if self.size == 0:
            return "-"
        first = self.size // 3
        last = min(first + 100_000, self.size - 1)
        self.client.range(self.key, first, last, self.target)
        assert self.target.read_bytes() == self.source.read_bytes()[first:last + 1], "the range differs"

    def multipart(self):
        if self.size <= PART_BYTES:
            return "-"
        key = f"{self.key}.parts"
        self.client.multipart(self.source, key)
        parts = -(-self.size // PART_BYTES)
        etag = self.judge.etag(key)
        assert etag.endswith(f"-{parts}"), f"ETag {etag}, {parts} parts were meant"
        self.get_and_compare(key)
        self.client.delete(key)

    def presign(self):
        with urllib.request.urlopen(self.client.presign(self.key), context=self.trust) as answer:
            self.target.write_bytes(answer.read())
        self.assert_target()

    def delete(self):
        self.client.delete(self.key)
        found = self.client.list(self.key)
        assert found == {}, f"still listed: {found}"


def run_client(kind, node, venv, directory, sizes, results):
    started = time.monotonic()
    directory.mkdir()
    authority = node.authority()
    client = kind(node.endpoint, venv, directory, f"bucket-{kind.name}", authority)
    judge = Boto3(node.endpoint, venv, directory, client.bucket, authority)
    row = f"{kind.name} https" if node.tls else kind.name
    results.check(f"{row} bucket", "", client.make_bucket)
    for seed, (label, size) in enumerate(sizes.items()):
        SizeRun(client, judge, directory, label, size, seed, authority).run(results, row, label)
    print(f"{row}: {time.monotonic() - started:.0f} s")


def run_https_only(node, results):
    """Does what backup programs do that take HTTPS alone: they trust a file, put only what is not there, and
    remove many at once."""
    client = Boto3(node.endpoint, None, None, "bucket-backup", node.authority())

    def put_once():
        client.make_bucket()
        client.s3.put_object(Bucket=client.bucket, Key="index", Body=b"1", IfNoneMatch="*")
        try:
            client.s3.put_object(Bucket=client.bucket, Key="index", Body=b"2", IfNoneMatch="*")
        except client.s3.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed", error
        else:
            raise AssertionError("what is there was put again")
        assert client.s3.get_object(Bucket=client.bucket, Key="index")["Body"].read() == b"1"

    def remove_many():
        keys = [f"chunk-{number}" for number in range(100)]
        for key in keys:
            client.s3.put_object(Bucket=client.bucket, Key=key, Body=key.encode())
        gone = client.s3.delete_objects(Bucket=client.bucket, Delete={"Objects": [{"Key": key} for key in keys]})
        assert len(gone["Deleted"]) == len(keys) and "Errors" not in gone, gone
        assert list(client.list("")) == ["index"], client.list("")

    results.check("backup https If-None-Match", "", put_once)
    results.check("backup https DeleteObjects", "", remove_many)


def run_trees(node, venv, directory, files, results):
    directory.mkdir()
    client = AwsCli(node.endpoint, venv, directory, "bucket-trees")
    source = make_tree(directory / "source", files, 1)

    def back_and_forth(to, back):
        client.aws("s3", *to, "--only-show-errors")
        client.aws("s3", *back, "--only-show-errors")

    def sync():
        back = directory / "sync"
        back_and_forth(["sync", source, client.uri("sync")], ["sync", client.uri("sync"), back])
        assert_same_trees(source, back)
        again = client.aws("s3", "sync", source, client.uri("sync"))
        assert not again.strip(), f"a second sync sends again: {again[:200]}"

    def recursive():
        part, back = source / "docs", directory / "cp"
        back_and_forth(["cp", "--recursive", part, client.uri("cp")], ["cp", "--recursive", client.uri("cp"), back])
        assert_same_trees(part, back)
        client.aws("s3", "rm", "--recursive", "--only-show-errors", client.uri("cp"))
        assert client.list("cp") == {}, "rm --recursive leaves objects"

    results.check("awscli tree bucket", "", client.make_bucket)
    results.check("awscli sync", "", sync)
    results.check("awscli cp --recursive", "", recursive)


def run_docs(node, venv, directory, results):
    directory.mkdir()
    page = Path(__file__).resolve().parents[2] / "docs" / "access.md"

    def access():
        compared = run_page(page, node, venv, directory)
        assert compared > 10, f"only {compared} answers are compared"

    results.check("docs/access.md", "", access)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--scratch", required=True, help="directory on a disk; drive and files go there")
    parser.add_argument("--quick", action="store_true", help="without 100 MiB, and a tree of 300 files")
    return parser.parse_args()


def main():
    options = arguments()
    sizes = {label: size for label, size in SIZES.items() if not (options.quick and label == "100M")}
    venv = Path(sys.prefix)
    results = Results()
    with scratch_directory(options.scratch) as scratch, Node(options.binary, scratch, "2GiB") as node:
        for kind in (AwsCli, Boto3, S3cmd, MinioPy):
            run_client(kind, node, venv, Path(scratch) / kind.name, sizes, results)
        run_trees(node, venv, Path(scratch) / "trees", 300 if options.quick else TREE_FILES, results)

        run_docs(node, venv, Path(scratch) / "docs", results)

        def stop():
            status = node.stop()
            assert status == 0, f"exit status {status} after SIGTERM"

        results.check("server SIGTERM", "", stop)
        if results.failures:
            print("--- the end of the server's log ---\n" + node.log_path().read_text()[-4000:])
    with scratch_directory(options.scratch) as scratch, Node(options.binary, scratch, "1GiB", tls=True) as node:
        failures = len(results.failures)
        small = {label: size for label, size in sizes.items() if label != "100M"}
        for kind in (AwsCli, Boto3, S3cmd, MinioPy):
            run_client(kind, node, venv, Path(scratch) / kind.name, small, results)
        run_https_only(node, results)
        if len(results.failures) > failures:
            print("--- the end of the server's log, https ---\n" + node.log_path().read_text()[-4000:])
    results.print_table(["", *sizes])
    for kind in (AwsCli, Boto3, S3cmd, MinioPy):
        for operation, reason in kind.cannot.items():
            print(f"- {kind.name} {operation}: {reason}")
    for failure in results.failures:
        print(f"FAIL {failure}")
    print(f"{results.count('ok')} passed, {results.count('FAIL')} failed")
    sys.exit(bool(results.failures))


if __name__ == "__main__":
    main()
