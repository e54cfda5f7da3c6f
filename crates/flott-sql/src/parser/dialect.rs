//! Flink's dialect for sqlparser: names in backquotes, case kept, and the expressions that its hook must take.
//!
//! The type id is GenericDialect's, because sqlparser gates much of its grammar on that; what Flink does not have is
//! switched off here. [`Dialect::parse_prefix`] reads `CAST` (Flink's types), `MAP[…]`, `TABLE name` (the argument of window
//! functions), `(a - b) DAY` and others, which no built-in dialect does.
//!
//! sqlparser goes back where it fails and tries something else: a `SUBSTRING(…)` it cannot read is read once more as a call, so an
//! error deep inside of twenty would be read a million times. The dialect counts the expressions that are begun, and ends that.

use super::difference;
use super::json::{JsonArguments, json_test};
use super::types;
use sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, TrimWhereField, UnaryOperator,
};
use sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token};
use std::any::TypeId;
use std::cell::Cell;

/// Name of the function that a `TABLE name` argument is turned into.
pub const TABLE_ARGUMENT: &str = "$TABLE";
/// Name of the function that `MAP[…]` is turned into.
pub const MAP_CONSTRUCTOR: &str = "MAP";

/// Prefix that stands before the lower bound of `BETWEEN SYMMETRIC`.
pub const SYMMETRIC: &str = "$SYMMETRIC";

/// Expressions that may be begun in any statement, and more for each of its tokens. What can be read at once begins at most
/// one with a token.
const EXPRESSIONS: usize = 4_000;
const EXPRESSIONS_PER_TOKEN: usize = 16;

/// Flink SQL.
#[derive(Debug)]
pub struct FlinkDialect {
    /// How many expressions may still be begun.
    left: Cell<usize>,
    /// Where the furthest of them began.
    furthest: Cell<Location>,
}

impl Default for FlinkDialect {
    /// For text of our own making.
    fn default() -> Self {
        Self {
            left: Cell::new(usize::MAX),
            furthest: Cell::new(Location::empty()),
        }
    }
}

impl FlinkDialect {
    /// For a statement of so many tokens: when it has been read over and over, all further expressions are errors that sqlparser does not
    /// try to read as something else ([`ParserError::RecursionLimitExceeded`]).
    pub fn of(tokens: usize) -> Self {
        let left = EXPRESSIONS.saturating_add(tokens.saturating_mul(EXPRESSIONS_PER_TOKEN));
        Self {
            left: Cell::new(left),
            ..Self::default()
        }
    }

    /// Where the furthest expression began, if reading was given up.
    pub fn given_up_at(&self) -> Option<Location> {
        (self.left.get() == 0).then(|| self.furthest.get())
    }
}

impl Dialect for FlinkDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn identifier_quote_style(&self, _identifier: &str) -> Option<char> {
        Some('`')
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || matches!(ch, '_' | '$')
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_left_associative_joins_without_parens(&self) -> bool {
        true
    }

    fn supports_match_recognize(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_select_expr_star(&self) -> bool {
        true
    }

    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, _: u8) -> Option<Result<Expr, ParserError>> {
        let (function, negated) = json_test(parser)?;
        let name = ObjectName::from(vec![Ident::new(function)]);
        let test = call(name, vec![expr.clone()]);
        Some(Ok(if negated {
            Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr: Box::new(test),
            }
        } else {
            test
        }))
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let Some(left) = self.left.get().checked_sub(1) else {
            return Some(Err(ParserError::RecursionLimitExceeded));
        };
        self.left.set(left);
        self.furthest
            .set(self.furthest.get().max(parser.peek_token_ref().span.start));
        let [first, second] = parser.peek_tokens();
        if first == Token::LParen && difference::comes_next(parser) {
            return Some(parse_difference(parser));
        }
        let Token::Word(word) = first else { return None };
        if word.quote_style.is_some() {
            return None;
        }
        match (word.value.to_ascii_uppercase().as_str(), second) {
            ("CAST", Token::LParen) => Some(parse_cast(parser, CastKind::Cast)),
            ("TRY_CAST", Token::LParen) => Some(parse_cast(parser, CastKind::TryCast)),
            ("MAP", Token::LBracket) => Some(parse_map(parser)),
            (
                name @ ("JSON_EXISTS" | "JSON_VALUE" | "JSON_QUERY" | "JSON_OBJECT" | "JSON_ARRAY" | "JSON_OBJECTAGG"
                | "JSON_ARRAYAGG"),
                Token::LParen,
            ) => Some(parse_json(parser, name)),
            // sqlparser reads `CEIL(time TO unit)`, under that name only
            ("CEILING", Token::LParen) => {
                parser.advance_token();
                Some(parser.parse_ceil_floor_expr(true))
            }
            ("TRIM", Token::LParen) => Some(parse_trim(parser)),
            ("TABLE", Token::Word(_)) => Some(parse_table_argument(parser)),
            // what BETWEEN does anyhow
            ("ASYMMETRIC", next) if starts_operand(&next) => {
                parser.advance_token();
                Some(parser.parse_subexpr(self.prec_value(Precedence::Between)))
            }
            ("SYMMETRIC", next) if starts_operand(&next) => Some(self.parse_symmetric(parser)),
            _ => None,
        }
    }
}

