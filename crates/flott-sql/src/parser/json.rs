//! JSON functions whose arguments are words (`RETURNING INTEGER DEFAULT 0 ON EMPTY`, `KEY k VALUE v`): they become plain
//! calls. A word is kept as `$SYMBOL 'WORD'`, a type as `$TYPE 'TYPE'`; [`crate::expr::functions::json`] says in which order.

use super::dialect::FlinkDialect;
use super::types;
use sqlparser::ast::{Expr, Ident, Value, ValueWithSpan};
use sqlparser::dialect::{Dialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token};

/// Prefix of a text that stands for a keyword.
pub const SYMBOL: &str = "$SYMBOL";
/// Prefix of a text that stands for a type.
pub const TYPE: &str = "$TYPE";

fn prefixed(prefix: &str, text: &str, span: Span) -> Expr {
    Expr::Prefixed {
        prefix: Ident::with_span(span, prefix),
        value: Box::new(Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(text.to_owned()),
            span,
        })),
    }
}

/// A reader of the arguments of one call.
pub struct JsonArguments<'p, 'a> {
    parser: &'p mut Parser<'a>,
    args: Vec<Expr>,
}

impl<'p, 'a> JsonArguments<'p, 'a> {
    /// Starts behind the opening parenthesis.
    pub fn new(parser: &'p mut Parser<'a>) -> Self {
        Self { parser, args: vec![] }
    }

    /// Reads the arguments of `function` and the closing parenthesis.
    ///
    /// # Errors
    /// At the first word that cannot stand there.
    pub fn read(mut self, function: &str) -> Result<Vec<Expr>, ParserError> {
        match function {
            "JSON_OBJECT" | "JSON_ARRAY" => self.members(function == "JSON_OBJECT", usize::MAX)?,
            "JSON_OBJECTAGG" | "JSON_ARRAYAGG" => self.members(function == "JSON_OBJECTAGG", 1)?,
            _ => {
                let text = self.parser.parse_expr()?;
                self.parser.expect_token(&Token::Comma)?;
                let path = self.parser.parse_expr()?;
                self.args.extend([text, path]);
                match function {
                    "JSON_EXISTS" => self.exists()?,
                    "JSON_VALUE" => self.value()?,
                    _ => self.query()?,
                }
            }
        }
        self.parser.expect_token(&Token::RParen)?;
        Ok(self.args)
    }

