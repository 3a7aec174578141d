//! The names of how much a set of drives may lose.

/// The names of sets that have copies of everything, by how many drives may be lost.
pub const NAMES: [&str; 4] = ["none", "mirror", "mirror-3", "mirror-4"];

/// What may be written, as a message says it.
pub const CHOICES: &str = "write none, mirror (two copies of everything), mirror-3, mirror-4, or the numbers of \
                           data and parity drives of stripes, as 4+2";

/// Returns the numbers of data members and of drives that may be lost which a text says: 1 data member where everything
/// is copied.
pub fn parse(text: &str) -> Option<(u8, u8)> {
    let text = text.trim();
    if let Some(failures_max) = NAMES.iter().position(|name| *name == text) {
        return Some((1, failures_max as u8));
    }
    let (data, parity) = text.split_once('+')?;
    let number =
        |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?;
    Some((number(data)?, number(parity)?)).filter(|(data, parity)| *data > 1 && *parity > 0)
}

/// Returns how many drives of so many may be lost, if `ringbolt format` is not told anything else.
pub fn failures_max_of(drives: usize) -> u8 {
    match drives {
        ..2 => 0,
        2..4 => 1,
        4..11 => 2,
        _ => 3,
    }
}

/// Returns the text that says these numbers.
pub fn name(data_members: u8, failures_max: u8) -> String {
    match NAMES.get(usize::from(failures_max)) {
        Some(name) if data_members == 1 => (*name).to_owned(),
        _ => format!("{data_members}+{failures_max}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redundancy_has_names_and_numbers() {
        let good = [
            ("none", (1, 0)),
            ("mirror", (1, 1)),
            (" mirror-3 ", (1, 2)),
            ("mirror-4", (1, 3)),
            ("4+2", (4, 2)),
        ];
        for (text, numbers) in good {
            assert_eq!(parse(text), Some(numbers), "{text}");
            assert_eq!(name(numbers.0, numbers.1), text.trim());
        }
        let bad = [
            "", "Mirror", "mirror-2", "2", "raid5", "4+", "+2", "4+x", "4+2+1", "1+1", "0+2", "4+0", "+4+2",
            "300+2",
        ];
        for text in bad {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
