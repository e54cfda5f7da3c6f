//! Records as text: what [`crate::DataStream::print`] writes, in the forms of Flink's `toString`.
//!
//! | value | text |
//! |---|---|
//! | numbers, booleans, strings, characters | as they are, strings without quotes |
//! | `None`, `()` | `null` |
//! | tuples | `(a,1)` |
//! | vectors, slices | `[a, b]` |
//! | maps | `{k=v}` |
//! | structs | `Name{field=1, other=2}` |
//! | enum variants | `Variant`, `Variant(a,1)`, `Variant{field=1}` |

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use std::fmt::{self, Display, Write};

/// Appends the text of a value.
///
/// # Errors
/// What the value's own `Serialize` says.
pub fn write_text<T: Serialize + ?Sized>(value: &T, out: &mut String) -> Result<(), TextError> {
    value.serialize(Text { out })
}

/// A value refused to be written.
#[derive(Debug, thiserror::Error)]
#[error("a record cannot be written as text: {0}")]
pub struct TextError(String);

impl serde::ser::Error for TextError {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl From<fmt::Error> for TextError {
    fn from(_: fmt::Error) -> Self {
        Self("no memory".to_owned())
    }
}

struct Text<'a> {
    out: &'a mut String,
}

/// A value of parts: what stands between them and at the end.
struct Parts<'a> {
    out: &'a mut String,
    between: &'static str,
    end: &'static str,
    is_first: bool,
}

impl<'a> Text<'a> {
    fn show(self, value: impl Display) -> Result<(), TextError> {
        Ok(write!(self.out, "{value}")?)
    }

    fn parts(self, name: &str, begin: &str, between: &'static str, end: &'static str) -> Parts<'a> {
        self.out.push_str(name);
        self.out.push_str(begin);
        Parts {
            out: self.out,
            between,
            end,
            is_first: true,
        }
    }
}

impl Parts<'_> {
    fn part(&mut self, name: Option<&str>, value: &(impl Serialize + ?Sized)) -> Result<(), TextError> {
        if !std::mem::take(&mut self.is_first) {
            self.out.push_str(self.between);
        }
        if let Some(name) = name {
            self.out.push_str(name);
            self.out.push('=');
        }
        write_text(value, self.out)
    }

    fn close(self) -> Result<(), TextError> {
        self.out.push_str(self.end);
        Ok(())
    }
}

macro_rules! shown {
    ($($method:ident: $ty:ty),*) => {
        $(fn $method(self, v: $ty) -> Result<(), TextError> {
            self.show(v)
        })*
    };
}

impl<'a> Serializer for Text<'a> {
    type Ok = ();
    type Error = TextError;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Parts<'a>;
    type SerializeTupleVariant = Parts<'a>;
    type SerializeMap = Parts<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeStructVariant = Parts<'a>;

    shown!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128, serialize_char: char, serialize_str: &str
    );

    // Floating-point numbers as Java shows whole ones: 2.0.
    fn serialize_f32(self, v: f32) -> Result<(), TextError> {
        Ok(write!(self.out, "{v:?}")?)
    }

    fn serialize_f64(self, v: f64) -> Result<(), TextError> {
        Ok(write!(self.out, "{v:?}")?)
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<(), TextError> {
        let mut parts = self.parts("", "[", ", ", "]");
        v.iter().try_for_each(|b| parts.part(None, b))?;
        parts.close()
    }

    fn serialize_none(self) -> Result<(), TextError> {
        self.show("null")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), TextError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), TextError> {
        self.show("null")
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), TextError> {
        self.show(name)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), TextError> {
        self.show(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), TextError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), TextError> {
        let mut parts = self.parts(variant, "(", ",", ")");
        parts.part(None, value)?;
        parts.close()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts<'a>, TextError> {
        Ok(self.parts("", "[", ", ", "]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts<'a>, TextError> {
        Ok(self.parts("", "(", ",", ")"))
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Parts<'a>, TextError> {
        Ok(self.parts(name, "(", ",", ")"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, TextError> {
        Ok(self.parts(variant, "(", ",", ")"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts<'a>, TextError> {
        Ok(self.parts("", "{", ", ", "}"))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Parts<'a>, TextError> {
        Ok(self.parts(name, "{", ", ", "}"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, TextError> {
        Ok(self.parts(variant, "{", ", ", "}"))
    }
}

macro_rules! in_parts {
    ($($kind:ident: $method:ident),*) => {
        $(impl $kind for Parts<'_> {
            type Ok = ();
            type Error = TextError;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TextError> {
                self.part(None, value)
            }
            fn end(self) -> Result<(), TextError> {
                self.close()
            }
        })*
    };
}

in_parts!(
    SerializeSeq: serialize_element, SerializeTuple: serialize_element, SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
);

macro_rules! by_name {
    ($($kind:ident),*) => {
        $(impl $kind for Parts<'_> {
            type Ok = ();
            type Error = TextError;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), TextError> {
                self.part(Some(name), value)
            }
            fn end(self) -> Result<(), TextError> {
                self.close()
            }
        })*
    };
}

by_name!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for Parts<'_> {
    type Ok = ();
    type Error = TextError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), TextError> {
        self.part(None, key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TextError> {
        self.out.push('=');
        write_text(value, self.out)
    }

    fn end(self) -> Result<(), TextError> {
        self.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;
    use std::collections::BTreeMap;

    #[derive(Serialize)]
    struct Visit {
        website: String,
        count: i64,
        user: Option<String>,
    }

    #[derive(Serialize)]
    enum Kind {
        Plain,
        With(i32, bool),
        Named { a: f64 },
    }

    #[test]
    fn values_have_the_text_that_flink_shows() {
        let text = |v: &dyn Fn(&mut String)| {
            let mut out = String::new();
            v(&mut out);
            out
        };
        macro_rules! shows {
            ($value:expr, $expected:expr) => {
                assert_eq!(text(&|out| write_text(&$value, out).unwrap()), $expected)
            };
        }
        shows!(2, "2");
        shows!(2.0, "2.0");
        shows!("it's", "it's");
        shows!(("message".to_owned(), 1), "(message,1)");
        shows!(vec![1, 2], "[1, 2]");
        shows!(None::<i32>, "null");
        shows!(Some('x'), "x");
        shows!(BTreeMap::from([("a", 1), ("b", 2)]), "{a=1, b=2}");
        let visit = Visit {
            website: "a.com".into(),
            count: 7,
            user: None,
        };
        shows!(visit, "Visit{website=a.com, count=7, user=null}");
        shows!([Kind::Plain, Kind::With(1, true)], "(Plain,With(1,true))");
        shows!(Kind::Named { a: 0.5 }, "Named{a=0.5}");
    }
}