    /// Takes these words, if they are next.
    fn words(&mut self, words: &[&str]) -> bool {
        let next: [_; 4] = self.parser.peek_tokens();
        let all = words.iter().zip(&next).all(
            |(word, token)| matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word)),
        );
        if all {
            for _ in words {
                self.parser.advance_token();
            }
        }
        all
    }

    fn symbol(&mut self, text: &str) -> Expr {
        prefixed(SYMBOL, text, self.parser.peek_token_ref().span)
    }

    fn push_symbol(&mut self, text: &str) {
        let symbol = self.symbol(text);
        self.args.push(symbol);
    }

    /// `RETURNING type`, or STRING.
    fn returning(&mut self) -> Result<Expr, ParserError> {
        let span = self.parser.peek_token_ref().span;
        if !self.words(&["RETURNING"]) {
            return Ok(prefixed(TYPE, "STRING", span));
        }
        let ty = types::parse(self.parser)?;
        Ok(prefixed(TYPE, &ty.to_string(), span))
    }

    fn exists(&mut self) -> Result<(), ParserError> {
        let mut found = "FALSE";
        for word in ["TRUE", "FALSE", "UNKNOWN", "ERROR"] {
            if self.words(&[word, "ON", "ERROR"]) {
                found = word;
            }
        }
        self.push_symbol(found);
        Ok(())
    }

    fn value(&mut self) -> Result<(), ParserError> {
        let returning = self.returning()?;
        let null = || Expr::Value(Value::Null.with_empty_span());
        let mut behaviours = [(self.symbol("NULL"), null()), (self.symbol("NULL"), null())];
        loop {
            let behaviour = if self.words(&["NULL", "ON"]) {
                (self.symbol("NULL"), null())
            } else if self.words(&["ERROR", "ON"]) {
                (self.symbol("ERROR"), null())
            } else if self.words(&["DEFAULT"]) {
                let default = self.parser.parse_expr()?;
                self.parser.expect_keyword_is(Keyword::ON)?;
                (self.symbol("DEFAULT"), default)
            } else {
                break;
            };
            let on_error = self.on_error()?;
            behaviours[usize::from(on_error)] = behaviour;
        }
        for (symbol, default) in behaviours {
            self.args.extend([symbol, default]);
        }
        self.args.push(returning);
        Ok(())
    }

    /// `ERROR` (or else `EMPTY`) behind `ON`.
    fn on_error(&mut self) -> Result<bool, ParserError> {
        if self.words(&["ERROR"]) {
            return Ok(true);
        }
        if self.words(&["EMPTY"]) {
            return Ok(false);
        }
        let token = self.parser.next_token();
        self.parser.expected("EMPTY or ERROR", token)
    }

    fn query(&mut self) -> Result<(), ParserError> {
        let returning = self.returning()?;
        let wrapper = if self.words(&["WITHOUT"]) {
            "WITHOUT"
        } else if self.words(&["WITH"]) {
            if self.words(&["CONDITIONAL"]) {
                "CONDITIONAL"
            } else {
                self.words(&["UNCONDITIONAL"]);
                "UNCONDITIONAL"
            }
        } else {
            ""
        };
        if !wrapper.is_empty() {
            self.words(&["ARRAY"]);
            if !self.words(&["WRAPPER"]) {
                let token = self.parser.next_token();
                return self.parser.expected("WRAPPER", token);
            }
        }
        self.push_symbol(if wrapper.is_empty() { "WITHOUT" } else { wrapper });
        let mut behaviours = ["NULL", "NULL"];
        loop {
            let behaviour = if self.words(&["NULL", "ON"]) {
                "NULL"
            } else if self.words(&["ERROR", "ON"]) {
                "ERROR"
            } else if self.words(&["EMPTY", "ARRAY", "ON"]) {
                "ARRAY"
            } else if self.words(&["EMPTY", "OBJECT", "ON"]) {
                "OBJECT"
            } else {
                break;
            };
            let on_error = self.on_error()?;
            behaviours[usize::from(on_error)] = behaviour;
        }
        behaviours.into_iter().for_each(|b| self.push_symbol(b));
        self.args.push(returning);
        Ok(())
    }

    /// Pairs of an object or values of an array, at most so many, and what becomes of NULLs.
    fn members(&mut self, object: bool, most: usize) -> Result<(), ParserError> {
        let default = if object { "NULL" } else { "ABSENT" };
        self.push_symbol(default);
        let mut members = 0;
        loop {
            let on_null = ["NULL", "ABSENT"].into_iter().find(|w| self.words(&[w, "ON", "NULL"]));
            if let Some(on_null) = on_null {
                self.args[0] = self.symbol(on_null);
                return Ok(());
            }
            if self.parser.peek_token_ref().token == Token::RParen {
                return Ok(());
            }
            if members == most {
                let token = self.parser.next_token();
                return self.parser.expected("NULL ON NULL, ABSENT ON NULL or )", token);
            }
            if members > 0 {
                self.parser.expect_token(&Token::Comma)?;
            }
            members += 1;
            if object {
                let [_, next] = self.parser.peek_tokens();
                let is_key = !matches!(&next, Token::Colon)
                    && !matches!(&next, Token::Word(w) if w.value.eq_ignore_ascii_case("VALUE"));
                if is_key {
                    self.words(&["KEY"]);
                }
                // A colon ends the key.
                let above_colon = FlinkDialect::default().prec_value(Precedence::Colon);
                let key = self.parser.parse_subexpr(above_colon)?;
                if !self.words(&["VALUE"]) {
                    self.parser.expect_token(&Token::Colon)?;
                }
                self.args.push(key);
            }
            let value = self.parser.parse_expr()?;
            self.args.push(value);
        }
    }
}

/// The function of `IS [NOT] JSON [VALUE|OBJECT|ARRAY|SCALAR]` and whether it is negated, if these words are next.
pub fn json_test(parser: &mut Parser) -> Option<(&'static str, bool)> {
    let is = |token: &Token, word: &str| matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
    let [first, second, third] = parser.peek_tokens();
    let negated = is(&second, "NOT");
    let json = if negated { &third } else { &second };
    if !is(&first, "IS") || !is(json, "JSON") {
        return None;
    }
    for _ in 0..2 + usize::from(negated) {
        parser.advance_token();
    }
    let [kind] = parser.peek_tokens();
    let known = [
        ("VALUE", "IS JSON VALUE"),
        ("OBJECT", "IS JSON OBJECT"),
        ("ARRAY", "IS JSON ARRAY"),
        ("SCALAR", "IS JSON SCALAR"),
    ];
    match known.into_iter().find(|(word, _)| is(&kind, word)) {
        Some((_, function)) => {
            parser.advance_token();
            Some((function, negated))
        }
        None => Some(("IS JSON VALUE", negated)),
    }
}
