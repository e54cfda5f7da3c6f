//! How compiled expressions run: shared subtrees, rows that may fail, NULL structs, the clock, JSON of the tree.

use crate::expr::{EvalContext, Expr, Literal, compile, compile_many, fold_constants, resolve_call, resolve_cast};
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Int32Array, Int64Array, StringArray, StructArray, TimestampMillisecondArray,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field as ArrowField};
use flott_core::clock::ManualClock;
use flott_core::{Batch, Field, LogicalType, TypeKind};
use std::sync::Arc;

fn call(name: &str, args: Vec<Expr>) -> Expr {
    resolve_call(name, args).unwrap()
}

fn ints(values: Vec<Option<i32>>) -> ArrayRef {
    Arc::new(Int32Array::from(values))
}

fn column(index: usize) -> Expr {
    Expr::input(index, LogicalType::int())
}

fn run(expr: &Expr, columns: Vec<ArrayRef>) -> Result<ArrayRef, String> {
    let rows = columns[0].len();
    let compiled = compile(expr, &EvalContext::default()).map_err(|e| e.to_string())?;
    compiled.evaluate(&Batch::new(columns, rows)).map_err(|e| e.to_string())
}

#[test]
fn division_by_zero_fails_only_on_rows_that_need_it() {
    let values = || vec![ints(vec![Some(6), Some(0), None, Some(-3)])];
    let quotient = call("/", vec![Expr::int(12), column(0)]);
    let failed = run(&quotient, values()).unwrap_err();
    assert!(failed.contains("/ by zero") && failed.contains("12"), "{failed}");

    let not_zero = call("<>", vec![column(0), Expr::int(0)]);
    let guarded = call("CASE", vec![not_zero.clone(), quotient.clone(), Expr::int(-1)]);
    let result = run(&guarded, values()).unwrap();
    let result = result.as_primitive::<Int32Type>();
    assert_eq!(
        result.iter().collect::<Vec<_>>(),
        [Some(2), Some(-1), Some(-1), Some(-4)]
    );

    let large = call(">", vec![quotient.clone(), Expr::int(0)]);
    let both = run(&call("AND", vec![not_zero.clone(), large.clone()]), values()).unwrap();
    let both: Vec<Option<bool>> = both.as_boolean().iter().collect();
    assert_eq!(both, [Some(true), Some(false), None, Some(false)]);

    let zero = call("=", vec![column(0), Expr::int(0)]);
    let either = run(&call("OR", vec![zero, large]), values()).unwrap();
    let either: Vec<Option<bool>> = either.as_boolean().iter().collect();
    assert_eq!(either, [Some(true), Some(true), None, Some(false)]);

    // COALESCE does not look at what it does not need
    let first = call("COALESCE", vec![Expr::input(1, LogicalType::int()), quotient]);
    let result = run(
        &first,
        vec![values().remove(0), ints(vec![None, Some(9), Some(8), None])],
    )
    .unwrap();
    let result: Vec<Option<i32>> = result.as_primitive::<Int32Type>().iter().collect();
    assert_eq!(result, [Some(2), Some(9), Some(8), Some(-4)]);
}

#[test]
fn nested_conditions_pick_rows_of_rows() {
    // CASE WHEN a > 0 THEN CASE WHEN a > 5 THEN 100 / (a - 6) ELSE 100 / a END ELSE 0 END
    let six = call("-", vec![column(0), Expr::int(6)]);
    let inner = call(
        "CASE",
        vec![
            call(">", vec![column(0), Expr::int(6)]),
            call("/", vec![Expr::int(100), six]),
            call("/", vec![Expr::int(100), column(0)]),
        ],
    );
    let outer = call(
        "CASE",
        vec![call(">", vec![column(0), Expr::int(0)]), inner, Expr::int(0)],
    );
    let result = run(
        &outer,
        vec![ints(vec![Some(7), Some(0), Some(6), None, Some(1), Some(8)])],
    )
    .unwrap();
    let result: Vec<Option<i32>> = result.as_primitive::<Int32Type>().iter().collect();
    assert_eq!(result, [Some(100), Some(0), Some(16), Some(0), Some(100), Some(50)]);
}

