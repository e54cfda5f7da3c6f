//! Names in scope: the relations of a FROM clause and their columns, found as Flink finds them (case-sensitive).

use super::expr::{Resolver, bind_expr};
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::{Expr, Literal};
use crate::rel::{RelField, TimeKind};
use flott_core::{LogicalType, TypeKind, suggest};
use sqlparser::ast::{self, Ident};
use sqlparser::tokenizer::Span;

/// A relation of a FROM clause.
#[derive(Debug, Clone)]
struct Relation {
    /// Its alias alone, or the parts of its full name.
    path: Vec<String>,
    start: usize,
    end: usize,
}

/// Relations side by side, their columns in one row.
#[derive(Debug, Clone, Default)]
pub struct ExprScope {
    relations: Vec<Relation>,
    fields: Vec<RelField>,
    /// What CURRENT_DATABASE() is.
    database: Option<String>,
}

impl ExprScope {
    /// The columns of a table, without a relation's name.
    pub fn of_table(fields: &[RelField]) -> Self {
        let mut scope = Self::default();
        scope.add(vec![], fields);
        scope
    }

    /// Adds a relation to the right.
    pub fn add(&mut self, path: Vec<String>, fields: &[RelField]) {
        let start = self.fields.len();
        self.fields.extend_from_slice(fields);
        self.relations.push(Relation {
            path,
            start,
            end: self.fields.len(),
        });
    }

    /// The same scope, where CURRENT_DATABASE() is known.
    #[must_use]
    pub fn in_database(mut self, name: &str) -> Self {
        self.database = Some(name.to_owned());
        self
    }

    /// All columns.
    pub fn fields(&self) -> &[RelField] {
        &self.fields
    }

    /// Binds an expression over the columns; aggregates are errors.
    ///
    /// # Errors
    /// If a name, function or type is wrong.
    pub fn bind(&self, expr: &ast::Expr) -> SqlResult<Expr> {
        bind_expr(expr, self)
    }

    /// Positions of the columns of `qualifier.*`.
    ///
    /// # Errors
    /// If no relation has that name.
    pub fn columns_of(&self, qualifier: &[Ident]) -> SqlResult<std::ops::Range<usize>> {
        let found: Vec<&Relation> = self.relations.iter().filter(|r| r.is_named(qualifier)).collect();
        match found.as_slice() {
            [one] => Ok(one.start..one.end),
            [] => {
                let name = dotted(qualifier);
                let hint = suggest::hint(&name, self.relation_names());
                Err(
                    SqlError::new(Step::Name, format!("there is no table '{name}' in FROM{hint}"))
                        .at_span(qualifier[0].span)
                        .remedy(in_from(self.relation_names())),
                )
            }
            _ => Err(SqlError::new(
                Step::Name,
                format!("'{}' names several tables in FROM", dotted(qualifier)),
            )
            .at_span(qualifier[0].span)
            .remedy("give them different aliases")),
        }
    }

    fn relation_names(&self) -> impl Iterator<Item = &str> {
        self.relations.iter().filter_map(|r| r.path.last()).map(String::as_str)
    }

    /// `CURRENT_WATERMARK` takes a column that has a watermark and nothing else.
    fn check_watermark_argument(&self, expr: &ast::Expr) -> SqlResult<()> {
        let ast::Expr::Function(function) = expr else {
            return Ok(());
        };
        if !super::expr::function_name(function).is_ok_and(|name| name == "CURRENT_WATERMARK") {
            return Ok(());
        }
        let ast::FunctionArguments::List(list) = &function.args else {
            return Ok(());
        };
        for arg in &list.args {
            let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(arg)) = arg else {
                continue;
            };
            let has_watermark = match bind_expr(arg, self)? {
                Expr::InputRef { index, .. } => self.fields[index].time == Some(TimeKind::Rowtime),
                _ => false,
            };
            if !has_watermark {
                let what = "CURRENT_WATERMARK takes a column that has a WATERMARK";
                return Err(SqlError::new(Step::Type, what)
                    .at_span(super::expr::span_of(arg))
                    .remedy("name the table's column of WATERMARK FOR, as it comes from the table"));
            }
        }
        Ok(())
    }

    fn column_reference(&self, index: usize) -> Expr {
        Expr::input(index, self.fields[index].ty.clone())
    }

    /// A column without a qualifier.
    fn find(&self, name: &Ident) -> SqlResult<Option<usize>> {
        let mut found = (0..self.fields.len()).filter(|&i| self.fields[i].name == name.value);
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some(index), None) => Ok(Some(index)),
            (Some(_), Some(_)) => Err(
                SqlError::new(Step::Name, format!("the column '{}' is ambiguous", name.value))
                    .at_span(name.span)
                    .remedy("write the table's name or alias before it"),
            ),
        }
    }

    /// The column that `parts` name, and how many parts that took.
    fn find_path(&self, parts: &[Ident]) -> SqlResult<(usize, usize)> {
        let longest = (parts.len() - 1).min(3);
        let mut missing = None;
        for length in (1..=longest).rev() {
            for relation in self.relations.iter().filter(|r| r.is_named(&parts[..length])) {
                let column = &parts[length];
                match (relation.start..relation.end).find(|&i| self.fields[i].name == column.value) {
                    Some(index) => return Ok((index, length + 1)),
                    None => missing = Some((relation, column)),
                }
            }
        }
        if let Some(index) = self.find(&parts[0])? {
            return Ok((index, 1));
        }
        Err(match missing {
            Some((relation, column)) => {
                let names = self.fields[relation.start..relation.end]
                    .iter()
                    .map(|f| f.name.as_str());
                let table = relation.path.last().map_or("", String::as_str);
                unknown_column(&column.value, column.span, names, &format!(" in '{table}'"))
            }
            None if parts.len() > 1 => {
                let name = &parts[0];
                let known = self.relation_names().chain(self.fields.iter().map(|f| f.name.as_str()));
                let hint = suggest::hint(&name.value, known);
                SqlError::new(
                    Step::Name,
                    format!("'{}' is neither a table in FROM nor a column{hint}", name.value),
                )
                .at_span(name.span)
                .remedy(in_from(self.relation_names()))
            }
            None => unknown_column(
                &parts[0].value,
                parts[0].span,
                self.fields.iter().map(|f| f.name.as_str()),
                "",
            ),
        })
    }
}

