//! Definitions as text, and definitions made of others: SHOW CREATE, and CREATE TABLE … LIKE.

use crate::binder::visit_expr;
use crate::error::{SqlError, SqlResult, Step};
use crate::parser::ast::{ColumnKind, CreateTable, CreateTableLike, LikePart, LikeStrategy};
use crate::parser::dialect::FlinkDialect;
use crate::parser::parse_expr;
use flott_core::options::is_secret;
use flott_core::{LogicalType, TypeKind};
use sqlparser::ast::{Expr, Ident, Spanned};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};
use std::fmt::Write as _;
use std::ops::ControlFlow;

/// An expression over the columns of a table with their names in backquotes.
pub fn expr_text(expr: &Expr, columns: &[&str]) -> String {
    let text = expr.to_string();
    let dialect = FlinkDialect::default();
    // Where names stand is known of the expression that this text is; words like SECOND can be names or not.
    let (Ok(tokens), Ok(parsed)) = (
        Tokenizer::new(&dialect, &text).tokenize_with_location(),
        parse_expr(&text),
    ) else {
        return text;
    };
    let mut places: Vec<Location> = vec![];
    visit_names(&parsed, &mut |name| {
        if columns.contains(&name[0].value.as_str()) {
            places.extend(name.iter().map(|part| part.span.start));
        }
    });
    let mut out = String::new();
    for TokenWithSpan { token, span } in &tokens {
        match token {
            Token::Word(word) if places.contains(&span.start) => {
                out += &backquoted(&word.value);
            }
            token => out += &token.to_string(),
        }
    }
    out
}

/// Whether an expression reads this column.
pub fn reads(expr: &Expr, column: &str) -> bool {
    let mut is_read = false;
    visit_names(expr, &mut |name| is_read |= name[0].value == column);
    is_read
}

/// Calls `visit` on the parts of each name of a column, or of a field of one, in an expression.
fn visit_names(expr: &Expr, visit: &mut dyn FnMut(&[Ident])) {
    let _ = visit_expr(expr, &mut |e| {
        match e {
            Expr::Identifier(name) => visit(std::slice::from_ref(name)),
            Expr::CompoundIdentifier(parts) if !parts.is_empty() => visit(parts),
            _ => {}
        }
        ControlFlow::Continue(())
    });
}

/// A type as SHOW CREATE writes it: without the short names STRING and BYTES.
pub fn type_text(ty: &LogicalType) -> String {
    let kind = match &ty.kind {
        TypeKind::Varchar(n) => format!("VARCHAR({n})"),
        TypeKind::Varbinary(n) => format!("VARBINARY({n})"),
        TypeKind::Array(e) => format!("ARRAY<{}>", type_text(e)),
        TypeKind::Multiset(e) => format!("MULTISET<{}>", type_text(e)),
        TypeKind::Map(k, v) => format!("MAP<{}, {}>", type_text(k), type_text(v)),
        TypeKind::Row(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|f| format!("{} {}", backquoted(&f.name), type_text(&f.ty)))
                .collect();
            format!("ROW<{}>", fields.join(", "))
        }
        kind => kind.to_string(),
    };
    kind + if ty.nullable { "" } else { " NOT NULL" }
}

/// A text as an SQL string.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name in backquotes.
pub fn backquoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Names in backquotes, between commas.
pub(super) fn names(idents: &[Ident]) -> String {
    let quoted: Vec<String> = idents.iter().map(|i| backquoted(&i.value)).collect();
    quoted.join(", ")
}

/// `WITH (…)` with one option a line; empty without options. Secrets are masked.
pub fn options_text<'a>(options: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let masked = |key: &str, value: &'a str| if is_secret(key) { "******" } else { value };
    whole_options_text(options.map(|(k, v)| (k, masked(k, v))))
}

fn whole_options_text<'a>(options: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let lines: Vec<String> = options
        .map(|(k, v)| format!("  {} = {}", quoted(k), quoted(v)))
        .collect();
    match lines.is_empty() {
        true => String::new(),
        false => format!("WITH (\n{}\n)\n", lines.join(",\n")),
    }
}

/// The statement that would make this table, as SHOW CREATE TABLE prints it.
pub fn create_text(table: &CreateTable, path: &str, temporary: bool) -> String {
    table_text(table, path, temporary) + &options_text(sorted_options(table))
}

/// The statement that makes this table, secrets included.
pub fn definition_text(table: &CreateTable, path: &str) -> String {
    table_text(table, path, false) + &whole_options_text(sorted_options(table))
}

