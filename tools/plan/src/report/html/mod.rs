//! This module shows a plan as one page: answers, plots, tables.
//!
//! Invariants: the page is self-contained: nothing is loaded from anywhere, and there is no script
//! in it. All text that comes from a file or a machine is escaped. All coordinates are finite.

mod charts;

use super::{answers, sections, text};
use crate::month::Month;
use crate::result::Plan;
use ringbolt_tool_common::html;
use std::fmt::Write;

/// Returns the page. The month `at` is shown in as much detail as the first and the last.
pub fn html(plan: &Plan, at: Option<Month>) -> String {
    let mut body = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(body, "<p>{}</p>", html::escaped(&text::made(plan)));
    let mut answers = answers::table(plan, at);
    answers.title.clear();
    body += &answers.html();
    body += "<h2>In pictures</h2>\n<div class=\"figures\">\n";
    body += &charts::all(plan);
    body += "</div>\n";
    for table in sections::all(plan, at, 1) {
        body += &table.html();
    }
    html::page(&html::shortened(&text::title(plan), 160), include_str!("style.css"), &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constants::{Constant, Source};
    use crate::report::sample;
    use crate::result::Constraint;

    /// These elements have no end tag.
    const VOID: [&str; 1] = ["meta"];

    /// Checks that elements end in the reverse order of their beginnings, and returns their number.
    fn assert_well_formed(page: &str) -> usize {
        let mut open: Vec<&str> = Vec::new();
        let mut count = 0;
        let without_head = page.strip_prefix("<!doctype html>\n").expect("a document type");
        for tag in without_head.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("no end: <{tag}"));
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "</{name}> where it does not belong");
            } else if !tag.ends_with('/') && !VOID.contains(&name) {
                open.push(name);
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "quotes of <{tag}>");
            count += 1;
        }
        assert!(open.is_empty(), "never ended: {open:?}");
        count
    }

    fn assert_good(plan: &Plan) -> String {
        let page = html(plan, None);
        assert_well_formed(&page);
        for part in ["http://", "https://", "<script", "<link", "@import", "url(", "src=", "href="] {
            assert!(!page.contains(part), "{part} in the page");
        }
        for part in ["NaN", "inf ", ">inf<", "Infinity", "infinity"] {
            assert!(!page.contains(part), "{part}: a number that is none");
        }
        page
    }

    #[test]
    fn every_picture_and_table_is_there() {
        let page = assert_good(&sample::plan());
        for title in [
            "Time to full",
            "Use of each limit with all nodes up",
            "Use of each limit with one node down",
            "Nodes needed",
            "Objects by size",
            "Stored bytes by size, and waste",
            "Waste by size",
        ] {
            assert_eq!(page.matches(&format!("<figcaption>{title}")).count(), 1, "{title}");
        }
        for title in ["Months", "Layout by size", "Durability", "Cost", "Constants", "Notes"] {
            assert_eq!(page.matches(&format!("<h2>{title}</h2>")).count(), 1, "{title}");
        }
        for constraint in Constraint::ALL {
            // The class occurs in the legend and in the chart, on two charts.
            let class = format!("class=\"curve {}\"", super::super::words::name(constraint));
            assert_eq!(page.matches(&class).count(), 4, "{class}");
        }
        assert!(page.len() < 300_000, "{} bytes", page.len());
    }

    #[test]
    fn edge_cases_are_pages() {
        let idle = assert_good(&sample::idle());
        assert!(!idle.contains("with one node down</figcaption>"), "there is no other node");
        let mut plan = sample::with_months(240);
        plan.layout = sample::layout(2000);
        let long = assert_good(&plan);
        assert!(long.len() < 600_000, "{} bytes", long.len());
        assert!(long.contains(&format!("<td class=\"left\">{}</td>", plan.months[100].month)), "all months");
        let mut plan = sample::plan();
        plan.months.clear();
        plan.fill.months.clear();
        plan.layout.classes.clear();
        assert_good(&plan);
    }

    #[test]
    fn text_from_outside_is_escaped() {
        let mut plan = sample::plan();
        let evil = "<script>alert(1)</script>\"'&";
        plan.workload.name = evil.to_owned();
        plan.hardware.name = evil.to_owned();
        plan.hardware.cost.currency = evil.to_owned();
        plan.hardware.drives.speed.source = evil.to_owned();
        plan.workload.objects.sizes_source = evil.to_owned();
        plan.durability.model = evil.to_owned();
        plan.durability.rebuild_bound_by = evil.to_owned();
        plan.notes = vec![evil.to_owned()];
        let source = Source::Measured { how: evil.to_owned(), machine: evil.to_owned(), unix_ms: 0 };
        plan.constants.insert(evil.to_owned(), Constant { value: 1.0, source });
        let page = assert_good(&plan);
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
    }

    #[test]
    fn what_leaves_the_picture_is_cut_and_said() {
        let mut plan = sample::plan();
        for month in &mut plan.fill.months {
            month.fill_p95 *= 1000.0;
            month.fill_p50 *= 30.0;
        }
        for month in &mut plan.months {
            month.uses[0].use_of_limit = 40.0;
        }
        let page = assert_good(&plan);
        assert!(page.contains("Cut at 150%") && page.contains("cut at 200%"), "{}", &page[..2000]);
    }
}
