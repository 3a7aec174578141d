//! This module holds the manual page for `ringbolt bench --help`.

pub const MANUAL: &str = "\
ringbolt bench: load for drives, the storage engine and S3 endpoints, described as fio's jobs are

SYNOPSIS
  ringbolt bench [OPTION | --KEY=VALUE]... [JOB FILE]...
  ringbolt bench layers JOB [--directory DIR] [--endpoint HOST:PORT] [--json]
  ringbolt bench compare BEFORE.json AFTER.json [--threshold PERCENT]
  ringbolt bench profile --drive PATH [--minutes NUMBER] [--allow-overwrite]

JOBS
  A job file has sections; each is a job, named by its section. [global] is inherited by the jobs below it.

    [global]
    ioengine=io_uring          ; who carries the operations out
    filename=/dev/nvme1n1      ; on what
    direct=1                   ; past the page cache
    runtime=30s
    time_based

    [random-reads]
    rw=randread
    bs=4k
    iodepth=32

    [large-writes]
    stonewall                  ; when the job above has ended
    rw=write
    bs=1m

  Jobs written for fio run as they are where all they ask for is built; what stands in the way is told at once.
  The same on a command line: each --name begins a job, what stands before the first is inherited, by job files too.
  Sizes: k, m, g, t, p are powers of 1024; kib, mib and so on of 1000, as in fio (kb_base=1000 turns that round).
  Times: us, ms, s, m, h, d; without a unit most are seconds. ${NAME} comes from the environment.
  What is not known is refused, with the line and the nearest name; so is what fio knows and this does not.

KEYS
  rw=read|write|randread|randwrite|rw|randrw|trim|randtrim|trimwrite
                            what is done, in which order; rwmixread=70 for the mix
  bs=4k, bsrange=4k-64k, bssplit=4k/50:64k/50
                            bytes of an operation or an object; after a comma for writes
  size=10g, io_size, filesize
                            what is worked on; how much is transferred; of each file
  filename=PATH, directory=PATH
                            files or block devices
  iodepth=32, numjobs=4     operations in flight in each thread; threads
  direct=1                  past the page cache
  runtime=30s, time_based, ramp_time=5s
                            how long; what is not counted at the beginning
  rate_iops=5000, rate=100m, rate_process=poisson
                            an open load: operations start when they are due, and waiting counts
  latency_target=500us, latency_window=1s, latency_percentile=99
                            find the depth that holds a latency
  random_distribution=zipf:1.1
                            some places more often than others; keydist for objects
  steadystate=iops:2%, steadystate_duration=30s
                            end once the rate does not change any more
  fsync=1, fdatasync=1, sync=dsync
                            durability
  verify=crc32c|sha256      is what was written still there, and is it what comes? sha256 for objects
  stonewall, group_reporting, new_group, wait_for=JOB
                            what runs together, what is summed
  op=put|get|head|list|delete|copy|multipart|mixed, opmix=get/70:put/30, objects=10000, bucket=bench
                            for objects; range_size=64k to get parts of them;
                            request_timeout=30s for one operation; client_wait=poll|sleep
  --cmdhelp lists all keys, --cmdhelp=KEY tells all about one.

ENGINES (--enghelp)
  io_uring                  files and block devices; libaio and posixaio are done so too
  psync                     the same, one pread or pwrite after the other; so are sync and pvsync. It is the default
                            with iodepth=1; mmap copies from and to the mapped file
  ringbolt                  the storage engine in this process, without HTTP; filename is its drive, or
                            several, a:b, of which redundancy says how many copies they keep
  s3 (http)                 an S3 endpoint: http_host, bucket, http_s3_region, https; credentials from
                            RINGBOLT_ACCESS_KEY and RINGBOLT_SECRET_KEY or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY

OPTIONS
  --output-format=FORMAT[,FORMAT]
                            normal, json (fio's fields), json+ (with every bin of the histograms), terse
  --output=FILE             results go there in place of stdout
  --html=FILE               a page with charts: throughput and latency over time, percentiles, environment
  --status-interval=TIME    results so far, each time so much has passed
  --eta=auto|always|never   the live line on stderr; auto: on a terminal
  --minimal, --append-terse terse lines, alone or behind the report
  --section=NAME            run only this job; may be repeated
  --allow-overwrite         write to block devices and to files that exist; a mounted device is refused always
  --readonly                refuse jobs that write
  --parse-only              say whether the jobs are understood
  --showcmd                 print the jobs as a command line; secrets are left out
  --cmdhelp[=KEY], --enghelp[=ENGINE], --help, --version
  One dash is as good as two, and --KEY VALUE as --KEY=VALUE.

EXAMPLES
  A raw drive, reads only:
    ringbolt bench --name=reads --filename=/dev/nvme1n1 --direct=1 --rw=randread --bs=4k --iodepth=32 \\
        --runtime=30s --time_based --norandommap
  The storage engine, on a drive file that is made:
    ringbolt bench --name=engine --ioengine=ringbolt --filename=/mnt/nvme/bench-drive --op=put --bs=4k \\
        --objects=100000 --iodepth=64
  An S3 endpoint, a mix, two client threads:
    ringbolt bench --name=s3 --ioengine=s3 --http_host=127.0.0.1:9000 --opmix=get/70:put/30 --bs=64k \\
        --objects=1000 --numjobs=2 --iodepth=16 --group_reporting --runtime=30s --time_based
  An open load: what users wait at 2000 requests a second, also while the server stalls:
    ringbolt bench --name=open --ioengine=s3 --op=get --bs=16k --objects=1000 --iodepth=256 \\
        --rate_iops=2000 --rate_process=poisson --runtime=60s --time_based
  What each layer costs, from the drive to S3:
    ringbolt bench layers layers.fio --directory /mnt/nvme
  What a drive can do, into a file for later planning; what is on the drive is lost:
    ringbolt bench profile --drive /dev/nvme1n1 --allow-overwrite --minutes 30 --output nvme1n1.json
  Did a change make it slower? Exit status 3 if so, beyond 5 per cent:
    ringbolt bench reads.fio --output-format=json+ --output=before.json    # and after.json
    ringbolt bench compare before.json after.json --threshold 5

EXIT STATUS
  0  all jobs ran
  1  a job failed, or results could not be written
  2  the jobs are not understood, or can not be run, or would overwrite what they must not
  3  compare: slower beyond the threshold
  128  a run was interrupted (SIGINT, SIGTERM): jobs that ran have ended early, others were not begun, and what was
     measured is reported; a second signal ends it at once, with 128 and its number

FILES
  tools/bench/jobs/*.fio in the source has a job file for each use. docs/bench-jobs.md tells of the format.
";
