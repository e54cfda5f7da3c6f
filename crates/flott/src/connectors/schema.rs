//! Messages to records and back: [`DeserializationSchema`] and [`SerializationSchema`], which Kafka, files and sockets share.
//!
//! Both are implemented by closures, by [`SimpleStringSchema`], and for types that Serde knows by [`JsonDeserializationSchema`],
//! [`CsvDeserializationSchema`] and their counterparts.

use flott_datastream::{BoxError, Data, RuntimeContext};
use serde::Serialize;
use std::fmt;
use std::marker::PhantomData;

/// Makes a record of a message.
///
/// Closures that take `&[u8]` and give a `Result` are schemas too:
///
/// ```
/// use flott::connectors::schema::DeserializationSchema;
///
/// fn parsed(mut schema: impl DeserializationSchema<Out = i64>) -> Option<i64> {
///     schema.deserialize(b"42").ok().flatten()
/// }
/// assert_eq!(parsed(|message: &[u8]| std::str::from_utf8(message)?.parse::<i64>().map_err(flott::prelude::BoxError::from)), Some(42));
/// ```
pub trait DeserializationSchema: Clone + Send + Sync + 'static {
    /// What it makes.
    type Out: Data;

    /// Called once in each subtask before its first message.
    ///
    /// # Errors
    /// Fails the task.
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        let _ = ctx;
        Ok(())
    }

    /// Makes the record of a message; `None`: there is none in it, and that is well.
    ///
    /// # Errors
    /// The message is none of this schema's: what then happens is said by the source's `bad_rows`.
    fn deserialize(&mut self, message: &[u8]) -> Result<Option<Self::Out>, BoxError>;
}

impl<F, T, E> DeserializationSchema for F
where
    F: FnMut(&[u8]) -> Result<T, E> + Clone + Send + Sync + 'static,
    T: Data,
    E: Into<BoxError>,
{
    type Out = T;

    fn deserialize(&mut self, message: &[u8]) -> Result<Option<T>, BoxError> {
        self(message).map(Some).map_err(Into::into)
    }
}

/// Writes a record as a message.
///
/// Closures that take the record and the buffer to write to are schemas too.
pub trait SerializationSchema<T>: Clone + Send + Sync + 'static {
    /// Called once in each subtask before its first record.
    ///
    /// # Errors
    /// Fails the task.
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        let _ = ctx;
        Ok(())
    }

    /// Appends the message of a record to `out`, which may hold others.
    ///
    /// # Errors
    /// Fails the task, with the record.
    fn serialize(&mut self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError>;
}

impl<F, T> SerializationSchema<T> for F
where
    F: FnMut(&T, &mut Vec<u8>) -> Result<(), BoxError> + Clone + Send + Sync + 'static,
{
    fn serialize(&mut self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self(value, out)
    }
}

/// Messages that are UTF-8 text. As in Flink, bytes that are no UTF-8 are read as U+FFFD.
#[derive(Debug, Clone, Copy, Default)]
pub struct SimpleStringSchema;

impl SimpleStringSchema {
    /// The schema.
    pub fn new() -> Self {
        Self
    }
}

impl DeserializationSchema for SimpleStringSchema {
    type Out = String;

    fn deserialize(&mut self, message: &[u8]) -> Result<Option<String>, BoxError> {
        Ok(Some(String::from_utf8_lossy(message).into_owned()))
    }
}

impl<T: AsRef<str>> SerializationSchema<T> for SimpleStringSchema {
    fn serialize(&mut self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(value.as_ref().as_bytes());
        Ok(())
    }
}

/// A schema that is its type alone.
macro_rules! by_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name<T>(PhantomData<fn() -> T>);

        impl<T> $name<T> {
            /// The schema.
            pub fn new() -> Self {
                Self(PhantomData)
            }
        }

        impl<T> Default for $name<T> {
            fn default() -> Self {
                Self::new()
            }
        }

        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self::new()
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "<{}>"), std::any::type_name::<T>())
            }
        }
    };
}

