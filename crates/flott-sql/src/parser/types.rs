//! Flink's data types, read from tokens: `DECIMAL(10, 2)`, `ROW<a INT NOT NULL>`, `TIMESTAMP(3) WITH LOCAL TIME ZONE`.
//!
//! `>>` is one token to the tokenizer, so closing brackets are counted: what a type did not use is left for the type
//! around it.

use super::dialect::FlinkDialect;
use super::limits::MAX_TYPE_NESTING;
use flott_core::types::MAX_LENGTH;
use flott_core::{Field, LogicalType, TypeKind};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// Names that start a type, for the messages.
const NAMES: &[&str] = &[
    "STRING",
    "VARCHAR",
    "CHAR",
    "BOOLEAN",
    "BYTES",
    "BINARY",
    "VARBINARY",
    "DECIMAL",
    "DEC",
    "NUMERIC",
    "TINYINT",
    "SMALLINT",
    "INT",
    "INTEGER",
    "BIGINT",
    "FLOAT",
    "DOUBLE",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "INTERVAL",
    "ARRAY",
    "MAP",
    "MULTISET",
    "ROW",
];

/// Reads a type with its optional `NOT NULL`.
///
/// # Errors
/// If the tokens are no type, or a length or precision is out of range.
pub fn parse(parser: &mut Parser) -> Result<LogicalType, ParserError> {
    let mut types = Types {
        parser,
        closed: 0,
        depth: 0,
    };
    let ty = types.full()?;
    if types.closed > 0 {
        return types
            .parser
            .expected("a balanced number of '>'", types.parser.peek_token());
    }
    Ok(ty)
}

/// Reads a type's text, such as the ones that [`LogicalType`] prints.
///
/// # Errors
/// If the text is no type.
pub fn parse_text(text: &str) -> Result<LogicalType, ParserError> {
    let dialect = FlinkDialect::default();
    let mut parser = Parser::new(&dialect).try_with_sql(text)?;
    let ty = parse(&mut parser)?;
    match parser.peek_token().token {
        Token::EOF => Ok(ty),
        _ => parser.expected("the end of the type", parser.peek_token()),
    }
}

struct Types<'p, 'a> {
    parser: &'p mut Parser<'a>,
    /// `>` that were read with an inner type and belong to outer ones.
    closed: usize,
    /// Types around the one being read.
    depth: usize,
}

impl Types<'_, '_> {
    fn full(&mut self) -> Result<LogicalType, ParserError> {
        self.depth += 1;
        let ty = self.full_within_depth();
        self.depth -= 1;
        ty
    }

