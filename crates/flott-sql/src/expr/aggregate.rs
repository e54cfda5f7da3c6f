//! Result types of aggregate functions, as Flink derives them.

use super::FunctionError;
use super::types::decimal_of;
use flott_core::{LogicalType, TypeKind};

/// The aggregate functions, what they take, and what they are; sorted.
const AGGREGATES: &[(&str, &str, &str)] = &[
    (
        "ARRAY_AGG",
        "ARRAY_AGG([DISTINCT] ANY) [{IGNORE|RESPECT} NULLS]",
        "the values in an array, as they come",
    ),
    ("AVG", "AVG([DISTINCT] NUMERIC)", "the average"),
    (
        "COLLECT",
        "COLLECT([DISTINCT] ANY)",
        "the values with their counts, as a multiset",
    ),
    ("COUNT", "COUNT(*), COUNT([DISTINCT] ANY)", "how many rows or values"),
    (
        "FIRST_VALUE",
        "FIRST_VALUE([DISTINCT] ANY)",
        "the value that came first",
    ),
    (
        "JSON_ARRAYAGG",
        "JSON_ARRAYAGG(value [{NULL|ABSENT} ON NULL])",
        "the values in a JSON array",
    ),
    (
        "JSON_OBJECTAGG",
        "JSON_OBJECTAGG([KEY] key STRING VALUE value [{NULL|ABSENT} ON NULL])",
        "pairs in a JSON object",
    ),
    ("LAST_VALUE", "LAST_VALUE([DISTINCT] ANY)", "the value that came last"),
    (
        "LISTAGG",
        "LISTAGG([DISTINCT] STRING [, 'separator'])",
        "the texts one behind the other",
    ),
    ("MAX", "MAX(COMPARABLE)", "the largest value"),
    ("MIN", "MIN(COMPARABLE)", "the smallest value"),
    (
        "PERCENTILE",
        "PERCENTILE([DISTINCT] NUMERIC, {percentage NUMERIC | ARRAY<NUMERIC>} [, frequency INTEGER])",
        "the value below which this share (0 to 1) of the values lies",
    ),
    (
        "SINGLE_VALUE",
        "SINGLE_VALUE(ANY)",
        "the only value; more than one is an error",
    ),
    ("STDDEV", "STDDEV([DISTINCT] NUMERIC)", "another form of STDDEV_SAMP"),
    (
        "STDDEV_POP",
        "STDDEV_POP([DISTINCT] NUMERIC)",
        "standard deviation of the whole",
    ),
    (
        "STDDEV_SAMP",
        "STDDEV_SAMP([DISTINCT] NUMERIC)",
        "standard deviation of a sample",
    ),
    ("SUM", "SUM([DISTINCT] NUMERIC)", "the sum"),
    ("VARIANCE", "VARIANCE([DISTINCT] NUMERIC)", "another form of VAR_SAMP"),
    ("VAR_POP", "VAR_POP([DISTINCT] NUMERIC)", "variance of the whole"),
    ("VAR_SAMP", "VAR_SAMP([DISTINCT] NUMERIC)", "variance of a sample"),
];

/// Functions that look at rows before a row, and need OVER.
const OVER_ONLY: &[(&str, &str, &str)] = &[
    (
        "DENSE_RANK",
        "DENSE_RANK() OVER (…)",
        "rank among the rows before, without gaps",
    ),
    (
        "LAG",
        "LAG(COMPARABLE [, rows [, default]]) OVER (…)",
        "the value so many rows before",
    ),
    ("RANK", "RANK() OVER (…)", "rank among the rows before"),
    ("ROW_NUMBER", "ROW_NUMBER() OVER (…)", "number among the rows before"),
];

/// Names of all aggregate functions, sorted.
pub fn aggregate_names() -> Vec<&'static str> {
    AGGREGATES.iter().map(|(name, ..)| *name).collect()
}

/// Name, signatures and a line of text of every aggregate function, those that need OVER too.
pub fn aggregate_listing() -> impl Iterator<Item = [String; 3]> {
    let all = AGGREGATES.iter().chain(OVER_ONLY);
    all.map(|(name, signature, text)| [name.to_string(), signature.to_string(), text.to_string()])
}

