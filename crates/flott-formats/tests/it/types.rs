//! `name TYPE, name TYPE` as columns, so that tests can be tables of text.

use flott_core::types::{Field, LogicalType, MAX_LENGTH, TypeKind};

struct Text<'a>(&'a str);

/// The columns that the text declares.
pub fn columns(text: &str) -> Vec<Field> {
    let mut text = Text(text);
    let fields = text.fields();
    assert_eq!(text.0.trim(), "", "what follows the columns");
    fields
}

impl<'a> Text<'a> {
    fn eat(&mut self, token: &str) -> bool {
        let rest = self.0.trim_start().strip_prefix(token);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn word(&mut self) -> &'a str {
        let text = self.0.trim_start();
        let (word, rest) = match text.strip_prefix('`') {
            Some(quoted) => quoted.split_once('`').unwrap(),
            None => text.split_at(
                text.find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(text.len()),
            ),
        };
        self.0 = rest;
        word
    }

    fn fields(&mut self) -> Vec<Field> {
        let mut fields = vec![];
        loop {
            let name = self.word().to_owned();
            fields.push(Field::new(name, LogicalType::new(self.kind())));
            if !self.eat(",") {
                return fields;
            }
        }
    }

    fn numbers(&mut self) -> Vec<u32> {
        let mut numbers = vec![];
        if self.eat("(") {
            while !self.eat(")") {
                numbers.push(self.word().parse().unwrap());
                self.eat(",");
            }
        }
        numbers
    }

    fn inner(&mut self) -> Box<LogicalType> {
        Box::new(LogicalType::new(self.kind()))
    }

    fn kind(&mut self) -> TypeKind {
        let name = self.word();
        let numbers = self.numbers();
        let number = |i: usize, default: u32| numbers.get(i).copied().unwrap_or(default);
        match name {
            "BOOLEAN" => TypeKind::Boolean,
            "TINYINT" => TypeKind::TinyInt,
            "SMALLINT" => TypeKind::SmallInt,
            "INT" => TypeKind::Int,
            "BIGINT" => TypeKind::BigInt,
            "FLOAT" => TypeKind::Float,
            "DOUBLE" => TypeKind::Double,
            "STRING" => TypeKind::Varchar(MAX_LENGTH),
            "VARCHAR" => TypeKind::Varchar(number(0, 1)),
            "CHAR" => TypeKind::Char(number(0, 1)),
            "BYTES" => TypeKind::Varbinary(MAX_LENGTH),
            "BINARY" => TypeKind::Binary(number(0, 1)),
            "DATE" => TypeKind::Date,
            "TIME" => TypeKind::Time(number(0, 0) as u8),
            "TIMESTAMP" => TypeKind::Timestamp(number(0, 6) as u8),
            "TIMESTAMP_LTZ" => TypeKind::TimestampLtz(number(0, 6) as u8),
            "DECIMAL" => TypeKind::Decimal(number(0, 10) as u8, number(1, 0) as u8),
            "ARRAY" | "MULTISET" | "MAP" | "ROW" => {
                assert!(self.eat("<"), "'<' after {name}");
                let kind = match name {
                    "ARRAY" => TypeKind::Array(self.inner()),
                    "MULTISET" => TypeKind::Multiset(self.inner()),
                    "MAP" => {
                        let key = self.inner();
                        assert!(self.eat(","), "',' in MAP");
                        TypeKind::Map(key, self.inner())
                    }
                    _ => TypeKind::Row(self.fields()),
                };
                assert!(self.eat(">"), "'>' after {name}");
                kind
            }
            other => panic!("type {other}"),
        }
    }
}
