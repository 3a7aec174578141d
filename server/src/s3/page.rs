//! The number of items of a page, of any listing.

use super::error::invalid_argument;
use s3s::S3Result;

/// The most items of a page.
pub const ITEMS_MAX: i32 = 1000;

/// Returns the number of items that a page may have, 1,000 if `max` names none or more. Fails if it
/// is negative; `name` is the parameter that is at fault then.
pub fn page_size(max: Option<i32>, name: &str) -> S3Result<i32> {
    match max {
        None => Ok(ITEMS_MAX),
        Some(max) if max < 0 => {
            Err(invalid_argument(format!("Argument {name} must be an integer between 0 and 2147483647")))
        }
        Some(max) => Ok(max.min(ITEMS_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes() {
        assert_eq!(page_size(None, "maxKeys").ok(), Some(1000));
        assert_eq!(page_size(Some(0), "maxKeys").ok(), Some(0));
        assert_eq!(page_size(Some(5000), "maxKeys").ok(), Some(1000));
        assert!(page_size(Some(-1), "maxKeys").is_err());
    }
}
