//! Flott's connectors, each a module behind a feature of its own.
//!
//! * [`kafka`]: the tables `kafka` and `upsert-kafka`, on our own Kafka client.
//! * [`filesystem`]: files, read in ranges and written exactly once.
//! * [`datagen`], [`print`] and [`blackhole`]: rows out of nothing, onto the terminal, into nothing.
//! * [`savepoint`]: the keyed state of checkpoints and savepoints, read.
//! * [`bad_rows`]: what every source does with rows that its format cannot read.

pub mod bad_rows;
#[cfg(feature = "blackhole")]
pub mod blackhole;
#[cfg(feature = "datagen")]
pub mod datagen;
#[cfg(feature = "filesystem")]
pub mod filesystem;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "print")]
pub mod print;
#[cfg(feature = "savepoint")]
pub mod savepoint;
#[cfg(any(
    feature = "blackhole",
    feature = "datagen",
    feature = "filesystem",
    feature = "print",
    feature = "savepoint"
))]
mod table;

/// Makes every connector of this build known.
pub fn register(registry: &mut flott_runtime::Registry) {
    #[cfg(feature = "blackhole")]
    registry.connector(blackhole::BlackholeConnector);
    #[cfg(feature = "datagen")]
    registry.connector(datagen::DatagenConnector);
    #[cfg(feature = "filesystem")]
    registry.connector(filesystem::FilesystemConnector);
    #[cfg(feature = "kafka")]
    registry.connector(kafka::KafkaConnector);
    #[cfg(feature = "kafka")]
    registry.connector(kafka::UpsertKafkaConnector);
    #[cfg(feature = "print")]
    registry.connector(print::PrintConnector);
    #[cfg(feature = "savepoint")]
    registry.connector(savepoint::SavepointConnector);
    #[cfg(feature = "savepoint")]
    registry.connector(savepoint::SavepointMetadataConnector);
}