#[test]
fn a_field_is_null_where_its_row_is() {
    let price: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None]));
    let fields = vec![ArrowField::new("price", DataType::Int64, true)].into();
    let row: ArrayRef = Arc::new(StructArray::new(
        fields,
        vec![price],
        Some(NullBuffer::from(vec![true, false, true])),
    ));
    let ty = LogicalType::new(TypeKind::Row(vec![Field::new(
        "price",
        LogicalType::not_null(TypeKind::BigInt),
    )]));
    let field = Expr::input(0, ty).field(0).unwrap();
    assert!(field.ty().nullable);
    assert_eq!(
        field
            .explain(&["bid".to_owned()], crate::expr::Notation::Infix)
            .to_string(),
        "bid.price"
    );
    let result = run(&field, vec![row]).unwrap();
    assert_eq!(
        result.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(),
        [Some(1), None, None]
    );
}

#[test]
fn a_projection_runs_equal_subtrees_once_and_keeps_constants_short() {
    let price = Expr::input(0, LogicalType::bigint());
    let literal = Expr::literal(
        Literal::Decimal {
            unscaled: 908,
            precision: 4,
            scale: 3,
        },
        LogicalType::not_null(TypeKind::Decimal(4, 3)),
    );
    let euro = call("*", vec![literal, price]);
    assert_eq!(euro.ty().to_string(), "DECIMAL(24, 3)");
    let dear = call(">", vec![euro.clone(), Expr::int(1_000_000)]);
    let compiled = compile_many(&[euro.clone(), dear, Expr::string("x")], &EvalContext::default()).unwrap();
    let batch = Batch::new(
        vec![Arc::new(Int64Array::from(vec![Some(100), None, Some(2_000_000)]))],
        3,
    );
    let columns = compiled.evaluate(&batch).unwrap();
    let euros = columns[0].as_primitive::<Decimal128Type>();
    assert_eq!(
        euros.iter().collect::<Vec<_>>(),
        [Some(90_800), None, Some(1_816_000_000)]
    );
    assert_eq!(
        columns[1].as_boolean().iter().collect::<Vec<_>>(),
        [Some(false), None, Some(true)]
    );
    assert_eq!(columns[2].as_ref(), &StringArray::from(vec!["x"; 3]) as &dyn Array);
    assert_eq!(columns[0].data_type(), &DataType::Decimal128(24, 3));
    // an empty batch has columns of the right types
    let none = compiled.evaluate(&batch.slice(0, 0)).unwrap();
    assert_eq!((none[0].len(), none[0].data_type()), (0, &DataType::Decimal128(24, 3)));
}

#[test]
fn conditions_are_masks_without_nulls() {
    let positive = call(">", vec![column(0), Expr::int(0)]);
    let compiled = compile(&positive, &EvalContext::default()).unwrap();
    let batch = Batch::new(vec![ints(vec![Some(1), None, Some(-1)])], 3);
    let mask = compiled.evaluate_condition(&batch).unwrap();
    assert_eq!(mask, BooleanArray::from(vec![true, false, false]));
}

#[test]
fn the_clock_is_asked_at_each_batch_and_never_folded() {
    let clock = ManualClock::at(86_400_000);
    let context = EvalContext {
        clock: clock.clone(),
        time_zone: "GMT-01:00".parse().unwrap(),
        ..EvalContext::default()
    };
    let today = call("CURRENT_DATE", vec![]);
    assert!(!today.is_constant() && !today.is_deterministic());
    assert_eq!(fold_constants(&today, &context), today);
    let compiled = compile(&today, &context).unwrap();
    let day = || {
        compiled
            .evaluate(&Batch::new(vec![], 2))
            .unwrap()
            .as_primitive::<Date32Type>()
            .value(1)
    };
    assert_eq!(day(), 0);
    clock.set(2 * 86_400_000);
    assert_eq!(day(), 1);
}

