//! Java's regular expressions in the syntax of the `regex` crate.
//!
//! The crate matches in linear time and cannot look around or refer back; a pattern that needs that (or possessive
//! quantifiers, atomic groups) is refused with a message. Else the differences are translated: `\w \d \s \b` mean
//! ASCII, `.` stops at all of Java's line ends, `\Q…\E`, `\p{Alpha}` and `\u00e9` are spelled differently.

use regex::Regex;

/// What a pattern turned out to be.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// Ready to match.
    Ready(Box<Regex>),
    /// No regular expression at all: Flink's functions give NULL.
    Invalid,
    /// Java could match it, we cannot; the text says what in it.
    Unsupported(String),
}

/// Line ends that `.` does not match.
const NOT_LINE_END: &str = r"[^\n\r\x{85}\x{2028}\x{2029}]";

/// Reads a pattern of Java's.
pub fn pattern(java: &str) -> Pattern {
    match translate(java) {
        Ok(translated) => match Regex::new(&translated) {
            Ok(regex) => Pattern::Ready(Box::new(regex)),
            Err(regex::Error::CompiledTooBig(limit)) => {
                Pattern::Unsupported(format!("the pattern compiles to more than {limit} bytes"))
            }
            Err(_) => Pattern::Invalid,
        },
        Err(what) => Pattern::Unsupported(what),
    }
}

/// The refusal of a pattern for `what` in it.
pub fn unsupported(what: &str) -> String {
    format!("the pattern has a {what}, which cannot be matched in linear time; rewrite it without")
}

struct Translator<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    out: String,
    /// How many `[` are open.
    class_depth: usize,
    /// Whether the last piece was a quantifier, after which `+` is possessive.
    after_quantifier: bool,
    dot_matches_all: bool,
}

/// The pattern in the crate's syntax, or what in it cannot be said there.
fn translate(java: &str) -> Result<String, String> {
    let mut t = Translator {
        rest: java.chars().peekable(),
        out: String::with_capacity(java.len() + 16),
        class_depth: 0,
        after_quantifier: false,
        dot_matches_all: false,
    };
    while let Some(c) = t.rest.next() {
        let quantifier = t.class_depth == 0 && matches!(c, '*' | '+' | '?' | '}');
        match c {
            '\\' => t.escape()?,
            _ if t.class_depth > 0 => t.in_class(c),
            '+' if t.after_quantifier => return Err("possessive quantifier ('*+', '++', '?+')".to_owned()),
            '(' => t.group()?,
            '[' => {
                t.class_depth += 1;
                t.out.push('[');
                if t.rest.next_if_eq(&'^').is_some() {
                    t.out.push('^');
                }
            }
            '.' if !t.dot_matches_all => t.out.push_str(NOT_LINE_END),
            other => t.out.push(other),
        }
        // `a??` is reluctant: the second mark ends the quantifier
        t.after_quantifier = quantifier && !(t.after_quantifier && c == '?');
    }
    Ok(t.out)
}

