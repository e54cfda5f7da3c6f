//! [`FileSource`]: lines of files, each made a record by a schema.

use super::table;
use crate::connectors::delegate_source;
use crate::connectors::schema::{DeserializationSchema, SimpleStringSchema};
use arrow_array::Array;
use arrow_array::cast::AsArray;
use flott_connectors::bad_rows::{BadRows, DeadLetter, DeadLetterFile};
use flott_connectors::filesystem::FilesystemConnector;
use flott_core::{CheckpointId, LogicalType, Options};
use flott_datastream::connector::guarded;
use flott_datastream::{BoxError, Data, Records, RuntimeContext};
use flott_runtime::connector::{Boundedness, ConnectorError, MetadataKey, ReaderPoll, ScanSpec, Split};
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::{OperatorContext, Source, SourceReader, SplitEnumerator, TableConnector, TaskError};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// How messages name the source, and dead letters their file.
const NAME: &str = "file-source";

/// Reads the lines of files as records of `T`: see [`FileSource::for_lines`].
#[derive(Clone)]
pub struct FileSource<T> {
    source: Arc<dyn Source>,
    records: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for FileSource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSource<{}>", std::any::type_name::<T>())
    }
}

delegate_source!(FileSource);

impl FileSource<String> {
    /// A builder of a source of lines as text. The example is at [`crate::connectors::file`].
    pub fn for_lines(path: impl Into<String>) -> FileSourceBuilder<SimpleStringSchema> {
        FileSource::for_record_format(SimpleStringSchema, path)
    }
}

impl<T: Data> FileSource<T> {
    /// A builder of a source whose lines `schema` reads: a JSON value or columns of CSV each, or what a closure of `&[u8]` makes of
    /// them.
    pub fn for_record_format<S: DeserializationSchema<Out = T>>(
        schema: S,
        path: impl Into<String>,
    ) -> FileSourceBuilder<S> {
        FileSourceBuilder {
            schema,
            path: path.into(),
            options: Options::new(),
            bad_rows: BadRows::Fail,
        }
    }
}

/// Makes a [`FileSource`].
#[derive(Debug, Clone)]
pub struct FileSourceBuilder<S> {
    schema: S,
    path: String,
    options: Options,
    bad_rows: BadRows,
}

impl<S: DeserializationSchema> FileSourceBuilder<S> {
    /// Looks for new files again and again; each is read once, and the source does not end.
    pub fn monitor_continuously(self, interval: Duration) -> Self {
        self.option("source.monitor-interval", format!("{} ms", interval.as_millis()))
    }

    /// An option of the `filesystem` connector, such as `source.path.regex-pattern`.
    pub fn option(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.set(key, value);
        self
    }

    /// What to do with lines that the schema refuses: [`BadRows::Fail`], if nothing is said, fails the job with file and line.
    pub fn bad_rows(mut self, bad_rows: BadRows) -> Self {
        self.bad_rows = bad_rows;
        self
    }

    /// The source.
    ///
    /// # Errors
    /// If path or an option is wrong.
    pub fn build(self) -> Result<FileSource<S::Out>, ConnectorError> {
        if let BadRows::Topic(topic) = &self.bad_rows {
            return Err(ConnectorError::Option(format!(
                "file source of '{}': BadRows::Topic(\"{topic}\") is for Kafka: use BadRows::Path",
                self.path
            )));
        }
        // The job's options say how a bucket is reached; a program says it to the builder.
        let store: Options = self.options.iter().filter(|(k, _)| k.starts_with("s3.")).collect();
        let of_table: Options = self.options.iter().filter(|(k, _)| !k.starts_with("s3.")).collect();
        let table = table(NAME, &self.path, of_table);
        let scan = ScanSpec {
            fields: table.columns.clone(),
            table,
            metadata: vec![MetadataKey {
                key: "file.path".to_owned(),
                ty: LogicalType::string().with_nullable(false),
                writable: false,
            }],
            watermark: None,
            partitions: None,
        };
        FilesystemConnector.check_source(&scan.table)?;
        let lines = FilesystemConnector.source_in(&scan, &store)?;
        Ok(FileSource {
            source: Arc::new(Lines {
                lines,
                schema: self.schema,
                bad_rows: self.bad_rows,
            }),
            records: PhantomData,
        })
    }
}

