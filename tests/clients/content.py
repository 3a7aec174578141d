"""This module generates files from a seed, and compares them."""

import filecmp
import hashlib
import os
import random
from pathlib import Path


# `aws s3 sync` sends a file again when it is newer than the object, whose time has whole seconds only.
OLD_ENOUGH = 1_700_000_000


def make_file(path, size, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(seed).randbytes(size))
    os.utime(path, (OLD_ENOUGH, OLD_ENOUGH))
    return path


def make_tree(root, count, seed):
    """Makes `count` small files in nested directories, with the names that real trees have."""
    dice = random.Random(seed)
    names = ["src", "docs", "a b", "ü", "deep/er/still", "x+y", "v1.0"]
    for number in range(count):
        size = dice.choice([0, 1, 100, 1000, 4096, 20_000, 65_536, 70_000])
        directory = root / dice.choice(names) / str(number % 20)
        make_file(directory / f"file {number}.txt", size, dice.random())
    return root


def same_file(left, right):
    return filecmp.cmp(left, right, shallow=False)


def tree_digests(root):
    """Returns the digest of each file below `root` by its relative path."""
    root = Path(root)
    return {
        str(path.relative_to(root)): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in root.rglob("*") if path.is_file()
    }


def assert_same_trees(left, right):
    left, right = tree_digests(left), tree_digests(right)
    missing, extra = left.keys() - right.keys(), right.keys() - left.keys()
    differing = [path for path in left.keys() & right.keys() if left[path] != right[path]]
    if missing or extra or differing:
        raise AssertionError(f"missing {sorted(missing)[:5]} ({len(missing)}), extra {sorted(extra)[:5]} "
                             f"({len(extra)}), differing {differing[:5]} ({len(differing)})")
