//! From `CREATE TABLE` to a [`Table`].

use super::{Column, Path, Table, Watermark};
use crate::binder::{ExprScope, SOURCE_WATERMARK};
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::{Expr, resolve_cast};
use crate::parser::Source;
use crate::parser::ast::{ColumnKind, CreateTable};
use crate::rel::{RelField, TimeKind};
use flott_core::{Field, LogicalType, Options, TypeKind, suggest};
use flott_runtime::connector::{MetadataColumn, TableSpec};
use sqlparser::ast::{self, Ident, Spanned};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Table {
    /// Checks a definition: names, types, computed columns, watermark, key. The connector is not asked.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn resolve(create: &CreateTable, path: &Path, source: &Arc<Source>) -> SqlResult<Self> {
        check_names(create)?;
        let key = create.primary_key.clone().unwrap_or_default();
        let mut spec = TableSpec {
            name: path.to_string(),
            options: Options::new(),
            columns: vec![],
            metadata: vec![],
            primary_key: key.iter().map(|k| k.value.clone()).collect(),
            partition_keys: create.partitioned_by.iter().map(|c| c.value.clone()).collect(),
        };
        let mut option_places = BTreeMap::new();
        for (name, value, place) in &create.options {
            if spec.options.set(name, value).is_some() {
                return Err(SqlError::new(Step::Table, format!("the option '{name}' is given twice")).at(*place));
            }
            option_places.insert(name.clone(), *place);
        }
        raw_columns(create, &key, &mut spec)?;
        let mut table = Self {
            columns: vec![],
            watermark: None,
            definition: with_key_not_null(create, &key),
            option_places,
            source: source.clone(),
            spec,
        };
        table.columns = columns(create, &table)?;
        table.watermark = watermark(create, &mut table.columns)?;
        check_keys(create, &table)?;
        Ok(table)
    }
}

/// The definition as it is kept: columns of the key stay NOT NULL when the key goes.
fn with_key_not_null(create: &CreateTable, key: &[Ident]) -> CreateTable {
    let mut definition = create.clone();
    for column in &mut definition.columns {
        if let ColumnKind::Physical(ty) = &mut column.kind
            && key.iter().any(|k| k.value == column.name.value)
        {
            ty.nullable = false;
        }
    }
    definition
}

fn check_names(create: &CreateTable) -> SqlResult<()> {
    if create.columns.is_empty() {
        return Err(SqlError::new(Step::Table, "a table needs at least one column").at_span(create.name.span()));
    }
    for (i, column) in create.columns.iter().enumerate() {
        if create.columns[..i].iter().any(|c| c.name.value == column.name.value) {
            return Err(SqlError::new(
                Step::Table,
                format!("the column '{}' is declared twice", column.name.value),
            )
            .at_span(column.name.span));
        }
    }
    Ok(())
}

fn raw_columns(create: &CreateTable, key: &[Ident], spec: &mut TableSpec) -> SqlResult<()> {
    for column in &create.columns {
        let name = column.name.value.clone();
        match &column.kind {
            ColumnKind::Physical(ty) => {
                let in_key = key.iter().any(|k| k.value == name);
                let ty = ty.with_nullable(ty.nullable && !in_key);
                spec.columns.push(Field::new(name, ty));
            }
            ColumnKind::Metadata { ty, key, is_virtual } => spec.metadata.push(MetadataColumn {
                key: key.clone().unwrap_or_else(|| name.clone()),
                name,
                ty: ty.clone(),
                is_virtual: *is_virtual,
            }),
            ColumnKind::Computed(_) => {}
        }
    }
    Ok(())
}

/// Columns in declared order; computed ones may use physical and metadata columns only, as in Flink.
fn columns(create: &CreateTable, table: &Table) -> SqlResult<Vec<Column>> {
    let raw = table.raw();
    let fields: Vec<RelField> = raw
        .iter()
        .map(|f| RelField::new(f.name.clone(), f.ty.clone()))
        .collect();
    let scope = ExprScope::of_table(&fields);
    let raw_column = |name: &str| {
        let found = raw.iter().position(|f| f.name == name);
        found.map(|i| Expr::input(i, raw[i].ty.clone()))
    };
    let mut columns = vec![];
    for column in &create.columns {
        let name = column.name.value.clone();
        let (expr, persisted) = match &column.kind {
            ColumnKind::Physical(_) => (raw_column(&name), true),
            ColumnKind::Metadata { is_virtual, .. } => (raw_column(&name), !is_virtual),
            ColumnKind::Computed(expr) => (Some(scope.bind(expr)?), false),
        };
        let expr = expr.ok_or_else(|| SqlError::new(Step::Plan, format!("column '{name}' was not resolved")))?;
        let time = matches!(&expr, Expr::Call { function, .. } if function == "PROCTIME").then_some(TimeKind::Proctime);
        columns.push(Column {
            name,
            ty: expr.ty().clone(),
            expr,
            time,
            persisted,
        });
    }
    Ok(columns)
}

