//! This module makes pages with plots for the reports of the tools.
//!
//! Invariants: a page is self-contained: nothing is loaded from anywhere, and there is no script in
//! it. Callers pass text from outside only after [`escaped`].

pub mod plot;

pub use plot::escaped;

/// Returns a page around `body`, with the common style and `style`. The title is also the heading;
/// both are escaped here.
pub fn page(title: &str, style: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{}{style}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n",
        include_str!("style.css")
    )
}

/// Returns a plot with its title, a note after it, and the legend above it.
pub fn figure(title: &str, note: &str, legend: &str, svg: &str) -> String {
    let note = if note.is_empty() { String::new() } else { format!(" <small>{note}</small>") };
    format!(
        "<figure><figcaption>{title}{note}</figcaption>\n<div class=\"legend\">{legend}</div>\n{svg}</figure>\n"
    )
}

/// Returns an entry of a legend: a piece of a line and its label.
pub fn key(class: &str, label: &str) -> String {
    format!(
        "<span><svg viewBox=\"0 0 22 10\"><path class=\"curve {class}\" d=\"M1 5H21\"/></svg>{label}</span>"
    )
}

/// Returns an entry of a legend: a piece of an area and its label.
pub fn area_key(class: &str, label: &str) -> String {
    format!(
        "<span><svg viewBox=\"0 0 22 10\"><path class=\"{class}\" d=\"M1 0H21V10H1z\"/></svg>{label}</span>"
    )
}

/// Shortens a text to at most this many characters; an ellipsis replaces the rest.
pub fn shortened(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    text.chars().take(characters_max).chain(['…']).collect()
}
