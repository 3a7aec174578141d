//! This module parses `verify_pattern` and `buffer_pattern`.

const PATTERN_BYTES_MAX: usize = 512;

/// Parses the bytes of a pattern: a sequence of quoted texts, hexadecimal numbers, and numbers of
/// one byte.
///
/// # Errors
/// Returns the reason when the pattern is not valid.
pub fn byte_pattern(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (part, behind) = first_part(rest)?;
        bytes.extend(part);
        rest = behind;
    }
    match bytes.len() {
        0 => Err("a pattern has at least one byte".to_owned()),
        length if length > PATTERN_BYTES_MAX => {
            Err(format!("{length} bytes are more than {PATTERN_BYTES_MAX}"))
        }
        _ => Ok(bytes),
    }
}

fn first_part(text: &str) -> Result<(Vec<u8>, &str), String> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (inner, behind) = quoted.split_once('"').ok_or("a text ends with \"")?;
        return Ok((inner.as_bytes().to_vec(), behind));
    }
    if text.starts_with('\'') {
        return Err("fio takes the content of a file, not built here: write the bytes".to_owned());
    }
    if text.starts_with('%') {
        return Err(
            "fio puts the offset there, not built here: use verify=crc32c, which checks places".to_owned()
        );
    }
    let is_hex = text.starts_with("0x") || text.starts_with("0X");
    let digits = if is_hex { &text[2..] } else { text };
    let is_digit =
        |character: char| if is_hex { character.is_ascii_hexdigit() } else { character.is_ascii_digit() };
    let end = digits.find(|character| !is_digit(character)).unwrap_or(digits.len());
    let (number, behind) = digits.split_at(end);
    if number.is_empty() {
        return Err(format!("{text:?} is no pattern: write 0xdeadbeef, \"text\" or a number up to 255"));
    }
    if !is_hex {
        let byte =
            number.parse::<u8>().map_err(|_| format!("{number} is more than a byte: write it as 0x…"))?;
        return Ok((vec![byte], behind));
    }
    // With an odd number of digits, the first digit is a byte of its own.
    let padded = if number.len() % 2 == 1 { format!("0{number}") } else { number.to_owned() };
    let pairs = padded.as_bytes().chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair).unwrap_or_default();
        u8::from_str_radix(text, 16).map_err(|error| error.to_string())
    });
    Ok((pairs.collect::<Result<Vec<u8>, String>>()?, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_texts_and_numbers_behind_each_other() {
        assert_eq!(byte_pattern("0xdeadface"), Ok(vec![0xde, 0xad, 0xfa, 0xce]));
        assert_eq!(byte_pattern("0xabc"), Ok(vec![0x0a, 0xbc]));
        assert_eq!(
            byte_pattern("\"ab\"0xff 12"),
            Err("\" 12\" is no pattern: write 0xdeadbeef, \"text\" or a number up to 255".to_owned())
        );
        assert_eq!(byte_pattern("\"ab\"0xff\"c\"12"), Ok(vec![b'a', b'b', 0xff, b'c', 12]));
        for (text, part) in [
            ("", "at least one"),
            ("\"\"", "at least one"),
            ("\"open", "ends with"),
            ("'file'", "content of a file"),
            ("%o", "verify=crc32c"),
            ("256", "more than a byte"),
            ("0x", "no pattern"),
            ("é", "no pattern"),
            (&format!("0x{}", "ab".repeat(513)), "more than 512"),
        ] {
            assert!(byte_pattern(text).unwrap_err().contains(part), "{text}");
        }
    }
}
