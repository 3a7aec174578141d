use super::*;
use crate::input::kind::Kind;
use crate::model::{self, testing};
use crate::result::Plan;

/// These values are short, so that a plan takes little time.
const SHORT: [&str; 2] = ["plan.samples=100", "plan.months=3"];

fn planned(set: &[Override]) -> Result<Plan, String> {
    let (workload, hardware) = documents();
    let mut all = overrides(&SHORT);
    all.extend_from_slice(set);
    let input = parse(&workload, &hardware, &all, Path::new(""), NOW).map_err(|error| error.to_string())?;
    model::plan(&input.workload, &input.hardware, &testing::constants(), NOW * 1000)
        .map_err(|error| error.to_string())
}

#[test]
fn the_template_can_be_planned() {
    let plan = planned(&overrides(&["plan.months=36"])).unwrap();
    assert_eq!((plan.months.len(), plan.workload.name.as_str()), (36, "example workload"));
    assert!(plan.nodes >= 1 && plan.nodes < 10, "{}", plan.nodes);
}

/// Returns the limits of a key's values as text.
fn ends(kind: Kind) -> Vec<String> {
    match kind {
        Kind::Whole { least, most } | Kind::Bytes { least, most } => {
            vec![least.to_string(), most.to_string()]
        }
        Kind::Number { least, most } | Kind::Share { least, most } | Kind::MeanBytes { least, most } => {
            vec![least.to_string(), most.to_string()]
        }
        Kind::DriveBytes => vec!["60MB".to_owned(), "70TB".to_owned()],
        Kind::BytesPerS => vec!["1kB/s".to_owned(), "10TB/s".to_owned()],
        Kind::PerS => vec!["0".to_owned(), "1e9".to_owned()],
        Kind::Age => vec!["1h".to_owned(), "100y".to_owned()],
        Kind::Word(words) => words.iter().map(|word| (*word).to_owned()).collect(),
        Kind::Redundancy => {
            ["none", "mirror-4", "2+1", "10+1", "9+3", "12+3", "default"].map(str::to_owned).to_vec()
        }
        Kind::Text | Kind::File | Kind::Month | Kind::Hours | Kind::Sizes => Vec::new(),
    }
}

/// The model accepts whatever the input accepts: it gives an answer or a reason, and no figure is
/// NaN.
#[test]
fn the_ends_of_every_key_are_planned_or_refused() {
    let mut planned_ends = 0;
    for key in keys::all().filter(|key| !["plan.samples", "plan.months"].contains(&key.path)) {
        for value in ends(key.kind) {
            let set = Override { path: key.path.to_owned(), value };
            match planned(std::slice::from_ref(&set)) {
                Ok(plan) => {
                    let read = Plan::from_json(&plan.to_json());
                    assert!(read.is_ok(), "{set}: {:?}", read.err());
                    planned_ends += 1;
                }
                Err(reason) => assert!(!reason.is_empty(), "{set}"),
            }
        }
    }
    assert!(planned_ends > 80, "{planned_ends}");
}
