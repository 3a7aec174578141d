//! A place at a value where the door above keeps what it made of it.

use std::any::Any;
use std::fmt;
use std::sync::OnceLock;

/// What the door above made of a bucket's configuration, so that it is parsed once on each core and
/// not for each request. It belongs to one value: a clone begins without it, and a change of the
/// configuration makes a new bucket.
#[derive(Default)]
pub struct Parsed(OnceLock<Box<dyn Any + Send + Sync>>);

impl Parsed {
    /// Returns the parsed form, which `parse` makes when it is first asked for.
    ///
    /// # Panics
    /// Panics when another type was asked for before.
    pub fn get_or_parse<T: Any + Send + Sync>(&self, parse: impl FnOnce() -> T) -> &T {
        let parsed = self.0.get_or_init(|| Box::new(parse()));
        parsed.downcast_ref().expect("the door above keeps one type here")
    }
}

impl Clone for Parsed {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Parsed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.get().is_some() { "Parsed" } else { "NotParsed" })
    }
}

impl PartialEq for Parsed {
    /// Returns true: what was parsed follows from the rest.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Parsed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_parsed_once_and_its_clone_anew() {
        let parsed = Parsed::default();
        assert_eq!(*parsed.get_or_parse(|| 1_u8), 1);
        assert_eq!(*parsed.get_or_parse(|| 2_u8), 1);
        assert_eq!(*parsed.clone().get_or_parse(|| 3_u8), 3);
    }
}
