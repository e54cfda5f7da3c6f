//! Sources and sinks of a program, which every attempt of its job is given: [`SharedSource`], [`SharedSink`].

use flott_runtime::connector::{Boundedness, CommitterContext, ConnectorError};
use flott_runtime::{Committer, OperatorContext, Sink, SinkWriter, Source, SourceReader, SplitEnumerator, TaskError};
use std::sync::Arc;

/// A source that all attempts share.
pub(super) struct SharedSource(pub(super) Arc<dyn Source>);

impl Source for SharedSource {
    fn boundedness(&self) -> Boundedness {
        self.0.boundedness()
    }
    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        self.0.enumerator(restored)
    }
    fn reader(&self, ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        self.0.reader(ctx)
    }
}

/// A sink that all attempts share.
pub(super) struct SharedSink(pub(super) Arc<dyn Sink>);

impl Sink for SharedSink {
    fn writer(&self, ctx: &OperatorContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        self.0.writer(ctx)
    }
    fn committer(&self, ctx: &CommitterContext) -> Result<Option<Box<dyn Committer>>, ConnectorError> {
        self.0.committer(ctx)
    }
}
