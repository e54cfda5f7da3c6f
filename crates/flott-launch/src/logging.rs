//! Logs on standard error: of a command and of a program warnings, of the processes of a cluster also what happens (INFO), as Flink's users expect it.
//!
//! | | says |
//! |---|---|
//! | the variable `FLOTT_LOG` | levels, also by module (`info,flott_cluster=debug`); wins over all else |
//! | `env.log.level` | of a cluster's process: TRACE, DEBUG, INFO, WARN, ERROR or OFF, by Flink's name |
//! | `env.log.format` | of a cluster's process: TEXT, or JSON, an object a line |
//!
//! An object has `timestamp` (RFC 3339), `level`, `logger` (the module) and `message`; what an event says beside its message, such as `job`,
//! `checkpoint` or `task`, are fields of their names.

use flott_core::Options;
use flott_core::options::OptionError;
use serde_json::{Map, Value, json};
use std::fmt;
use std::io::IsTerminal;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The variable that names levels.
const LEVELS: &str = "FLOTT_LOG";

/// Flink's option of a process's level.
const LEVEL: &str = "env.log.level";

/// Our option of a process's form.
const FORMAT: &str = "env.log.format";

/// Sends warnings to standard error, or what `FLOTT_LOG` names, unless the process has said already where logs go.
pub fn init() {
    let text = tracing_subscriber::fmt()
        .with_env_filter(filter("warn"))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // Whoever was first wins: a program may have a subscriber of its own.
    let _ = text.try_init();
}

/// Sends the log of a cluster's process to standard error, at the level and in the form of its options.
///
/// # Errors
/// If an option has a value that it cannot have.
pub fn init_process(options: &Options) -> Result<(), OptionError> {
    let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "OFF"];
    let level = options.one_of(LEVEL, &levels)?.map_or("INFO", |index| levels[index]);
    let is_json = options.one_of(FORMAT, &["TEXT", "JSON"])? == Some(1);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_writer(std::io::stderr);
    let _ = match is_json {
        true => log.event_format(JsonLines).try_init(),
        false => log
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .try_init(),
    };
    Ok(())
}

fn filter(default: &str) -> EnvFilter {
    EnvFilter::try_from_env(LEVELS).unwrap_or_else(|_| EnvFilter::new(default.to_lowercase()))
}

/// An object a line.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut fields = Fields(Map::from_iter([
            ("timestamp".to_owned(), json!(timestamp)),
            ("level".to_owned(), json!(event.metadata().level().as_str())),
            ("logger".to_owned(), json!(event.metadata().target())),
        ]));
        event.record(&mut fields);
        writeln!(writer, "{}", Value::Object(fields.0))
    }
}

/// The fields of an event, its message among them.
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, json!(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, json!(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_an_object_with_its_fields() {
        let page = Page::default();
        let written = page.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(JsonLines)
            .with_writer(move || written.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let job = "ff";
            tracing::info!(%job, checkpoint = 7u64, is_savepoint = false, "Completed checkpoint \"{}\"\nof it", 7);
            tracing::warn!("second");
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0]["timestamp"].as_str().unwrap().ends_with('Z'), "{text}");
        assert!(
            lines[0]["logger"].as_str().unwrap().starts_with("flott_launch"),
            "{text}"
        );
        let mut first = lines[0].as_object().unwrap().clone();
        first.retain(|name, _| name != "timestamp" && name != "logger");
        assert_eq!(
            Value::Object(first),
            json!({ "level": "INFO", "message": "Completed checkpoint \"7\"\nof it", "job": "ff", "checkpoint": 7, "is_savepoint": false })
        );
    }

    #[test]
    fn wrong_values_are_named() {
        for (key, value) in [(LEVEL, "LOUD"), (FORMAT, "XML")] {
            let options: Options = [(key, value)].into_iter().collect();
            let error = init_process(&options).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(value), "{error}");
        }
    }
}