by_type! {
    /// Messages that are one JSON value each, read as Serde's attributes of `T` say: fields that `T` does not have are passed over, and a
    /// missing one is an error unless it is an `Option` or has a `#[serde(default)]`.
    JsonDeserializationSchema
}

impl<T: Data> DeserializationSchema for JsonDeserializationSchema<T> {
    type Out = T;

    fn deserialize(&mut self, message: &[u8]) -> Result<Option<T>, BoxError> {
        Ok(Some(serde_json::from_slice(message)?))
    }
}

by_type! {
    /// Records as one JSON value each.
    JsonSerializationSchema
}

impl<T: Serialize + 'static> SerializationSchema<T> for JsonSerializationSchema<T> {
    fn serialize(&mut self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(serde_json::to_writer(out, value)?)
    }
}

/// Messages that are one line of CSV each; its columns are the fields of `T` in order.
///
/// ```
/// use flott::connectors::schema::{CsvDeserializationSchema, DeserializationSchema};
///
/// let mut schema = CsvDeserializationSchema::<(String, i64)>::new().field_delimiter(b';');
/// assert_eq!(schema.deserialize(b"\"a; b\";7").unwrap(), Some(("a; b".to_owned(), 7)));
/// ```
pub struct CsvDeserializationSchema<T> {
    delimiter: u8,
    fields: csv::ByteRecord,
    records: PhantomData<fn() -> T>,
}

impl<T> CsvDeserializationSchema<T> {
    /// Columns are separated by commas.
    pub fn new() -> Self {
        Self {
            delimiter: b',',
            fields: csv::ByteRecord::new(),
            records: PhantomData,
        }
    }

    /// What separates columns.
    pub fn field_delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }
}

impl<T> Default for CsvDeserializationSchema<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for CsvDeserializationSchema<T> {
    fn clone(&self) -> Self {
        Self::new().field_delimiter(self.delimiter)
    }
}

impl<T> fmt::Debug for CsvDeserializationSchema<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CsvDeserializationSchema<{}>", std::any::type_name::<T>())
    }
}

impl<T: Data> DeserializationSchema for CsvDeserializationSchema<T> {
    type Out = T;

    fn deserialize(&mut self, message: &[u8]) -> Result<Option<T>, BoxError> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.delimiter)
            .buffer_capacity(message.len().max(1))
            .from_reader(message);
        if !reader.read_byte_record(&mut self.fields)? {
            return Err("the line is empty".into());
        }
        let value = self.fields.deserialize(None)?;
        if reader.read_byte_record(&mut self.fields)? {
            return Err("the message has more than one line".into());
        }
        Ok(Some(value))
    }
}

/// Records as one line of CSV each, without an end of line; its columns are the fields of `T` in order.
pub struct CsvSerializationSchema<T> {
    delimiter: u8,
    records: PhantomData<fn(T)>,
}

impl<T> CsvSerializationSchema<T> {
    /// Columns are separated by commas.
    pub fn new() -> Self {
        Self {
            delimiter: b',',
            records: PhantomData,
        }
    }

    /// What separates columns.
    pub fn field_delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }
}

impl<T> Default for CsvSerializationSchema<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for CsvSerializationSchema<T> {
    fn clone(&self) -> Self {
        Self::new().field_delimiter(self.delimiter)
    }
}

impl<T> fmt::Debug for CsvSerializationSchema<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CsvSerializationSchema<{}>", std::any::type_name::<T>())
    }
}

impl<T: Serialize + 'static> SerializationSchema<T> for CsvSerializationSchema<T> {
    fn serialize(&mut self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        let mut writer = csv::WriterBuilder::new()
            .has_headers(false)
            .delimiter(self.delimiter)
            .from_writer(&mut *out);
        writer.serialize(value)?;
        writer.flush()?;
        drop(writer);
        if out.last() == Some(&b'\n') {
            out.pop();
        }
        Ok(())
    }
}
