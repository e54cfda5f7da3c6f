//! Connectors for programs, as typed builders under Flink's names.
//!
//! This is where two rooms meet: `flott-connectors` reads and writes Kafka and files without knowing what a program's records are,
//! and `flott-datastream` knows the records and no connector. What is here turns messages into [`crate::datastream::Records`] and
//! back ([`schema`]); reading, splits, positions, transactions and commits are the connectors' own, as for tables.
//!
//! * [`kafka`]: [`kafka::KafkaSource`] and [`kafka::KafkaSink`].
//! * [`file`]: [`file::FileSource`] and [`file::FileSink`].

pub mod file;
pub mod kafka;
pub mod schema;

/// Hands what the runtime asks of a source to the one inside.
macro_rules! delegate_source {
    ($name:ident) => {
        impl<T: flott_datastream::Data> flott_runtime::Source for $name<T> {
            fn boundedness(&self) -> flott_runtime::connector::Boundedness {
                self.source.boundedness()
            }

            fn enumerator(
                &self,
                restored: Option<&[u8]>,
            ) -> Result<Box<dyn flott_runtime::SplitEnumerator>, flott_runtime::connector::ConnectorError> {
                self.source.enumerator(restored)
            }

            fn reader(
                &self,
                ctx: &flott_runtime::OperatorContext,
            ) -> Result<Box<dyn flott_runtime::SourceReader>, flott_runtime::TaskError> {
                self.source.reader(ctx)
            }
        }

        impl<T: flott_datastream::Data> flott_datastream::TypedSource for $name<T> {
            type Out = T;
        }
    };
}
pub(crate) use delegate_source;

/// Hands what the runtime asks of a sink to the one inside.
macro_rules! delegate_sink {
    ($name:ident) => {
        impl<T: flott_datastream::Data> flott_runtime::Sink for $name<T> {
            fn writer(
                &self,
                ctx: &flott_runtime::OperatorContext,
            ) -> Result<Box<dyn flott_runtime::SinkWriter>, flott_runtime::TaskError> {
                self.sink.writer(ctx)
            }

            fn committer(
                &self,
                ctx: &flott_runtime::connector::CommitterContext,
            ) -> Result<Option<Box<dyn flott_runtime::Committer>>, flott_runtime::connector::ConnectorError> {
                self.sink.committer(ctx)
            }
        }

        impl<T: flott_datastream::Data> flott_datastream::TypedSink<T> for $name<T> {}
    };
}
pub(crate) use delegate_sink;