fn sorted_options(table: &CreateTable) -> impl Iterator<Item = (&str, &str)> {
    let mut options: Vec<(&str, &str)> = table.options.iter().map(|(k, v, _)| (k.as_str(), v.as_str())).collect();
    options.sort_unstable();
    options.into_iter()
}

/// The statement up to the options.
fn table_text(table: &CreateTable, path: &str, temporary: bool) -> String {
    let columns: Vec<&str> = table.columns.iter().map(|c| c.name.value.as_str()).collect();
    let key = table.primary_key.as_deref().unwrap_or_default();
    let mut lines = vec![];
    for column in &table.columns {
        let mut line = format!("  `{}` ", column.name.value);
        match &column.kind {
            ColumnKind::Physical(ty) => line += &type_text(ty),
            ColumnKind::Computed(expr) => line += &format!("AS {}", expr_text(expr, &columns)),
            ColumnKind::Metadata { ty, key, is_virtual } => {
                line += &format!("{} METADATA", type_text(ty));
                if let Some(key) = key {
                    line += &format!(" FROM {}", quoted(key));
                }
                line += if *is_virtual { " VIRTUAL" } else { "" };
            }
        }
        if let Some(comment) = &column.comment {
            line += &format!(" COMMENT {}", quoted(comment));
        }
        lines.push(line);
    }
    if let Some(watermark) = &table.watermark {
        let column: Vec<String> = watermark.column.iter().map(|c| backquoted(&c.value)).collect();
        lines.push(format!(
            "  WATERMARK FOR {} AS {}",
            column.join("."),
            expr_text(&watermark.expr, &columns)
        ));
    }
    if !key.is_empty() {
        let name: Vec<&str> = key.iter().map(|k| k.value.as_str()).collect();
        lines.push(format!(
            "  CONSTRAINT `PK_{}` PRIMARY KEY ({}) NOT ENFORCED",
            name.join("_"),
            names(key)
        ));
    }
    let temporary = if temporary { "TEMPORARY " } else { "" };
    let mut out = format!("CREATE {temporary}TABLE {path} (\n{}\n)\n", lines.join(",\n"));
    // Writing to a String cannot fail.
    if let Some(comment) = &table.comment {
        let _ = writeln!(out, "COMMENT {}", quoted(comment));
    }
    if !table.partitioned_by.is_empty() {
        let _ = writeln!(out, "PARTITIONED BY ({})", names(&table.partitioned_by));
    }
    out
}

/// The definition that `LIKE` makes of a base table and what is written besides.
///
/// # Errors
/// If both define the same and the rules do not say which one wins.
pub fn liken(like: &CreateTableLike, base: &CreateTable) -> SqlResult<CreateTable> {
    check_rules(like)?;
    let strategy = |part: LikePart| {
        let of = |wanted: LikePart| like.rules.iter().find(|(_, p)| *p == wanted).map(|(s, _)| *s);
        of(part).or_else(|| of(LikePart::All)).unwrap_or(match part {
            LikePart::Options => LikeStrategy::Overwriting,
            _ => LikeStrategy::Including,
        })
    };
    let takes = |part| strategy(part) != LikeStrategy::Excluding;
    let clash = |what: String, part: &str| {
        SqlError::new(Step::Table, format!("the base table has {what} already"))
            .at_span(like.base.span())
            .remedy(format!("leave it out, or write LIKE … (EXCLUDING {part})"))
    };
    let mut made = CreateTable {
        columns: vec![],
        ..like.table.clone()
    };
    for column in &base.columns {
        let part = match &column.kind {
            ColumnKind::Physical(_) => None,
            ColumnKind::Computed(_) => Some((LikePart::Generated, "GENERATED")),
            ColumnKind::Metadata { .. } => Some((LikePart::Metadata, "METADATA")),
        };
        let again = like.table.columns.iter().find(|c| c.name.value == column.name.value);
        match (part, again) {
            (None, Some(again)) => {
                return Err(SqlError::new(
                    Step::Table,
                    format!("the base table has a column '{}' already", column.name.value),
                )
                .at_span(again.name.span)
                .remedy("give the new column another name; physical columns of the base table are always taken"));
            }
            (Some((part, _)), _) if !takes(part) => {}
            (Some((part, name)), Some(_)) if strategy(part) == LikeStrategy::Including => {
                let what = format!("a column '{}'", column.name.value);
                return Err(clash(what, &format!("{name}) or LIKE … (OVERWRITING {name}")));
            }
            (Some(_), Some(again)) => made.columns.push(again.clone()),
            (_, None) => made.columns.push(column.clone()),
        }
    }
    for column in &like.table.columns {
        if !made.columns.iter().any(|c| c.name.value == column.name.value) {
            made.columns.push(column.clone());
        }
    }
    if takes(LikePart::Watermarks) && base.watermark.is_some() {
        match &like.table.watermark {
            None => made.watermark.clone_from(&base.watermark),
            Some(_) if strategy(LikePart::Watermarks) == LikeStrategy::Including => {
                return Err(clash(
                    "a watermark".into(),
                    "WATERMARKS) or LIKE … (OVERWRITING WATERMARKS",
                ));
            }
            Some(_) => {}
        }
    }
    if takes(LikePart::Constraints) && base.primary_key.is_some() {
        if like.table.primary_key.is_some() {
            return Err(clash("a primary key".into(), "CONSTRAINTS"));
        }
        made.primary_key.clone_from(&base.primary_key);
    }
    if takes(LikePart::Partitions) && !base.partitioned_by.is_empty() {
        if !like.table.partitioned_by.is_empty() {
            return Err(clash("partitions".into(), "PARTITIONS"));
        }
        made.partitioned_by.clone_from(&base.partitioned_by);
    }
    if takes(LikePart::Options) {
        for option in &base.options {
            match like.table.options.iter().any(|(key, ..)| *key == option.0) {
                false => made.options.push(option.clone()),
                true if strategy(LikePart::Options) == LikeStrategy::Including => {
                    let what = format!("the option '{}'", option.0);
                    return Err(clash(what, "OPTIONS) or LIKE … (OVERWRITING OPTIONS"));
                }
                true => {}
            }
        }
    }
    if made.comment.is_none() {
        made.comment.clone_from(&base.comment);
    }
    Ok(made)
}

