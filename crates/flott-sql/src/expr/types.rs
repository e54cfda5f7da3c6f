//! How types combine: results of arithmetic, types in common, what may be compared. The rules are Flink's planner's.

use flott_core::types::MAX_LENGTH;
use flott_core::{Field, LogicalType, TypeKind};

/// Most digits of a DECIMAL.
pub const MAX_PRECISION: u8 = 38;
/// Digits behind the point that stay when a result needs more than 38 digits.
const MIN_SCALE: i32 = 6;

/// Precision and scale of an exact number; integers as the decimals that hold them.
pub fn decimal_of(kind: &TypeKind) -> Option<(u8, u8)> {
    match kind {
        TypeKind::TinyInt => Some((3, 0)),
        TypeKind::SmallInt => Some((5, 0)),
        TypeKind::Int => Some((10, 0)),
        TypeKind::BigInt => Some((19, 0)),
        TypeKind::Decimal(p, s) => Some((*p, *s)),
        _ => None,
    }
}

/// FLOAT or DOUBLE.
pub fn is_approximate(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::Float | TypeKind::Double)
}

/// An interval of either sort.
pub fn is_interval(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::IntervalYearMonth | TypeKind::IntervalDayTime)
}

/// DATE, TIME or a timestamp.
pub fn is_datetime(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::Date | TypeKind::Time(_)) || kind.is_timestamp()
}

/// The number that holds both, as Flink's planner picks it: the wider integer; the decimal that loses nothing up to 38
/// digits; with FLOAT or DOUBLE the first such type, DOUBLE where a DECIMAL meets it.
pub fn wider_number(a: &TypeKind, b: &TypeKind) -> Option<TypeKind> {
    if !a.is_numeric() || !b.is_numeric() {
        return None;
    }
    let decimal = |k: &TypeKind| matches!(k, TypeKind::Decimal(..));
    Some(match (is_approximate(a), is_approximate(b)) {
        (true, true) => a.clone(),
        (true, false) if decimal(b) => TypeKind::Double,
        (false, true) if decimal(a) => TypeKind::Double,
        (true, false) => a.clone(),
        (false, true) => b.clone(),
        (false, false) if decimal(a) || decimal(b) => {
            let ((p1, s1), (p2, s2)) = (decimal_of(a)?, decimal_of(b)?);
            let whole = (p1 - s1).max(p2 - s2);
            let scale = s1.max(s2).min(MAX_PRECISION - whole);
            TypeKind::Decimal(whole + scale, scale)
        }
        (false, false) => {
            let digits = |k: &TypeKind| decimal_of(k).map_or(0, |(p, _)| p);
            if digits(a) >= digits(b) { a.clone() } else { b.clone() }
        }
    })
}

/// Type of `a op b` for numbers; `op` is one of `+ - * / %`.
pub fn arithmetic(op: &str, a: &TypeKind, b: &TypeKind) -> Option<TypeKind> {
    if !a.is_numeric() || !b.is_numeric() {
        return None;
    }
    let decimal = |k: &TypeKind| matches!(k, TypeKind::Decimal(..));
    if is_approximate(a) || is_approximate(b) {
        // the remainder is for exact numbers only
        return (op != "%").then(|| wider_number(a, b)).flatten();
    }
    if !decimal(a) && !decimal(b) {
        return if op == "%" { Some(b.clone()) } else { wider_number(a, b) };
    }
    let ((p1, s1), (p2, s2)) = (decimal_of(a)?, decimal_of(b)?);
    let (p1, s1, p2, s2) = (i32::from(p1), i32::from(s1), i32::from(p2), i32::from(s2));
    Some(match op {
        "+" | "-" => {
            let scale = s1.max(s2);
            fit_decimal((p1 - s1).max(p2 - s2) + scale + 1, scale)
        }
        "*" => fit_decimal(p1 + p2 + 1, s1 + s2),
        "/" => {
            let scale = MIN_SCALE.max(s1 + p2 + 1);
            fit_decimal(p1 - s1 + s2 + scale, scale)
        }
        "%" => {
            let scale = s1.max(s2);
            fit_decimal((p1 - s1).min(p2 - s2) + scale, scale)
        }
        _ => return None,
    })
}

