//! These tests take public job files (tools/bench/jobs/public): each one runs as it is, scaled
//! down, or is refused with all reasons at once.

use super::scaled::{Scale, scaled};
use super::tests::{Place, run_plan};
use crate::job::tests::around;
use crate::job::{self, Refusals, Resolved};
use crate::spec::{BlockSize, Direction, Engine};
use std::path::{Path, PathBuf};

/// A file of this many bytes replaces the drive of a public job.
const DRIVE_BYTES: usize = 16 << 20;

/// Lists the jobs that only fio can run, with every reason for which each one is refused.
const REFUSED: [(&str, [&str; 4]); 2] = [
    (
        "ceph-rbd.fio",
        ["clientname: fio has it", "pool: fio has it", "rbdname: fio has it", "ioengine=rbd: fio has it"],
    ),
    (
        "surface-scan.fio",
        ["verify=meta: ", "verify_async: fio has it", "verify_backlog: fio has it", "verify_interval: fio"],
    ),
];

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/public");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 36, "{} job files", files.len());
    files
}

fn resolved(file: &Path, place: &Place) -> Result<Resolved, Refusals> {
    let (directory, drive) = (place.file(""), place.file("drive"));
    let scale = Scale {
        directory: &directory,
        drive: &drive,
        sizes: ["4m", "1m"],
        threads_max: 2,
        runtime: "150ms",
        ramp: "0",
    };
    let text = scaled(&std::fs::read_to_string(file).unwrap(), &scale);
    job::of_text(&text, file, &around(&|_| None))
}

fn name(file: &Path) -> &str {
    file.file_name().unwrap().to_str().unwrap()
}

#[test]
fn public_jobs_run_as_they_are() {
    for file in files().iter().filter(|file| REFUSED.iter().all(|(refused, _)| *refused != name(file))) {
        let place = Place::new();
        std::fs::write(place.file("drive"), vec![1; DRIVE_BYTES]).unwrap();
        let plan = resolved(file, &place).unwrap_or_else(|error| panic!("{}: {error}", name(file))).plan;
        if plan.jobs.iter().any(|job| job.engine == Engine::S3) {
            continue;
        }
        let run = run_plan(&plan);
        for result in &run.jobs {
            assert_eq!((result.error, &result.error_text), (0, &None), "{}, {}", name(file), result.job.name);
            assert_eq!(result.verify_failures, 0, "{}", name(file));
            let counted = Direction::ALL.map(|of| (of, result.by_direction.get(of)));
            assert!(counted.iter().any(|(_, counted)| counted.ios > 0), "{} did nothing", name(file));
            for (of, counted) in counted.iter().filter(|(_, counted)| counted.ios > 100) {
                let mean = counted.bytes as f64 / counted.ios as f64;
                let wanted = mean_of(result.job.block.get(*of));
                let is_near = (mean / wanted - 1.0).abs() < if wanted == mean { 0.0001 } else { 0.3 };
                assert!(is_near, "{}: {} of {mean} bytes, {wanted} wanted", name(file), of.name());
            }
        }
    }
}

fn mean_of(block: &BlockSize) -> f64 {
    match block {
        BlockSize::Fixed(bytes) => *bytes as f64,
        BlockSize::Range { least, most } => (least + most) as f64 / 2.0,
        BlockSize::Split(parts) => {
            parts.iter().map(|(bytes, share)| *bytes as f64 * f64::from(*share) / 100.0).sum()
        }
    }
}

#[test]
fn public_jobs_that_need_fio_are_refused_once_with_all_reasons() {
    for (file, reasons) in REFUSED {
        let path = files().into_iter().find(|path| name(path) == file).unwrap();
        let place = Place::new();
        std::fs::write(place.file("drive"), vec![1; DRIVE_BYTES]).unwrap();
        let error = resolved(&path, &place).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{} things", reasons.len())), "{error}");
        reasons.iter().for_each(|reason| assert!(error.contains(reason), "{reason} is missing: {error}"));
    }
}

#[test]
fn public_jobs_say_what_they_are_for() {
    for file in files() {
        let text = std::fs::read_to_string(&file).unwrap();
        let about: String = text.lines().take_while(|line| line.starts_with(';')).collect();
        assert!(about.len() > 20 && about.ends_with('.'), "{}: {about:?}", name(&file));
    }
}
