//! The one-entry form of a JAAS configuration that `sasl.jaas.config` holds:
//! `module flag (name=value)* ;` where a value may be quoted with `"` and escape with `\`.

use std::fmt;

/// A parsed login entry; prints option names only.
#[derive(Clone, PartialEq, Eq)]
pub struct JaasLogin {
    /// Class name of the login module.
    pub module: String,
    options: Vec<(String, String)>,
}

impl JaasLogin {
    /// The value of option `name`.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl fmt::Debug for JaasLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.options.iter().map(|(n, _)| n.as_str()).collect();
        f.debug_struct("JaasLogin")
            .field("module", &self.module)
            .field("options", &names)
            .finish()
    }
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Equals,
    End,
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        match c {
            c if c.is_whitespace() => {
                chars.next();
            }
            '=' => {
                chars.next();
                out.push(Token::Equals);
            }
            ';' => {
                chars.next();
                out.push(Token::End);
            }
            '"' => {
                chars.next();
                let mut word = String::new();
                loop {
                    match chars.next() {
                        None => return Err("has a quoted value without its closing quote".into()),
                        Some('"') => break,
                        Some('\\') => word.extend(chars.next()),
                        Some(c) => word.push(c),
                    }
                }
                out.push(Token::Word(word));
            }
            _ => {
                let mut word = String::new();
                while let Some(c) = chars.next_if(|c| !c.is_whitespace() && !"=;\"".contains(*c)) {
                    word.push(c);
                }
                out.push(Token::Word(word));
            }
        }
    }
    Ok(out)
}

/// Parses `text`; the error is the reason, without any value of the text.
pub fn parse(text: &str) -> Result<JaasLogin, String> {
    let mut tokens = tokens(text)?.into_iter();
    let Some(Token::Word(module)) = tokens.next() else {
        return Err("does not start with a login module's class name".into());
    };
    match tokens.next() {
        Some(Token::Word(flag))
            if ["required", "requisite", "sufficient", "optional"].contains(&flag.to_ascii_lowercase().as_str()) => {}
        _ => return Err("has no control flag ('required') after the login module".into()),
    }
    let mut options = Vec::new();
    loop {
        match (tokens.next(), &mut tokens) {
            (Some(Token::End), rest) => {
                return match rest.next() {
                    None => Ok(JaasLogin { module, options }),
                    Some(_) => Err("must hold one login entry only".into()),
                };
            }
            (None, _) => return Err("does not end with ';'".into()),
            (Some(Token::Word(name)), rest) => match (rest.next(), rest.next()) {
                (Some(Token::Equals), Some(Token::Word(value))) => options.push((name, value)),
                _ => return Err(format!("has option {} without a value", options.len() + 1)),
            },
            (Some(Token::Equals), _) => return Err("has a '=' without a name before it".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_quotes_and_escapes() {
        let login = parse("a.b.Module  required\n username=alice password=\"s\\\"e;c=ret\\\\\" x=\"\";").unwrap();
        assert_eq!(login.module, "a.b.Module");
        assert_eq!(login.option("username"), Some("alice"));
        assert_eq!(login.option("password"), Some("s\"e;c=ret\\"));
        assert_eq!(login.option("x"), Some(""));
        assert_eq!(login.option("y"), None);
        assert!(!format!("{login:?}").contains("ret"));
    }

    #[test]
    fn refuses_what_kafka_refuses() {
        for bad in [
            "",
            "M",
            "M required",
            "M maybe a=b;",
            "M required a=b",
            "M required a=;",
            "M required =b;",
            "M required a=\"b;",
            "M required a=b; N required;",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
