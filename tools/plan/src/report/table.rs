//! This module is a table that is shown as text and as HTML.
//!
//! Invariants: no line of the text is wider than [`WIDTH`], provided that the columns before the
//! last leave room. Text from a file cannot control a terminal. In HTML, every cell is escaped.

use super::words::NOTHING;
use ringbolt_tool_common::html::{escaped, shortened};
use ringbolt_tool_common::text::{plain, wrapped};
use std::fmt::Write;

/// This is the number of characters of a line of text.
pub const WIDTH: usize = 108;
const INDENT: usize = 2;
const GAP: usize = 2;
/// The last column is at least this wide.
const WRAPPED_MIN: usize = 24;
/// A cell outside of the last column has at most this many characters.
const CELL_MAX: usize = 48;

/// Says how the cells of a column are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Aligns words; in the last column they are wrapped.
    Left,
    /// Aligns numbers.
    Right,
}

#[derive(Clone, Debug)]
pub struct Column {
    /// This is split into lines at line breaks.
    pub title: String,
    pub align: Align,
}

/// This is a table with title and notes.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub title: String,
    /// If no column has a title, the table consists of names and values without a heading.
    pub columns: Vec<Column>,
    /// Each row has as many cells as there are columns.
    pub rows: Vec<Vec<String>>,
    /// These are printed below the table.
    pub notes: Vec<String>,
}

impl Table {
    pub fn new(title: impl Into<String>, columns: &[(&str, Align)]) -> Self {
        let column = |(title, align): &(&str, Align)| Column { title: (*title).to_owned(), align: *align };
        Self { title: title.into(), columns: columns.iter().map(column).collect(), ..Self::default() }
    }

    /// Creates a table of names and values.
    pub fn facts(title: impl Into<String>) -> Self {
        Self::new(title, &[("", Align::Left), ("", Align::Left)])
    }

    /// Adds a name and its value.
    pub fn fact(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.rows.push(vec![name.into(), value.into()]);
    }

    fn has_heading(&self) -> bool {
        self.columns.iter().any(|column| !column.title.is_empty())
    }

