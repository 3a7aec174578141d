"""Whether readers of fio's output take ours: JSON, json+, terse, logs.

What fio on this machine writes is the measure: every key of its JSON must be in ours with the same type, every field of
its terse line must look alike. Then fio-plot and fio_jsonplus_clat2csv, made for fio, are given our files: made-up runs,
whose figures are the same each time, and what `ringbolt bench` writes of real ones.
"""

import argparse
import csv
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS_MAX = 120
# These settings are those of the real runs.
DEPTH = 8
COUNTED_IOS = 1000
LOG_AVERAGE_MS = 100
PNG_BEGINS = b"\x89PNG\r\n\x1a\n"


def output_of(command, directory=None):
    """Returns what a program prints; raises an error with its output when it fails or hangs."""
    done = subprocess.run(
        [str(part) for part in command], cwd=directory, capture_output=True, text=True, timeout=SECONDS_MAX
    )
    if done.returncode != 0:
        raise AssertionError(f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def program(name):
    """Returns the path of a program beside this Python, or of the system."""
    beside = Path(sys.executable).parent / name
    found = beside if beside.exists() else shutil.which(name)
    assert found, f"{name} is not installed"
    return found


class Readers:
    """Has one method for each check; all of them use the same samples and the same real runs."""

    def __init__(self, samples, ringbolt, directory):
        self.directory = directory
        self.made = directory / "made"
        output_of([samples, self.made])
        self.run = json.loads((self.made / "run.json").read_text())
        self.ringbolt = ringbolt
        averaged = ["--runtime=2", "--time_based", f"--log_avg_msec={LOG_AVERAGE_MS}", "--fsync=64"]
        self.timed = self.bench("timed", *averaged)
        self.counted = self.bench("counted", f"--number_ios={COUNTED_IOS}", "--log_offset=1")

    def bench(self, name, *arguments):
        """Does a real run in its own directory, with all logs, under the names that fio-plot looks for."""
        place = self.directory / name
        place.mkdir()
        (self.directory / "data").mkdir(exist_ok=True)
        command = [self.ringbolt, "bench", "--name=x", f"--filename={self.directory / 'data' / name}", "--size=4m"]
        command += ["--rw=randrw", "--bs=4k", f"--iodepth={DEPTH}", "--numjobs=1", "--eta=never"]
        command += [f"--write_{kind}_log=randrw-iodepth-{DEPTH}-numjobs-1" for kind in ("bw", "iops", "lat")]
        output_of([*command, "--output-format=json+", "--output=randrw.json", *arguments], place)
        return json.loads((place / "randrw.json").read_text())

    def fio(self, *arguments):
        """Runs fio for a second on a small file."""
        command = [program("fio"), "--name=x", f"--filename={self.directory / 'fio.data'}", "--size=8m"]
        command += ["--rw=randrw", "--runtime=1", "--time_based", *arguments]
        return output_of(command, self.directory)

    def check_json_has_every_key_of_fio(self):
        """Checks that sections, statistics and distributions have the same types."""
        fio = json.loads(self.fio("--output-format=json+", "--fsync=64"))
        ours = self.run
        assert_same_shape(without(fio, ["jobs", "disk_util"]), ours, "")
        assert_same_shape(fio["disk_util"][0], ours["disk_util"][0], "disk_util") if fio["disk_util"] else None
        for mine in ours["jobs"]:
            assert_same_shape(without(fio["jobs"][0], ["job options", "read", "write", "sync"]), mine, "job")
        mixed, flushed = ours["jobs"]
        for section, mine in (("read", mixed), ("write", mixed), ("sync", flushed)):
            assert_same_shape(fio["jobs"][0][section], mine[section], section)
        assert all(isinstance(value, str) for value in mixed["job options"].values())

    def check_json_gives_the_percentiles_that_fio_gives(self):
        fio = json.loads(self.fio("--output-format=json"))["jobs"][0]["read"]["clat_ns"]["percentile"]
        assert list(fio) == list(self.run["jobs"][0]["read"]["clat_ns"]["percentile"])

    def check_terse_line_has_fios_fields(self):
        """Checks that the text around the digits of numbers is equal."""

        def shape(line):
            fields = line.strip().split(";")[5:121]
            return [re.sub(r"-?\d+(\.\d+)?", lambda found: "f" if found[1] else "i", field) for field in fields]

        fio = shape(self.fio("--output-format=terse", "--terse-version=3"))
        ours = shape((self.made / "run.terse").read_text().splitlines()[0])
        assert len(fio) == 116, f"fio's line has another form: {fio}"
        # A latency that fio did not measure has its 0 in the same form, so the whole lists can be compared.
        assert fio == ours, [pair for pair in enumerate(zip(fio, ours)) if pair[1][0] != pair[1][1]]

    def check_clat2csv_agrees_with_the_percentiles(self):
        reader = [sys.executable, program("fio_jsonplus_clat2csv")]
        target = self.directory / "bins.csv"
        output_of([*reader, self.made / "run.json", target])
        validated = output_of([*reader, self.made / "run.json", target, "--validate"])
        assert validated.count("validated") == len(self.run["jobs"]), validated
        for number, job in enumerate(self.run["jobs"]):
            for direction in ("read", "write"):
                latency = job[direction]["clat_ns"]
                if latency["N"] > 0:
                    assert_csv_agrees(self.directory / f"bins_job{number}.csv", direction, latency)

    def check_clat2csv_comes_to_an_end_with_a_stall(self):
        """Checks that the reader ends: it searches downwards from fio's largest bin, for ever if one is larger."""
        reader = [sys.executable, program("fio_jsonplus_clat2csv")]
        output_of([*reader, self.made / "stalled.json", self.directory / "stalled.csv"])
        stalled = json.loads((self.made / "stalled.json").read_text())
        assert_csv_agrees(
            self.directory / "stalled_job0.csv", "read", without(stalled["jobs"][0]["read"]["clat_ns"], ["percentile"])
        )

    def check_fio_plot_draws_bars_from_json(self):
        self.plot("bars.png", "-l", "-f", "read")
        self.plot("writes.png", "-l", "-f", "write")

    def check_fio_plot_draws_the_latency_distribution(self):
        self.plot("distribution.png", "-H", "-f", "read")

    def check_fio_plot_draws_logs(self):
        for kind in ("bw", "iops", "slat", "clat", "lat"):
            self.plot(f"log_{kind}.png", "-g", "-t", kind)

    def plot(self, name, *arguments, place=None, depth=32):
        target = self.directory / name
        common = ["-T", "title", "--source", "test", "-r", "randrw", "-d", depth, "-n", "1", "-o", target]
        output_of([program("fio-plot"), "-i", place or self.made / "plots", *common, *arguments])
        drawn = target.read_bytes()
        assert drawn.startswith(PNG_BEGINS) and len(drawn) > 10_000, f"{name}: {len(drawn)} bytes"

    def check_logs_are_in_fios_format(self):
        """Checks that lines have as many fields as fio's: whole numbers, ascending times, a direction."""
        self.fio("--write_lat_log=own", "--output=own.txt")
        own = read_log(self.directory / "own_clat.1.log")
        logs = sorted((self.made / "plots").glob("*.log"))
        assert len(logs) == 5, logs
        for log in logs:
            entries = read_log(log)
            assert entries and len(entries[0]) == len(own[0]), f"{log.name}: {entries[:1]} {own[:1]}"
            times = [entry[0] for entry in entries]
            assert times == sorted(times), log.name
            assert {entry[2] for entry in entries} == {0, 1}, log.name
            assert all(entry[3] == 4096 for entry in entries), log.name

    def check_real_json_has_every_key_of_fio(self):
        fio = json.loads(self.fio("--output-format=json+", "--fsync=64"))
        assert_same_shape(without(fio, ["jobs", "disk_util"]), self.timed, "")
        assert_same_shape(without(fio["jobs"][0], ["job options"]), self.timed["jobs"][0], "job")
        for theirs in fio["disk_util"]:
            assert_same_shape(theirs, self.timed["disk_util"][0], "disk_util")

    def check_real_runs_are_plotted(self):
        place = self.directory / "timed"
        self.plot("real_bars.png", "-l", "-f", "read", place=place, depth=DEPTH)
        self.plot("real_distribution.png", "-H", "-f", "write", place=place, depth=DEPTH)
        for kind in ("bw", "iops", "slat", "clat", "lat"):
            self.plot(f"real_{kind}.png", "-g", "-t", kind, place=place, depth=DEPTH)

    def check_clat2csv_agrees_with_real_runs(self):
        reader = [sys.executable, program("fio_jsonplus_clat2csv")]
        for name, run in (("timed", self.timed), ("counted", self.counted)):
            source, target = self.directory / name / "randrw.json", self.directory / f"{name}.csv"
            output_of([*reader, source, target])
            assert output_of([*reader, source, target, "--validate"]).count("validated") == 1
            for direction in ("read", "write"):
                part = run["jobs"][0][direction]
                assert part["clat_ns"]["N"] == part["total_ios"] > 0, direction
                assert_csv_agrees(self.directory / f"{name}_job0.csv", direction, part["clat_ns"])

    def check_logs_of_single_operations_add_up_to_the_json(self):
        """Checks one line for each operation: number, bytes and mean are those of the JSON."""
        job = self.counted["jobs"][0]
        done = job["read"]["total_ios"] + job["write"]["total_ios"]
        assert done == COUNTED_IOS, f"{done} operations"
        for kind in ("slat", "clat", "lat"):
            entries = read_log(self.log("counted", kind))
            for number, direction in enumerate(("read", "write")):
                own = [entry for entry in entries if entry[2] == number]
                part, mean = job[direction], job[direction][f"{kind}_ns"]["mean"]
                assert len(own) == part["total_ios"], f"{kind} {direction}: {len(own)} of {part['total_ios']}"
                assert sum(entry[3] for entry in own) == part["io_bytes"], f"{kind} {direction}"
                assert {entry[4] % 4096 for entry in own} == {0} and len({entry[4] for entry in own}) > 100
                # The mean of the JSON is computed from bins, which are exact to three digits.
                assert_near(sum(entry[1] for entry in own) / len(own), mean, 1e-3, f"{kind} {direction}")

    def check_averaged_logs_agree_with_the_json(self):
        """Checks lines for tenths of a second; only what came after the last whole one is in none."""
        job = self.timed["jobs"][0]
        logs = {kind: read_log(self.log("timed", kind)) for kind in ("bw", "iops", "slat", "clat", "lat")}
        seconds = LOG_AVERAGE_MS / 1000
        for number, direction in enumerate(("read", "write")):
            part = job[direction]
            own = {kind: [entry[1] for entry in log if entry[2] == number] for kind, log in logs.items()}
            times = {kind: [entry[0] for entry in log if entry[2] == number] for kind, log in logs.items()}
            assert all(times[kind] == times["iops"] for kind in times), times
            assert all(time % LOG_AVERAGE_MS == 0 for time in times["iops"]), times["iops"]
            covered = times["iops"][-1] / part["runtime"]
            assert 0.8 < covered < 1.01, f"{times['iops'][-1]} of {part['runtime']} ms are in the logs"
            assert_near(sum(own["iops"]) * seconds, part["total_ios"] * covered, 0.05, f"iops {direction}")
            assert_near(sum(own["bw"]) * 1024 * seconds, part["io_bytes"] * covered, 0.05, f"bw {direction}")
            for kind in ("slat", "clat", "lat"):
                weighted = sum(value * ios for value, ios in zip(own[kind], own["iops"])) / sum(own["iops"])
                assert_near(weighted, part[f"{kind}_ns"]["mean"], 0.1, f"{kind} {direction}")

    def log(self, name, kind):
        return self.directory / name / f"randrw-iodepth-{DEPTH}-numjobs-1_{kind}.1.log"


def assert_near(found, expected, share, what):
    assert abs(found - expected) <= share * expected, f"{what}: {found}, expected {expected}"


def without(value, keys):
    return {key: part for key, part in value.items() if key not in keys}


def kind(value):
    """Returns the type in JSON: a whole number is not a number with a decimal point."""
    return type(value).__name__


def assert_same_shape(theirs, ours, path):
    """Checks that ours has every key of theirs with the same type; of bins, only the types are compared."""
    for key, value in theirs.items():
        here = f"{path}.{key}"
        assert key in ours, f"{here} is missing"
        assert kind(value) == kind(ours[key]), f"{here}: fio has {kind(value)}, we have {kind(ours[key])}"
        if key == "bins":
            assert all(name.isdigit() and kind(count) == "int" for name, count in ours[key].items()), here
        elif isinstance(value, dict):
            assert_same_shape(value, ours[key], here)


def assert_csv_agrees(path, direction, latency):
    """Checks that the first row that reaches a percentile is it, and that the last row has all operations."""
    with path.open() as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    count, share = f"{direction}_clat_ns_cumulative", f"{direction}_clat_ns_percentile"
    rows = [(int(row["nsec"]), int(row[count]), float(row[share])) for row in rows if row[count].strip()]
    assert rows[-1][1] == latency["N"], f"{rows[-1]} of {latency['N']}"
    for percent, expected in latency.get("percentile", {}).items():
        wanted = float(percent) / 100
        found = next(nanoseconds for nanoseconds, _, reached in rows if reached >= wanted - 1e-12)
        assert found == expected, f"{direction} {percent}: {found} in the CSV, {expected} in the JSON"


def read_log(path):
    lines = path.read_text().splitlines()
    return [[int(field, 0) for field in line.split(", ")] for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=Path, required=True, help="the report_samples program")
    parser.add_argument("--ringbolt", type=Path, required=True, help="the program itself")
    parser.add_argument("--scratch", type=Path, required=True, help="where to make a directory")
    arguments = parser.parse_args()
    failed = 0
    passed = 0
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as directory:
        readers = Readers(arguments.samples.resolve(), arguments.ringbolt.resolve(), Path(directory))
        for name in sorted(name for name in dir(readers) if name.startswith("check_")):
            try:
                getattr(readers, name)()
                passed += 1
                print(f"ok      {name.removeprefix('check_')}")
            except (AssertionError, subprocess.TimeoutExpired, OSError, ValueError, KeyError) as error:
                failed += 1
                print(f"FAILED  {name.removeprefix('check_')}: {error}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