    fn full_within_depth(&mut self) -> Result<LogicalType, ParserError> {
        let mut wrapped = self.depth;
        if wrapped > MAX_TYPE_NESTING {
            return self.too_deep();
        }
        let mut ty = LogicalType::new(self.kind()?);
        loop {
            if self.closed > 0 {
                return Ok(ty);
            } else if wrapped > MAX_TYPE_NESTING {
                return self.too_deep();
            } else if self.parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
                ty.nullable = false;
            } else if self.parser.parse_keyword(Keyword::NULL) {
                ty.nullable = true;
            } else if self.parser.parse_keyword(Keyword::ARRAY) {
                wrapped += 1;
                ty = LogicalType::new(TypeKind::Array(Box::new(ty)));
            } else if self.word("MULTISET") {
                wrapped += 1;
                ty = LogicalType::new(TypeKind::Multiset(Box::new(ty)));
            } else {
                return Ok(ty);
            }
        }
    }

    fn too_deep<T>(&self) -> Result<T, ParserError> {
        self.parser.expected(
            &format!("a type nested at most {MAX_TYPE_NESTING} deep"),
            self.parser.peek_token(),
        )
    }

    fn kind(&mut self) -> Result<TypeKind, ParserError> {
        let token = self.parser.next_token();
        let name = match &token.token {
            Token::Word(w) if w.quote_style.is_none() => w.value.to_ascii_uppercase(),
            _ => return self.parser.expected("a data type", token),
        };
        Ok(match name.as_str() {
            "STRING" => TypeKind::Varchar(MAX_LENGTH),
            "VARCHAR" => TypeKind::Varchar(self.length(1)?),
            "CHAR" | "CHARACTER" if self.word("VARYING") => TypeKind::Varchar(self.length(1)?),
            "CHAR" | "CHARACTER" => TypeKind::Char(self.length(1)?),
            "BYTES" => TypeKind::Varbinary(MAX_LENGTH),
            "VARBINARY" => TypeKind::Varbinary(self.length(1)?),
            "BINARY" => TypeKind::Binary(self.length(1)?),
            "BOOLEAN" => TypeKind::Boolean,
            "DECIMAL" | "DEC" | "NUMERIC" => self.decimal()?,
            "TINYINT" => TypeKind::TinyInt,
            "SMALLINT" => TypeKind::SmallInt,
            "INT" | "INTEGER" => TypeKind::Int,
            "BIGINT" => TypeKind::BigInt,
            "FLOAT" => TypeKind::Float,
            "DOUBLE" => {
                self.word("PRECISION");
                TypeKind::Double
            }
            "DATE" => TypeKind::Date,
            "TIME" => {
                // Flink knows TIME(0) only and reads TIME(3) as that.
                self.precision(0)?;
                self.word_pair("WITHOUT");
                TypeKind::Time(0)
            }
            "TIMESTAMP" => self.timestamp()?,
            "TIMESTAMP_LTZ" => TypeKind::TimestampLtz(self.precision(6)?),
            "INTERVAL" => self.interval()?,
            "ARRAY" => TypeKind::Array(Box::new(self.element()?)),
            "MULTISET" => TypeKind::Multiset(Box::new(self.element()?)),
            "MAP" => {
                self.open()?;
                let key = self.full()?;
                self.comma_expected()?;
                let value = self.full()?;
                self.close()?;
                TypeKind::Map(Box::new(key), Box::new(value))
            }
            "ROW" => self.row()?,
            "VARIANT" => {
                let known =
                    "a data type that tables can hold (VARIANT is none, in Flink neither; STRING can hold JSON)";
                return self.parser.expected(known, token);
            }
            _ => {
                let hint = flott_core::suggest::hint(&name, NAMES.iter().copied());
                return self.parser.expected(&format!("a data type{hint}"), token);
            }
        })
    }

    fn element(&mut self) -> Result<LogicalType, ParserError> {
        self.open()?;
        let element = self.full()?;
        self.close()?;
        Ok(element)
    }

    fn row(&mut self) -> Result<TypeKind, ParserError> {
        let parenthesised = self.parser.consume_token(&Token::LParen);
        if !parenthesised {
            self.open()?;
        }
        let mut fields = vec![];
        loop {
            let name = self.parser.parse_identifier()?;
            let ty = self.full()?;
            if let Token::SingleQuotedString(_) = self.parser.peek_token().token {
                self.parser.advance_token();
            }
            fields.push(Field::new(name.value, ty));
            if self.closed > 0 || !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        if parenthesised {
            self.parser.expect_token(&Token::RParen)?;
        } else {
            self.close()?;
        }
        Ok(TypeKind::Row(fields))
    }

    fn decimal(&mut self) -> Result<TypeKind, ParserError> {
        let (mut precision, mut scale) = (10, 0);
        if self.parser.consume_token(&Token::LParen) {
            precision = self.number(1, 38, "a precision from 1 to 38")?;
            if self.parser.consume_token(&Token::Comma) {
                scale = self.number(0, precision, "a scale from 0 to the precision")?;
            }
            self.parser.expect_token(&Token::RParen)?;
        }
        Ok(TypeKind::Decimal(precision as u8, scale as u8))
    }

    fn timestamp(&mut self) -> Result<TypeKind, ParserError> {
        let precision = self.precision(6)?;
        if self.parser.parse_keyword(Keyword::WITH) {
            let local = self.parser.parse_keyword(Keyword::LOCAL);
            let here = self.parser.peek_token();
            self.parser.expect_keywords(&[Keyword::TIME, Keyword::ZONE])?;
            if !local {
                return self.parser.expected(
                    "LOCAL (Flink has TIMESTAMP WITH LOCAL TIME ZONE, or TIMESTAMP_LTZ, only)",
                    here,
                );
            }
            return Ok(TypeKind::TimestampLtz(precision));
        }
        self.word_pair("WITHOUT");
        Ok(TypeKind::Timestamp(precision))
    }

    fn interval(&mut self) -> Result<TypeKind, ParserError> {
        let token = self.parser.next_token();
        let unit = token.token.to_string().to_ascii_uppercase();
        let kind = match unit.as_str() {
            "YEAR" | "MONTH" => TypeKind::IntervalYearMonth,
            "DAY" | "HOUR" | "MINUTE" | "SECOND" => TypeKind::IntervalDayTime,
            _ => return self.parser.expected("YEAR, MONTH, DAY, HOUR, MINUTE or SECOND", token),
        };
        self.precision(0)?;
        if self.parser.parse_keyword(Keyword::TO) {
            let token = self.parser.next_token();
            if !matches!(token.token, Token::Word(_)) {
                return self.parser.expected("a time unit", token);
            }
            self.precision(0)?;
        }
        Ok(kind)
    }

    fn precision(&mut self, default: u32) -> Result<u8, ParserError> {
        if !self.parser.consume_token(&Token::LParen) {
            return Ok(default as u8);
        }
        let value = self.number(0, 9, "a precision from 0 to 9")?;
        self.parser.expect_token(&Token::RParen)?;
        Ok(value as u8)
    }

    fn length(&mut self, default: u32) -> Result<u32, ParserError> {
        if !self.parser.consume_token(&Token::LParen) {
            return Ok(default);
        }
        let value = self.number(1, MAX_LENGTH, "a length of at least 1")?;
        self.parser.expect_token(&Token::RParen)?;
        Ok(value)
    }

    fn number(&mut self, low: u32, high: u32, expected: &str) -> Result<u32, ParserError> {
        let token = self.parser.next_token();
        let value = match &token.token {
            Token::Number(text, _) => text.parse().ok().filter(|n| (low..=high).contains(n)),
            _ => None,
        };
        match value {
            Some(value) => Ok(value),
            None => self.parser.expected(expected, token),
        }
    }

    /// Takes a word that need not be a keyword of sqlparser.
    fn word(&mut self, text: &str) -> bool {
        let found = matches!(&self.parser.peek_token_ref().token,
            Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(text));
        if found {
            self.parser.advance_token();
        }
        found
    }

    /// Takes `WITHOUT TIME ZONE`.
    fn word_pair(&mut self, first: &str) {
        if self.word(first) {
            self.word("TIME");
            self.word("ZONE");
        }
    }

    fn comma_expected(&mut self) -> Result<(), ParserError> {
        self.parser.expect_token(&Token::Comma).map(|_| ())
    }

    fn open(&mut self) -> Result<(), ParserError> {
        self.parser.expect_token(&Token::Lt).map(|_| ())
    }

    fn close(&mut self) -> Result<(), ParserError> {
        if self.closed > 0 {
            self.closed -= 1;
            return Ok(());
        }
        if self.parser.consume_token(&Token::ShiftRight) {
            self.closed += 1;
            return Ok(());
        }
        self.parser.expect_token(&Token::Gt).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_read_back_what_they_print() {
        for (text, printed) in [
            ("string", "STRING"),
            ("VARCHAR", "VARCHAR(1)"),
            ("DECIMAL", "DECIMAL(10, 0)"),
            ("NUMERIC(23,3) NOT NULL", "DECIMAL(23, 3) NOT NULL"),
            ("TIMESTAMP", "TIMESTAMP(6)"),
            ("TIMESTAMP(3) WITH LOCAL TIME ZONE", "TIMESTAMP_LTZ(3)"),
            ("TIMESTAMP(3) WITHOUT TIME ZONE NOT NULL", "TIMESTAMP(3) NOT NULL"),
            (
                "ARRAY<ROW<a INT, `b c` ARRAY<STRING>>>",
                "ARRAY<ROW<`a` INT, `b c` ARRAY<STRING>>>",
            ),
            (
                "MAP<STRING, ARRAY<ARRAY<INT NOT NULL>>>",
                "MAP<STRING, ARRAY<ARRAY<INT NOT NULL>>>",
            ),
            ("ROW(a INT 'comment', b DOUBLE PRECISION)", "ROW<`a` INT, `b` DOUBLE>"),
            ("INT ARRAY NOT NULL", "ARRAY<INT> NOT NULL"),
            ("INTERVAL DAY TO SECOND(3)", "INTERVAL DAY TO SECOND(3)"),
            ("MULTISET<INT>", "MULTISET<INT>"),
        ] {
            let ty = parse_text(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(ty.to_string(), printed);
            assert_eq!(parse_text(printed).unwrap(), ty);
        }
    }

    #[test]
    fn wrong_types_say_what_is_allowed() {
        for (text, expected) in [
            ("DECIMAL(39)", "a precision from 1 to 38"),
            ("TIMESTAMP(3) WITH TIME ZONE", "LOCAL"),
            ("STRNG", "did you mean 'STRING'?"),
            ("ARRAY<INT", "Expected: >"),
            ("ARRAY<INT>>", "a balanced number of '>'"),
            (&"ARRAY<".repeat(100_000), "nested at most 64 deep"),
            (&format!("INT{}", " ARRAY".repeat(100_000)), "nested at most 64 deep"),
        ] {
            let e = parse_text(text).unwrap_err().to_string();
            assert!(e.contains(expected), "{text}: {e}");
        }
    }
}
