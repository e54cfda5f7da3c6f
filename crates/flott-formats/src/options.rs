//! The formats' options under Flink's names, checked: an unknown one is an error that names the nearest.

use crate::error::FormatError;
use crate::text::time::TimestampStyle;
use flott_core::options::OptionError;
use flott_core::{Options, suggest};

const JSON: [&str; 8] = [
    "json.fail-on-missing-field",
    "json.ignore-parse-errors",
    "json.timestamp-format.standard",
    "json.map-null-key.mode",
    "json.map-null-key.literal",
    "json.encode.decimal-as-plain-number",
    "json.encode.ignore-null-fields",
    "json.decode.json-parser.enabled",
];

const CSV: [&str; 9] = [
    "csv.field-delimiter",
    "csv.disable-quote-character",
    "csv.quote-character",
    "csv.allow-comments",
    "csv.ignore-parse-errors",
    "csv.array-element-delimiter",
    "csv.escape-character",
    "csv.null-literal",
    "csv.write-bigdecimal-in-scientific-notation",
];

const RAW: [&str; 2] = ["raw.charset", "raw.endianness"];

pub(crate) fn check_names(format: &'static str, known: &[&str], options: &Options) -> Result<(), FormatError> {
    let prefix = format!("{format}.");
    match options
        .iter()
        .find(|(key, _)| key.starts_with(&prefix) && !known.contains(key))
    {
        None => Ok(()),
        Some((key, _)) => Err(FormatError::UnknownOption {
            format,
            option: key.to_owned(),
            known: known.join(", "),
            hint: suggest::hint(key, known.iter().copied()),
        }),
    }
}

/// What to do with a map entry whose key is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NullKeys {
    Fail,
    Drop,
    Literal(String),
}

/// The options of `json`.
#[derive(Debug, Clone)]
pub(crate) struct JsonOptions {
    pub fail_on_missing_field: bool,
    pub ignore_parse_errors: bool,
    pub timestamps: TimestampStyle,
    pub null_keys: NullKeys,
    pub plain_decimals: bool,
    pub omit_nulls: bool,
}

impl JsonOptions {
    pub(crate) fn read(options: &Options) -> Result<Self, FormatError> {
        check_names("json", &JSON, options)?;
        let flag = |key: &str| Ok::<_, OptionError>(options.boolean(key)?.unwrap_or(false));
        let iso = options.one_of("json.timestamp-format.standard", &["SQL", "ISO-8601"])? == Some(1);
        let literal = options.get("json.map-null-key.literal").unwrap_or("null").to_owned();
        let null_keys = match options.one_of("json.map-null-key.mode", &["FAIL", "DROP", "LITERAL"])? {
            Some(1) => NullKeys::Drop,
            Some(2) => NullKeys::Literal(literal),
            _ => NullKeys::Fail,
        };
        // Chooses between two parsers in Flink that should read alike; ours is one.
        options.boolean("json.decode.json-parser.enabled")?;
        let read = Self {
            fail_on_missing_field: flag("json.fail-on-missing-field")?,
            ignore_parse_errors: flag("json.ignore-parse-errors")?,
            timestamps: if iso {
                TimestampStyle::Iso8601
            } else {
                TimestampStyle::Sql
            },
            null_keys,
            plain_decimals: flag("json.encode.decimal-as-plain-number")?,
            omit_nulls: flag("json.encode.ignore-null-fields")?,
        };
        if read.fail_on_missing_field && read.ignore_parse_errors {
            return Err(FormatError::Conflict {
                format: "json",
                reason: "'json.fail-on-missing-field' and 'json.ignore-parse-errors' exclude each other; set one"
                    .into(),
            });
        }
        Ok(read)
    }
}

/// The options of `csv`.
#[derive(Debug, Clone)]
pub(crate) struct CsvOptions {
    pub delimiter: u8,
    pub quote: Option<u8>,
    pub escape: Option<u8>,
    pub allow_comments: bool,
    pub ignore_parse_errors: bool,
    pub array_delimiter: String,
    pub null_literal: Option<String>,
    pub scientific_decimals: bool,
}

