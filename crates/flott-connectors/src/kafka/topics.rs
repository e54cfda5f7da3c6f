//! [`KafkaSource`] and [`KafkaSink`]: topics that are read and written, whatever rows are made of their records.

use std::time::Duration;

use flott_runtime::connector::{
    Boundedness, Committer, CommitterContext, ConnectorError, Sink, SinkWriter, Source, SourceReader, SplitEnumerator,
};
use flott_runtime::{OperatorContext, TaskError};

use super::access::Access;
use super::client::offsets::Isolation;
use super::committer::{KafkaCommitter, OwnedIds, id_prefix, now_ns};
use super::enumerator::KafkaEnumerator;
use super::options::{Guarantee, ScanOptions, SinkOptions, wrong};
use super::reader::KafkaReader;
use super::records::{Assemble, EncodeRecords};
use super::writer::KafkaWriter;

/// Reads topics; `make` makes what assembles a subtask's rows.
pub(super) struct KafkaSource<F> {
    pub access: Access,
    pub scan: ScanOptions,
    pub isolation: Isolation,
    pub make: F,
}

impl<A, F> Source for KafkaSource<F>
where
    A: Assemble + 'static,
    F: Fn(&OperatorContext) -> Result<A, TaskError> + Send + Sync,
{
    fn boundedness(&self) -> Boundedness {
        self.scan.boundedness()
    }

    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        let enumerator = KafkaEnumerator::new(self.access.clone(), self.scan.clone(), self.isolation, restored)?;
        Ok(Box::new(enumerator))
    }

    fn reader(&self, ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        let rows = (self.make)(ctx)?;
        Ok(Box::new(KafkaReader::new(&self.access, &self.scan, rows, ctx)?))
    }
}

/// Writes topics; `make` makes what encodes a subtask's rows.
pub(super) struct KafkaSink<F> {
    pub access: Access,
    pub options: SinkOptions,
    pub make: F,
}

impl<E, F> Sink for KafkaSink<F>
where
    E: EncodeRecords + 'static,
    F: Fn(&OperatorContext) -> Result<E, TaskError> + Send + Sync,
{
    fn writer(&self, ctx: &OperatorContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        let records = (self.make)(ctx)?;
        Ok(Box::new(KafkaWriter::new(&self.access, &self.options, records, ctx)?))
    }

    fn committer(&self, ctx: &CommitterContext) -> Result<Option<Box<dyn Committer>>, ConnectorError> {
        if self.options.guarantee != Guarantee::ExactlyOnce {
            return Ok(None);
        }
        let timeout = self.access.properties.millis_or("transaction.timeout.ms", 0);
        let timeout = timeout.map_err(wrong)?;
        let prefix = id_prefix(&self.options.transactional_id_prefix, &ctx.job_name, ctx.operator_id);
        Ok(Some(Box::new(KafkaCommitter {
            access: self.access.clone(),
            ids: OwnedIds::take(&self.access.label, prefix)?,
            ignore_lost: self.options.ignore_lost_transactions,
            transaction_timeout: (timeout > Duration::ZERO).then_some(timeout),
            client: None,
            job: ctx.job_id,
            generation: ctx.generation,
            since_ns: now_ns(),
        })))
    }
}
