//! Result types of aggregate functions, as Flink derives them.

use super::FunctionError;
use super::types::decimal_of;
use flott_core::{LogicalType, TypeKind};

/// The aggregate functions and what they take.
const AGGREGATES: [(&str, &str); 5] = [
    ("AVG", "AVG(NUMERIC)"),
    ("COUNT", "COUNT(*), COUNT(ANY, ...)"),
    ("MAX", "MAX(COMPARABLE)"),
    ("MIN", "MIN(COMPARABLE)"),
    ("SUM", "SUM(NUMERIC)"),
];

/// Names of all aggregate functions, sorted.
pub fn aggregate_names() -> Vec<&'static str> {
    AGGREGATES.iter().map(|(name, _)| *name).collect()
}

/// Type of `name` over arguments of these types (none: `COUNT(*)`), as in a grouped query: NULL only where a value was
/// NULL. Over the whole input (no GROUP BY) all but COUNT are nullable: the caller knows.
///
/// # Errors
/// If there is no such aggregate (the nearest name is in the text) or it cannot take these arguments.
pub fn resolve_aggregate(name: &str, args: &[LogicalType], distinct: bool) -> Result<LogicalType, FunctionError> {
    let name = name.to_uppercase();
    let Some((_, signature)) = AGGREGATES.iter().find(|(n, _)| *n == name) else {
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
    let [arg] = args else {
        return Err(refused());
    };
    let kind = match (name.as_str(), &arg.kind) {
        ("MIN" | "MAX", kind) if is_ordered(kind) => kind.clone(),
        ("SUM", TypeKind::Decimal(_, s)) => TypeKind::Decimal(38, *s),
        ("AVG", TypeKind::Decimal(..)) => {
            let (_, scale) = decimal_of(&arg.kind).ok_or_else(refused)?;
            TypeKind::Decimal(38, scale.max(6))
        }
        ("SUM" | "AVG", kind) if kind.is_numeric() => kind.clone(),
        _ => return Err(refused()),
    };
    Ok(LogicalType {
        kind,
        nullable: arg.nullable,
    })
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
        let unknown = resolve_aggregate("CONUT", &[], false).unwrap_err().to_string();
        assert!(unknown.contains("COUNT"), "{unknown}");
        assert!(resolve_aggregate("SUM", &[LogicalType::string()], false).is_err());
    }
}