impl CsvOptions {
    pub(crate) fn read(options: &Options) -> Result<Self, FormatError> {
        check_names("csv", &CSV, options)?;
        let flag = |key: &str, default| Ok::<_, OptionError>(options.boolean(key)?.unwrap_or(default));
        let unquoted = flag("csv.disable-quote-character", false)?;
        if unquoted && options.get("csv.quote-character").is_some() {
            return Err(FormatError::Conflict {
                format: "csv",
                reason: "'csv.quote-character' has no meaning with 'csv.disable-quote-character' = 'true'; remove one"
                    .into(),
            });
        }
        let quote = character(options, "csv.quote-character", false)?.unwrap_or(b'"');
        let read = Self {
            delimiter: character(options, "csv.field-delimiter", true)?.unwrap_or(b','),
            quote: (!unquoted).then_some(quote),
            escape: character(options, "csv.escape-character", false)?,
            allow_comments: flag("csv.allow-comments", false)?,
            ignore_parse_errors: flag("csv.ignore-parse-errors", false)?,
            array_delimiter: options.get("csv.array-element-delimiter").unwrap_or(";").to_owned(),
            null_literal: options.get("csv.null-literal").map(str::to_owned),
            scientific_decimals: flag("csv.write-bigdecimal-in-scientific-notation", true)?,
        };
        let special = [Some(read.delimiter), read.quote, read.escape];
        for (i, one) in special.iter().enumerate() {
            if one.is_some() && special[i + 1..].contains(one) {
                return Err(FormatError::Conflict {
                    format: "csv",
                    reason: "field delimiter, quote and escape character must differ".into(),
                });
            }
        }
        Ok(read)
    }
}

/// An option of one ASCII character; where `unescaped`, `\t` and its like are read as in Java.
fn character(options: &Options, key: &str, unescaped: bool) -> Result<Option<u8>, OptionError> {
    let Some(value) = options.get(key) else { return Ok(None) };
    let wrong = || OptionError::new(key, value, "one ASCII character other than a line end");
    let byte = match value.as_bytes() {
        [one] => *one,
        br"\t" if unescaped => b'\t',
        br"\\" if unescaped => b'\\',
        _ => {
            // Flink takes delimiters as Java escapes too: \u0001.
            let code = value.strip_prefix("\\u").filter(|hex| unescaped && hex.len() == 4);
            let code = code.and_then(|hex| u8::from_str_radix(hex, 16).ok());
            code.ok_or_else(wrong)?
        }
    };
    if !byte.is_ascii() || matches!(byte, b'\n' | b'\r') {
        return Err(wrong());
    }
    Ok(Some(byte))
}

/// A character set of `raw.charset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    Utf8,
    Ascii,
    Latin1,
    /// With a byte order mark where it is read; big endian otherwise.
    Utf16,
    Utf16Be,
    Utf16Le,
}

/// The options of `raw`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawOptions {
    pub charset: Charset,
    pub little_endian: bool,
}

impl RawOptions {
    pub(crate) fn read(options: &Options) -> Result<Self, FormatError> {
        check_names("raw", &RAW, options)?;
        let names = [
            "UTF-8",
            "UTF8",
            "US-ASCII",
            "ASCII",
            "ISO-8859-1",
            "latin1",
            "UTF-16",
            "UTF-16BE",
            "UTF-16LE",
        ];
        let charset = match options.one_of("raw.charset", &names)? {
            None | Some(0 | 1) => Charset::Utf8,
            Some(2 | 3) => Charset::Ascii,
            Some(4 | 5) => Charset::Latin1,
            Some(6) => Charset::Utf16,
            Some(7) => Charset::Utf16Be,
            Some(_) => Charset::Utf16Le,
        };
        let little_endian = options.one_of("raw.endianness", &["big-endian", "little-endian"])? == Some(1);
        Ok(Self { charset, little_endian })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().copied().collect()
    }

    #[test]
    fn unknown_options_name_the_nearest_and_those_of_others_are_left_alone() {
        let e = JsonOptions::read(&options(&[("json.ignore-parse-error", "true"), ("topic", "x")])).unwrap_err();
        assert!(e.to_string().contains("did you mean 'json.ignore-parse-errors'"), "{e}");
        assert!(CsvOptions::read(&options(&[("json.nonsense", "true"), ("format", "csv")])).is_ok());
    }

    #[test]
    fn exclusive_options_are_refused() {
        let both = [
            ("json.fail-on-missing-field", "true"),
            ("json.ignore-parse-errors", "true"),
        ];
        assert!(matches!(
            JsonOptions::read(&options(&both)),
            Err(FormatError::Conflict { .. })
        ));
        let both = [("csv.disable-quote-character", "true"), ("csv.quote-character", "'")];
        assert!(matches!(
            CsvOptions::read(&options(&both)),
            Err(FormatError::Conflict { .. })
        ));
        let same = [("csv.field-delimiter", "\"")];
        assert!(matches!(
            CsvOptions::read(&options(&same)),
            Err(FormatError::Conflict { .. })
        ));
    }

    #[test]
    fn delimiters_may_be_escaped() {
        let read = |d: &str| CsvOptions::read(&options(&[("csv.field-delimiter", d)])).map(|o| o.delimiter);
        assert_eq!(read("\\t").unwrap(), b'\t');
        assert_eq!(read("\t").unwrap(), b'\t');
        assert_eq!(read("\\u0001").unwrap(), 1);
        assert_eq!(read("|").unwrap(), b'|');
        assert!(read("ab").is_err() && read("é").is_err() && read("").is_err());
    }
}
