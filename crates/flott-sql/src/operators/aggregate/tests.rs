//! Aggregate functions over all types, told row by row.

use crate::nodes::{AggregateCall, GroupAggregateSpec};
use crate::operators::group::aggregate::{GroupAggregate, Input};
use crate::operators::harness::Harness;
use flott_core::{Field, LogicalType, TypeKind};

/// The values of aggregates `calls` (function, result type) over one column after each of `rows`, as the +I and +U rows tell.
fn values(column: &str, kind: TypeKind, calls: &[(&str, TypeKind)], retracts: bool, rows: &str) -> Vec<String> {
    let call = |(function, ty): &(&str, TypeKind)| AggregateCall {
        function: (*function).into(),
        args: vec![0],
        distinct: false,
        filter: None,
        ty: LogicalType::new(ty.clone()),
        name: (*function).into(),
        detail: Default::default(),
    };
    let spec = GroupAggregateSpec {
        input: vec![Field::new("v", LogicalType::new(kind))],
        keys: vec![],
        aggregates: calls.iter().map(call).collect(),
        input_retracts: retracts,
        generate_update_before: false,
        mini_batch: None,
        ttl_ms: 0,
        is_incremental: false,
    };
    let mut op = Harness::new(
        Box::new(GroupAggregate::new(&spec, Input::Rows).unwrap()),
        &format!("v {column}"),
    );
    op.run(rows).lines().map(|l| l[3..].to_owned()).collect()
}

#[test]
fn integer_sums_wrap_in_their_type_and_averages_are_cut() {
    use TypeKind::TinyInt;
    let calls = [("SUM", TinyInt), ("AVG", TinyInt), ("MIN", TinyInt), ("MAX", TinyInt)];
    let out = values("TINYINT", TinyInt, &calls, false, "+I 100\n+I 100\n+I -3");
    assert_eq!(out, ["100 100 100 100", "-56 100 100 100", "-59 65 -3 100"]);
}

#[test]
fn floats_are_summed_in_their_own_precision() {
    use TypeKind::{Double, Float};
    assert_eq!(
        values(
            "FLOAT",
            Float,
            &[("SUM", Float), ("AVG", Float)],
            false,
            "+I 16777216\n+I 1"
        ),
        ["16777216 16777216", "16777216 8388608"]
    );
    assert_eq!(
        values("DOUBLE", Double, &[("SUM", Double)], false, "+I 16777216\n+I 1"),
        ["16777216", "16777217"]
    );
}

#[test]
fn a_sum_that_is_empty_again_keeps_no_rounding_error() {
    let out = values(
        "DOUBLE",
        TypeKind::Double,
        &[("SUM", TypeKind::Double)],
        true,
        "+I 0.1\n+I NULL\n+I 0.2\n-D 0.1\n-D 0.2\n+I 0.3",
    );
    assert_eq!(
        out,
        ["0.1", "0.30000000000000004", "0.20000000000000004", "NULL", "0.3"]
    );
}

#[test]
fn decimals_keep_their_scale_and_overflow_to_null_for_good() {
    let calls = [
        ("SUM", TypeKind::Decimal(38, 2)),
        ("AVG", TypeKind::Decimal(38, 6)),
        ("MIN", TypeKind::Decimal(4, 2)),
    ];
    let out = values(
        "DECIMAL(4,2)",
        TypeKind::Decimal(4, 2),
        &calls,
        false,
        "+I 10.50\n+I -0.49",
    );
    assert_eq!(out, ["10.50 10.500000 10.50", "10.01 5.005000 -0.49"]);
    let max = "9".repeat(38);
    let rows = format!("+I {max}\n+I 1\n+I -1");
    let out = values(
        "DECIMAL(38,0)",
        TypeKind::Decimal(38, 0),
        &[("SUM", TypeKind::Decimal(38, 0))],
        false,
        &rows,
    );
    assert_eq!(out, [max, "NULL".into()]);
}

#[test]
fn strings_dates_and_flags_have_extremes() {
    let string = LogicalType::string().kind;
    let calls = [
        ("MIN", string.clone()),
        ("MAX", string.clone()),
        ("COUNT", TypeKind::BigInt),
    ];
    let rows = "+I m\n+I a-string-of-more-than-twelve-bytes\n+I NULL\n+I z";
    let long = "a-string-of-more-than-twelve-bytes";
    assert_eq!(
        values("STRING", string.clone(), &calls, false, rows),
        ["m m 1".to_owned(), format!("{long} m 2"), format!("{long} z 3")]
    );
    let retracted = values("STRING", string, &calls, true, &format!("{rows}\n-D z\n-D {long}"));
    assert_eq!(retracted[3..], [format!("{long} m 2"), "m m 1".to_owned()]);
    let date = TypeKind::Date;
    assert_eq!(
        values(
            "DATE",
            date.clone(),
            &[("MIN", date.clone()), ("MAX", date)],
            false,
            "+I 5\n+I 3"
        ),
        ["5 5", "3 5"]
    );
    let flag = TypeKind::Boolean;
    assert_eq!(
        values(
            "BOOLEAN",
            flag.clone(),
            &[("MIN", flag.clone()), ("MAX", flag)],
            false,
            "+I true\n+I false"
        ),
        ["true true", "false true"]
    );
}

#[test]
fn floating_point_extremes_survive_retraction() {
    let double = TypeKind::Double;
    let rows = "+I -2.5\n+I 4\n+I -0.5\n-D -2.5\n-D 4";
    let out = values(
        "DOUBLE",
        double.clone(),
        &[("MIN", double.clone()), ("MAX", double)],
        true,
        rows,
    );
    assert_eq!(out, ["-2.5 -2.5", "-2.5 4", "-0.5 4", "-0.5 -0.5"]);
}

#[test]
fn first_and_last_values_survive_retraction() {
    let int = TypeKind::Int;
    let rows = "+I 1\n+I NULL\n+I 2\n+I 1\n-D 1\n-D 1\n-D NULL\n-D 2";
    let calls = [("FIRST_VALUE", int.clone()), ("LAST_VALUE", int.clone())];
    assert_eq!(
        values("INT", int.clone(), &calls, true, rows),
        ["1 1", "1 2", "1 1", "2 1", "2 2", "2 2"],
        "the earliest of equal values goes first; the last row is the group's deletion"
    );
    assert_eq!(
        values("INT", int, &calls, false, "+I NULL\n+I 1\n+I 2\n+I NULL"),
        ["NULL NULL", "1 1", "1 2"]
    );
}

#[test]
fn texts_are_joined_and_taken_out_again() {
    let string = LogicalType::string().kind;
    let rows = "+I b\n+I a\n+I NULL\n+I b\n-D b\n-D never\n-D a";
    assert_eq!(
        values("STRING", string.clone(), &[("LISTAGG", string.clone())], true, rows),
        ["b", "b,a", "b,a,b", "a,b", "b"]
    );
    let json = TypeKind::Varchar(2000);
    assert_eq!(
        values(
            "STRING",
            string,
            &[("JSON_ARRAYAGG", json)],
            false,
            "+I 1\n+I NULL\n+I [2]"
        ),
        ["[1]", "[1,null]", "[1,null,[2]]"]
    );
}
