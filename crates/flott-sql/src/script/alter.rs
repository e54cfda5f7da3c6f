//! ALTER TABLE and ALTER VIEW: a changed definition is resolved anew, so that it must hold as one that was just written.

use super::derive::Derived;
use super::{Outcome, Session};
use crate::catalog::{Object, Path, View, reads};
use crate::error::{SqlError, SqlResult, Step};
use crate::parser::Source;
use crate::parser::ast::{
    AlterTable, AlterView, ColumnDef, ColumnKind, CreateTable, Position, TableChange, TableElement, ViewChange,
};
use flott_core::suggest;
use sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Spanned};
use std::sync::Arc;

impl Session {
    pub(super) fn alter_table(&mut self, alter: &AlterTable, source: &Arc<Source>) -> SqlResult<Outcome> {
        let path = self.catalog.path(&alter.name)?;
        let table = match self.catalog.find(&alter.name) {
            Ok(Object::Table(table)) => table.clone(),
            Ok(Object::View(_)) => {
                return Err(
                    SqlError::new(Step::Name, format!("'{}' is a view, not a table", path.name))
                        .at_span(alter.name.span())
                        .remedy("ALTER VIEW … RENAME TO and ALTER VIEW … AS change a view"),
                );
            }
            Err(_) if alter.if_exists => return Ok(Outcome::Done),
            Err(error) => return Err(error),
        };
        let mut definition = table.definition.clone();
        let mut new_path = path.clone();
        match &alter.change {
            TableChange::RenameTo(name) => {
                let name = self.beside(&path, name)?;
                self.check_free(&name, self.catalog.is_temporary(&path))?;
                new_path = self.catalog.path(&name)?;
                definition.name = name;
            }
            change => change_definition(&mut definition, change, alter.name.span())?,
        }
        let elements: &[TableElement] = match &alter.change {
            TableChange::Add(elements) | TableChange::Modify(elements) => elements,
            _ => &[],
        };
        let new_column = |e: &'_ TableElement| match e {
            TableElement::Column(column, _) => Some(column.name.value.clone()),
            _ => None,
        };
        let columns: Vec<String> = elements.iter().filter_map(new_column).collect();
        let derived = Derived {
            definition,
            base: &table,
            place: alter.name.span(),
            columns: columns.iter().map(String::as_str).collect(),
            has_watermark: elements.iter().any(|e| matches!(e, TableElement::Watermark(_))),
            has_key: elements.iter().any(|e| matches!(e, TableElement::PrimaryKey(_))),
            // Those that SET gives stand where the table is named, too.
            is_new_option: &|_| false,
        };
        let changed = derived.resolve(&new_path, source)?;
        self.catalog
            .exchange(&path, new_path, Object::Table(Arc::new(changed)))?;
        Ok(Outcome::Done)
    }

    pub(super) fn alter_view(&mut self, alter: &AlterView, source: &Arc<Source>) -> SqlResult<Outcome> {
        let path = self.catalog.path(&alter.name)?;
        let view = match self.catalog.find(&alter.name)? {
            Object::View(view) => view.clone(),
            Object::Table(_) => {
                return Err(
                    SqlError::new(Step::Name, format!("'{}' is a table, not a view", path.name))
                        .at_span(alter.name.span())
                        .remedy("ALTER TABLE changes a table"),
                );
            }
        };
        match &alter.change {
            ViewChange::RenameTo(name) => {
                let name = self.beside(&path, name)?;
                self.check_free(&name, self.catalog.is_temporary(&path))?;
                let new_path = self.catalog.path(&name)?;
                let renamed = View {
                    path: new_path.to_string(),
                    ..view.as_ref().clone()
                };
                self.catalog
                    .exchange(&path, new_path, Object::View(Arc::new(renamed)))?;
            }
            ViewChange::As(query, text) => {
                self.binder(source).subquery(query)?;
                let changed = View {
                    path: path.to_string(),
                    columns: vec![],
                    comment: view.comment.clone(),
                    query: query.clone(),
                    text: text.clone(),
                    home: self.catalog.home(),
                    source: source.clone(),
                };
                self.catalog
                    .exchange(&path.clone(), path, Object::View(Arc::new(changed)))?;
            }
        }
        Ok(Outcome::Done)
    }

    /// A new name of the object at `path`, in full: it stays in its database, whichever is the current one.
    fn beside(&self, path: &Path, name: &ObjectName) -> SqlResult<ObjectName> {
        let Some(new) = name.0.last().and_then(|part| part.as_ident()) else {
            return Err(SqlError::new(Step::Name, "a new name is needed").at_span(name.span()));
        };
        if name.0.len() > 1 {
            let wanted = self.catalog.path(name)?;
            if (&wanted.catalog, &wanted.database) != (&path.catalog, &path.database) {
                return Err(SqlError::new(
                    Step::Name,
                    format!(
                        "'{}' is in {}.{}, and RENAME does not move it to {}.{}",
                        path.name, path.catalog, path.database, wanted.catalog, wanted.database
                    ),
                )
                .at_span(name.span())
                .remedy(format!("write RENAME TO {}, or create it anew there", new.value)));
            }
        }
        let part = |value: &str| {
            ObjectNamePart::Identifier(Ident {
                value: value.to_owned(),
                ..new.clone()
            })
        };
        Ok(ObjectName(vec![
            part(&path.catalog),
            part(&path.database),
            part(&new.value),
        ]))
    }

    fn check_free(&self, name: &ObjectName, temporary: bool) -> SqlResult<()> {
        match self.catalog.contains(name, temporary)? {
            true => Err(SqlError::new(
                Step::Name,
                format!("a table or view '{}' exists already", self.catalog.path(name)?.name),
            )
            .at_span(name.span())
            .remedy("drop it first, or choose another name")),
            false => Ok(()),
        }
    }
}

