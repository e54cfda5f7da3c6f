//! What `#[derive(StateValue)]` makes its implementations of: rows whose fields are found by name, whatever their place.
//!
//! A struct is a row of its fields. An enum is a row of one nullable field per variant, of which one is there: a row of the variant's
//! fields, or TRUE where it has none. So fields and variants may be added, moved and, by an alias, renamed, and what a program no
//! longer has is passed over.

use crate::value::{DamagedValue, StateValue, skip_field};
use flott_core::{Field, LogicalType, TypeKind};

/// A field of a struct or of a variant, or a variant of an enum.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Its name in state.
    pub name: &'static str,
    /// Names under which earlier programs kept it.
    pub aliases: &'static [&'static str],
    /// Whether a value can be made where none was kept.
    pub has_default: fn() -> bool,
    /// Its type.
    pub ty: fn() -> LogicalType,
    /// [`StateValue::check`] of its type.
    pub check: fn(&LogicalType) -> Result<(), String>,
}

impl Member {
    fn is_named(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}

/// The member that a stored field belongs to.
fn member_of(members: &[Member], name: &str) -> Option<usize> {
    members.iter().position(|m| m.is_named(name))
}

/// The type of a row of these members.
pub fn row_type(members: &[Member]) -> LogicalType {
    let fields = members.iter().map(|m| Field::new(m.name, (m.ty)()));
    LogicalType::not_null(TypeKind::Row(fields.collect()))
}

fn fields_of<'t>(stored: &'t LogicalType, members: &[Member]) -> Result<&'t [Field], String> {
    match &stored.kind {
        TypeKind::Row(fields) if !stored.nullable => Ok(fields),
        _ => Err(format!("it was {stored}, and is now {}", row_type(members))),
    }
}

/// The field that holds a member now, if one does; two are an error.
fn field_of<'t>(member: &Member, fields: &'t [Field]) -> Result<Option<&'t Field>, String> {
    let mut found = fields.iter().filter(|f| member.is_named(&f.name));
    match (found.next(), found.next()) {
        (Some(first), Some(second)) => Err(format!(
            "the fields '{}' and '{}' were kept, and both are '{}' now: take the alias away",
            first.name, second.name, member.name
        )),
        (found, _) => Ok(found),
    }
}

/// [`StateValue::check`] of a struct.
///
/// # Errors
/// What differs, by the field's name.
pub fn check_struct(stored: &LogicalType, members: &[Member]) -> Result<(), String> {
    let fields = fields_of(stored, members)?;
    for member in members {
        match field_of(member, fields)? {
            Some(field) => (member.check)(&field.ty).map_err(|e| format!("field '{}': {e}", member.name))?,
            None if (member.has_default)() => {}
            None => {
                return Err(format!(
                    "field '{}' is new and has no default: write #[state(default)] in front of it, make it an Option, or name the \
                     field that it was with #[state(alias = \"…\")]",
                    member.name
                ));
            }
        }
    }
    Ok(())
}

/// [`StateValue::check`] of an enum.
///
/// # Errors
/// What differs, by the variant's name; a variant that is gone is one, since values of it may be kept.
pub fn check_enum(stored: &LogicalType, members: &[Member]) -> Result<(), String> {
    let fields = fields_of(stored, members)?;
    for field in fields {
        let Some(member) = member_of(members, &field.name).map(|i| &members[i]) else {
            return Err(format!(
                "the variant '{}' was kept, and is no more: keep it, or name it where it went with #[state(alias = \"{}\")]",
                field.name, field.name
            ));
        };
        field_of(member, fields)?;
        let check = (member.check)(&field.ty.with_nullable(false));
        check.map_err(|e| format!("variant '{}': {e}", member.name))?;
    }
    Ok(())
}

/// Reads the fields of a stored struct: calls `read` with the place of the member and the field's type for each that is still one.
///
/// # Errors
/// If the bytes are damaged.
pub fn read_struct(
    stored: &LogicalType,
    members: &[Member],
    bytes: &mut &[u8],
    mut read: impl FnMut(usize, &LogicalType, &mut &[u8]) -> Result<(), DamagedValue>,
) -> Result<(), DamagedValue> {
    let TypeKind::Row(fields) = &stored.kind else {
        return Err(DamagedValue);
    };
    for field in fields {
        match member_of(members, &field.name) {
            Some(member) => read(member, &field.ty, bytes)?,
            None => skip_field(&field.ty, bytes)?,
        }
    }
    Ok(())
}

/// Reads the one variant that is there: calls `read` with its place and its type, with `bytes` behind the presence byte.
///
/// # Errors
/// If the bytes are damaged: not one variant is there, or one that the program does not have.
pub fn read_enum<E>(
    stored: &LogicalType,
    members: &[Member],
    bytes: &mut &[u8],
    mut read: impl FnMut(usize, &LogicalType, &mut &[u8]) -> Result<E, DamagedValue>,
) -> Result<E, DamagedValue> {
    let TypeKind::Row(fields) = &stored.kind else {
        return Err(DamagedValue);
    };
    let mut found = None;
    for field in fields {
        let (presence, rest) = bytes.split_first().ok_or(DamagedValue)?;
        *bytes = rest;
        if *presence == 0 {
            continue;
        }
        let member = member_of(members, &field.name).ok_or(DamagedValue)?;
        let value = read(member, &field.ty, bytes)?;
        if *presence != 1 || found.replace(value).is_some() {
            return Err(DamagedValue);
        }
    }
    found.ok_or(DamagedValue)
}

/// Appends an enum of `variants` variants: absent ones before and behind the one at `place`, which `write` writes.
pub fn write_enum(variants: usize, place: usize, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.resize(out.len() + place, 0);
    out.push(1);
    write(out);
    out.resize(out.len() + variants - place - 1, 0);
}

/// The type of a variant without fields.
pub fn unit_type() -> LogicalType {
    bool::state_type().with_nullable(true)
}

/// Whether [`absent`] makes a value.
pub fn has_absent<T: StateValue>() -> bool {
    T::when_absent().is_some()
}

/// Yes: for members with a default of their own.
pub fn always() -> bool {
    true
}

/// No: for variants, of which one is always there.
pub fn never() -> bool {
    false
}

/// A value of a new field, where its type has one that stands for nothing.
///
/// # Errors
/// None that happens: [`check_struct`] refuses the state before anything is read.
pub fn absent<T: StateValue>() -> Result<T, DamagedValue> {
    T::when_absent().ok_or(DamagedValue)
}