#[test]
fn local_times_follow_the_session_zone() {
    let context = EvalContext {
        time_zone: "Asia/Shanghai".parse().unwrap(),
        ..EvalContext::default()
    };
    let instant = Expr::input(0, LogicalType::new(TypeKind::TimestampLtz(3)));
    let batch = Batch::new(
        vec![Arc::new(TimestampMillisecondArray::from(vec![1_709_210_096_789]))],
        1,
    );
    let text = |expr: &Expr| {
        let array = compile(expr, &context).unwrap().evaluate(&batch).unwrap();
        array.as_string::<i32>().value(0).to_owned()
    };
    let format = call("DATE_FORMAT", vec![instant.clone(), Expr::string("yyyy-MM-dd HH:mm")]);
    assert_eq!(text(&format), "2024-02-29 20:34");
    let as_text = resolve_cast(instant.clone(), LogicalType::string(), false).unwrap();
    assert_eq!(text(&as_text), "2024-02-29 20:34:56.789");
    // there and back
    let local = resolve_cast(instant, LogicalType::new(TypeKind::Timestamp(3)), false).unwrap();
    let back = resolve_cast(local, LogicalType::new(TypeKind::TimestampLtz(3)), false).unwrap();
    let array = compile(&back, &context).unwrap().evaluate(&batch).unwrap();
    assert_eq!(&array, batch.column(0));
}

#[test]
fn the_tree_survives_json_and_shows_itself() {
    let seconds = Expr::literal(
        Literal::IntervalMs(4000),
        LogicalType::not_null(TypeKind::IntervalDayTime),
    );
    let time = Expr::input(1, LogicalType::new(TypeKind::Timestamp(3)));
    let tree = call(
        "AND",
        vec![
            call(
                "=",
                vec![
                    call("MOD", vec![Expr::input(0, LogicalType::bigint()), Expr::int(123)]),
                    Expr::int(0),
                ],
            ),
            call("IS NOT NULL", vec![call("-", vec![time, seconds])]),
        ],
    );
    let json = serde_json::to_string(&tree).unwrap();
    assert_eq!(serde_json::from_str::<Expr>(&json).unwrap(), tree);
    let names = ["auction".to_owned(), "dateTime".to_owned()];
    let text = |notation| tree.explain(&names, notation).to_string();
    use crate::expr::Notation::{Infix, Prefix};
    assert_eq!(
        text(Infix),
        "((MOD(auction, 123) = 0) AND (dateTime - 4000:INTERVAL DAY TO SECOND) IS NOT NULL)"
    );
    assert_eq!(
        text(Prefix),
        "AND(=(MOD(auction, 123), 0), IS NOT NULL(-(dateTime, 4000:INTERVAL DAY TO SECOND)))"
    );
    let nan = Expr::double(f64::NAN);
    assert_eq!(
        serde_json::from_str::<Expr>(&serde_json::to_string(&nan).unwrap()).unwrap(),
        nan
    );
}

#[test]
fn unknown_and_misused_functions_are_explained() {
    let error = |name: &str, args: Vec<Expr>| resolve_call(name, args).unwrap_err().to_string();
    assert!(error("REGEXP_EXTRAKT", vec![]).contains("did you mean 'REGEXP_EXTRACT'?"));
    let misused = error("LOWER", vec![Expr::int(1)]);
    assert!(
        misused.contains("LOWER(STRING)") && misused.contains("INT NOT NULL"),
        "{misused}"
    );
    let pattern = error("REGEXP", vec![Expr::string("a"), Expr::string("(?=a)")]);
    assert!(pattern.contains("look-ahead"), "{pattern}");
    let format = error(
        "DATE_FORMAT",
        vec![
            Expr::input(0, LogicalType::new(TypeKind::Timestamp(3))),
            Expr::string("b"),
        ],
    );
    assert!(format.contains("unknown letter 'b'"), "{format}");
}