/// Whether the watermarks are those that come with the source's rows: `SOURCE_WATERMARK()`.
fn is_source_watermark(expr: &ast::Expr) -> bool {
    let ast::Expr::Function(call) = expr else {
        return false;
    };
    let has_no_arguments = match &call.args {
        ast::FunctionArguments::None => true,
        ast::FunctionArguments::List(list) => list.args.is_empty(),
        ast::FunctionArguments::Subquery(_) => false,
    };
    has_no_arguments && call.name.to_string().eq_ignore_ascii_case(SOURCE_WATERMARK)
}

/// Checks the watermark and marks its column.
fn watermark(create: &CreateTable, columns: &mut [Column]) -> SqlResult<Option<Watermark>> {
    let Some(def) = &create.watermark else {
        return Ok(None);
    };
    let [name] = def.column.as_slice() else {
        return Err(SqlError::new(
            Step::Unsupported,
            "a watermark on a field of a ROW is not supported yet",
        )
        .at_span(def.column[0].span)
        .remedy("add a computed column for the field, and the watermark for that column"));
    };
    let Some(index) = columns.iter().position(|c| c.name == name.value) else {
        let hint = suggest::hint(&name.value, columns.iter().map(|c| c.name.as_str()));
        return Err(SqlError::new(
            Step::Name,
            format!("the watermark's column '{}' is not in the table{hint}", name.value),
        )
        .at_span(name.span)
        .remedy("declare it as TIMESTAMP(3) or TIMESTAMP_LTZ(3), or as a computed column of such a type"));
    };
    let fits = |ty: &LogicalType| matches!(ty.kind, TypeKind::Timestamp(0..=3) | TypeKind::TimestampLtz(0..=3));
    let ty = columns[index].ty.clone();
    if !fits(&ty) {
        return Err(SqlError::new(
            Step::Type,
            format!(
                "the watermark's column '{}' has type {ty}, but needs TIMESTAMP(3) or TIMESTAMP_LTZ(3)",
                name.value
            ),
        )
        .at_span(name.span)
        .remedy("cast it in a computed column: ts AS CAST(… AS TIMESTAMP(3)), or TO_TIMESTAMP_LTZ(millis, 3)"));
    }
    if is_source_watermark(&def.expr) {
        columns[index].time = Some(TimeKind::Rowtime);
        let expr = Expr::Call {
            function: SOURCE_WATERMARK.to_owned(),
            args: vec![],
            ty,
        };
        return Ok(Some(Watermark { column: index, expr }));
    }
    let fields: Vec<RelField> = columns
        .iter()
        .map(|c| RelField::new(c.name.clone(), c.ty.clone()))
        .collect();
    let bound = ExprScope::of_table(&fields).bind(&def.expr)?;
    if !matches!(bound.ty().kind, TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_)) {
        return Err(SqlError::new(
            Step::Type,
            format!(
                "the watermark has type {}, but needs TIMESTAMP(3) or TIMESTAMP_LTZ(3)",
                bound.ty()
            ),
        )
        .at_span(def.expr.span())
        .remedy(format!("write for example {0} - INTERVAL '5' SECOND", name.value)));
    }
    let precise = match bound.ty().kind {
        TypeKind::Timestamp(p) if p > 3 => Some(TypeKind::Timestamp(3)),
        TypeKind::TimestampLtz(p) if p > 3 => Some(TypeKind::TimestampLtz(3)),
        _ => None,
    };
    let expr = match precise {
        Some(kind) => resolve_cast(bound, LogicalType::new(kind), false)
            .map_err(|e| SqlError::new(Step::Type, e.to_string()).at_span(def.expr.span()))?,
        None => bound,
    };
    let expr = expr.map_inputs(&mut |i, _| columns[i].expr.clone());
    columns[index].time = Some(TimeKind::Rowtime);
    Ok(Some(Watermark { column: index, expr }))
}

fn check_keys(create: &CreateTable, table: &Table) -> SqlResult<()> {
    let physical = |what: &str, name: &Ident| -> SqlResult<()> {
        if table.spec.columns.iter().any(|c| c.name == name.value) {
            return Ok(());
        }
        let hint = suggest::hint(&name.value, table.spec.columns.iter().map(|c| c.name.as_str()));
        let error = SqlError::new(
            Step::Table,
            format!(
                "the column '{}' of {what} is not a physical column of the table{hint}",
                name.value
            ),
        );
        Err(error.at_span(name.span))
    };
    for (i, name) in create.primary_key.iter().flatten().enumerate() {
        physical("the primary key", name)?;
        let key = create.primary_key.as_deref().unwrap_or_default();
        if key[..i].iter().any(|k| k.value == name.value) {
            return Err(
                SqlError::new(Step::Table, format!("the primary key names '{}' twice", name.value)).at_span(name.span),
            );
        }
    }
    for name in &create.partitioned_by {
        physical("PARTITIONED BY", name)?;
    }
    Ok(())
}
