//! `(a - b) DAY TO SECOND`: a difference of two moments, whose unit stands behind it. sqlparser would take the unit for an
//! alias, so the dialect looks behind the closing parenthesis before it opens the one in front.

use sqlparser::ast::{BinaryOperator, Expr};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// Name of the function that a difference in years or months is turned into.
pub const MONTHS_BETWEEN: &str = "$MONTHS_BETWEEN";
/// Name of the function that a difference in weeks to seconds is turned into.
pub const TIME_BETWEEN: &str = "$TIME_BETWEEN";

/// The function of a unit; `None` if the word is no unit.
fn function_of(token: &Token) -> Option<&'static str> {
    let Token::Word(word) = token else { return None };
    if word.quote_style.is_some() {
        return None;
    }
    match word.keyword {
        Keyword::YEAR | Keyword::QUARTER | Keyword::MONTH => Some(MONTHS_BETWEEN),
        Keyword::WEEK | Keyword::DAY | Keyword::HOUR | Keyword::MINUTE | Keyword::SECOND => Some(TIME_BETWEEN),
        _ => None,
    }
}

/// Whether the parenthesis that comes next holds a minus and has a unit behind it.
pub fn comes_next(parser: &Parser) -> bool {
    let mut depth = 0usize;
    let mut has_minus = false;
    for at in 0.. {
        match parser.peek_nth_token_no_skip(at).token {
            Token::Whitespace(_) => {}
            Token::LParen => depth += 1,
            Token::RParen if depth == 1 => {
                let behind = (at + 1..).map(|n| parser.peek_nth_token_no_skip(n).token);
                let next = behind.into_iter().find(|t| !matches!(t, Token::Whitespace(_)));
                return has_minus && next.as_ref().and_then(function_of).is_some();
            }
            Token::RParen => depth -= 1,
            Token::Minus => has_minus |= depth == 1,
            Token::Word(word) if matches!(word.keyword, Keyword::SELECT | Keyword::VALUES) && depth == 1 => {
                return false;
            }
            // a difference has no list in it
            Token::Comma if depth == 1 => return false,
            Token::EOF => return false,
            _ if depth == 0 => return false,
            _ => {}
        }
    }
    false
}

/// Reads the difference and its unit: the function, and the two moments.
///
/// # Errors
/// If what stands in the parentheses is no difference, or the unit is none.
pub fn parse(parser: &mut Parser) -> Result<(&'static str, [Expr; 2]), ParserError> {
    parser.expect_token(&Token::LParen)?;
    let token = parser.peek_token();
    let difference = parser.parse_expr()?;
    parser.expect_token(&Token::RParen)?;
    let Expr::BinaryOp {
        left,
        op: BinaryOperator::Minus,
        right,
    } = difference
    else {
        return parser.expected("a difference of two times before the unit of an interval", token);
    };
    let function = unit(parser)?;
    if parser.parse_keyword(Keyword::TO) {
        let token = parser.peek_token();
        if unit(parser)? != function {
            return parser.expected("a unit of the same kind of interval", token);
        }
    }
    Ok((function, [*left, *right]))
}

/// A unit, with the digits that it may say.
fn unit(parser: &mut Parser) -> Result<&'static str, ParserError> {
    let token = parser.next_token();
    let Some(function) = function_of(&token.token) else {
        return parser.expected("YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE or SECOND", token);
    };
    if parser.consume_token(&Token::LParen) {
        parser.parse_comma_separated(Parser::parse_literal_uint)?;
        parser.expect_token(&Token::RParen)?;
    }
    Ok(function)
}
