//! `UUID`, `RAND`, `RAND_INTEGER`. With a seed the numbers are those of Java's `Random`, one after the other over the
//! rows that a task sees; a seed that comes from a column begins anew at each row.

use super::text::rows_of_text;
use super::{always, entry};
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::value::{Primitives, Value, kernel_error};
use arrow_array::types::Int32Type;
use arrow_array::{Float64Array, Int32Array};
use arrow_schema::ArrowError;
use flott_core::{LogicalType, TypeKind};
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry("UUID", "UUID()", infer_uuid, build_uuid).dynamic(),
    entry("RAND", "RAND([seed INT])", infer_rand, build_rand).dynamic(),
    entry(
        "RAND_INTEGER",
        "RAND_INTEGER([seed INT,] bound INT)",
        infer_rand_integer,
        build_rand_integer,
    )
    .failing(always)
    .dynamic(),
];

fn entropy(bytes: &mut [u8]) -> Result<(), ExprError> {
    getrandom::fill(bytes).map_err(|e| kernel_error("RAND", &ArrowError::ComputeError(e.to_string())))
}

fn infer_uuid(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(0, 0)?;
    Ok(LogicalType::not_null(TypeKind::Char(36)))
}

fn build_uuid(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|_, rows| {
        let mut random = vec![0; rows * 16];
        entropy(&mut random)?;
        rows_of_text(rows, rows * 36, |row, out| {
            let bytes: [u8; 16] = random[row * 16..][..16].try_into().ok()?;
            // version 4, variant 1
            let bits = u128::from_be_bytes(bytes) & !(0xf << 76 | 3 << 62) | 4 << 76 | 2 << 62;
            write!(
                out,
                "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                bits >> 96,
                bits >> 80 & 0xffff,
                bits >> 64 & 0xffff,
                bits >> 48 & 0xffff,
                bits & 0xffff_ffff_ffff
            )
            .ok()
        })
    }))
}

/// The linear congruential generator that Java's `Random` is specified as.
#[derive(Clone, Copy)]
struct JavaRandom(u64);

const MULTIPLIER: u64 = 0x5_deec_e66d;
const MASK: u64 = (1 << 48) - 1;

impl JavaRandom {
    fn new(seed: i64) -> Self {
        Self((seed as u64 ^ MULTIPLIER) & MASK)
    }

    fn from_entropy() -> Result<Self, ExprError> {
        let mut seed = [0; 8];
        entropy(&mut seed)?;
        Ok(Self(u64::from_ne_bytes(seed) & MASK))
    }

    fn next(&mut self, bits: u32) -> i32 {
        self.0 = self.0.wrapping_mul(MULTIPLIER).wrapping_add(0xb) & MASK;
        (self.0 >> (48 - bits)) as i32
    }

    fn next_double(&mut self) -> f64 {
        let high = i64::from(self.next(26)) << 27;
        let low = i64::from(self.next(27));
        (high + low) as f64 * 2f64.powi(-53)
    }

    /// From 0 up to `bound`, which is positive.
    fn next_below(&mut self, bound: i32) -> i32 {
        if bound & (bound - 1) == 0 {
            return ((i64::from(bound) * i64::from(self.next(31))) >> 31) as i32;
        }
        loop {
            let bits = self.next(31);
            let value = bits % bound;
            // numbers of the last, incomplete run are drawn again
            if bits.wrapping_sub(value).wrapping_add(bound - 1) >= 0 {
                return value;
            }
        }
    }
}

/// Where a call's numbers come from.
enum Source {
    /// One generator for all rows of the task.
    Shared(Mutex<Option<JavaRandom>>),
    /// A new one at each row, seeded by the first argument.
    PerRow,
}

impl Source {
    /// `seeded`: the first argument is the seed.
    fn new(call: &Call<'_>, seeded: bool) -> Result<Self, ExprError> {
        if !seeded {
            return Ok(Self::Shared(Mutex::new(Some(JavaRandom::from_entropy()?))));
        }
        Ok(match call.args[0].as_literal() {
            Some(_) => Self::Shared(Mutex::new(None)),
            None => Self::PerRow,
        })
    }

    /// `draw` for each row with its generator; rows whose seed is NULL are NULL.
    fn each<T>(
        &self,
        seeds: Option<&Value>,
        rows: usize,
        mut draw: impl FnMut(usize, &mut JavaRandom) -> Option<T>,
    ) -> Result<Vec<Option<T>>, ExprError> {
        let seeds = seeds.map(Primitives::<Int32Type>::new).transpose()?;
        let seed = |row: usize| {
            seeds
                .as_ref()
                .and_then(|s| s.get(row))
                .map(|s| JavaRandom::new(s.into()))
        };
        match self {
            Self::PerRow => Ok((0..rows).map(|row| draw(row, &mut seed(row)?)).collect()),
            Self::Shared(shared) => {
                let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(mut random) = shared.or_else(|| seed(0)) else {
                    return Ok((0..rows).map(|_| None).collect());
                };
                let drawn = (0..rows).map(|row| draw(row, &mut random)).collect();
                *shared = Some(random);
                Ok(drawn)
            }
        }
    }
}

fn infer_rand(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(0, 1)?;
    (0..args.len()).try_for_each(|i| args.int(i))?;
    Ok(args.result(TypeKind::Double))
}

fn build_rand(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let source = Source::new(call, !call.args.is_empty())?;
    Ok(Box::new(move |args, rows| {
        let drawn = source.each(args.first(), rows, |_, random| Some(random.next_double()))?;
        Ok(Arc::new(Float64Array::from(drawn)))
    }))
}

fn infer_rand_integer(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 2)?;
    (0..args.len()).try_for_each(|i| args.int(i))?;
    Ok(args.result(TypeKind::Int))
}

fn build_rand_integer(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let seeded = call.args.len() == 2;
    let source = Source::new(call, seeded)?;
    Ok(Box::new(move |args, rows| {
        let bounds = Primitives::<Int32Type>::new(&args[usize::from(seeded)])?;
        let mut wrong = None;
        let drawn = source.each(seeded.then(|| &args[0]), rows, |row, random| {
            let bound = bounds.get(row)?;
            if bound <= 0 {
                wrong = Some(bound);
                return None;
            }
            Some(random.next_below(bound))
        })?;
        match wrong {
            None => Ok(Arc::new(Int32Array::from(drawn)) as _),
            Some(bound) => Err(ExprError::Value {
                function: "RAND_INTEGER",
                problem: format!("the bound must be positive, got {bound}"),
            }),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_javas_random() {
        let mut random = JavaRandom::new(42);
        assert_eq!(random.next_double(), 0.7275636800328681);
        assert_eq!(random.next_double(), 0.6832234717598454);
        assert_eq!(JavaRandom::new(42).next_below(1000), 130);
        assert_eq!(JavaRandom::new(1).next_below(16), 11);
    }
}