/// A source of lines, and what makes records of them.
struct Lines<S> {
    lines: Box<dyn Source>,
    schema: S,
    bad_rows: BadRows,
}

impl<S: DeserializationSchema> Source for Lines<S> {
    fn boundedness(&self) -> Boundedness {
        self.lines.boundedness()
    }

    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        self.lines.enumerator(restored)
    }

    fn reader(&self, ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        let mut schema = self.schema.clone();
        guarded("open", || schema.open(&RuntimeContext::of(ctx)))?;
        let bad = match &self.bad_rows {
            BadRows::Path(folder) => Bad::Keep(DeadLetterFile::open(folder, NAME, ctx.task.subtask)?),
            BadRows::Skip => Bad::Skip,
            BadRows::Fail | BadRows::Topic(_) => Bad::Fail,
        };
        Ok(Box::new(LinesReader {
            lines: self.lines.reader(ctx)?,
            schema,
            bad,
            metrics: ctx.metrics.clone(),
        }))
    }
}

/// What happens to lines that are refused.
enum Bad {
    Fail,
    Skip,
    Keep(DeadLetterFile),
}

impl Bad {
    fn judge(&mut self, file: &str, line: &[u8], error: &BoxError) -> Result<(), TaskError> {
        let text = String::from_utf8_lossy(line);
        match self {
            Self::Fail => Err(TaskError::data(format!(
                "file '{file}': the line '{}' cannot be read: {error}; give the source's builder bad_rows(BadRows::Skip) or \
                 BadRows::Path to go on without such lines",
                text.chars().take(200).collect::<String>()
            ))
            .fatal()),
            Self::Skip => Ok(()),
            Self::Keep(letters) => Ok(letters.write(&DeadLetter {
                table: NAME,
                place: &format!("file '{file}'"),
                error: &error.to_string(),
                row: &text,
            })?),
        }
    }
}

struct LinesReader<S> {
    lines: Box<dyn SourceReader>,
    schema: S,
    bad: Bad,
    metrics: Arc<OperatorMetrics>,
}

impl<S: DeserializationSchema> SourceReader for LinesReader<S> {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        self.lines.add_splits(splits)
    }

    fn no_more_splits(&mut self) {
        self.lines.no_more_splits();
    }

    fn poll(&mut self, now_ms: i64) -> Result<ReaderPoll, TaskError> {
        let polled = self.lines.poll(now_ms)?;
        let ReaderPoll::Batch { split, batch } = polled else {
            return Ok(polled);
        };
        let (lines, files) = (batch.column(0).as_binary::<i32>(), batch.column(1).as_string::<i32>());
        let mut values = Vec::with_capacity(lines.len());
        let Self {
            schema, bad, metrics, ..
        } = self;
        let mut refused = Ok(());
        guarded("deserializer", || {
            for (line, file) in lines.iter().zip(files) {
                let line = line.unwrap_or_default();
                match schema.deserialize(line) {
                    Ok(value) => values.extend(value),
                    Err(error) => {
                        metrics.bad_rows.add(1);
                        refused = bad.judge(file.unwrap_or_default(), line, &error);
                        if refused.is_err() {
                            break;
                        }
                    }
                }
            }
            Ok(())
        })?;
        refused?;
        // A reader that has nothing now is asked again at once: its task looks at its barriers in between.
        Ok(match values.is_empty() {
            true => ReaderPoll::Idle { until_ms: Some(now_ms) },
            false => ReaderPoll::Batch {
                split,
                batch: Records::of(values).into_batch(),
            },
        })
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
        if let Bad::Keep(letters) = &mut self.bad {
            letters.sync()?;
        }
        self.lines.snapshot(checkpoint)
    }

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) {
        self.lines.checkpoint_complete(checkpoint);
    }

    fn is_active(&self, split: usize) -> bool {
        self.lines.is_active(split)
    }

    fn set_paused(&mut self, split: usize, paused: bool) {
        self.lines.set_paused(split, paused);
    }
}