/// A DECIMAL of at most 38 digits: where more are needed, digits behind the point go first, down to six.
fn fit_decimal(precision: i32, scale: i32) -> TypeKind {
    let max = i32::from(MAX_PRECISION);
    let (precision, scale) = if precision <= max {
        (precision, scale)
    } else {
        (max, (max - (precision - scale)).max(scale.min(MIN_SCALE)))
    };
    TypeKind::Decimal(
        u8::try_from(precision.max(1)).unwrap_or(MAX_PRECISION),
        u8::try_from(scale).unwrap_or(0),
    )
}

/// The type that all of these convert to without a cast (branches of CASE, elements of ARRAY); nullable if one is.
pub fn least_restrictive<'a>(types: impl IntoIterator<Item = &'a LogicalType>) -> Option<LogicalType> {
    let mut types = types.into_iter();
    let first = types.next()?.clone();
    types.try_fold(first, |a, b| {
        let kind = common_kind(&a.kind, &b.kind)?;
        Some(LogicalType {
            kind,
            nullable: a.nullable || b.nullable,
        })
    })
}

/// As [`least_restrictive`], but FLOAT beside DOUBLE is DOUBLE in either order: the rule of functions such as COALESCE
/// and GREATEST, where CASE takes the first.
pub fn merged<'a>(types: impl IntoIterator<Item = &'a LogicalType> + Clone) -> Option<LogicalType> {
    let double = types.clone().into_iter().any(|t| t.kind == TypeKind::Double);
    let mut common = least_restrictive(types)?;
    if double && common.kind == TypeKind::Float {
        common.kind = TypeKind::Double;
    }
    Some(common)
}

fn common_kind(a: &TypeKind, b: &TypeKind) -> Option<TypeKind> {
    use TypeKind as K;
    if a == b {
        return Some(a.clone());
    }
    Some(match (a, b) {
        (K::Null, other) | (other, K::Null) => other.clone(),
        (K::Char(x) | K::Varchar(x), K::Char(y) | K::Varchar(y)) => K::Varchar(*x.max(y)),
        (K::Binary(x) | K::Varbinary(x), K::Binary(y) | K::Varbinary(y)) => K::Varbinary(*x.max(y)),
        (K::Time(x), K::Time(y)) => K::Time(*x.max(y)),
        (K::Timestamp(x), K::Timestamp(y)) => K::Timestamp(*x.max(y)),
        (K::TimestampLtz(x), K::TimestampLtz(y)) => K::TimestampLtz(*x.max(y)),
        (K::Array(x), K::Array(y)) => K::Array(Box::new(common_type(x, y)?)),
        (K::Multiset(x), K::Multiset(y)) => K::Multiset(Box::new(common_type(x, y)?)),
        (K::Map(k, v), K::Map(l, w)) => K::Map(Box::new(common_type(k, l)?), Box::new(common_type(v, w)?)),
        (K::Row(x), K::Row(y)) if x.len() == y.len() => {
            let fields = x.iter().zip(y).map(|(f, g)| {
                let ty = common_type(&f.ty, &g.ty)?;
                Some(Field::new(f.name.clone(), ty))
            });
            K::Row(fields.collect::<Option<_>>()?)
        }
        _ => return wider_number(a, b),
    })
}

fn common_type(a: &LogicalType, b: &LogicalType) -> Option<LogicalType> {
    least_restrictive([a, b])
}

