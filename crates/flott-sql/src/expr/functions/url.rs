//! Parts of URLs and percent-encoding. A URL is taken apart as `java.net.URL` does it: an unknown protocol or a wrong
//! port makes it none.

use super::entry;
use super::text::{rows_of_text, text_bytes};
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::value::Strings;
use flott_core::LogicalType;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry(
        "PARSE_URL",
        "PARSE_URL(STRING, part STRING [, key STRING])",
        infer_parse,
        build_parse,
    ),
    entry("URL_ENCODE", "URL_ENCODE(STRING)", infer_coding, build_encode),
    entry("URL_DECODE", "URL_DECODE(STRING)", infer_coding, build_decode),
];

fn infer_parse(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 3)?;
    (0..args.len()).try_for_each(|i| args.string(i))?;
    Ok(LogicalType::string())
}

/// What a URL consists of.
struct Url<'a> {
    protocol: String,
    authority: Option<&'a str>,
    user_info: Option<&'a str>,
    host: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    file: &'a str,
    reference: Option<&'a str>,
}

impl<'a> Url<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let text = text.trim_matches(|c: char| c <= ' ');
        let (protocol, rest) = text.split_once(':')?;
        let protocol = protocol.to_ascii_lowercase();
        if !["http", "https", "ftp", "file", "mailto"].contains(&protocol.as_str()) {
            return None;
        }
        let (rest, reference) = match rest.split_once('#') {
            Some((rest, reference)) => (rest, Some(reference)),
            None => (rest, None),
        };
        let mut url = Self {
            protocol,
            authority: None,
            user_info: None,
            host: "",
            path: rest,
            query: None,
            file: rest,
            reference,
        };
        if let Some(after) = rest.strip_prefix("//") {
            let end = after.find(['/', '?']).unwrap_or(after.len());
            let (authority, file) = after.split_at(end);
            url.file = file;
            let host = match authority.rsplit_once('@') {
                Some((user, host)) => {
                    url.user_info = Some(user);
                    host
                }
                None => authority,
            };
            url.authority = Some(authority).filter(|a| !a.is_empty());
            url.host = without_port(host)?;
        }
        if url.protocol != "mailto" {
            (url.path, url.query) = match url.file.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (url.file, None),
            };
        }
        Some(url)
    }
}

/// The host before its port, if that is one.
fn without_port(host: &str) -> Option<&str> {
    let end = match host.find(']') {
        Some(bracket) if host.starts_with('[') => bracket + 1,
        _ => host.find(':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(end);
    let port_fits = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => digits.is_empty() || digits.parse::<u32>().is_ok(),
    };
    port_fits.then_some(name)
}

/// The value of the first `key=value` of a query with this key.
fn query_value<'q>(query: &'q str, key: &str) -> Option<&'q str> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
        .filter(|_| !key.is_empty())
}

fn build_parse(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let (urls, parts) = (Strings::new(&args[0])?, Strings::new(&args[1])?);
        let keys = args.get(2).map(Strings::new).transpose()?;
        rows_of_text(rows, text_bytes(&args[0]), |row, out| {
            let (url, part) = (urls.get(row)?, parts.get(row)?);
            let url = Url::read(url)?;
            if let Some(keys) = &keys {
                let key = keys.get(row)?;
                if part != "QUERY" {
                    return None;
                }
                out.push_str(query_value(url.query?, key)?);
                return Some(());
            }
            out.push_str(match part {
                "HOST" => url.host,
                "PATH" => url.path,
                "QUERY" => url.query?,
                "REF" => url.reference?,
                "PROTOCOL" => &url.protocol,
                "FILE" => url.file,
                "AUTHORITY" => url.authority?,
                "USERINFO" => url.user_info?,
                _ => return None,
            });
            Some(())
        })
    }))
}

fn infer_coding(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    args.string(0)?;
    Ok(LogicalType::string())
}

fn build_encode(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let texts = Strings::new(&args[0])?;
        rows_of_text(rows, text_bytes(&args[0]) * 2, |row, out| {
            for byte in texts.get(row)?.bytes() {
                match byte {
                    b' ' => out.push('+'),
                    b'*' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
                    _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
                    _ => {
                        out.push('%');
                        super::bytes::push_hex(&[byte], b"0123456789ABCDEF", out);
                    }
                }
            }
            Some(())
        })
    }))
}

fn build_decode(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let texts = Strings::new(&args[0])?;
        let mut bytes = vec![];
        rows_of_text(rows, text_bytes(&args[0]), |row, out| {
            bytes.clear();
            let mut rest = texts.get(row)?.as_bytes();
            while let [first, after @ ..] = rest {
                rest = after;
                match first {
                    b'+' => bytes.push(b' '),
                    b'%' => {
                        let digits = std::str::from_utf8(after.get(..2)?).ok()?;
                        bytes.push(u8::from_str_radix(digits, 16).ok()?);
                        rest = &after[2..];
                    }
                    other => bytes.push(*other),
                }
            }
            out.push_str(&String::from_utf8_lossy(&bytes));
            Some(())
        })
    }))
}