fn error(message: String) -> SqlError {
    SqlError::new(Step::Table, message)
}

/// The position of a column.
fn find(table: &CreateTable, name: &Ident) -> SqlResult<usize> {
    let found = table.columns.iter().position(|c| c.name.value == name.value);
    found.ok_or_else(|| {
        let hint = suggest::hint(&name.value, table.columns.iter().map(|c| c.name.value.as_str()));
        let names: Vec<&str> = table.columns.iter().map(|c| c.name.value.as_str()).collect();
        error(format!("the table has no column '{}'{hint}", name.value))
            .at_span(name.span)
            .remedy(format!("its columns are {}", names.join(", ")))
    })
}

fn change_definition(
    table: &mut CreateTable,
    change: &TableChange,
    place: sqlparser::tokenizer::Span,
) -> SqlResult<()> {
    match change {
        TableChange::RenameTo(_) => Ok(()),
        TableChange::RenameColumn { from, to } => {
            let index = find(table, from)?;
            check_unread(table, from, std::slice::from_ref(from), "renamed")?;
            if table.columns.iter().any(|c| c.name.value == to.value) {
                return Err(error(format!("the table has a column '{}' already", to.value)).at_span(to.span));
            }
            for key in table.primary_key.iter_mut().flatten() {
                if key.value == from.value {
                    key.value.clone_from(&to.value);
                }
            }
            table.columns[index].name.value.clone_from(&to.value);
            Ok(())
        }
        TableChange::Set(options) => {
            for (key, value) in options {
                table.options.retain(|(k, ..)| k != key);
                table.options.push((key.clone(), value.clone(), place.start));
            }
            Ok(())
        }
        TableChange::Reset(keys) => {
            if keys.iter().any(|k| k == "connector") {
                return Err(error("the option 'connector' cannot be reset".into())
                    .at_span(place)
                    .remedy("drop the table and create it again"));
            }
            table.options.retain(|(k, ..)| !keys.contains(k));
            Ok(())
        }
        TableChange::Add(elements) => elements.iter().try_for_each(|e| add(table, e, place)),
        TableChange::Modify(elements) => elements.iter().try_for_each(|e| modify(table, e, place)),
        TableChange::DropColumns(names) => {
            for (i, name) in names.iter().enumerate() {
                find(table, name)?;
                if names[..i].iter().any(|n| n.value == name.value) {
                    return Err(error(format!("the column '{}' is named twice", name.value)).at_span(name.span));
                }
                check_unread(table, name, names, "dropped")?;
                if table.primary_key.iter().flatten().any(|k| k.value == name.value) {
                    return Err(error(format!("the column '{}' is part of the primary key", name.value))
                        .at_span(name.span)
                        .remedy("drop the key first: ALTER TABLE … DROP PRIMARY KEY"));
                }
            }
            table.columns.retain(|c| !names.iter().any(|n| n.value == c.name.value));
            Ok(())
        }
        TableChange::DropPrimaryKey => match table.primary_key.take() {
            Some(_) => Ok(()),
            None => Err(error("the table has no primary key".into())
                .at_span(place)
                .remedy("ALTER TABLE … ADD PRIMARY KEY (…) NOT ENFORCED declares one")),
        },
        TableChange::DropWatermark => match table.watermark.take() {
            Some(_) => Ok(()),
            None => Err(error("the table has no watermark".into()).at_span(place)),
        },
    }
}