impl Relation {
    /// Whether `qualifier` is this relation's name, or the end of it.
    fn is_named(&self, qualifier: &[Ident]) -> bool {
        !qualifier.is_empty()
            && self.path.len() >= qualifier.len()
            && self.path[self.path.len() - qualifier.len()..]
                .iter()
                .zip(qualifier)
                .all(|(a, b)| *a == b.value)
    }
}

impl Resolver for ExprScope {
    fn intercept(&self, expr: &ast::Expr) -> SqlResult<Option<Expr>> {
        match super::aggregate::aggregate_name(expr) {
            Some(name) => Err(
                SqlError::new(Step::Type, format!("the aggregate {name} cannot be used here"))
                    .at_span(super::expr::span_of(expr))
                    .remedy("use it in SELECT or HAVING; where its argument is an aggregate, put the inner one into a sub-query"),
            ),
            None if is_current_database(expr) => Ok(self.database.as_deref().map(current_database)),
            None => self.check_watermark_argument(expr).map(|()| None),
        }
    }

    fn column(&self, parts: &[Ident]) -> SqlResult<Expr> {
        let (index, used) = self.find_path(parts)?;
        parts[used..].iter().try_fold(self.column_reference(index), field_of)
    }
}

/// Whether an expression is `CURRENT_DATABASE()`.
pub fn is_current_database(expr: &ast::Expr) -> bool {
    let ast::Expr::Function(function) = expr else {
        return false;
    };
    let is_empty = match &function.args {
        ast::FunctionArguments::List(list) => list.args.is_empty(),
        _ => false,
    };
    is_empty && function.name.to_string().eq_ignore_ascii_case("CURRENT_DATABASE")
}

fn current_database(name: &str) -> Expr {
    Expr::Literal {
        value: Literal::String(name.to_owned()),
        ty: LogicalType::string().with_nullable(false),
    }
}

/// The field of a ROW.
pub fn field_of(row: Expr, field: &Ident) -> SqlResult<Expr> {
    let TypeKind::Row(fields) = &row.ty().kind else {
        return Err(SqlError::new(
            Step::Type,
            format!(
                "'{}' is a field of a value of type {}, which has no fields",
                field.value,
                row.ty()
            ),
        )
        .at_span(field.span));
    };
    let Some(index) = fields.iter().position(|f| f.name == field.value) else {
        let names: Vec<&str> = fields.iter().map(|f| f.name.as_str()).collect();
        return Err(unknown_column(
            &field.value,
            field.span,
            names.into_iter(),
            " in the ROW",
        ));
    };
    row.field(index).ok_or_else(|| {
        SqlError::new(Step::Plan, format!("field '{}' was not resolved", field.value)).at_span(field.span)
    })
}

fn unknown_column<'a>(name: &str, span: Span, known: impl Iterator<Item = &'a str>, place: &str) -> SqlError {
    let known: Vec<&str> = known.collect();
    let same = known.iter().find(|k| k.eq_ignore_ascii_case(name) && **k != name);
    let hint = match same {
        Some(other) => format!("; did you mean '{other}'? Names are case-sensitive"),
        None => suggest::hint(name, known.iter().copied()),
    };
    let error = SqlError::new(Step::Name, format!("there is no column '{name}'{place}{hint}")).at_span(span);
    match hint.is_empty() && !known.is_empty() {
        true => error.remedy(format!("there are: {}", known.join(", "))),
        false => error,
    }
}

/// Parts of a name with dots.
pub fn dotted(parts: &[Ident]) -> String {
    parts.iter().map(|p| p.value.as_str()).collect::<Vec<_>>().join(".")
}

/// Which names of tables can stand in front of a column.
fn in_from<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.is_empty() {
        true => "no table in FROM has a name; give it one with AS".to_owned(),
        false => format!("FROM has {} (a table with an alias goes by that)", names.join(", ")),
    }
}
