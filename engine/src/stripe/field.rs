//! Arithmetic of GF(2^8) by the polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11d), in which parity is computed.
//!
//! Addition is exclusive or. 2 generates all elements but 0, so that products are sums of logarithms.

const POLYNOMIAL: u16 = 0x11d;
/// Number of elements but 0.
const ORDER: usize = 255;

/// The powers of 2, twice in a row, so that a sum of two logarithms needs no remainder.
const POWERS: [u8; 2 * ORDER] = powers();
const LOGARITHMS: [u8; 256] = logarithms();

const fn powers() -> [u8; 2 * ORDER] {
    let (mut powers, mut value, mut at) = ([0; 2 * ORDER], 1u16, 0);
    while at < 2 * ORDER {
        powers[at] = value as u8;
        value <<= 1;
        if value > 255 {
            value ^= POLYNOMIAL;
        }
        at += 1;
    }
    powers
}

const fn logarithms() -> [u8; 256] {
    let (mut logarithms, mut at) = ([0; 256], 0);
    while at < ORDER {
        logarithms[POWERS[at] as usize] = at as u8;
        at += 1;
    }
    logarithms
}

/// Returns the product of two elements.
pub const fn product(one: u8, other: u8) -> u8 {
    if one == 0 || other == 0 {
        return 0;
    }
    POWERS[LOGARITHMS[one as usize] as usize + LOGARITHMS[other as usize] as usize]
}

/// Returns the element by which `element` has to be multiplied to give 1.
///
/// # Panics
/// Panics for 0, which has none.
pub const fn inverse(element: u8) -> u8 {
    assert!(element != 0, "0 has no inverse");
    POWERS[ORDER - LOGARITHMS[element as usize] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiplies bit by bit.
    fn by_hand(mut one: u8, mut other: u8) -> u8 {
        let mut sum = 0;
        while other > 0 {
            if other & 1 == 1 {
                sum ^= one;
            }
            let carry = one & 0x80 != 0;
            one <<= 1;
            if carry {
                one ^= POLYNOMIAL as u8;
            }
            other >>= 1;
        }
        sum
    }

    #[test]
    fn products_are_those_of_polynomials() {
        for one in 0..=255 {
            for other in 0..=255 {
                assert_eq!(product(one, other), by_hand(one, other), "{one} by {other}");
            }
        }
        for element in 1..=255 {
            assert_eq!(product(element, inverse(element)), 1, "{element}");
        }
    }
}