/// The kind in which two values are compared, or `None` where Flink has no comparison (a string is never compared
/// with a number: cast one of them).
pub fn comparison_kind(a: &TypeKind, b: &TypeKind) -> Option<TypeKind> {
    use TypeKind as K;
    Some(match (a, b) {
        (x, y) if x.is_numeric() && y.is_numeric() => wider_number(x, y)?,
        (x, y) if x.is_string() && y.is_string() => K::Varchar(MAX_LENGTH),
        (x, y) if x.is_binary() && y.is_binary() => K::Varbinary(MAX_LENGTH),
        (x, y) if x.is_string() && (is_datetime(y) || is_interval(y) || y == &K::Boolean) => y.clone(),
        (x, y) if y.is_string() && (is_datetime(x) || is_interval(x) || x == &K::Boolean) => x.clone(),
        (K::Timestamp(p), K::TimestampLtz(q)) | (K::TimestampLtz(p), K::Timestamp(q)) => K::TimestampLtz(*p.max(q)),
        _ => return common_kind(a, b),
    })
}

/// Length of a string type.
pub fn string_length(kind: &TypeKind) -> Option<u32> {
    match kind {
        TypeKind::Char(n) | TypeKind::Varchar(n) => Some(*n),
        _ => None,
    }
}

/// Type of a decimal literal as written: `0.908` is DECIMAL(4, 3), a zero before the point counts as a digit.
pub fn decimal_literal_type(unscaled: i128, scale: u8) -> TypeKind {
    let digits = u8::try_from(unscaled.unsigned_abs().to_string().len()).unwrap_or(MAX_PRECISION);
    TypeKind::Decimal(digits.max(scale + 1).min(MAX_PRECISION), scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use TypeKind::{BigInt, Decimal, Double, Float, Int, SmallInt, TinyInt};

    #[test]
    fn results_of_arithmetic_are_those_that_flink_shows() {
        for (op, a, b, expected) in [
            ("+", TinyInt, SmallInt, SmallInt),
            ("/", BigInt, Int, BigInt),
            ("%", BigInt, Int, Int),
            ("+", Decimal(10, 2), Int, Decimal(13, 2)),
            ("-", Decimal(10, 2), TinyInt, Decimal(11, 2)),
            ("*", Decimal(4, 3), BigInt, Decimal(24, 3)),
            ("/", Decimal(10, 2), Int, Decimal(21, 13)),
            ("%", Decimal(10, 2), Decimal(5, 3), Decimal(5, 3)),
            ("*", Decimal(38, 10), Decimal(38, 10), Decimal(38, 6)),
            ("+", Decimal(38, 10), Decimal(38, 20), Decimal(38, 9)),
            ("*", Decimal(30, 20), Decimal(30, 20), Decimal(38, 17)),
            ("/", Decimal(20, 2), Decimal(20, 2), Decimal(38, 18)),
            ("+", Decimal(38, 0), Decimal(38, 0), Decimal(38, 0)),
            ("+", Float, BigInt, Float),
            ("+", Float, Decimal(10, 2), Double),
            ("+", Float, Double, Float),
            ("/", Int, Double, Double),
        ] {
            assert_eq!(arithmetic(op, &a, &b), Some(expected), "{a} {op} {b}");
        }
        assert_eq!(arithmetic("%", &Double, &Int), None);
        assert_eq!(arithmetic("+", &TypeKind::Char(1), &Int), None);
    }

    #[test]
    fn branches_find_their_common_type() {
        let common = |a: TypeKind, b: TypeKind| {
            least_restrictive([&LogicalType::not_null(a), &LogicalType::not_null(b)]).map(|t| t.kind)
        };
        assert_eq!(common(Int, Decimal(2, 1)), Some(Decimal(11, 1)));
        assert_eq!(common(TypeKind::Char(1), TypeKind::Char(3)), Some(TypeKind::Varchar(3)));
        assert_eq!(common(TypeKind::Char(1), TypeKind::Char(1)), Some(TypeKind::Char(1)));
        assert_eq!(common(TypeKind::Null, Int), Some(Int));
        assert_eq!(common(Int, TypeKind::Char(1)), None);
        assert_eq!(common(TypeKind::Date, TypeKind::Timestamp(0)), None);
    }
}
