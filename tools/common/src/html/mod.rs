//! Pages with plots, for the reports of the tools.
//!
//! Invariants: a page is complete in itself: nothing is loaded from anywhere, and there is no script in it. Who gives
//! text from outside has it [`escaped`] first.

pub mod plot;

pub use plot::escaped;

/// A page around `body`, with the common style and `style`. The title is shown as heading too; both are escaped here.
pub fn page(title: &str, style: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{}{style}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n",
        include_str!("style.css")
    )
}

/// A plot with its title, a note behind it, and the legend above it.
pub fn figure(title: &str, note: &str, legend: &str, svg: &str) -> String {
    let note = if note.is_empty() { String::new() } else { format!(" <small>{note}</small>") };
    format!(
        "<figure><figcaption>{title}{note}</figcaption>\n<div class=\"legend\">{legend}</div>\n{svg}</figure>\n"
    )
}

/// For a legend: a piece of a line and what it stands for.
pub fn key(class: &str, label: &str) -> String {
    format!(
        "<span><svg viewBox=\"0 0 22 10\"><path class=\"curve {class}\" d=\"M1 5H21\"/></svg>{label}</span>"
    )
}

/// For a legend: a piece of an area and what it stands for.
pub fn area_key(class: &str, label: &str) -> String {
    format!(
        "<span><svg viewBox=\"0 0 22 10\"><path class=\"{class}\" d=\"M1 0H21V10H1z\"/></svg>{label}</span>"
    )
}

/// At most so many characters; an ellipsis stands for the rest.
pub fn shortened(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    text.chars().take(characters_max).chain(['…']).collect()
}
