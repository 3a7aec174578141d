"""`kill -9` in the middle of `aws s3 sync`: every upload the client reported as done is there and whole.

awscli prints a line `upload: FILE to s3://…` once the server has acknowledged the object. After the kill and a
restart each of these is read back and compared; then the sync is repeated, and what it stored is synced back.
"""

import argparse
import random
import re
import subprocess
import sys
from pathlib import Path

from command_line import AwsCli
from content import assert_same_trees, make_file, make_tree
from library import Boto3
from node import Node, scratch_directory

BUCKET = "bucket-sync-kill"
UPLOADED = re.compile(r"upload: .* to s3://" + BUCKET + r"/(.*)$")


def sync_until_killed(node, client, source, prefix, kill_after):
    """Returns the keys that were acknowledged; the server has ended afterwards."""
    command = [*client.program, "s3", "sync", "--no-progress", source, client.uri(prefix)]
    acknowledged = []
    with subprocess.Popen([str(part) for part in command], env=client.environment, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as sync:
        for line in sync.stdout:
            match = UPLOADED.search(line.rstrip("\n"))
            if match:
                acknowledged.append(match.group(1))
            if len(acknowledged) == kill_after:
                node.kill()
    assert sync.returncode != 0, "the sync succeeded although the server was killed"
    return acknowledged


def check_acknowledged(judge, source, prefix, acknowledged):
    for key in acknowledged:
        body = judge.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        wanted = (source / key.removeprefix(f"{prefix}/")).read_bytes()
        assert body == wanted, f"{key}: {len(body)} bytes that are not the {len(wanted)} acknowledged ones"


def one_round(node, number, scratch, files, kill_after):
    venv, prefix = Path(sys.prefix), f"round-{number}"
    source = make_tree(scratch / prefix / "source", files, number)
    make_file(source / "large" / "one", (40 << 20) + number, number)
    client = AwsCli(node.endpoint, venv, scratch, BUCKET)
    if number == 0:
        client.make_bucket()
    acknowledged = sync_until_killed(node, client, source, prefix, kill_after)
    node.start()
    judge = Boto3(node.endpoint, venv, scratch, BUCKET)
    check_acknowledged(judge, source, prefix, acknowledged)
    listed = {key for key in judge.list(f"{prefix}/")}
    unlisted = set(acknowledged) - listed
    assert not unlisted, f"acknowledged, but not listed: {sorted(unlisted)[:5]} ({len(unlisted)})"

    client = AwsCli(node.endpoint, venv, scratch, BUCKET)
    client.aws("s3", "sync", "--only-show-errors", source, client.uri(prefix))
    back = scratch / prefix / "back"
    client.aws("s3", "sync", "--only-show-errors", client.uri(prefix), back)
    assert_same_trees(source, back)
    return len(acknowledged), len(listed)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--scratch", required=True, help="directory on a disk; drive and files go there")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    with scratch_directory(options.scratch) as scratch, Node(options.binary, scratch, "2GiB") as node:
        for number in range(options.rounds):
            kill_after = dice.randrange(options.files // 10, options.files * 3 // 4)
            acknowledged, listed = one_round(node, number, Path(scratch), options.files, kill_after)
            print(f"round {number}: killed after {kill_after} uploads; {acknowledged} acknowledged, all there and "
                  f"whole; {listed} listed; the next sync completed it")
    print(f"{options.rounds} rounds passed, 0 failed")


if __name__ == "__main__":
    main()
