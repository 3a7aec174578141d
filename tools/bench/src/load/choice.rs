//! This module draws kinds of operations in shares that are exact over every hundred.

use ringbolt_tool_common::random::Random;

/// Draws items from a shuffled deck of one hundred (or of whatever the weights add up to), so that
/// the shares are exact within each deck.
#[derive(Clone, Debug)]
pub struct Deck<T> {
    cards: Vec<T>,
    next: usize,
}

impl<T: Copy> Deck<T> {
    /// Creates a deck of items with weights, of which at least one must not be 0.
    pub fn new(weights: &[(T, u32)]) -> Self {
        let divisor = weights.iter().fold(0, |divisor, (_, weight)| {
            super::sizes::greatest_common_divisor(divisor, u64::from(*weight))
        });
        assert!(divisor > 0, "no item has a weight");
        let cards: Vec<T> = weights
            .iter()
            .flat_map(|(item, weight)| std::iter::repeat_n(*item, (u64::from(*weight) / divisor) as usize))
            .collect();
        let next = cards.len();
        Self { cards, next }
    }

    /// Draws the next item.
    #[inline]
    pub fn draw(&mut self, random: &mut Random) -> T {
        if self.next == self.cards.len() {
            if self.cards.len() > 1 {
                random.shuffle(&mut self.cards);
            }
            self.next = 0;
        }
        self.next += 1;
        self.cards[self.next - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_and_the_order_is_not_regular() {
        let mut random = Random::new(1);
        let mut deck = Deck::new(&[('r', 70), ('w', 30)]);
        let drawn: Vec<char> = (0..10_000).map(|_| deck.draw(&mut random)).collect();
        assert_eq!(drawn.iter().filter(|item| **item == 'r').count(), 7000);
        let repeats = drawn.chunks_exact(10).filter(|ten| *ten == &drawn[..10]).count();
        assert!(repeats < 200, "{repeats} of 1000 tens are the same");
    }

    #[test]
    fn an_item_without_weight_never_comes() {
        let mut random = Random::new(1);
        let mut deck = Deck::new(&[(1, 100), (2, 0)]);
        assert!((0..200).all(|_| deck.draw(&mut random) == 1));
    }
}
