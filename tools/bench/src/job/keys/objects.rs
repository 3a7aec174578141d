//! This module lists the keys of objects: where they are stored, and which operations use them.

use super::{Engines, Key, Kind};

pub const KEYS: &[Key] = &[
    Key::new("op", Kind::Special, "op=get", "What is done to objects")
        .default("from rw")
        .range("put, get, head, list, delete, copy, multipart, mixed")
        .on(Engines::Objects)
        .text("mixed needs opmix."),
    Key::new("opmix", Kind::Special, "opmix=get/70:put/20:list/10", "Operations and their weights")
        .on(Engines::Objects)
        .text(
            "Weights are against each other; they need not add up to 100. Implies op=mixed. With delete in it a mix \
             puts objects of its own, beside those that get, head and copy ask for, and deletes only these, the \
             oldest first: no read asks for what is gone. put and multipart need at least delete's weight. A \
             delete that comes before there is anything to delete is made up for when there is.",
        ),
    Key::new("objects", Kind::Number, "objects=10000", "How many objects there are")
        .default("size over bs")
        .on(Engines::Objects)
        .range("1 or more"),
    Key::new("keydist", Kind::Special, "keydist=zipf:1.1", "Which objects are wanted more often")
        .default("random_distribution")
        .on(Engines::Objects)
        .range("as random_distribution"),
    Key::new("part_size", Kind::Size, "part_size=16m", "Bytes of a part of a multipart upload")
        .default("8m")
        .range("5m to 5g")
        .on(Engines::Objects),
    Key::new("range_size", Kind::Size, "range_size=64k", "Bytes that a get asks for, at a random multiple of it")
        .default("all of the object")
        .on(Engines::Objects)
        .text("Where less is left of the object, that. With verify a multiple of 4096."),
    Key::new("redundancy", Kind::Special, "redundancy=mirror", "Copies that drives keep which the job makes")
        .default("mirror of several drives, none of one")
        .range("none, mirror, mirror-3, mirror-4")
        .on(Engines::Ringbolt)
        .text("Drives that exist keep what they were formatted with."),
    Key::new("request_timeout", Kind::Seconds, "request_timeout=5s", "Longer without a whole answer is a failure")
        .default("30s")
        .range("1ms or more")
        .on(Engines::S3)
        .text(
            "Connecting counts. At the end of the job or of the run nothing is waited for longer than half a second: \
             what is in flight then is cut off and counted.",
        ),
    Key::new("client_wait", Kind::Special, "client_wait=sleep", "What the client does while no answer is there")
        .default("auto")
        .range("poll, sleep, auto")
        .on(Engines::S3)
        .text(
            "poll looks again and again, so that the server does not pay for waking the client; each client thread \
             needs a core that nobody else needs. sleep waits in the kernel. auto polls when the endpoint is on \
             another machine and this one has a core for each of the job's threads. The report says which it was. \
             Before a deadline that is nearer than 2 ms, as an open load has them, the client does not sleep.",
        ),
    Key::new("bucket", Kind::Text, "bucket=bench", "Bucket of the objects; made when it is not there")
        .default("bench")
        .on(Engines::S3)
        .text("With ioengine=http and filename=/bucket/name, as fio has it, the first part of filename."),
    Key::new("http_host", Kind::Text, "http_host=127.0.0.1:9000", "The endpoint, with its port; also a URL")
        .default("127.0.0.1:9000")
        .on(Engines::S3),
    Key::new("http_mode", Kind::Special, "http_mode=s3", "Which protocol the endpoint speaks")
        .default("s3")
        .range("s3")
        .on(Engines::S3),
    Key::new("https", Kind::Special, "https=off", "TLS to the endpoint")
        .default("off")
        .range("off, on, insecure (the certificate is not looked at)")
        .on(Engines::S3)
        .text(
            "on: the certificate has to be signed by one that the system trusts, and http_host to be a name in it; \
             SSL_CERT_FILE in the environment names a PEM file of trusted ones in place of the system's. \
             http_host without a port then means 443. Connections are made before the clock starts; the CPU \
             time of the client includes TLS, and every byte is copied on its way.",
        ),
    Key::new("http_s3_region", Kind::Text, "http_s3_region=us-east-1", "Region that requests are signed for")
        .default("us-east-1")
        .on(Engines::S3),
    Key::new("http_s3_keyid", Kind::Text, "http_s3_keyid=AKIAEXAMPLE", "Access key")
        .default("RINGBOLT_ACCESS_KEY or AWS_ACCESS_KEY_ID of the environment")
        .on(Engines::S3)
        .secret(),
    Key::new("http_s3_key", Kind::Text, "http_s3_key=correct-horse", "Secret key")
        .default("RINGBOLT_SECRET_KEY or AWS_SECRET_ACCESS_KEY of the environment")
        .on(Engines::S3)
        .text("Better in the environment: a command line can be seen by all.")
        .secret(),
];
