//! This module lists fio's keys that are not supported. They are refused by name, so that nobody
//! believes that they take effect.
//!
//! Invariant: the names are those of fio's own manual and of its engines, each with an alternative
//! if there is one.

/// Lists keys with a hint of their own.
const WITH_HINT: &[(&str, &str)] = &[
    ("blocksize_unaligned", "blocks are multiples of the smallest size"),
    ("bs_unaligned", "blocks are multiples of the smallest size"),
    ("cpumask", "use cpus_allowed"),
    ("fill_device", "give size"),
    ("fill_fs", "give size"),
    ("flow", "use rate_iops or rwmixread to weigh one load against another"),
    ("http_pass", "only http_mode=s3 is built; use http_s3_keyid and http_s3_key"),
    ("http_user", "only http_mode=s3 is built; use http_s3_keyid and http_s3_key"),
    ("http_swift_auth_token", "only http_mode=s3 is built"),
    ("ignore_error", "use continue_on_error"),
    ("log_hist_msec", "use --output-format=json+, which has every bin"),
    ("max_latency", "use latency_target, or look at the maximum"),
    ("read_iolog", "loads are generated, not replayed"),
    ("verify_backlog", "what was written is read back at the end of the job"),
    ("write_hist_log", "use --output-format=json+, which has every bin"),
    ("write_iolog", "loads are generated, not recorded"),
];

/// Lists the other keys.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    "apptag", "apptag_mask", "arguments", "ba", "bindname", "block", "block_error_percentiles", "blockalign",
    "brick", "bs_is_seq_rand", "buffer_compress_chunk", "busy_poll", "busy_wait_polling",
    "cdb_len", "cgroup", "cgroup_nodelete", "cgroup_weight", "chunk_size", "clientname", "clustername",
    "cmd_type", "cmdprio", "cmdprio_bssplit", "cmdprio_class", "cmdprio_hint", "cmdprio_percentage", "comm",
    "conf", "cont", "cpuchunks", "cpuload", "cpumode", "cuda_io", "data_placement", "dataplacement", "deac",
    "dedupe_global", "dedupe_mode", "dedupe_percentage", "dedupe_working_set_percentage", "device-names", "dir",
    "direct_write_to_pmem", "donorname", "dp_scheme", "end_syncfs", "exec_postrun", "exec_prerun",
    "exit_on_io_done", "exit_what", "exitall_on_error", "experimental_verify", "fdp", "fdp_pli",
    "fdp_pli_select", "file_append", "filename_format", "filetype", "flow_id", "flow_sleep", "flow_watermark",
    "force_async", "gid", "gpu_dev_id", "gpu_dev_ids", "grace_time", "gtod_cpu", "hdfs_use_direct",
    "hdfsdirectory", "hipri_percentage", "hostname", "http_object_mode", "http_s3_security_token",
    "http_s3_sse_customer_algorithm", "http_s3_sse_customer_key", "http_s3_storage_class", "http_verbose",
    "hugepage-size", "ignore_zone_limits", "initiator", "inplace", "interface", "io_submit_mode", "ioscheduler",
    "job_max_open_zones", "job_start_clock_id", "large-block-op-kbytes", "latency_run", "libaio_vectored",
    "libblkio_driver", "libblkio_force_enable_completion_eventfd", "libblkio_num_entries", "libblkio_path",
    "libblkio_pre_connect_props", "libblkio_pre_start_props", "libblkio_queue_size", "libblkio_vectored",
    "libblkio_wait_mode", "libblkio_write_zeroes_on_trim", "listen", "load", "lockmem", "log_alternate_epoch",
    "log_alternate_epoch_clock_id", "log_compression", "log_compression_cpus", "log_hist_coarseness",
    "log_issue_time", "log_max_value", "log_prio", "log_store_compressed", "log_unix_epoch", "log_window_value",
    "max_open_zones", "md_per_io_size", "merge_blktrace_file", "merge_blktrace_iters", "merge_blktrace_scalars",
    "mss", "namenode", "nfs_url", "nice", "no_completion_thread", "nodelay", "num_range", "numa_mem_policy",
    "numruns", "object_class", "offset_align", "opendir", "pi_act", "pi_chk", "pingpong", "plid_select",
    "plids", "pool", "port", "prep", "prio", "prioclass", "priohint", "profile", "program", "proto", "protocol",
    "ramp_size", "random_sequence_stride", "rate_cycle", "rate_iops_min", "rate_min", "ratecycle", "ratemin",
    "rbd_encryption_format", "rbd_encryption_passphrase", "rbdname", "read-req-num-512-blocks",
    "read_beyond_wp", "read_iolog_chunked", "read_mode", "readfua", "recover_zbd_write_error", "replay_align",
    "replay_no_stall", "replay_redirect", "replay_scale", "replay_skip", "replay_time_scale", "rocm_io",
    "serverip", "sg_write_mode", "single-instance", "single_instance", "skip_bad", "spr_cs", "spr_num_regions",
    "spr_op", "sprandom", "sqthread_poll_cpu", "stat_type", "std_redirect", "stream_id", "svcl",
    "sync_file_range", "test-duration", "thinkcycles", "thinktime_blocks_type", "thinktime_iotime", "thp",
    "threads", "threads-per-queue", "touch_objects", "trim_backlog", "trim_backlog_batch", "trim_percentage",
    "trim_verify_zero", "ttl", "uid", "uncached", "unique_filename", "unlink_each_loop", "uri", "verb",
    "verify_async", "verify_async_cpus", "verify_backlog_batch", "verify_bytchk", "verify_header_seed",
    "verify_interval", "verify_mode", "verify_offset", "verify_pattern_interval",
    "verify_policy", "verify_state_load", "verify_write_sequence", "verifysort", "verifysort_nr", "volume",
    "window_size", "write_barrier", "write_hint", "write_mode", "write_zone_remainder", "write_zone_remainders",
    "writefua", "xnvme_admin", "xnvme_async", "xnvme_be", "xnvme_dev_nsid", "xnvme_dev_subnqn", "xnvme_iovec",
    "xnvme_mem", "xnvme_sync", "zone_reset_frequency", "zone_reset_threshold", "zonecapacity", "zonerange",
    "zonesize", "zoneskip",
];

/// Returns what to do instead of a key of fio; `None` if fio does not know the key either.
pub fn hint(name: &str) -> Option<&'static str> {
    let with_hint = WITH_HINT.iter().find(|(known, _)| *known == name).map(|(_, hint)| *hint);
    with_hint.or_else(|| NAMES.contains(&name).then_some("use fio for it, or leave the key out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_once() {
        for (index, name) in NAMES.iter().enumerate() {
            assert!(!NAMES[..index].contains(name), "{name} is listed twice");
        }
        for (name, _) in WITH_HINT {
            assert!(!NAMES.contains(name), "{name} is listed twice");
        }
    }
}
