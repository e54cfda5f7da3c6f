//! Times two: each number doubled, in order.
//!
//! PyFlink's lambda is a closure: `ds.map(lambda x: x * 2)`.

use flott::prelude::*;

/// Doubles numbers.
pub fn times_two(numbers: &DataStream<i64>) -> DataStream<i64> {
    numbers.map(|x| x * 2)
}