impl Translator<'_> {
    fn in_class(&mut self, c: char) {
        match c {
            '[' => {
                self.class_depth += 1;
                self.out.push('[');
                if self.rest.next_if_eq(&'^').is_some() {
                    self.out.push('^');
                }
            }
            ']' => {
                self.class_depth -= 1;
                self.out.push(']');
            }
            // `--` and `~~` are operators to the crate only
            '-' if self.rest.peek() == Some(&'-') => self.out.push_str("\\-"),
            '~' => self.out.push_str("\\~"),
            other => self.out.push(other),
        }
    }

    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        if self.rest.peek() != Some(&'?') {
            return Ok(());
        }
        let ahead: String = self.rest.clone().take(12).collect();
        for (start, what) in [
            ("?=", "look-ahead '(?='"),
            ("?!", "negative look-ahead '(?!'"),
            ("?<=", "look-behind '(?<='"),
            ("?<!", "negative look-behind '(?<!'"),
            ("?>", "atomic group '(?>'"),
        ] {
            if ahead.starts_with(start) {
                return Err(what.to_owned());
            }
        }
        let flags = ahead[1..].split([':', ')']).next().unwrap_or_default();
        if !ahead.starts_with("?<") && flags.chars().all(|f| f.is_ascii_alphabetic() || f == '-') {
            if flags.contains(['U', 'd', 'u']) {
                return Err(format!("flags '(?{flags}'"));
            }
            let on = flags.split('-').next().unwrap_or_default();
            self.dot_matches_all |= on.contains('s');
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        let Some(c) = self.rest.next() else {
            self.out.push('\\');
            return Ok(());
        };
        let in_class = self.class_depth > 0;
        let set = |inside: &'static str, alone: &'static str| if in_class { inside } else { alone };
        match c {
            'd' => self.out.push_str(set("0-9", "[0-9]")),
            'D' => self.out.push_str("[^0-9]"),
            'w' => self.out.push_str(set("0-9A-Za-z_", "[0-9A-Za-z_]")),
            'W' => self.out.push_str("[^0-9A-Za-z_]"),
            's' => self.out.push_str(set(r" \t\n\x0B\f\r", r"[ \t\n\x0B\f\r]")),
            'S' => self.out.push_str(r"[^ \t\n\x0B\f\r]"),
            'h' => self.out.push_str(set(
                r" \t\xA0",
                r"[ \t\xA0\x{1680}\x{180e}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]",
            )),
            'b' if !in_class => self.out.push_str(r"(?-u:\b)"),
            'e' => self.out.push_str(r"\x1B"),
            'R' => self.out.push_str(r"(?:\r\n|[\n\x0B\f\r\x{85}\x{2028}\x{2029}])"),
            'Z' => self.out.push_str(r"\n?\z"),
            'Q' => self.quoted(),
            'u' => {
                let code: String = self.rest.by_ref().take(4).collect();
                self.out.push_str(&format!(r"\x{{{code}}}"));
            }
            'p' | 'P' => self.property(c)?,
            'G' => return Err(r"end of the previous match '\G'".to_owned()),
            'k' => return Err(r"back-reference '\k'".to_owned()),
            '1'..='9' => return Err(format!(r"back-reference '\{c}'")),
            '<' | '>' => self.out.push(c),
            other => {
                self.out.push('\\');
                self.out.push(other);
            }
        }
        Ok(())
    }

    /// `\Q…\E`: everything between stands for itself.
    fn quoted(&mut self) {
        while let Some(c) = self.rest.next() {
            if c == '\\' && self.rest.next_if_eq(&'E').is_some() {
                return;
            }
            self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
        }
    }

    fn property(&mut self, letter: char) -> Result<(), String> {
        let mut name = String::new();
        if self.rest.next_if_eq(&'{').is_some() {
            name.extend(self.rest.by_ref().take_while(|c| *c != '}'));
        } else {
            name.extend(self.rest.next());
        }
        let posix = match name.as_str() {
            "Lower" | "Upper" | "ASCII" | "Alpha" | "Digit" | "Alnum" | "Punct" | "Graph" | "Print" | "Blank"
            | "Cntrl" | "XDigit" | "Space" => Some(name.to_lowercase()),
            _ => None,
        };
        if let Some(class) = posix {
            let not = if letter == 'P' { "^" } else { "" };
            self.out.push_str(&format!("[[:{not}{class}:]]"));
            return Ok(());
        }
        if name.starts_with("java") {
            return Err(format!(r"character class '\{letter}{{{name}}}'"));
        }
        let name = name.strip_prefix("Is").unwrap_or(&name);
        self.out.push_str(&format!(r"\{letter}{{{name}}}"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_patterns_match_what_java_matches() {
        for (java, text, expected) in [
            (r"\w+", "cafés", Some("caf")),
            (r"[\w-]+", "a-b é", Some("a-b")),
            (r"\d{2,3}", "x1234", Some("123")),
            (r"a.c", "a\rc", None),
            (r"(?s)a.c", "a\nc", Some("a\nc")),
            (r"\Qa.b\E+", "xa.bb", Some("a.bb")),
            (r"[^\s]+", " ab ", Some("ab")),
            (r"\p{Alpha}+\p{Punct}", "1ab!", Some("ab!")),
            (r"\u00e9", "é", Some("é")),
            (r"[a-z&&[^b]]+", "bacb", Some("ac")),
            (r"\<a\>", "<a>", Some("<a>")),
            (r"a+?", "aaa", Some("a")),
            (r"(&|^)channel_id=([^&]*)", "x&channel_id=7", Some("&channel_id=7")),
        ] {
            let Pattern::Ready(regex) = pattern(java) else {
                panic!("{java} was not understood: {:?}", translate(java));
            };
            assert_eq!(regex.find(text).map(|m| m.as_str()), expected, "{java} on {text:?}");
        }
        assert!(matches!(pattern("("), Pattern::Invalid));
        for java in [r"(a)\1", "(?=a)b", "(?<!x)y", "a*+", "(?>a)", r"\k<n>"] {
            assert!(matches!(pattern(java), Pattern::Unsupported(_)), "{java}");
        }
    }
}