fn check_rules(like: &CreateTableLike) -> SqlResult<()> {
    for (i, (strategy, part)) in like.rules.iter().enumerate() {
        let is_whole = matches!(part, LikePart::All | LikePart::Constraints | LikePart::Partitions);
        if *strategy == LikeStrategy::Overwriting && is_whole {
            return Err(SqlError::new(
                Step::Table,
                "OVERWRITING is possible for GENERATED, METADATA, OPTIONS and WATERMARKS only",
            )
            .at_span(like.base.span())
            .remedy("write INCLUDING or EXCLUDING"));
        }
        if like.rules[..i].iter().any(|(_, earlier)| earlier == part) {
            return Err(
                SqlError::new(Step::Table, "a part of the base table is named twice behind LIKE")
                    .at_span(like.base.span()),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_words_that_look_like_them_are_not() {
        let columns = ["SECOND", "YEAR", "INT", "n", "TRIM", "a`b", "BOTH"];
        let cases = [
            ("SECOND + n - other", "`SECOND` + `n` - other"),
            ("`ts` - INTERVAL '5' SECOND", "`ts` - INTERVAL '5' SECOND"),
            ("EXTRACT(YEAR FROM `YEAR`)", "EXTRACT(YEAR FROM `YEAR`)"),
            ("CAST(`INT` AS INT)", "CAST(`INT` AS INT)"),
            ("TRIM(BOTH `BOTH` FROM `TRIM`)", "TRIM(BOTH `BOTH` FROM `TRIM`)"),
            ("n[n].x", "`n`[`n`].x"),
            (
                "CASE WHEN n IS NULL THEN `a``b` END",
                "CASE WHEN `n` IS NULL THEN `a``b` END",
            ),
            ("n.x", "`n`.`x`"),
            ("n(n, 'n')", "n(`n`, 'n')"),
        ];
        for (expr, expected) in cases {
            let expr = parse_expr(expr).unwrap();
            let text = expr_text(&expr, &columns);
            assert_eq!(text, expected);
            let again = expr_text(&parse_expr(&text).unwrap(), &columns);
            assert_eq!(again, text, "it is read as it was written");
        }
        let reads_of = |expr: &str, column: &str| reads(&parse_expr(expr).unwrap(), column);
        assert!(reads_of("`ts` - INTERVAL '5' SECOND", "ts") && !reads_of("`ts` - INTERVAL '5' SECOND", "SECOND"));
        assert!(reads_of("UPPER(n.x)", "n") && !reads_of("UPPER(n.x)", "x"));
    }
}
