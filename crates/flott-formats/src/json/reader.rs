//! The lexical side of JSON: white space, strings, numbers, literals, and skipping a value while checking it.

use crate::error::RowErrorKind;
use crate::scan::find_either;

/// Deepest nesting, Jackson's own limit.
pub(crate) const MAX_DEPTH: usize = 1000;

/// What is wrong with a message, with the path of fields from the outside in (gathered in reverse while unwinding).
#[derive(Debug)]
pub(crate) struct Fault {
    pub kind: RowErrorKind,
    pub position: usize,
    pub reason: String,
    pub path: Vec<String>,
}

/// A result whose error is rare and boxed.
pub(crate) type Read<T> = Result<T, Box<Fault>>;

impl Fault {
    #[cold]
    pub(crate) fn new(kind: RowErrorKind, position: usize, reason: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            kind,
            position,
            reason: reason.into(),
            path: vec![],
        })
    }
}

/// A position in a message, which is UTF-8.
pub(crate) struct Reader<'a> {
    pub text: &'a [u8],
    pub at: usize,
    depth: usize,
}

/// A string between its quotes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawString<'a> {
    /// The text as it stands.
    pub inside: &'a [u8],
    /// Whether it has escapes.
    pub escaped: bool,
}

/// A number as it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawNumber<'a> {
    pub text: &'a [u8],
    /// Whether it has neither fraction nor exponent.
    pub whole: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// The byte at the position; 0, which no JSON text has outside strings, at the end.
    #[inline(always)]
    pub(crate) fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    /// Moves over white space and gives the byte there.
    #[inline(always)]
    pub(crate) fn skip_space(&mut self) -> u8 {
        let byte = self.peek();
        if byte > b' ' { byte } else { self.skip_more_space() }
    }

    fn skip_more_space(&mut self) -> u8 {
        while let b' ' | b'\n' | b'\r' | b'\t' = self.peek() {
            self.at += 1;
        }
        self.peek()
    }

    /// The error that something else was expected here.
    #[cold]
    pub(crate) fn expected(&self, what: &str) -> Box<Fault> {
        let found = match std::str::from_utf8(&self.text[self.at.min(self.text.len())..])
            .ok()
            .and_then(|t| t.chars().next())
        {
            Some(c) => format!("expected {what}, found '{}'", c.escape_debug()),
            None => format!("expected {what}, found the end"),
        };
        Fault::new(RowErrorKind::Syntax, self.at, found)
    }

    /// Enters an object or array, whose opening byte is at the position.
    pub(crate) fn enter(&mut self) -> Read<()> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let reason = format!("nested more than {MAX_DEPTH} deep");
            return Err(Fault::new(RowErrorKind::Syntax, self.at, reason));
        }
        Ok(())
    }

    /// Leaves an object or array, whose closing byte is at the position.
    #[inline]
    pub(crate) fn leave(&mut self) {
        self.at += 1;
        self.depth -= 1;
    }

    /// Reads the string whose opening quote is at the position.
    #[inline]
    pub(crate) fn string(&mut self) -> Read<RawString<'a>> {
        let start = self.at + 1;
        let end = find_either(self.text, start, b'"', b'\\');
        if self.text.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(RawString {
                inside: &self.text[start..end],
                escaped: false,
            });
        }
        self.escaped_string(start, end)
    }

    /// The rest of a string with a backslash at `slash`, or without an end.
    #[cold]
    fn escaped_string(&mut self, start: usize, slash: usize) -> Read<RawString<'a>> {
        let mut at = slash;
        loop {
            match self.text.get(at) {
                None => {
                    self.at = self.text.len();
                    return Err(self.expected("the string's closing quote"));
                }
                Some(b'"') => break,
                Some(_) => {
                    let length = match self.text.get(at + 1) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
                        Some(b'u')
                            if self
                                .text
                                .get(at + 2..at + 6)
                                .is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit)) =>
                        {
                            6
                        }
                        _ => {
                            self.at = at + 1;
                            return Err(
                                self.expected("an escape (\\\", \\\\, \\/, \\b, \\f, \\n, \\r, \\t or \\uXXXX)")
                            );
                        }
                    };
                    at = find_either(self.text, at + length, b'"', b'\\');
                }
            }
        }
        self.at = at + 1;
        Ok(RawString {
            inside: &self.text[start..at],
            escaped: true,
        })
    }

    /// Reads the number that starts at the position with a digit or a minus sign.
    #[inline]
    pub(crate) fn number(&mut self) -> Read<RawNumber<'a>> {
        let start = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        match self.peek() {
            b'0' => {
                self.at += 1;
                if self.peek().is_ascii_digit() {
                    return Err(self.expected("no digit after a leading zero"));
                }
            }
            b'1'..=b'9' => self.digits(),
            _ => return Err(self.expected("a digit")),
        }
        let mut whole = true;
        if self.peek() == b'.' {
            whole = false;
            self.at += 1;
            if !self.peek().is_ascii_digit() {
                return Err(self.expected("a digit after the decimal point"));
            }
            self.digits();
        }
        if let b'e' | b'E' = self.peek() {
            whole = false;
            self.at += 1;
            if let b'+' | b'-' = self.peek() {
                self.at += 1;
            }
            if !self.peek().is_ascii_digit() {
                return Err(self.expected("a digit of the exponent"));
            }
            self.digits();
        }
        match self.peek() {
            b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' => {}
            _ if self.at >= self.text.len() => {}
            _ => return Err(self.expected("the number's end")),
        }
        Ok(RawNumber {
            text: &self.text[start..self.at],
            whole,
        })
    }

    #[inline]
    fn digits(&mut self) {
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
    }

    /// Reads `null` at the position, where an `n` stands.
    #[inline(always)]
    pub(crate) fn null(&mut self) -> Read<()> {
        let next = self.text.get(self.at..).and_then(|rest| rest.first_chunk::<5>());
        if let Some([b'n', b'u', b'l', b'l', b',' | b'}']) = next {
            self.at += 4;
            return Ok(());
        }
        self.literal("null")
    }

    /// Reads `word`, a literal, at the position.
    #[inline]
    pub(crate) fn literal(&mut self, word: &'static str) -> Read<()> {
        let end = self.at + word.len();
        let complete = self.text.get(self.at..end) == Some(word.as_bytes());
        let goes_on = self
            .text
            .get(end)
            .is_some_and(|b| b.is_ascii_alphanumeric() || *b >= 0x80 || *b == b'_' || *b == b'$');
        if !complete || goes_on {
            return Err(self.expected("a value (string, number, object, array, true, false or null)"));
        }
        self.at = end;
        Ok(())
    }

    /// Moves over one value at the position (white space before it was skipped), checking its syntax.
    #[inline(always)]
    pub(crate) fn skip_value(&mut self) -> Read<()> {
        match self.peek() {
            b'"' => self.skip_string(),
            b'n' => self.null(),
            _ => self.skip_other_value(),
        }
    }

    /// Moves over the string whose opening quote is at the position.
    #[inline(always)]
    fn skip_string(&mut self) -> Read<()> {
        let start = self.at + 1;
        let end = find_either(self.text, start, b'"', b'\\');
        if self.text.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(());
        }
        self.escaped_string(start, end).map(|_| ())
    }

    fn skip_other_value(&mut self) -> Read<()> {
        match self.peek() {
            b'"' => self.skip_string(),
            b'n' => self.null(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'-' | b'0'..=b'9' => self.number().map(|_| ()),
            b'{' => {
                self.enter()?;
                let mut byte = self.skip_space();
                while byte != b'}' {
                    self.key()?;
                    self.skip_value()?;
                    byte = self.separator(b'}', "',' or '}'")?;
                }
                self.leave();
                Ok(())
            }
            b'[' => {
                self.enter()?;
                let mut byte = self.skip_space();
                while byte != b']' {
                    self.skip_value()?;
                    byte = self.separator(b']', "',' or ']'")?;
                }
                self.leave();
                Ok(())
            }
            _ => Err(self.expected("a value (string, number, object, array, true, false or null)")),
        }
    }

    /// Reads a key and its colon, and moves to the value.
    pub(crate) fn key(&mut self) -> Read<RawString<'a>> {
        if self.peek() != b'"' {
            return Err(self.expected("a field name in double quotes"));
        }
        let key = self.string()?;
        self.colon()?;
        Ok(key)
    }

    /// Moves over the colon after a key, to the value.
    #[inline]
    pub(crate) fn colon(&mut self) -> Read<()> {
        if self.skip_space() != b':' {
            return Err(self.expected("':'"));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// After a member: moves over a comma to the next one and gives its first byte, or gives `close` at the end.
    #[inline(always)]
    pub(crate) fn separator(&mut self, close: u8, what: &str) -> Read<u8> {
        let byte = self.skip_space();
        if byte == b',' {
            self.at += 1;
            let next = self.skip_space();
            if next == close {
                return Err(self.expected("another member after ','"));
            }
            return Ok(next);
        }
        if byte == close {
            Ok(byte)
        } else {
            Err(self.expected(what))
        }
    }
}