#[test]
fn counting_a_letter_by_replacing_it_gives_what_replacing_gives() {
    let texts = vec![
        Some("abcabc"),
        None,
        Some(""),
        Some("ccc"),
        Some("çaxc😀"),
        Some("none"),
    ];
    let texts: ArrayRef = Arc::new(StringArray::from(texts));
    let text = Expr::input(0, LogicalType::string());
    for by in ["", "x", "é😀"] {
        let direct = call("REPLACE", vec![text.clone(), Expr::string("c"), Expr::string(by)]);
        let fused = run(&call("CHAR_LENGTH", vec![direct.clone()]), vec![texts.clone()]).unwrap();
        let replaced = run(&direct, vec![texts.clone()]).unwrap();
        let plain = run(&call("CHAR_LENGTH", vec![text.clone()]), vec![replaced]).unwrap();
        assert_eq!(&fused, &plain, "by {by:?}");
    }
}

#[test]
fn formatted_rows_of_one_second_differ_in_their_fraction() {
    let times = vec![
        Some(1_709_210_096_789),
        Some(1_709_210_096_004),
        None,
        Some(1_709_210_097_000),
        Some(-1),
    ];
    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(times));
    let time = Expr::input(0, LogicalType::new(TypeKind::Timestamp(3)));
    let format = call("DATE_FORMAT", vec![time, Expr::string("HH:mm:ss.SSS (SS)")]);
    let result = run(&format, vec![times]).unwrap();
    let expected = [
        "12:34:56.789 (78)",
        "12:34:56.004 (00)",
        "",
        "12:34:57.000 (00)",
        "23:59:59.999 (99)",
    ];
    for (row, text) in result.as_string::<i32>().iter().zip(expected) {
        assert_eq!(row.unwrap_or_default(), text);
    }
}

#[test]
fn texts_out_of_all_proportion_are_errors_and_no_constants() {
    let text = |n: usize| Expr::string("a".repeat(n));
    let many = Expr::int(i32::MAX);
    let columns = || vec![ints(vec![Some(1)])];
    for expr in [
        call("REPEAT", vec![text(10), many.clone()]),
        call("LPAD", vec![text(1), many.clone(), text(1)]),
        call("RPAD", vec![text(1), many.clone(), Expr::string("é")]),
        call("REPLACE", vec![text(30_000), text(1), text(30_000)]),
        call("REGEXP_REPLACE", vec![text(30_000), text(1), text(30_000)]),
        resolve_cast(text(1), LogicalType::new(TypeKind::Char(i32::MAX as u32)), false).unwrap(),
        resolve_cast(text(1), LogicalType::new(TypeKind::Binary(i32::MAX as u32)), false).unwrap(),
    ] {
        let error = run(&expr, columns()).unwrap_err();
        assert!(error.contains("more than 256 MiB of text"), "{error}");
    }
    // What is large and can be made is made where it is used, not kept in the plan.
    let large = call("REPEAT", vec![text(10), Expr::int(200_000)]);
    assert_eq!(fold_constants(&large, &EvalContext::default()), large);
    assert_eq!(
        run(&large, columns()).unwrap().as_string::<i32>().value(0).len(),
        2_000_000
    );
    // Nothing, however often, is nothing.
    let nothing = call("REPEAT", vec![text(0), many]);
    assert_eq!(run(&nothing, columns()).unwrap().as_string::<i32>().value(0), "");
}

#[test]
fn many_operands_make_a_flat_tree_in_their_order() {
    fn depth(expr: &Expr) -> usize {
        match expr {
            Expr::Call { args, .. } => 1 + args.iter().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }
    let join = |n: usize| {
        let operands: Vec<Expr> = (0..n).map(column).collect();
        let all = Expr::join_all(operands, &mut |a, b| {
            Ok::<_, ()>(Expr::call("AND", vec![a, b], LogicalType::boolean()))
        });
        all.unwrap().unwrap()
    };
    assert_eq!(join(1), column(0));
    assert_eq!(depth(&join(16)), 15);
    let many = join(1001);
    assert!(depth(&many) < 30, "{}", depth(&many));
    let order: Vec<Expr> = many.conjuncts().into_iter().cloned().collect();
    assert_eq!(order, (0..1001).map(column).collect::<Vec<_>>());
}