/// Type of `name` over arguments of these types (none: `COUNT(*)`), as in a grouped query: NULL only where a value was
/// NULL. Over the whole input (no GROUP BY) all but COUNT are nullable: the caller knows.
///
/// # Errors
/// If there is no such aggregate (the nearest name is in the text) or it cannot take these arguments.
pub fn resolve_aggregate(name: &str, args: &[LogicalType], distinct: bool) -> Result<LogicalType, FunctionError> {
    let name = name.to_uppercase();
    let known = AGGREGATES.iter().chain(OVER_ONLY);
    let Some((_, signature, _)) = known.into_iter().find(|(n, ..)| *n == name) else {
        return Err(FunctionError::Unknown {
            hint: flott_core::suggest::hint(&name, aggregate_names()),
            name,
        });
    };
    let refused = || FunctionError::Arguments {
        name: format!("{name}{}", if distinct { " DISTINCT" } else { "" }),
        given: args.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        expected: (*signature).to_owned(),
    };
    if name == "COUNT" {
        return if distinct && args.is_empty() {
            Err(refused())
        } else {
            Ok(LogicalType::not_null(TypeKind::BigInt))
        };
    }
    let text = |length| LogicalType::not_null(TypeKind::Varchar(length));
    let arg = match (name.as_str(), args) {
        ("JSON_OBJECTAGG", [key, _]) if key.kind.is_string() && !distinct => return Ok(text(JSON_LENGTH)),
        ("LAG", [value, default]) if is_ordered(&value.kind) => {
            // Even where the value is nullable, as in Flink.
            return Ok(value.with_nullable(default.nullable));
        }
        ("PERCENTILE", [value, percentage, frequency @ ..]) => {
            let counts = match frequency {
                [] => true,
                [frequency] => frequency.kind.is_integer(),
                _ => false,
            };
            let double = TypeKind::Double;
            return match &percentage.kind {
                _ if !counts || !value.kind.is_numeric() => Err(refused()),
                TypeKind::Array(e) if e.kind.is_numeric() => {
                    Ok(LogicalType::new(TypeKind::Array(Box::new(LogicalType::new(double)))))
                }
                kind if kind.is_numeric() => Ok(LogicalType::new(double)),
                _ => Err(refused()),
            };
        }
        ("PERCENTILE", _) => return Err(refused()),
        (_, [arg]) => arg,
        _ => return Err(refused()),
    };
    match name.as_str() {
        "ARRAY_AGG" if arg.kind != TypeKind::Null => {
            let array = TypeKind::Array(Box::new(arg.clone()));
            // A ROW with nullable fields counts as nullable.
            let is_nullable = match &arg.kind {
                TypeKind::Row(fields) => arg.nullable || fields.iter().any(|f| f.ty.nullable),
                _ => arg.nullable,
            };
            return Ok(LogicalType::new(array).with_nullable(is_nullable));
        }
        "COLLECT" if arg.kind != TypeKind::Null => {
            return Ok(LogicalType::not_null(TypeKind::Multiset(Box::new(arg.clone()))));
        }
        "JSON_ARRAYAGG" if !distinct => return Ok(text(JSON_LENGTH)),
        "LAG" if is_ordered(&arg.kind) => return Ok(arg.with_nullable(true)),
        _ => {}
    }
    let kind = match (name.as_str(), &arg.kind) {
        ("MIN" | "MAX", kind) if is_ordered(kind) => kind.clone(),
        ("SINGLE_VALUE", _) if distinct => return Err(refused()),
        ("FIRST_VALUE" | "LAST_VALUE" | "SINGLE_VALUE", kind) if *kind != TypeKind::Null => kind.clone(),
        ("LISTAGG", kind) if kind.is_string() => kind.clone(),
        ("SUM", TypeKind::Decimal(_, s)) => TypeKind::Decimal(38, *s),
        (name, TypeKind::Decimal(..)) if name == "AVG" || is_variance(name) => {
            let (_, scale) = decimal_of(&arg.kind).ok_or_else(refused)?;
            TypeKind::Decimal(38, scale.max(6))
        }
        ("SUM" | "AVG", kind) if kind.is_numeric() => kind.clone(),
        (name, kind) if is_variance(name) && kind.is_numeric() => kind.clone(),
        _ => return Err(refused()),
    };
    Ok(LogicalType {
        kind,
        nullable: arg.nullable,
    })
}

/// Length of the text that JSON aggregates declare; they may be longer.
const JSON_LENGTH: u32 = 2000;

fn is_variance(name: &str) -> bool {
    name.starts_with("STDDEV") || name.starts_with("VAR")
}

fn is_ordered(kind: &TypeKind) -> bool {
    !matches!(
        kind,
        TypeKind::Null
            | TypeKind::Array(_)
            | TypeKind::Map(..)
            | TypeKind::Multiset(_)
            | TypeKind::Row(_)
            | TypeKind::Binary(_)
            | TypeKind::Varbinary(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_types_are_flinks() {
        for (name, arg, expected) in [
            ("SUM", TypeKind::Int, TypeKind::Int),
            ("SUM", TypeKind::BigInt, TypeKind::BigInt),
            ("sum", TypeKind::Decimal(10, 2), TypeKind::Decimal(38, 2)),
            ("AVG", TypeKind::Int, TypeKind::Int),
            ("AVG", TypeKind::Decimal(10, 2), TypeKind::Decimal(38, 6)),
            ("AVG", TypeKind::Decimal(20, 8), TypeKind::Decimal(38, 8)),
            ("MAX", TypeKind::Varchar(9), TypeKind::Varchar(9)),
            ("COUNT", TypeKind::Varchar(9), TypeKind::BigInt),
        ] {
            let ty = resolve_aggregate(name, &[LogicalType::new(arg)], false).unwrap();
            assert_eq!(ty.kind, expected, "{name}");
        }
        for (name, arg, expected) in [
            ("STDDEV_POP", TypeKind::Int, "INT"),
            ("VARIANCE", TypeKind::Decimal(8, 2), "DECIMAL(38, 6)"),
            ("ARRAY_AGG", TypeKind::Int, "ARRAY<INT>"),
            ("COLLECT", TypeKind::Int, "MULTISET<INT> NOT NULL"),
            ("JSON_ARRAYAGG", TypeKind::Int, "VARCHAR(2000) NOT NULL"),
            ("LISTAGG", TypeKind::Char(3), "CHAR(3)"),
            ("LAG", TypeKind::Int, "INT"),
        ] {
            let ty = resolve_aggregate(name, &[LogicalType::new(arg)], false).unwrap();
            assert_eq!(ty.to_string(), expected, "{name}");
        }
        assert!(AGGREGATES.is_sorted_by(|a, b| a.0 < b.0), "keep the list sorted");
        let unknown = resolve_aggregate("CONUT", &[], false).unwrap_err().to_string();
        assert!(unknown.contains("COUNT"), "{unknown}");
        assert!(resolve_aggregate("SUM", &[LogicalType::string()], false).is_err());
    }
}