    /// Returns title, heading, rows, notes, and an empty line.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.title.is_empty() {
            let _ = writeln!(text, "{}", self.title);
        }
        let widths = self.widths();
        if self.has_heading() {
            let titles: Vec<Vec<String>> =
                self.columns.iter().map(|column| column.title.lines().map(plain).collect()).collect();
            let height = titles.iter().map(Vec::len).max().unwrap_or(0);
            for line in 0..height {
                // Shorter titles are aligned at the bottom.
                let cell = |lines: &Vec<String>| {
                    (line + lines.len()).checked_sub(height).map_or(String::new(), |at| lines[at].clone())
                };
                self.write_line(&mut text, &widths, &titles.iter().map(cell).collect::<Vec<_>>());
            }
        }
        for row in &self.rows {
            self.write_row(&mut text, &widths, row);
        }
        for note in &self.notes {
            for line in wrapped(note, WIDTH - INDENT) {
                let _ = writeln!(text, "{:INDENT$}{line}", "");
            }
        }
        text + "\n"
    }

    /// Returns the width of each column; the last takes the rest.
    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .map(|column| column.title.lines().map(|line| line.chars().count()).max().unwrap_or(0))
            .collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count().min(CELL_MAX));
            }
        }
        if let (Some(last), Some(Align::Left)) =
            (widths.len().checked_sub(1), self.columns.last().map(|c| c.align))
        {
            let before: usize = widths[..last].iter().map(|width| width + GAP).sum();
            widths[last] = WIDTH.saturating_sub(INDENT + before).max(WRAPPED_MIN);
        }
        widths
    }

    fn write_row(&self, text: &mut String, widths: &[usize], row: &[String]) {
        let last = row.len().saturating_sub(1);
        let mut cells: Vec<String> = row.iter().map(|cell| shortened(&plain(cell), CELL_MAX - 1)).collect();
        let wraps = self.columns.last().is_some_and(|column| column.align == Align::Left);
        let mut more = Vec::new();
        if wraps && let Some(cell) = row.last() {
            let mut lines = wrapped(cell, widths[last]).into_iter();
            cells[last] = lines.next().unwrap_or_default();
            more = lines.collect();
        }
        self.write_line(text, widths, &cells);
        for line in more {
            let mut cells = vec![String::new(); last];
            cells.push(line);
            self.write_line(text, widths, &cells);
        }
    }

    fn write_line(&self, text: &mut String, widths: &[usize], cells: &[String]) {
        let mut line = " ".repeat(INDENT);
        for (index, ((column, width), cell)) in self.columns.iter().zip(widths).zip(cells).enumerate() {
            let gap = if index == 0 { 0 } else { GAP };
            let _ = match column.align {
                Align::Left => write!(line, "{:gap$}{cell:<width$}", ""),
                Align::Right => write!(line, "{:gap$}{cell:>width$}", ""),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }

    /// Returns a heading of the second level and the table.
    pub fn html(&self) -> String {
        let mut html = String::new();
        if !self.title.is_empty() {
            let _ = writeln!(html, "<h2>{}</h2>", escaped(&self.title));
        }
        let class = if self.has_heading() { "" } else { " class=\"fingerprint\"" };
        let _ = writeln!(html, "<div class=\"wide\"><table{class}>");
        if self.has_heading() {
            html += "<thead><tr>";
            for column in &self.columns {
                let _ = write!(
                    html,
                    "<th{}>{}</th>",
                    class_of(column),
                    escaped(&column.title.replace('\n', " "))
                );
            }
            html += "</tr></thead>\n";
        }
        html += "<tbody>\n";
        for row in &self.rows {
            html += "<tr>";
            for (index, (column, cell)) in self.columns.iter().zip(row).enumerate() {
                let tag = if index == 0 && !self.has_heading() { "th" } else { "td" };
                let wraps = column.align == Align::Left && index > 0 && index + 1 == row.len();
                let class = if wraps { " class=\"left wrap\"" } else { class_of(column) };
                let _ = write!(html, "<{tag}{class}>{}</{tag}>", escaped(&plain(cell)));
            }
            html += "</tr>\n";
        }
        html += "</tbody></table></div>\n";
        for note in &self.notes {
            let _ = writeln!(html, "<p>{}</p>", escaped(&plain(note)));
        }
        html
    }
}

fn class_of(column: &Column) -> &'static str {
    match column.align {
        Align::Left => " class=\"left\"",
        Align::Right => "",
    }
}

/// Returns the value, or [`NOTHING`].
pub fn or_nothing(value: Option<String>) -> String {
    value.unwrap_or_else(|| NOTHING.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(
            "Fruit",
            &[("name", Align::Left), ("each\ncosts", Align::Right), ("why", Align::Left)],
        );
        table.rows.push(vec!["apple".into(), "1".into(), "red ".repeat(60)]);
        table.rows.push(vec!["fig".into(), "12,000".into(), "rare".into()]);
        table.notes.push("a note".into());
        table
    }

    #[test]
    fn columns_are_aligned_and_the_last_is_wrapped() {
        let text = table().text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "Fruit");
        assert_eq!(lines[1], "           each");
        assert_eq!(lines[2], "  name    costs  why");
        assert!(lines[3].starts_with("  apple       1  red red"), "{text}");
        assert!(lines[4].starts_with("                 red"), "{text}");
        assert!(lines.contains(&"  fig    12,000  rare"), "{text}");
        assert!(lines.contains(&"  a note"), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(text.matches("red").count(), 60);
    }

    #[test]
    fn cells_from_outside_neither_steer_a_terminal_nor_become_markup() {
        let mut table = Table::facts("x");
        table.fact("a\u{1b}[2J", format!("<b>{}", "long".repeat(100)));
        assert!(!table.text().contains('\u{1b}'));
        assert!(!table.html().contains("<b>") && !table.html().contains('\u{1b}'));
        assert!(table.text().lines().all(|line| line.chars().count() <= WIDTH));
    }
}
