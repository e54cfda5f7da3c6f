//! The options of `parquet` under the names that Flink passes on to its writer and reader.

use super::columns::Zone;
use arrow_schema::TimeUnit;
use flott_core::{Options, suggest};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};

const KNOWN: [&str; 12] = [
    "parquet.compression",
    "parquet.compression.codec.zstd.level",
    "parquet.compression.codec.gzip.level",
    "parquet.block.size",
    "parquet.page.size",
    "parquet.dictionary.page.size",
    "parquet.enable.dictionary",
    "parquet.writer.version",
    "parquet.utc-timezone",
    "parquet.timestamp.time.unit",
    "parquet.write.int64.timestamp",
    "parquet.batch-size",
];

/// Size of a row group, about.
const BLOCK_BYTES: u64 = 128 << 20;
/// Size of a page, about.
const PAGE_BYTES: u64 = 1 << 20;
/// zstd's own default, and the one of the Java writer.
const ZSTD_LEVEL: i64 = 3;
/// zlib's default.
const GZIP_LEVEL: i64 = 6;

/// The options, checked.
#[derive(Debug, Clone)]
pub(in super::super) struct ParquetOptions {
    compression: Compression,
    /// A row group ends at about this size.
    pub block_bytes: usize,
    page_bytes: usize,
    dictionary_page_bytes: usize,
    dictionary: bool,
    version: WriterVersion,
    /// What timestamps are counted in.
    pub unit: TimeUnit,
    /// Where INT96 becomes a wall-clock time.
    pub zone: Zone,
    /// Most rows of a batch that is read.
    pub batch_rows: Option<usize>,
}

impl ParquetOptions {
    /// Reads the options under `parquet.`.
    ///
    /// # Errors
    /// An unknown name or a wrong value, with what is allowed.
    pub(in super::super) fn read(options: &Options) -> Result<Self, String> {
        let is_unknown = |key: &&str| key.starts_with("parquet.") && !KNOWN.contains(key);
        if let Some(key) = options.iter().map(|(key, _)| key).find(is_unknown) {
            let hint = suggest::hint(key, KNOWN);
            return Err(format!(
                "format 'parquet' has no option '{key}'; its options are {}{hint}",
                KNOWN.join(", ")
            ));
        }
        let text = |e: flott_core::options::OptionError| e.to_string();
        let bytes = |key: &str, default: u64| -> Result<usize, String> {
            let bytes = options.memory_bytes(key).map_err(text)?.unwrap_or(default);
            // Below this, pages and groups are mostly headers.
            usize::try_from(bytes.max(1024)).map_err(|_| format!("option '{key}' is too large for this machine"))
        };
        let flag = |key: &str| options.boolean(key).map_err(text);
        if flag("parquet.write.int64.timestamp")? == Some(false) {
            return Err(
                "option 'parquet.write.int64.timestamp' cannot be 'false': INT96 is read, but no longer written; leave it out"
                    .into(),
            );
        }
        let unit = options
            .one_of("parquet.timestamp.time.unit", &["micros", "millis", "nanos"])
            .map_err(text)?;
        let version = options
            .one_of("parquet.writer.version", &["v1", "v2", "PARQUET_1_0", "PARQUET_2_0"])
            .map_err(text)?;
        Ok(Self {
            compression: compression(options)?,
            block_bytes: bytes("parquet.block.size", BLOCK_BYTES)?,
            page_bytes: bytes("parquet.page.size", PAGE_BYTES)?,
            dictionary_page_bytes: bytes("parquet.dictionary.page.size", PAGE_BYTES)?,
            dictionary: flag("parquet.enable.dictionary")?.unwrap_or(true),
            version: match version {
                Some(1 | 3) => WriterVersion::PARQUET_2_0,
                _ => WriterVersion::PARQUET_1_0,
            },
            unit: match unit {
                Some(1) => TimeUnit::Millisecond,
                Some(2) => TimeUnit::Nanosecond,
                _ => TimeUnit::Microsecond,
            },
            zone: match flag("parquet.utc-timezone")? {
                Some(true) => Zone::Utc,
                _ => Zone::Local,
            },
            batch_rows: options.positive("parquet.batch-size").map_err(text)?,
        })
    }

    /// What the writer of a file is made with.
    pub(super) fn properties(&self) -> WriterProperties {
        WriterProperties::builder()
            .set_created_by(format!("flott version {}", env!("CARGO_PKG_VERSION")))
            .set_compression(self.compression)
            .set_data_page_size_limit(self.page_bytes)
            .set_dictionary_enabled(self.dictionary)
            .set_dictionary_page_size_limit(self.dictionary_page_bytes)
            .set_writer_version(self.version)
            // Row groups end by size.
            .set_max_row_group_row_count(None)
            // The names of lists and maps that the format asks for.
            .set_coerce_types(true)
            .build()
    }
}

fn compression(options: &Options) -> Result<Compression, String> {
    const CODECS: [&str; 6] = ["SNAPPY", "UNCOMPRESSED", "GZIP", "ZSTD", "LZ4_RAW", "LZ4"];
    let level = |codec: &str, default: i64| -> Result<i64, String> {
        let key = format!("parquet.compression.codec.{codec}.level");
        let level = options.integer(&key).map_err(|e| e.to_string())?;
        Ok(level.unwrap_or(default))
    };
    let wrong = |codec: &str, level: i64, e: &dyn std::fmt::Display| {
        format!("option 'parquet.compression.codec.{codec}.level' cannot be '{level}': {e}")
    };
    let chosen = options
        .one_of("parquet.compression", &CODECS)
        .map_err(|e| e.to_string())?;
    Ok(match chosen {
        None | Some(0) => Compression::SNAPPY,
        Some(1) => Compression::UNCOMPRESSED,
        Some(2) => {
            let level = level("gzip", GZIP_LEVEL)?;
            let checked = GzipLevel::try_new(u32::try_from(level).unwrap_or(u32::MAX));
            Compression::GZIP(checked.map_err(|e| wrong("gzip", level, &e))?)
        }
        Some(3) => {
            let level = level("zstd", ZSTD_LEVEL)?;
            let checked = ZstdLevel::try_new(i32::try_from(level).unwrap_or(i32::MAX));
            Compression::ZSTD(checked.map_err(|e| wrong("zstd", level, &e))?)
        }
        Some(4) => Compression::LZ4_RAW,
        Some(_) => Compression::LZ4,
    })
}