fn parse_difference(parser: &mut Parser) -> Result<Expr, ParserError> {
    let span = parser.peek_token().span;
    let (function, moments) = difference::parse(parser)?;
    let name = ObjectName::from(vec![Ident::with_span(span, function)]);
    Ok(call(name, moments.to_vec()))
}

/// `JSON_VALUE(…)` and its kin become plain calls.
fn parse_json(parser: &mut Parser, name: &str) -> Result<Expr, ParserError> {
    let function = Ident::with_span(parser.next_token().span, name);
    parser.expect_token(&Token::LParen)?;
    let args = JsonArguments::new(parser).read(name)?;
    Ok(call(ObjectName::from(vec![function]), args))
}

/// `TRIM([[BOTH|LEADING|TRAILING] [characters] FROM] text)`; sqlparser wants characters behind `LEADING`.
fn parse_trim(parser: &mut Parser) -> Result<Expr, ParserError> {
    parser.advance_token();
    parser.expect_token(&Token::LParen)?;
    let [next, behind] = parser.peek_tokens();
    let side = match (&next, &behind) {
        // a column may be named so
        (Token::Word(_), Token::RParen) => None,
        (Token::Word(w), _) if w.quote_style.is_none() => match w.keyword {
            Keyword::BOTH => Some(TrimWhereField::Both),
            Keyword::LEADING => Some(TrimWhereField::Leading),
            Keyword::TRAILING => Some(TrimWhereField::Trailing),
            _ => None,
        },
        _ => None,
    };
    if side.is_some() {
        parser.advance_token();
    }
    let (what, text) = if side.is_some() && parser.parse_keyword(Keyword::FROM) {
        (None, parser.parse_expr()?)
    } else {
        let first = parser.parse_expr()?;
        if parser.parse_keyword(Keyword::FROM) {
            (Some(Box::new(first)), parser.parse_expr()?)
        } else {
            (None, first)
        }
    };
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Trim {
        expr: Box::new(text),
        trim_where: side,
        trim_what: what,
        trim_characters: None,
    })
}

impl FlinkDialect {
    fn parse_symmetric(&self, parser: &mut Parser) -> Result<Expr, ParserError> {
        let keyword = parser.next_token();
        let bound = parser.parse_subexpr(self.prec_value(Precedence::Between))?;
        Ok(Expr::Prefixed {
            prefix: Ident::with_span(keyword.span, SYMMETRIC),
            value: Box::new(bound),
        })
    }
}

/// Whether an operand can start with this token: `SYMMETRIC` is a keyword then, and no column.
fn starts_operand(token: &Token) -> bool {
    match token {
        Token::Word(w) => !matches!(w.keyword, Keyword::AND | Keyword::OR | Keyword::FROM | Keyword::AS),
        Token::Number(..) | Token::SingleQuotedString(_) | Token::LParen | Token::Minus => true,
        _ => false,
    }
}

fn parse_cast(parser: &mut Parser, kind: CastKind) -> Result<Expr, ParserError> {
    parser.advance_token();
    parser.expect_token(&Token::LParen)?;
    let expr = parser.parse_expr()?;
    parser.expect_keyword_is(Keyword::AS)?;
    let span = parser.peek_token().span;
    let ty = types::parse(parser)?;
    parser.expect_token(&Token::RParen)?;
    let text = Ident::with_span(span, ty.to_string());
    Ok(Expr::Cast {
        kind,
        expr: Box::new(expr),
        data_type: DataType::Custom(ObjectName::from(vec![text]), vec![]),
        array: false,
        format: None,
    })
}

fn parse_map(parser: &mut Parser) -> Result<Expr, ParserError> {
    let name = parser.next_token();
    parser.expect_token(&Token::LBracket)?;
    let args = if parser.peek_token().token == Token::RBracket {
        vec![]
    } else {
        parser.parse_comma_separated(Parser::parse_expr)?
    };
    parser.expect_token(&Token::RBracket)?;
    let name = Ident::with_span(name.span, MAP_CONSTRUCTOR);
    Ok(call(ObjectName::from(vec![name]), args))
}

/// `TABLE a.b PARTITION BY (c, d)` becomes `$TABLE(a.b, c, d)`.
fn parse_table_argument(parser: &mut Parser) -> Result<Expr, ParserError> {
    let keyword = parser.next_token();
    let name = parser.parse_object_name(false)?;
    let parts: Vec<Ident> = name.0.iter().filter_map(|p| p.as_ident().cloned()).collect();
    let mut args = vec![Expr::CompoundIdentifier(parts)];
    if parser.parse_keywords(&[Keyword::PARTITION, Keyword::BY]) {
        let is_list = parser.consume_token(&Token::LParen);
        let columns = match is_list {
            true => parser.parse_comma_separated(Parser::parse_identifier)?,
            false => vec![parser.parse_identifier()?],
        };
        if is_list {
            parser.expect_token(&Token::RParen)?;
        }
        args.extend(columns.into_iter().map(Expr::Identifier));
    }
    let function = Ident::with_span(keyword.span, TABLE_ARGUMENT);
    Ok(call(ObjectName::from(vec![function]), args))
}

fn call(name: ObjectName, args: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name,
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args
                .into_iter()
                .map(|a| FunctionArg::Unnamed(FunctionArgExpr::Expr(a)))
                .collect(),
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}
