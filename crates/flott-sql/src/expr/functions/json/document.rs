//! JSON texts as trees, and back: numbers keep their digits, equal keys count once (the last), what follows the first
//! value is not looked at. Numbers with a fraction or an exponent are written as Java's `BigDecimal` writes them, and
//! keys in alphabetical order: that is what Flink's JSON functions give.

use std::borrow::Cow;
use std::fmt::Write;

/// Deepest nesting that is read, as Flink's parser has it.
const MAX_DEPTH: usize = 1000;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Node<'a> {
    Null,
    Boolean(bool),
    /// As written.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    /// Keys in the order in which they came first.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// Reads the first value of a text; `None` if it is none.
    pub fn read(text: &'a str) -> Option<Self> {
        let mut reader = Reader { text, at: 0 };
        let node = reader.value(0)?;
        // a bare word or number must end
        let ends = match &node {
            Node::Number(_) | Node::Boolean(_) | Node::Null => {
                text.as_bytes().get(reader.at).is_none_or(u8::is_ascii_whitespace)
            }
            _ => true,
        };
        ends.then_some(node)
    }

    /// Neither an array nor an object.
    pub fn is_scalar(&self) -> bool {
        !matches!(self, Node::Array(_) | Node::Object(_))
    }

    /// The text of a scalar: a string without quotes, a number, `true`; NULL has none.
    pub fn scalar_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Node::Boolean(v) => Some(if *v { "true" } else { "false" }.into()),
            Node::Number(digits) => Some(number_text(digits)),
            Node::Text(text) => Some(text.as_ref().into()),
            _ => None,
        }
    }

    /// Appends this value as JSON.
    pub fn write(&self, out: &mut String) {
        match self {
            Node::Null => out.push_str("null"),
            Node::Boolean(v) => out.push_str(if *v { "true" } else { "false" }),
            Node::Number(digits) => out.push_str(&number_text(digits)),
            Node::Text(text) => write_text(text, out),
            Node::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    item.write(out);
                }
                out.push(']');
            }
            Node::Object(fields) => {
                let mut sorted: Vec<&(Cow<'_, str>, Node<'_>)> = fields.iter().collect();
                sorted.sort_by(|a, b| a.0.encode_utf16().cmp(b.0.encode_utf16()));
                out.push('{');
                for (i, (key, value)) in sorted.into_iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    write_text(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// Appends a JSON string.
pub fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (i, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[plain..i]);
        plain = i + 1;
        if short.is_empty() {
            // writing into memory does not fail
            let _ = write!(out, "\\u{byte:04X}");
        } else {
            out.push_str(short);
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

/// The text of a number: integers as they are, others as `BigDecimal` writes them (`1e3` is `1E+3`).
pub fn number_text(digits: &str) -> Cow<'_, str> {
    if !digits.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) {
        return if digits == "-0" { "0".into() } else { digits.into() };
    }
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX / 4);
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |m| (true, m));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let joined = format!("{whole}{fraction}");
    let significant = joined.trim_start_matches('0');
    let unscaled = if significant.is_empty() { "0" } else { significant };
    let scale = fraction.len() as i64 - exponent;
    let adjusted = unscaled.len() as i64 - 1 - scale;
    let mut out = String::with_capacity(digits.len() + 4);
    if negative && unscaled != "0" {
        out.push('-');
    }
    if scale == 0 {
        out.push_str(unscaled);
    } else if scale > 0 && adjusted >= -6 {
        let scale = scale as usize;
        if unscaled.len() > scale {
            let (whole, fraction) = unscaled.split_at(unscaled.len() - scale);
            out.push_str(whole);
            out.push('.');
            out.push_str(fraction);
        } else {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', scale - unscaled.len()));
            out.push_str(unscaled);
        }
    } else {
        let (first, rest) = unscaled.split_at(1);
        out.push_str(first);
        if !rest.is_empty() {
            out.push('.');
            out.push_str(rest);
        }
        if adjusted != 0 {
            let _ = write!(out, "E{adjusted:+}");
        }
    }
    out.into()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn word(&mut self, word: &str, node: Node<'a>) -> Option<Node<'a>> {
        self.text[self.at..].starts_with(word).then(|| {
            self.at += word.len();
            node
        })
    }

    fn value(&mut self, depth: usize) -> Option<Node<'a>> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.blanks();
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(Node::Text),
            b't' => self.word("true", Node::Boolean(true)),
            b'f' => self.word("false", Node::Boolean(false)),
            b'n' => self.word("null", Node::Null),
            _ => self.number(),
        }
    }

    fn array(&mut self, depth: usize) -> Option<Node<'a>> {
        self.at += 1;
        let mut items = vec![];
        self.blanks();
        if self.take(b']').is_some() {
            return Some(Node::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blanks();
            if self.take(b',').is_none() {
                self.take(b']')?;
                return Some(Node::Array(items));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Node<'a>> {
        self.at += 1;
        let mut fields: Vec<(Cow<'a, str>, Node<'a>)> = vec![];
        self.blanks();
        if self.take(b'}').is_some() {
            return Some(Node::Object(fields));
        }
        loop {
            self.blanks();
            let key = self.string()?;
            self.blanks();
            self.take(b':')?;
            let value = self.value(depth + 1)?;
            match fields.iter_mut().find(|(k, _)| *k == key) {
                Some(known) => known.1 = value,
                None => fields.push((key, value)),
            }
            self.blanks();
            if self.take(b',').is_none() {
                self.take(b'}')?;
                return Some(Node::Object(fields));
            }
        }
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<Node<'a>> {
        let start = self.at;
        let _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        } else if self.peek().is_some_and(|b| b.is_ascii_digit()) {
            return None;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(Node::Number(self.text[start..self.at].into()))
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            match self.peek()? {
                b'"' => {
                    let plain = &self.text[start..self.at];
                    self.at += 1;
                    return Some(plain.into());
                }
                b'\\' => break,
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
        let mut out = self.text[start..self.at].to_owned();
        let mut plain = self.at;
        loop {
            match self.peek()? {
                b'"' => {
                    out.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    return Some(out.into());
                }
                b'\\' => {
                    out.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    out.push(self.escape()?);
                    plain = self.at;
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += 1;
        Some(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                if !(0xd800..0xdc00).contains(&first) {
                    // half a character alone is none
                    return Some(char::from_u32(first.into()).unwrap_or('?'));
                }
                let at = self.at;
                let low = self
                    .take(b'\\')
                    .and_then(|()| self.take(b'u'))
                    .and_then(|()| self.unit());
                let pair = low.and_then(|low| char::decode_utf16([first, low]).next()?.ok());
                if pair.is_none() {
                    self.at = at;
                }
                pair.unwrap_or('?')
            }
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u16> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        self.at += 4;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_big_decimals() {
        for (digits, text) in [
            ("1.50", "1.50"),
            ("1e3", "1E+3"),
            ("1E400", "1E+400"),
            ("0.0000001", "1E-7"),
            ("1.25e-3", "0.00125"),
            ("-0.0", "0.0"),
            ("1.5e1", "15"),
            ("100000000.0", "100000000.0"),
            ("-12", "-12"),
        ] {
            assert_eq!(number_text(digits), text, "{digits}");
        }
    }

    #[test]
    fn texts_come_back_or_are_refused() {
        for (text, back) in [
            (
                r#" {"b":[1, {}], "a":"\u00e9\n\ud83d\ude00"} rest"#,
                r#"{"a":"é\n😀","b":[1,{}]}"#,
            ),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            ("\"\\u001f\"", "\"\\u001F\""),
        ] {
            let mut out = String::new();
            Node::read(text).unwrap().write(&mut out);
            assert_eq!(out, back);
        }
        let deep = "[".repeat(2000);
        for text in [
            "", "{a:1}", "01", "1.", "-", "nul", "truex", "[1,]", "\"\n\"", "\"\\x\"", "\"a", &deep,
        ] {
            assert_eq!(Node::read(text), None, "{text}");
        }
    }
}