/// That no computed column (but those of `also`), watermark or partition reads a column that goes.
fn check_unread(table: &CreateTable, name: &Ident, also: &[Ident], what: &str) -> SqlResult<()> {
    let used = |by: String| {
        Err(error(format!(
            "the column '{}' cannot be {what}: it is used by {by}",
            name.value
        ))
        .at_span(name.span)
        .remedy("change or drop that first"))
    };
    for column in &table.columns {
        let goes = also.iter().any(|n| n.value == column.name.value);
        if let ColumnKind::Computed(expr) = &column.kind
            && !goes
            && reads(expr, &name.value)
        {
            return used(format!("the computed column '{}'", column.name.value));
        }
    }
    if let Some(watermark) = &table.watermark
        && (watermark.column.first().is_some_and(|c| c.value == name.value) || reads(&watermark.expr, &name.value))
    {
        return used("the watermark".into());
    }
    match table.partitioned_by.iter().any(|c| c.value == name.value) {
        true => used("PARTITIONED BY".into()),
        false => Ok(()),
    }
}

fn insert_at(
    table: &mut CreateTable,
    column: ColumnDef,
    position: Option<&Position>,
    otherwise: usize,
) -> SqlResult<()> {
    let index = match position {
        None => otherwise,
        Some(Position::First) => 0,
        Some(Position::After(name)) => find(table, name)? + 1,
    };
    table.columns.insert(index.min(table.columns.len()), column);
    Ok(())
}

fn add(table: &mut CreateTable, element: &TableElement, place: sqlparser::tokenizer::Span) -> SqlResult<()> {
    match element {
        TableElement::Column(column, position) => {
            if table.columns.iter().any(|c| c.name.value == column.name.value) {
                return Err(error(format!("the table has a column '{}' already", column.name.value))
                    .at_span(column.name.span)
                    .remedy("ALTER TABLE … MODIFY changes a column"));
            }
            let end = table.columns.len();
            insert_at(table, column.clone(), position.as_ref(), end)
        }
        TableElement::Watermark(_) if table.watermark.is_some() => {
            Err(error("the table has a watermark already".into())
                .at_span(place)
                .remedy("ALTER TABLE … MODIFY WATERMARK changes it"))
        }
        TableElement::Watermark(watermark) => {
            table.watermark = Some(watermark.clone());
            Ok(())
        }
        TableElement::PrimaryKey(_) if table.primary_key.is_some() => {
            Err(error("the table has a primary key already".into())
                .at_span(place)
                .remedy("drop it first: ALTER TABLE … DROP PRIMARY KEY"))
        }
        TableElement::PrimaryKey(key) => {
            table.primary_key = Some(key.clone());
            Ok(())
        }
    }
}

fn modify(table: &mut CreateTable, element: &TableElement, place: sqlparser::tokenizer::Span) -> SqlResult<()> {
    match element {
        TableElement::Column(column, position) => {
            let index = find(table, &column.name)?;
            let old = table.columns.remove(index);
            let column = ColumnDef {
                comment: column.comment.clone().or(old.comment),
                ..column.clone()
            };
            insert_at(table, column, position.as_ref(), index)
        }
        TableElement::Watermark(_) if table.watermark.is_none() => Err(error("the table has no watermark".into())
            .at_span(place)
            .remedy("ALTER TABLE … ADD WATERMARK adds one")),
        TableElement::Watermark(watermark) => {
            table.watermark = Some(watermark.clone());
            Ok(())
        }
        TableElement::PrimaryKey(_) if table.primary_key.is_none() => Err(error("the table has no primary key".into())
            .at_span(place)
            .remedy("ALTER TABLE … ADD PRIMARY KEY adds one")),
        TableElement::PrimaryKey(key) => {
            table.primary_key = Some(key.clone());
            Ok(())
        }
    }
}
